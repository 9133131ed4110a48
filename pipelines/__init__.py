"""Complete jobs with a command line; installed as ``weaviate-io import`` and ``weaviate-io replay``."""

import logging

# Beam says at import, on every machine without Google's libraries, that they are not there.
logging.getLogger().addFilter(lambda record: not record.getMessage().startswith("apitools not found"))
