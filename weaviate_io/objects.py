"""The data model: what goes into a write, what comes out of it, and the ids of objects.

Nothing here knows a server, a schema or a pipeline. What comes out of a write is registered with Beam as rows,
so that it crosses shuffles and runners in a compact, stable form.
"""

# No "from __future__ import annotations" here: Beam reads the types of the fields as they stand.

import uuid as _uuid
from hashlib import sha1
from typing import Any, NamedTuple, Optional, Union

from apache_beam import coders
from apache_beam.portability.api import schema_pb2
from apache_beam.typehints.schemas import typing_to_runner_api


class WeaviateObject(NamedTuple):
    """One object, said explicitly; the element type when a row's fields are not enough.

    Args:
      properties: mapping of property name to value.
      uuid: the id, as text or :class:`uuid.UUID`; ``None`` derives it from the content.
      vector: the vector (list, tuple, numpy array, ``array.array`` or bytes of little-endian float32), or a
        mapping of vector name to vector. A two-dimensional value is a multi-vector (ColBERT).
      tenant: name of the tenant, for multi-tenant collections.
      collection: overrides the collection of the write.
      references: mapping of reference property to a uuid or a list of uuids; for a property with several
        target collections, to a mapping of collection name to uuids.

    >>> WeaviateObject({"title": "Dune"}, vector=[0.1, 0.2]).properties["title"]
    'Dune'
    """

    properties: Any
    uuid: Any = None
    vector: Any = None
    tenant: Optional[str] = None
    collection: Optional[str] = None
    references: Any = None


class SourceRow(NamedTuple):
    """A row together with the place it was read from, for the dead letter.

    ``text`` says that every value is text (a CSV file), to be read by the types of the collection's schema.
    """

    row: Any
    position: str
    text: bool = False


class WrittenObject(NamedTuple):
    """An object that the server acknowledged: stored, and in the vector index (or its queue)."""

    collection: str
    uuid: str
    tenant: Optional[str]


class FailedObject(NamedTuple):
    """An object that was not written, and why. Feed it back into ``WriteToWeaviate`` to replay it.

    Args:
      reason: stable, machine-readable name of the cause, such as ``invalid_property``.
      error: the words of the server or of the encoder.
      attempts: how often the object was sent; 0 when it never left the worker.
      collection: name of the collection, where known.
      tenant: name of the tenant, where known.
      uuid: the id of the object, where known.
      object: the object, where the row could be understood.
      row: the element as it came in, where it could not; exactly one of ``object`` and ``row`` is set.
      position: file and place in it, where known.
    """

    reason: str
    error: str
    attempts: int
    collection: Optional[str]
    tenant: Optional[str]
    uuid: Optional[str]
    object: Optional[WeaviateObject]
    row: Any
    position: Optional[str]


class WeaviateReference(NamedTuple):
    """One cross-reference, said explicitly; also what ``WriteReferencesToWeaviate`` gives for a written one.

    Args:
      from_uuid: the id of the object that has the reference, as text or :class:`uuid.UUID`.
      from_property: the reference property.
      to_uuid: the id of the object that is pointed at.
      to_collection: its collection; needed only where the property may point into several.
      tenant: the tenant of the object that has the reference, for multi-tenant collections.
      collection: the collection of the object that has the reference; overrides that of the write.

    >>> WeaviateReference("3f2c…", "writesFor", "9b1e…").from_property
    'writesFor'
    """

    from_uuid: Any
    from_property: str
    to_uuid: Any
    to_collection: Optional[str] = None
    tenant: Optional[str] = None
    collection: Optional[str] = None


class FailedReference(NamedTuple):
    """A reference that was not written, and why. Feed it back into ``WriteReferencesToWeaviate`` to replay it.

    Args:
      reason: stable, machine-readable name of the cause, such as ``source_not_found``.
      error: the words of the server or of the encoder.
      attempts: how often the reference was sent; 0 when it never left the worker.
      collection: the collection of the object that has the reference, where known.
      tenant: its tenant, where known.
      from_uuid: its id, where known.
      from_property: the reference property, where known.
      to_uuid: the id of the object that is pointed at, where known.
      to_collection: its collection, where known.
      reference: the reference, where the row could be understood.
      row: the element as it came in, where it could not; exactly one of ``reference`` and ``row`` is set.
      position: file and place in it, where known.
    """

    reason: str
    error: str
    attempts: int
    collection: Optional[str]
    tenant: Optional[str]
    from_uuid: Optional[str]
    from_property: Optional[str]
    to_uuid: Optional[str]
    to_collection: Optional[str]
    reference: Optional[WeaviateReference]
    row: Any
    position: Optional[str]


class UnfindableObject(NamedTuple):
    """Something that a stored object lacks, so that a search for it is in vain; what ``CheckWeaviate`` gives.

    Args:
      collection: name of the collection.
      uuid: the id of the object.
      tenant: name of the tenant, where the collection has them.
      kind: ``"vector_index"`` (a vector index does not know it), ``"inverted_index"`` (no filter by id finds it),
        or ``"unlinked"`` (a vector index knows it, but no search gets there).
      vector: the name of the vector whose index that is, ``""`` for the unnamed one.
      repaired: whether it was repaired, and is found now.
      error: why it was not repaired, where that was asked for; or that somebody else wrote it at the same moment.
    """

    collection: str
    uuid: str
    tenant: Optional[str]
    kind: str
    vector: str
    repaired: bool = False
    error: Optional[str] = None


Failed = Union[FailedObject, FailedReference]
"""Something that was not written."""


def generate_uuid5(identifier: Any, namespace: Any = "") -> str:
    """The id that weaviate-client's function of the same name gives.

    It hashes ``str(namespace) + str(identifier)`` in the DNS namespace. Give it a key (a text, a number),
    not a whole row: the text of a dict changes with the order of its keys.

    >>> generate_uuid5("abc")
    '6cb8e707-0fc5-5f55-88d4-d4fed43e64a8'
    """
    name = (str(namespace) + str(identifier)).encode()  # format() differs from str() for some types
    return uuid5_text(_uuid.NAMESPACE_DNS.bytes, name)


def uuid5_text(namespace: bytes, name: bytes) -> str:
    """UUID version 5 of ``name`` (RFC 9562) as canonical text, without intermediate objects.

    >>> uuid5_text(_uuid.NAMESPACE_DNS.bytes, b"abc") == str(_uuid.uuid5(_uuid.NAMESPACE_DNS, "abc"))
    True
    """
    digits = sha1(namespace + name, usedforsecurity=False).hexdigest()
    variant = "89ab"[int(digits[16], 16) & 3]
    return f"{digits[:8]}-{digits[8:12]}-5{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:32]}"


class OpaqueRowCoder(coders.RowCoder):
    """Beam's coder of rows, the schema of which other languages do not get to see.

    A runner in Java reads the schemas of all rows in a job and refuses those with a field of type ``Any``. What it
    knows only as pickled it carries as bytes.
    """

    def to_runner_api_parameter(self, context: Any) -> Any:
        return coders.Coder.to_runner_api_parameter(self, context)

    def as_deterministic_coder(self, step_label: str, error_message: Optional[str] = None) -> "OpaqueRowCoder":
        return OpaqueRowCoder(self.schema, error_message or step_label)

    def __reduce__(self) -> Any:
        return _opaque, (self.schema.SerializeToString(),)


def _opaque(schema: bytes) -> OpaqueRowCoder:
    return OpaqueRowCoder(schema_pb2.Schema.FromString(schema))


def register_row(kind: type[Any], coded: bool = True) -> None:
    """Tell Beam that a named tuple is a row, by an id that its name and fields make.

    Beam's own way gives a new id in each process, so that a job that is updated would have other coders than it had.

    Args:
      kind: the named tuple, with types that are known where it is defined.
      coded: whether a PCollection of it is encoded as rows; else only a field of another row is.
    """
    fields = "".join(f",{name}:{type_}" for name, type_ in kind.__annotations__.items())
    kind._beam_schema_id = uuid5_text(_uuid.NAMESPACE_DNS.bytes, f"{kind.__qualname__}{fields}".encode())
    if coded:
        has_any = Any in kind.__annotations__.values()
        coders.registry.register_coder(kind, OpaqueRowCoder if has_any else coders.RowCoder)
    typing_to_runner_api(kind)


register_row(WeaviateObject, coded=False)
for _kind in (WrittenObject, FailedObject, WeaviateReference, FailedReference, UnfindableObject):
    register_row(_kind)
