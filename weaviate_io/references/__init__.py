"""Cross-references between objects that exist: ``WriteReferencesToWeaviate`` and its steps.

They take the same way as objects: ``mapping`` (rows to references), ``encoding`` (references to bytes, checked
against the schema), ``method`` (what the sender calls, and how it avoids duplicates), ``write`` (the transform).
"""

from weaviate_io.references.write import WriteReferencesToWeaviate as WriteReferencesToWeaviate
from weaviate_io.references.write import WriteReferencesToWeaviateResult as WriteReferencesToWeaviateResult
