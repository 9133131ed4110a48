"""Rows to references: which field is the id of the source, and which gives what it points at."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Optional, Union

from weaviate_io import wire
from weaviate_io.errors import RowError
from weaviate_io.mapping import Field, destination, recognized, required_id, targets_of, tenant_of, value_of
from weaviate_io.objects import FailedObject, WeaviateObject, WeaviateReference, WrittenObject


@dataclass(frozen=True)
class ReferenceMapper:
    """How rows become references, any number of them each.

    Args:
      collection: name of the collection that has the property, or a function of the row.
      from_property: the reference property.
      from_field: field or function that gives the id of the source, by the rule of ``Mapper.id_field``.
      to_field: field or function that gives what it points at: an id, a list of ids, or a mapping of collection to
        these; null points at nothing.
      to_collection: name of the collection pointed at, or a function of the row.
      tenant_field: field or function that gives the tenant.
      tenant: the tenant of every reference that names none.

    >>> mapper = ReferenceMapper("Author", "writesFor", from_field="name", to_field="papers")
    >>> [reference.to_collection for reference in mapper.map({"name": "Ann", "papers": {"Daily": ["a", "b"]}})]
    ['Daily', 'Daily']
    """

    collection: Field
    from_property: Optional[str] = None
    from_field: Union[Field, Sequence[str], None] = None
    to_field: Optional[Field] = None
    to_collection: Optional[Field] = None
    tenant_field: Optional[Field] = None
    tenant: Optional[str] = None

    def destination(self, row: Any) -> str:
        """The collection of the sources of a row, or :class:`RowError`."""
        given = recognized(row, WeaviateReference)
        if isinstance(given, WeaviateReference) and given.collection is not None:
            return destination(given.collection, row)
        return destination(self.collection, row)

    def map(self, row: Any, text: bool = False) -> Iterator[WeaviateReference]:
        """The references of a row, or :class:`RowError`. ``text`` reads lists and mappings in text as JSON."""
        given = recognized(row, WeaviateReference)
        if isinstance(given, WeaviateReference):
            yield given if given.tenant is not None else given._replace(tenant=self.tenant)
            return
        fields = self._fields(row)
        if self.from_property is None or self.from_field is None or self.to_field is None:
            raise RowError(
                "invalid_row",
                "to write references from rows, say from_property=, from_field= and to_field=; "
                f"a {type(row).__name__} is no WeaviateReference",
            )
        targets = list(targets_of(value_of("to", "missing_reference", self.to_field, row, fields), text))
        if not targets:
            return
        source = required_id("from", self.from_field, row, fields)
        tenant = tenant_of(row, fields, self.tenant_field, self.tenant)
        into = None if self.to_collection is None else destination(self.to_collection, row)
        for collection, target in targets:
            yield WeaviateReference(
                source, self.from_property, target, into if collection is None else collection, tenant
            )

    def _fields(self, row: Any) -> Any:
        for other in (WeaviateObject, FailedObject):
            if isinstance(recognized(row, other), other):
                raise RowError("invalid_row", f"a {other.__name__} is no reference; give it to WriteToWeaviate")
        # What a write gave is a row like any other: its uuid may well be the source.
        fields = wire.as_fields(recognized(row, WrittenObject))
        if fields is None:
            raise RowError(
                "invalid_row",
                f"a {type(row).__name__} is no row; "
                "use a mapping, beam.Row, named tuple, dataclass or WeaviateReference",
            )
        return fields
