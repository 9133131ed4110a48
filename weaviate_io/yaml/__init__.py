"""The transforms of this package for Beam YAML: where the file is that declares them.

>>> PROVIDERS.name
'providers.yaml'
"""

from pathlib import Path

PROVIDERS = Path(__file__).with_name("providers.yaml")
"""To include in a pipeline, or to give to ``YamlTransform``."""
