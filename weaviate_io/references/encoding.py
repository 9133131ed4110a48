"""References to the bytes of a ``BatchReference`` and back, checked against the schema of their collection."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from weaviate_io import proto, wire
from weaviate_io.encoding import check_tenant
from weaviate_io.errors import RowError, costs_its_row
from weaviate_io.objects import WeaviateReference
from weaviate_io.request import Entry
from weaviate_io.schema import CollectionSchema, Property, collection_name, property_name


class EncodedReference(Entry):
    """One reference as bytes of the wire, and in its canonical form; ``uuid`` and ``tenant`` are its source's."""

    def __init__(self, payload: bytes, reference: WeaviateReference) -> None:
        super().__init__((payload,), reference.from_uuid, reference.tenant, has_vectors=False)
        self.reference = reference

    @property
    def key(self) -> bytes:
        """All of it: only equal references are one."""
        return self.payload


class ReferenceEncoder:
    """Encodes the references of the objects of one collection.

    Args:
      schema: what the collection expects.

    >>> schema = CollectionSchema.from_rest({"class": "Author", "properties": [
    ...     {"name": "writesFor", "dataType": ["Paper"]}]})
    >>> one, other = "3f2c0000-0000-4000-8000-000000000001", "3f2c0000-0000-4000-8000-000000000002"
    >>> ReferenceEncoder(schema).encode(WeaviateReference(one, "writesFor", other)).reference.to_collection
    'Paper'
    """

    def __init__(self, schema: CollectionSchema) -> None:
        self._schema = schema

    @costs_its_row
    def encode(self, given: WeaviateReference) -> EncodedReference:
        """Encode, or raise :class:`~weaviate_io.errors.RowError` saying what is wrong with the reference."""
        known = self._property(given.from_property)
        canonical = WeaviateReference(
            from_uuid=_uuid("from_uuid", given.from_uuid),
            from_property=known.name,
            to_uuid=_uuid("to_uuid", given.to_uuid),
            to_collection=self._target(known, given.to_collection),
            tenant=check_tenant(self._schema, given.tenant),
            collection=self._schema.name,
        )
        message = proto.BatchReference(
            name=canonical.from_property,
            from_collection=canonical.collection,
            from_uuid=canonical.from_uuid,
            to_collection=canonical.to_collection,
            to_uuid=canonical.to_uuid,
            tenant=canonical.tenant or "",
        )
        return EncodedReference(message.SerializeToString(), canonical)

    def _property(self, name: Any) -> Property:
        declared = self._schema.properties
        known = declared.get(property_name(name)) if isinstance(name, str) else None
        if known is None:
            raise RowError(
                "unknown_property",
                f"collection {self._schema.name} has no property {wire.shown(name)} (its references are "
                f"{_names(p.name for p in declared.values() if p.data_type == 'reference')})",
            )
        if known.data_type != "reference":
            raise RowError(
                "invalid_reference",
                f"property {known.name!r} of {self._schema.name} is {known.data_type}, not a reference",
            )
        return known

    def _target(self, known: Property, given: Any) -> str:
        label = f"property {known.name!r} of {self._schema.name}"
        if given is None:
            if len(known.targets) == 1:
                return known.targets[0]
            raise RowError(
                "invalid_reference",
                f"{label} points into {_names(known.targets)}; say which is meant with to_collection=, or with "
                "a mapping of collection to ids",
            )
        try:
            target = collection_name(given)
        except ValueError as error:
            raise RowError("invalid_reference", str(error)) from None
        if target not in known.targets:
            raise RowError("invalid_reference", f"{label} points into {_names(known.targets)}, not {target!r}")
        return target


def encoded_reference(payload: bytes) -> EncodedReference:
    """The reference behind the bytes."""
    message = proto.BatchReference.FromString(payload)
    reference = WeaviateReference(
        message.from_uuid,
        message.name,
        message.to_uuid,
        message.to_collection,
        message.tenant or None,
        message.from_collection,
    )
    return EncodedReference(payload, reference)


def _uuid(name: str, given: Any) -> str:
    canonical = wire.canonical_uuid(given)
    if canonical is None:
        raise RowError(
            "invalid_uuid", f"{name} {wire.shown(given)} is not a UUID (8-4-4-4-12 hexadecimal digits)"
        )
    return canonical


def _names(names: Iterable[str]) -> str:
    return ", ".join(map(repr, names)) or "none"
