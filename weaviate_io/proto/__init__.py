"""The wire messages of Weaviate's gRPC interface, as message classes made at import.

The descriptors come from ``weaviate.binpb``, compiled from ``weaviate.proto`` beside it (``make proto``).
They live in a :class:`~google.protobuf.descriptor_pool.DescriptorPool` of their own: weaviate-client
registers files with the same messages in the default pool, and protobuf refuses a second registration
there. A serialized descriptor set, unlike generated Python code, is read by every protobuf runtime from
4.22 on.

Methods are called by path with bytes, so no service stubs are needed.

>>> BatchObject(uuid="3f2c…").uuid
'3f2c…'
"""

from __future__ import annotations

from importlib import resources
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_PACKAGE = "weaviate_io.wire"


def _load() -> descriptor_pool.DescriptorPool:
    files = descriptor_pb2.FileDescriptorSet.FromString(
        resources.files(__name__).joinpath("weaviate.binpb").read_bytes()
    )
    pool = descriptor_pool.DescriptorPool()
    for file in files.file:
        pool.Add(file)
    return pool


_POOL = _load()


def _message(name: str) -> Any:
    return message_factory.GetMessageClass(_POOL.FindMessageTypeByName(f"{_PACKAGE}.{name}"))


BatchObject = _message("BatchObject")
BatchObjectsRequest = _message("BatchObjectsRequest")
BatchObjectsReply = _message("BatchObjectsReply")
BatchReference = _message("BatchReference")
BatchReferencesRequest = _message("BatchReferencesRequest")
SearchRequest = _message("SearchRequest")
SearchReply = _message("SearchReply")

SERVICE = "/weaviate.v1.Weaviate"
BATCH_OBJECTS = f"{SERVICE}/BatchObjects"
BATCH_REFERENCES = f"{SERVICE}/BatchReferences"
SEARCH = f"{SERVICE}/Search"

CONSISTENCY_LEVELS = {
    value.name.removeprefix("CONSISTENCY_LEVEL_"): value.number
    for value in _POOL.FindEnumTypeByName(f"{_PACKAGE}.ConsistencyLevel").values
    if value.number
}
VECTOR_SINGLE_FP32 = 1
VECTOR_MULTI_FP32 = 2
CONTAINS_ANY = 12
