"""Complete jobs with a command line; installed as ``weaviate-io import`` and ``weaviate-io replay``."""

import weaviate_io  # noqa: F401  (before Beam, which it keeps from logging at import)
