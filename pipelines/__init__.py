"""Complete jobs with a command line; installed as ``weaviate-io import``, ``replay`` and ``check``."""

import weaviate_io  # noqa: F401  (before Beam, which it keeps from logging at import)
