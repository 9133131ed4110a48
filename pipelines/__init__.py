"""Complete jobs with a command line; installed as ``weaviate-io import`` and ``weaviate-io replay``."""
