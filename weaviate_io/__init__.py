"""Apache Beam connector for the Weaviate vector database.

>>> import apache_beam as beam
>>> from weaviate_io import WriteToWeaviate
>>> write = WriteToWeaviate("Article", url="http://localhost:8080", id_field="doi", vector_field="embedding")

``result = rows | write`` gives ``result.written`` and ``result.failed``. Tools for tests are in
:mod:`weaviate_io.testing`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

import weaviate_io.quiet_beam  # noqa: F401  (first, since everything else imports Beam)
from weaviate_io.version import __version__ as __version__

if TYPE_CHECKING:
    from weaviate_io.bar import progress as progress
    from weaviate_io.check import CheckWeaviate as CheckWeaviate
    from weaviate_io.connection import WeaviateConnection as WeaviateConnection
    from weaviate_io.creation import CreateDisposition as CreateDisposition
    from weaviate_io.creation import WriteDisposition as WriteDisposition
    from weaviate_io.failures import ReadFailuresFromJson as ReadFailuresFromJson
    from weaviate_io.failures import WriteFailuresToJson as WriteFailuresToJson
    from weaviate_io.files import ReadRows as ReadRows
    from weaviate_io.files import ReadRowsResult as ReadRowsResult
    from weaviate_io.objects import FailedObject as FailedObject
    from weaviate_io.objects import FailedReference as FailedReference
    from weaviate_io.objects import UnfindableObject as UnfindableObject
    from weaviate_io.objects import WeaviateObject as WeaviateObject
    from weaviate_io.objects import WeaviateReference as WeaviateReference
    from weaviate_io.objects import WrittenObject as WrittenObject
    from weaviate_io.objects import generate_uuid5 as generate_uuid5
    from weaviate_io.providers import ModelProvider as ModelProvider
    from weaviate_io.references import WriteReferencesToWeaviate as WriteReferencesToWeaviate
    from weaviate_io.references import WriteReferencesToWeaviateResult as WriteReferencesToWeaviateResult
    from weaviate_io.secret import OidcClientCredentials as OidcClientCredentials
    from weaviate_io.write import WriteToWeaviate as WriteToWeaviate
    from weaviate_io.write import WriteToWeaviateResult as WriteToWeaviateResult

_MODULES = {
    "CheckWeaviate": "check",
    "CreateDisposition": "creation",
    "FailedObject": "objects",
    "FailedReference": "objects",
    "ModelProvider": "providers",
    "OidcClientCredentials": "secret",
    "ReadFailuresFromJson": "failures",
    "ReadRows": "files",
    "ReadRowsResult": "files",
    "UnfindableObject": "objects",
    "WeaviateConnection": "connection",
    "WeaviateObject": "objects",
    "WeaviateReference": "objects",
    "WriteDisposition": "creation",
    "WriteFailuresToJson": "failures",
    "WriteReferencesToWeaviate": "references",
    "WriteReferencesToWeaviateResult": "references",
    "WriteToWeaviate": "write",
    "WriteToWeaviateResult": "write",
    "WrittenObject": "objects",
    "generate_uuid5": "objects",
    "progress": "bar",
}
"""Where each public name is defined. A module is imported at the first use of one of its names: a worker that only
writes pays for no reader, check or dead letter."""

__all__ = [*_MODULES, "__version__"]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES})
