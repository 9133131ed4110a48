"""Rows to objects: which field is the id, the vector, the tenant, and which fields are properties.

A row is a mapping, a ``beam.Row``, a named tuple, a dataclass, a :class:`WeaviateObject`, or a failure of an
earlier write. Rows are read, never changed. What a value may be is not decided here but where it is encoded.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, is_dataclass
from decimal import Decimal
from functools import cache, cached_property
from typing import Any, NamedTuple, Optional, Union

import apache_beam as beam
import numpy as np

from weaviate_io import wire
from weaviate_io.errors import RowError, costs_its_row, words_of
from weaviate_io.objects import (
    FailedObject,
    FailedReference,
    SourceRow,
    WeaviateObject,
    WeaviateReference,
    generate_uuid5,
)
from weaviate_io.schema import DEFAULT_VECTOR, CollectionSchema, Property, collection_name, property_name

Field = Union[str, Callable[[Any], Any]]
"""The name of a field, or a function of the row."""


@dataclass(frozen=True)
class Mapper:
    """How rows become objects.

    Args:
      collection: name of the collection, or a function of the row.
      id_field: field or function that gives the id. A UUID is taken as it is, any other text or integer is a
        key, of which ``generate_uuid5`` makes the id. Several fields are one key: ``json.dumps`` of the list of
        their texts. ``None`` makes ids of the content.
      vector_field: field or function that gives the vector, or a mapping of vector name to field.
      tenant_field: field or function that gives the tenant.
      tenant: the tenant of every object that names none.
      properties: the fields to write as properties: a list of names, a mapping of property to field, or a
        function of the row. ``None`` takes every field but the vectors; the id and tenant fields only where
        the schema has properties of their names.
      references_field: a mapping of reference property to the field that gives the ids it points at, or a
        function of the row that gives a mapping of property to ids. Ids are keys or UUIDs, as for ``id_field``.

    >>> schema = CollectionSchema.from_rest({"class": "Article", "properties": [
    ...     {"name": "title", "dataType": ["text"]}]})
    >>> mapper = Mapper("Article", id_field="doi", vector_field="embedding")
    >>> mapped = mapper.map({"doi": "10.1/x", "title": "Dune", "embedding": [0.1]}, schema)
    >>> mapped.properties, mapped.uuid
    ({'title': 'Dune'}, '6d9ce51c-507f-55e9-920c-11add35e7c67')
    """

    collection: Field
    id_field: Union[Field, Sequence[str], None] = None
    vector_field: Union[Field, Mapping[str, str], None] = None
    tenant_field: Optional[Field] = None
    tenant: Optional[str] = None
    properties: Union[Sequence[str], Mapping[str, str], Callable[[Any], Any], None] = None
    references_field: Union[Mapping[str, str], Callable[[Any], Any], None] = None

    def destination(self, row: Any) -> str:
        """The collection a row belongs to, or :class:`RowError`."""
        if isinstance(row, WeaviateObject) and row.collection is not None:
            return destination(row.collection, row)
        return destination(self.collection, row) if callable(self.collection) else self._only_collection

    @costs_its_row
    def map(self, row: Any, schema: CollectionSchema, text: bool = False) -> WeaviateObject:
        """The object of a row, or :class:`RowError`. ``text`` reads text fields by the types of the schema."""
        if isinstance(row, WeaviateObject):
            if not isinstance(row.properties, Mapping):
                raise RowError("invalid_row", f"properties are a mapping, not {type(row.properties).__name__}")
            tenant = self.tenant if row.tenant is None else row.tenant
            return row._replace(collection=schema.name, tenant=tenant)
        fields = row if type(row) is dict else _fields(row)
        if fields is None:
            raise RowError(
                "invalid_row",
                f"a {type(row).__name__} is no row; use a mapping, beam.Row, named tuple, dataclass or WeaviateObject",
            )
        properties = self._properties(row, fields, schema)
        vector = self._vector(row, fields)
        if text:
            properties = {name: _read(name, value, schema) for name, value in properties.items()}
            vector = _read_vectors(vector)
        return WeaviateObject(
            properties,
            self._uuid(row, fields),
            vector,
            tenant_of(row, fields, self.tenant_field, self.tenant),
            schema.name,
            self._references(row, fields, text),
        )

    @cached_property
    def is_by_columns(self) -> bool:
        """Whether each part of an object is a column of its table, as it is, or is made of these."""
        has_plain_ids = self.id_field is None or isinstance(self.id_field, str)
        return has_plain_ids and self.references_field is None and not self.asks_functions

    @cached_property
    def asks_functions(self) -> bool:
        """Whether functions of the user's have a say in what a row becomes."""
        fields = (self.id_field, self.vector_field, self.tenant_field, self.properties, self.references_field)
        return any(map(callable, fields))

    @property
    def required_fields(self) -> Optional[list[Any]]:
        """The fields without which a row may be refused, None where these are all."""
        return self._named_fields if self.properties is None else None

    @property
    def used_fields(self) -> Optional[list[Any]]:
        """The fields that a row is asked for, None where all of them are properties."""
        if self.properties is None:
            return None
        chosen: Any = self.properties
        return [*self._named_fields, *(chosen.values() if isinstance(chosen, Mapping) else chosen)]

    @property
    def _named_fields(self) -> list[Any]:
        vectors = self.vector_field
        named = vectors.values() if isinstance(vectors, Mapping) else [vectors]
        return [field for field in (self.id_field, self.tenant_field, *named) if field is not None]

    def _properties(self, row: Any, fields: Mapping[str, Any], schema: CollectionSchema) -> Mapping[str, Any]:
        chosen = self.properties
        if chosen is None:
            kept = dict(fields)
            for name in self.left_out(schema):
                kept.pop(name, None)
            return kept
        if callable(chosen):
            picked = wire.as_fields(_call("properties", chosen, row))
            if picked is None:
                raise RowError("invalid_row", "properties= gave no mapping for this row")
            return picked
        if not isinstance(chosen, Mapping):
            chosen = {name: name for name in chosen}
        found = {name: fields[field] for name, field in chosen.items() if field in fields}
        if not found and chosen:
            raise RowError("invalid_row", f"the row has none of the fields of properties=; {_has(fields)}")
        return found

    def left_out(self, schema: CollectionSchema) -> list[str]:
        """The fields that are no properties: vectors, references, id and tenant where the schema has no such ones."""
        if self._last_left_out.get("schema") is not schema:
            names: list[Any] = []
            for given in (self.vector_field, self.references_field):
                names += given.values() if isinstance(given, Mapping) else [given]
            ids = self.id_field
            for_ids = [ids] if isinstance(ids, str) or callable(ids) or ids is None else ids
            names += [name for name in (*for_ids, self.tenant_field) if not _declared(name, schema)]
            names = [name for name in names if isinstance(name, str)]
            self._last_left_out.update(schema=schema, names=names)
        return self._last_left_out["names"]

    @cached_property
    def _only_collection(self) -> str:
        return destination(self.collection, None)

    @cached_property
    def _last_left_out(self) -> dict[str, Any]:
        """The answer for the schema that was asked last; most writes have one."""
        return {}

    def _uuid(self, row: Any, fields: Mapping[str, Any]) -> Optional[str]:
        wanted = self.id_field
        if wanted is None:
            return None
        if type(wanted) is str and type(fields) is dict:  # the common case, without a dozen of calls
            key = fields.get(wanted)
            if type(key) is str and wire.is_canonical_uuid(key):
                return key
        return required_id("id", wanted, row, fields)

    def _vector(self, row: Any, fields: Mapping[str, Any]) -> Any:
        wanted = self.vector_field
        if wanted is None:
            return None
        if type(wanted) is str or not isinstance(wanted, Mapping):
            vector = value_of("vector", "missing_vector", wanted, row, fields)
            return None if wire.is_null(vector) else vector
        if not any(field in fields for field in wanted.values()):
            raise RowError("missing_vector", f"the row has none of the fields of vector_field=; {_has(fields)}")
        vectors = {name: fields.get(field) for name, field in wanted.items()}
        return {name: vector for name, vector in vectors.items() if not wire.is_null(vector)} or None

    def _references(self, row: Any, fields: Mapping[str, Any], text: bool) -> Optional[dict[str, Any]]:
        wanted = self.references_field
        if wanted is None:
            return None
        if callable(wanted):
            given = _call("references_field", wanted, row)
            references = {} if wire.is_null(given) else wire.as_fields(given)
            if references is None:
                raise RowError("invalid_row", "references_field= gave no mapping for this row")
        elif any(field in fields for field in wanted.values()):
            references = {name: fields.get(field) for name, field in wanted.items()}
        else:
            raise RowError(
                "missing_reference", f"the row has none of the fields of references_field=; {_has(fields)}"
            )
        return {name: _pointed_at(value, text) for name, value in references.items()}


def _fields(row: Any) -> Optional[Mapping[Any, Any]]:
    for other in (WeaviateReference, FailedReference):
        if isinstance(recognized(row, other), other):
            raise RowError(
                "invalid_row", f"a {other.__name__} is no object; give it to WriteReferencesToWeaviate"
            )
    return wire.as_fields(row)


@costs_its_row
def destination(collection: Field, row: Any) -> str:
    """The collection that a name or a function of the row means, or :class:`RowError`."""
    given = _call("collection", collection, row) if callable(collection) else collection
    try:
        return collection_name(given)
    except ValueError as error:
        raise RowError("invalid_collection", str(error)) from None


def value_of(name: str, reason: str, field: Field, row: Any, fields: Mapping[str, Any]) -> Any:
    """What a field or function gives for a row; :class:`RowError` with ``reason`` where it has no such field."""
    if callable(field):
        return _call(f"{name}_field", field, row)
    if field in fields:  # asked first: to look it up would put it into a defaultdict
        return fields[field]
    raise RowError(reason, f"the row has no field {field!r} ({name}_field=); {_has(fields)}")


def required_id(name: str, field: Union[Field, Sequence[str]], row: Any, fields: Mapping[str, Any]) -> str:
    """The id that a field, several fields or a function give for a row, or :class:`RowError`."""
    if isinstance(field, str) or callable(field):
        key = _part_of_id(name, field, row, fields)
        return id_of(key) or _refuse_id(key)
    keys = [_part_of_id(name, part, row, fields) for part in field]
    return generate_uuid5(
        json.dumps([wire.canonical_uuid(key) or _key_text(key) or _refuse_id(key) for key in keys])
    )


def _part_of_id(name: str, field: Field, row: Any, fields: Mapping[str, Any]) -> Any:
    key = value_of(name, "missing_id", field, row, fields)
    if wire.is_null(key):
        label = f"the function {name}_field=" if callable(field) else f"the field {field!r}"
        raise RowError("missing_id", f"{label} gave no id")
    return key


def _refuse_id(key: Any) -> str:
    what = f"{type(key).__name__} {wire.shown(key)}"
    raise RowError("invalid_uuid", f"{what} is no id: use a UUID, or text or an integer as a key")


def id_of(key: Any) -> Optional[str]:
    """The id that a key stands for: a UUID is one, of other text and integers it is made; None for the rest.

    >>> id_of("abc") == generate_uuid5("abc"), id_of(1.5)
    (True, None)
    """
    canonical = wire.canonical_uuid(key)
    if canonical is not None:
        return canonical
    text = _key_text(key)
    return None if text is None else generate_uuid5(text)


def _key_text(key: Any) -> Optional[str]:
    """The text of a key that an id is made of; None where it cannot be one."""
    try:
        # The text of a str Enum depends on the version of Python, what it holds does not.
        if isinstance(key, str) and key:
            text = str.__str__(key)
            text.encode()
            return text
        if isinstance(key, (int, np.integer)) and not isinstance(key, (bool, np.timedelta64)):
            return str(int(key))
    except ValueError:  # lone surrogates, or an integer of more digits than Python prints
        pass
    return None


def tenant_of(
    row: Any, fields: Mapping[str, Any], field: Optional[Field], otherwise: Optional[str]
) -> Optional[str]:
    """The tenant that a field or function gives for a row; ``otherwise`` where it gives none."""
    if field is None:
        return otherwise
    tenant = value_of("tenant", "invalid_tenant", field, row, fields)
    return otherwise if wire.is_null(tenant) else tenant


def targets_of(value: Any, text: bool = False) -> Iterator[tuple[Any, Any]]:
    """The ids that a value points at, each with its collection where that is said; nulls point at nothing.

    An id that a key cannot stand for is given as it is, for the encoder to refuse.

    Args:
      value: one id or a list of ids, or a mapping of collection to these.
      text: whether the value came as text, in which a list or mapping is JSON.

    >>> list(targets_of({"Author": ["3f2c0000-0000-4000-8000-000000000001", None], "Editor": None}))
    [('Author', '3f2c0000-0000-4000-8000-000000000001')]
    """
    if text and isinstance(value, str) and value[:1] in ("[", "{"):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            raise RowError("invalid_reference", f"{value!r:.60} is no JSON list of ids") from None
    by_collection = value.items() if isinstance(value, Mapping) else [(None, value)]
    for collection, ids in by_collection:
        if isinstance(ids, np.ndarray):
            ids = np.atleast_1d(ids).tolist()
        for key in ids if isinstance(ids, (list, tuple, set, frozenset)) else (ids,):
            if not wire.is_null(key):
                yield collection, id_of(key) or key


def _pointed_at(value: Any, text: bool) -> Any:
    """The value of a reference property as ``WeaviateObject.references`` has it."""
    found: dict[Any, list[Any]] = {}
    for collection, object_id in targets_of(value, text):
        found.setdefault(collection, []).append(object_id)
    return found.get(None) if set(found) <= {None} else found


class Source(NamedTuple):
    """What an element holds: the row, where it was read, whether its values are text, where it is meant to go."""

    row: Any
    position: Optional[str] = None
    text: bool = False
    collection: Optional[str] = None


def unwrap(element: Any, failure: type[Any] = FailedObject) -> Source:
    """The row in an element.

    A row from a file tells its position; a failure of an earlier write of the same kind is what it kept.
    """
    element = recognized(recognized(element, SourceRow), failure)
    if type(element) is SourceRow:
        return Source(*element)
    if type(element) is failure:
        name, kind = _UNDERSTOOD[failure]
        understood = getattr(element, name)
        kept = element.row if understood is None else recognized(understood, kind)
        if type(kept) is SourceRow:
            return Source(*kept, element.collection)
        return Source(kept, element.position, False, element.collection)
    return Source(element)


_UNDERSTOOD: dict[type[Any], tuple[str, type[Any]]] = {
    FailedObject: ("object", WeaviateObject),
    FailedReference: ("reference", WeaviateReference),
}
"""The field of a failure with what its row was understood as."""


def recognized(value: Any, kind: type[Any]) -> Any:
    """The value as the named tuple it is: out of another process, Beam makes one of its own with the same fields."""
    if isinstance(value, tuple) and getattr(value, "_fields", None) == kind._fields:
        return kind(*value)
    return value


def plain_row(element: Any) -> Optional[dict[Any, Any]]:
    """The fields of an element that is a row and nothing else; None of what has to be looked at more closely.

    >>> plain_row(SourceRow({"title": "Dune"}, "a.json: row 1"))
    {'title': 'Dune'}
    >>> plain_row(WeaviateObject({"title": "Dune"}))
    """
    kind = type(element)
    if kind is dict:
        return element
    if kind is SourceRow:
        return element.row if type(element.row) is dict and not element.text else None
    if not _is_plain(kind):  # type: ignore[arg-type]
        return None
    try:
        fields = wire.as_fields(element)
    except Exception:  # of a user's class; the mapper says it
        return None
    return fields if type(fields) is dict else None


@cache
def _is_plain(kind: type[Any]) -> bool:
    """Whether what is of a type is nothing but its fields: a beam.Row, a dataclass, a named tuple of the user's."""
    if issubclass(kind, tuple):
        return getattr(kind, "_fields", None) not in (None, *(known._fields for known in _KNOWN))
    return issubclass(kind, beam.Row) or is_dataclass(kind)


_KNOWN = (WeaviateObject, SourceRow, FailedObject, WeaviateReference, FailedReference)
"""Named tuples that mean more than their fields, here or out of another process."""


def _call(name: str, function: Callable[[Any], Any], row: Any) -> Any:
    try:
        return function(row)
    except Exception as error:
        raise RowError("invalid_row", f"{name}= raised {words_of(error)}") from error


def _has(fields: Mapping[str, Any]) -> str:
    return f"it has {', '.join(map(wire.shown, fields)) or 'none'}"


def _declared(name: Any, schema: CollectionSchema) -> Optional[Property]:
    if not isinstance(name, str):
        return None
    return schema.properties.get(name) or schema.properties.get(property_name(name))


def _read_vectors(vector: Any) -> Any:
    if isinstance(vector, Mapping):
        return {name: _read_vector(name, text) for name, text in vector.items()}
    return None if vector is None else _read_vector(DEFAULT_VECTOR, vector)


def _read_vector(name: str, text: Any) -> Any:
    if not isinstance(text, str):
        return text
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        label = f"vector {name!r}" if name else "the vector"
        raise RowError("invalid_vector", f"{label} expects a JSON list of numbers, not {text!r:.60}") from None


def _read(name: str, text: Any, schema: CollectionSchema) -> Any:
    """The value that a text field stands for, by the type of its property."""
    known = _declared(name, schema)
    if known is None or not isinstance(text, str) or known.data_type in _TEXT_TYPES:
        return text
    try:
        if known.data_type in _NUMBERS:
            return _read_number(text, known.data_type)
        if known.data_type == "boolean":
            return _BOOLEANS[text.strip().lower()]
        return json.loads(text)
    except (ArithmeticError, KeyError, RecursionError, ValueError):
        kind = _TEXT_KINDS.get(known.data_type, f"{known.data_type} as JSON")
        raise RowError(
            "invalid_property", f"property {name!r} of {schema.name} expects {kind}, not {text!r:.60}"
        ) from None


def _read_number(text: str, data_type: str) -> Any:
    """An integer as an int and what is more as a Decimal or float, so that no digit is lost on the way."""
    if "_" in text:  # Python reads 1_000 as a number, no file means that
        raise ValueError
    try:
        return int(text)
    except ValueError:
        return float(text) if data_type == "number" else Decimal(text)


_TEXT_TYPES = ("text", "string", "date", "uuid", "blob", "blobHash", "phoneNumber")
_NUMBERS = ("int", "number")
_TEXT_KINDS = {"int": "an integer", "number": "a number", "boolean": "true or false"}
_BOOLEANS = {"true": True, "false": False}
