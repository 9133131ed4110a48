"""Objects to the bytes of a ``BatchObject`` and back, checked against the schema of their collection.

A bad object is refused here, alone, before it has neighbours. Everything after this step handles bytes:
sizes are exact, a request is a join, and what crosses a shuffle is small.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from datetime import tzinfo
from functools import lru_cache
from typing import Any, Optional, Union

import numpy as np

from weaviate_io import proto, wire
from weaviate_io.errors import RowError, costs_its_row
from weaviate_io.framing import EMPTY_LIST, delimited, entry_key, struct_entry, values_of, varint
from weaviate_io.objects import WeaviateObject, uuid5_text
from weaviate_io.request import Block, Entry
from weaviate_io.schema import (
    DEFAULT_VECTOR,
    TENANT_NAME,
    CollectionSchema,
    Property,
    VectorIndex,
    property_name,
)
from weaviate_io.vectors import decode_vector, encode_vector, nudge

_CONTENT_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "weaviate-io:content:1").bytes
"""Namespace of the ids made from content. Its number changes when the canonical form does."""

_Column = tuple[bytes, Optional[wire.ValueEncoder]]
_SKIP: _Column = (b"", None)
_ONE_VECTOR = {np.ndarray, list}  # known without the slow question for a Mapping


class ObjectEncoder:
    """Encodes the objects of one collection.

    Args:
      schema: what the collection expects.
      unknown_properties: ``"fail"`` refuses an object with properties that the schema lacks, ``"drop"`` leaves
        them out.
      dimensions: vector length by vector name (``DEFAULT_VECTOR`` for the unnamed one), where known.
      timezone: zone of dates that carry none; such dates are refused without it.

    >>> schema = CollectionSchema.from_rest({"class": "Article", "vectorizer": "none",
    ...     "properties": [{"name": "title", "dataType": ["text"]}]})
    >>> encoded = ObjectEncoder(schema).encode(WeaviateObject({"title": "Dune"}, vector=[1.0, 2.0]))
    >>> decode_object(encoded.payload, schema).properties
    {'title': 'Dune'}
    """

    def __init__(
        self,
        schema: CollectionSchema,
        *,
        unknown_properties: str = "fail",
        dimensions: Mapping[str, int] | None = None,
        timezone: tzinfo | None = None,
    ) -> None:
        self._schema = schema
        self._drop_unknown = unknown_properties == "drop"
        self._dimensions = dimensions or {}
        self._timezone = timezone
        self._collection = delimited(b"\x22", schema.name.encode())
        self._content_prefix = schema.name.encode() + b"\x00"
        self._columns: dict[str, _Column] = {}
        self._vector_names = tuple(schema.vectors)

    @costs_its_row
    def encode(self, obj: WeaviateObject) -> Entry:
        """Encode, or raise :class:`~weaviate_io.errors.RowError` saying what is wrong with the object."""
        entries = self._entries(obj.properties)
        vectors = () if obj.vector is None else self._vectors(obj.vector)
        tenant = check_tenant(self._schema, obj.tenant)
        object_id = self._uuid(obj.uuid, entries, vectors)
        properties = delimited(b"\x0a", b"".join(entries.values()))
        if obj.references:
            properties += self._references(obj.references)
        head = b"".join(
            (
                b"\x0a\x24",
                object_id.encode(),
                b"\x1a",
                varint(len(properties)),
                properties,
                self._collection,
                delimited(b"\x2a", tenant.encode()) if tenant else b"",
            )
        )
        return Entry((head, *vectors), object_id, tenant, bool(vectors))

    def _entries(self, properties: Mapping[str, Any]) -> dict[bytes, bytes]:
        """The entries of the ``Struct`` of properties, by their keys."""
        entries: dict[bytes, bytes] = {}
        columns = self._columns
        for name, value in properties.items():
            key, encoder = columns.get(name) or self.column(name)
            if encoder is None:
                continue
            try:
                encoded = encoder(value)
            except (ValueError, RecursionError) as error:
                expected = "less nesting" if isinstance(error, RecursionError) else error
                raise RowError(
                    "invalid_property", f"property {name!r} of {self._schema.name} expects {expected}"
                ) from None
            if encoded is not None:
                if key in entries:
                    raise RowError("invalid_property", f"two fields are property {property_name(name)!r}")
                entries[key] = struct_entry(key, encoded)
        return entries

    def column(self, name: Any) -> _Column:
        """The key of a property in the ``Struct`` and what encodes its values; no encoder where it is left out."""
        declared = self._schema.properties
        known = declared.get(name) or declared.get(property_name(name)) if isinstance(name, str) else None
        if known is not None:
            column = (entry_key(known.name), self._value_encoder(known))
        elif self._schema.open_ended and isinstance(name, str):
            column = (_new_key(name), wire.guessing_encoder(self._timezone))
        elif self._drop_unknown:
            return _SKIP  # not kept: there is no end to the names that rows may bring
        else:
            raise RowError(
                "unknown_property",
                f"collection {self._schema.name} has no property {wire.shown(name)} (it has {_names(declared)}); "
                "add it to the schema, pick or rename with properties=, or set unknown_properties='drop'",
            )
        self._columns[name] = column
        return column

    def _value_encoder(self, known: Property) -> wire.ValueEncoder:
        kind = known.data_type.removesuffix("[]")
        if kind == "object":
            nested = {name: self._value_encoder(p) for name, p in known.nested.items()}
            encoder = wire.struct_encoder(nested, self._drop_unknown)
        elif kind == "date":
            encoder = wire.date_encoder(self._timezone)
        elif kind in wire.SCALARS:
            encoder = wire.SCALARS[kind]
        elif kind == "reference":
            return _refuse_reference
        else:
            encoder = wire.guessing_encoder(self._timezone)
        return wire.list_encoder(encoder, known.data_type) if known.data_type.endswith("[]") else encoder

    def _vectors(self, vector: Any) -> tuple[bytes, ...]:
        if type(vector) in _ONE_VECTOR or not isinstance(vector, Mapping):
            return self.vector_field(self.only_vector(), vector)
        given = sorted((item for item in vector.items() if not wire.is_null(item[1])), key=_name_of)
        if DEFAULT_VECTOR in self._schema.vectors and len(given) > 1:
            raise RowError(
                "unknown_vector",
                f"collection {self._schema.name} has one unnamed vector, the object has {len(given)} "
                f"({_names(name for name, _ in given)})",
            )
        return tuple(part for name, value in given for part in self.vector_field(name, value))

    def only_vector(self) -> str:
        """The name of the vector that is meant where none is named."""
        names = self._vector_names
        if len(names) == 1:
            return names[0]
        raise RowError(
            "unknown_vector",
            f"collection {self._schema.name} has {len(names)} named vectors ({_names(names)}); "
            "say which is meant with a mapping",
        )

    def vector(self, name: str) -> tuple[str, VectorIndex, Optional[int]]:
        """A vector by name: the name that the server has for it, its index, and its length where that is known."""
        index = self._schema.vectors.get(name)
        if index is None and name == "default" and DEFAULT_VECTOR in self._schema.vectors:
            name, index = DEFAULT_VECTOR, self._schema.vectors[DEFAULT_VECTOR]
        if index is None:
            raise RowError(
                "unknown_vector",
                f"collection {self._schema.name} has no vector {wire.shown(name)} "
                f"(it has {_names(self._schema.vectors)})",
            )
        return name, index, self._dimensions.get(name)

    def vector_field(self, name: str, value: Any) -> tuple[bytes, ...]:
        """The field of a ``BatchObject`` that carries one vector, in parts.

        They stay apart until the request is joined, since to copy a vector takes longer than to encode a property.
        """
        name, index, expected = self.vector(name)
        try:
            encoded = encode_vector(value)
        except ValueError as error:
            raise RowError("invalid_vector", f"{_vector_label(name)}: {error}") from None
        if encoded.multi != index.multi:
            kinds = ("one vector", "a multi-vector")
            raise RowError(
                "invalid_vector",
                f"{_vector_label(name)} is {kinds[encoded.multi]}, "
                f"collection {self._schema.name} expects {kinds[index.multi]}",
            )
        if expected is not None and encoded.dimensions != expected:
            raise RowError(
                "invalid_vector",
                f"{_vector_label(name)} has {encoded.dimensions} values, "
                f"collection {self._schema.name} expects {expected}",
            )
        head, tail = vector_head(name, len(encoded.data), encoded.multi)
        return (head, encoded.data, tail) if tail else (head, encoded.data)

    def _uuid(self, given: Any, entries: Mapping[bytes, bytes], vectors: Iterable[bytes]) -> str:
        if given is None:
            content = b"".join(sorted(_countable(entries))) or b"".join(vectors)
            if not content:
                raise RowError(
                    "empty_object",
                    "the object has neither properties nor a vector to make an id of; give it one",
                )
            return self.content_id(content)
        canonical = wire.canonical_uuid(given)
        if canonical is None:
            raise RowError("invalid_uuid", f"{wire.shown(given)} is not a UUID (8-4-4-4-12 hexadecimal digits)")
        return canonical

    def content_id(self, content: bytes) -> str:
        """The id of an object of the collection with this content: the sorted entries of its properties, joined."""
        return uuid5_text(_CONTENT_NAMESPACE, self._content_prefix + content)

    def _references(self, references: Any) -> bytes:
        if not isinstance(references, Mapping):
            raise RowError(
                "invalid_reference",
                f"references are a mapping of property to uuids, not {type(references).__name__}",
            )
        return b"".join(self._reference(name, value) for name, value in references.items() if value is not None)

    def _reference(self, name: Any, value: Any) -> bytes:
        known = self._schema.properties.get(property_name(name)) if isinstance(name, str) else None
        if known is None or known.data_type != "reference":
            raise RowError(
                "invalid_reference", f"collection {self._schema.name} has no reference {wire.shown(name)}"
            )
        key = delimited(b"\x12", known.name.encode())
        if len(known.targets) == 1 and not isinstance(value, Mapping):
            return delimited(b"\x12", _uuid_list(name, value) + key)
        if not isinstance(value, Mapping) or not set(value) <= set(known.targets):
            raise RowError(
                "invalid_reference",
                f"reference {wire.shown(name)} wants a mapping of {_names(known.targets)} to uuids",
            )
        if len(known.targets) == 1:
            return delimited(b"\x12", _uuid_list(name, value.get(known.targets[0], ())) + key)
        return b"".join(
            delimited(b"\x1a", _uuid_list(name, ids) + key + delimited(b"\x1a", target.encode()))
            for target, ids in value.items()
        )


def check_tenant(schema: CollectionSchema, tenant: Any) -> Optional[str]:
    """The tenant of an object of the collection, if it can be that; else :class:`RowError`."""
    if tenant is None:
        if schema.multi_tenant:
            raise RowError("invalid_tenant", f"collection {schema.name} has tenants; say whose the object is")
        return None
    if not isinstance(tenant, str) or not TENANT_NAME.fullmatch(tenant):
        raise RowError(
            "invalid_tenant",
            f"{wire.shown(tenant)} is not a tenant name: text of 1 to 64 letters, digits, '_' or '-'",
        )
    if not schema.multi_tenant and not schema.open_ended:
        raise RowError("invalid_tenant", f"collection {schema.name} has no tenants, but the object names one")
    return tenant


def _new_key(name: str) -> bytes:
    try:
        return entry_key(property_name(name))
    except UnicodeEncodeError:
        raise RowError("unknown_property", f"{name!r:.80} is no name for a property") from None


def _countable(entries: Mapping[bytes, bytes]) -> list[bytes]:
    """What counts for an id of content: not an empty list, which is left out where the server guesses types."""
    return [
        entry
        for key, entry in entries.items()
        if not entry.endswith(EMPTY_LIST) or entry != struct_entry(key, EMPTY_LIST)
    ]


@lru_cache(1024)
def vector_head(name: str, size: int, multi: bool = False) -> tuple[bytes, bytes]:
    """What stands before and after the ``size`` bytes of a vector in the field of a ``BatchObject``."""
    length = varint(size)
    if name == DEFAULT_VECTOR:
        return b"\x32" + length, b""
    head = delimited(b"\x0a", name.encode()) + b"\x1a" + length
    kind = b"\x20" + bytes([proto.VECTOR_MULTI_FP32 if multi else proto.VECTOR_SINGLE_FP32])
    return b"\xba\x01" + varint(len(head) + size + len(kind)) + head, kind


def join_request(objects: Union[Block, Iterable[Entry]], consistency_level: int | None = None) -> bytes:
    """The bytes of a ``BatchObjectsRequest``, spliced from encoded objects."""
    level = b"" if consistency_level is None else b"\x10" + bytes([consistency_level])
    if isinstance(objects, Block):
        return objects.joined(level)
    parts: list[bytes] = []
    for entry in objects:
        if entry.step is None:
            parts += (b"\x0a", varint(entry.length), *entry.parts)
        else:
            parts += (b"\x0a", varint(len(entry.step)), entry.step)
    return b"".join((*parts, level))


def encoded_object(payload: bytes) -> Entry:
    """The id and tenant of an encoded object, read back from its bytes."""
    message = proto.BatchObject.FromString(payload)
    has_vectors = bool(message.vector_bytes or message.vectors)
    return Entry((payload,), message.uuid, message.tenant or None, has_vectors)


def decode_object(payload: bytes, schema: CollectionSchema | None = None) -> WeaviateObject:
    """The object behind the bytes: integers are ints again where the schema says so, vectors float32."""
    message = proto.BatchObject.FromString(payload)
    properties = dict(values_of(message.properties.non_ref_properties))
    if schema is not None:
        properties = _with_integers(properties, schema.properties)
    return WeaviateObject(
        properties=properties,
        uuid=message.uuid,
        vector=_decoded_vectors(message),
        tenant=message.tenant or None,
        collection=message.collection,
        references=_decoded_references(message.properties) or None,
    )


def vector_names(payload: bytes) -> set[str]:
    """Names of the vectors that the object brings itself."""
    message = proto.BatchObject.FromString(payload)
    unnamed = {DEFAULT_VECTOR} if message.vector_bytes else set()
    return unnamed | {vector.name for vector in message.vectors}


def with_vectors(payload: bytes, vector_bytes: bytes, vectors: Iterable[Any]) -> bytes:
    """The same object with the given vectors, as a search reports them."""
    message = proto.BatchObject.FromString(payload)
    message.vector_bytes = vector_bytes
    del message.vectors[:]
    for vector in vectors:
        message.vectors.add(name=vector.name, vector_bytes=vector.vector_bytes, type=vector.type)
    return message.SerializeToString()


def with_nudged_vectors(payload: bytes) -> bytes:
    """The same object with every vector moved by one unit in the last place of one component."""
    message = proto.BatchObject.FromString(payload)
    if message.vector_bytes:
        message.vector_bytes = nudge(message.vector_bytes, multi=False)
    for vector in message.vectors:
        vector.vector_bytes = nudge(vector.vector_bytes, vector.type == proto.VECTOR_MULTI_FP32)
    return message.SerializeToString()


def _decoded_vectors(message: Any) -> Any:
    if message.vectors:
        return {
            v.name: decode_vector(v.vector_bytes, v.type == proto.VECTOR_MULTI_FP32) for v in message.vectors
        }
    return decode_vector(message.vector_bytes) if message.vector_bytes else None


def _decoded_references(properties: Any) -> dict[str, Any]:
    references: dict[str, Any] = {r.prop_name: list(r.uuids) for r in properties.single_target_ref_props}
    for r in properties.multi_target_ref_props:
        references.setdefault(r.prop_name, {})[r.target_collection] = list(r.uuids)
    return references


def _with_integers(values: Mapping[str, Any], declared: Mapping[str, Property]) -> dict[str, Any]:
    return {name: _typed(value, declared.get(name)) for name, value in values.items()}


def _typed(value: Any, known: Property | None) -> Any:
    if known is None:
        return value
    if isinstance(value, list):
        return [_typed(item, known) for item in value]
    if isinstance(value, dict) and known.nested:
        return _with_integers(value, known.nested)
    return int(value) if known.data_type.removesuffix("[]") == "int" else value


def _uuid_list(name: str, value: Any) -> bytes:
    ids = value if isinstance(value, (list, tuple)) else [value]
    texts = [wire.canonical_uuid(item) for item in ids]
    if None in texts:
        wrong = ids[texts.index(None)]
        raise RowError(
            "invalid_reference", f"reference {wire.shown(name)} wants uuids, not {wire.shown(wrong)}"
        )
    return b"".join(delimited(b"\x0a", text.encode()) for text in texts if text)


def _refuse_reference(value: Any) -> bytes | None:
    if wire.is_null(value):
        return None
    raise ValueError("references, which are given as WeaviateObject(references=...)")


def _vector_label(name: str) -> str:
    return f"vector {wire.shown(name)}" if name else "the vector"


def _name_of(item: tuple[Any, Any]) -> str:
    return str(item[0])


def _names(names: Iterable[str]) -> str:
    return ", ".join(repr(n) if n else "an unnamed one" for n in names) or "none"
