"""The dead letter of an object or a reference: what is kept of it, in a form that every runner can carry."""

from __future__ import annotations

from typing import Any, Optional

import apache_beam as beam

from weaviate_io import wire
from weaviate_io.errors import RowError
from weaviate_io.mapping import Source
from weaviate_io.objects import FailedObject, FailedReference, SourceRow, WeaviateObject, WeaviateReference
from weaviate_io.outcome import Failure
from weaviate_io.request import Entry

_ANY = beam.coders.FastPrimitivesCoder()
"""What Beam encodes the field ``row`` of a failure with."""

_OBJECT = beam.coders.RowCoder.from_type_hint(WeaviateObject, beam.coders.registry)
"""What it encodes the field ``object`` with."""

_CONTAINERS = (list, tuple, dict, set, frozenset)
_DEEPEST = 1000  # levels; as many as Python's own parsers and printers go down

_REFERENCE = beam.coders.registry.get_coder(WeaviateReference)


def failed_row(error: RowError, source: Source, given: Optional[WeaviateObject]) -> FailedObject:
    """The dead letter of a row that was never sent; the object, where the row could be understood."""
    return _portable(
        FailedObject(
            reason=error.reason,
            error=_utf8(str(error)),
            attempts=0,
            collection=_text(source.collection),
            tenant=_text(given.tenant) if given is not None else None,
            uuid=_text(given.uuid) if given is not None else None,
            object=given,
            row=_row(source) if given is None else None,
            position=_text(source.position),
        )
    )


def failed_object(
    failure: Failure, entry: Entry, given: WeaviateObject, position: Optional[str]
) -> FailedObject:
    """The dead letter of an object that the server refused."""
    return _portable(
        FailedObject(
            reason=failure.reason,
            error=_utf8(failure.error),
            attempts=failure.attempts,
            collection=given.collection,
            tenant=entry.tenant,
            uuid=entry.uuid,
            object=given._replace(uuid=entry.uuid, tenant=entry.tenant),
            row=None,
            position=_text(position),
        )
    )


def failed_reference_row(
    error: RowError, source: Source, given: Optional[WeaviateReference]
) -> FailedReference:
    """The dead letter of a row that was never sent; the reference, where the row gave one."""
    codable = given is not None and is_codable(given, _REFERENCE)
    known = given or WeaviateReference(None, "", None)
    return FailedReference(
        reason=error.reason,
        error=_utf8(str(error)),
        attempts=0,
        collection=_text(source.collection),
        tenant=_text(known.tenant),
        from_uuid=_text(known.from_uuid),
        from_property=_text(known.from_property) or None,
        to_uuid=_text(known.to_uuid),
        to_collection=_text(known.to_collection),
        reference=given if codable else None,
        row=None if codable else _codable(given or _row(source), source.position),
        position=_text(source.position),
    )


def failed_reference(failure: Failure, given: WeaviateReference, position: Optional[str]) -> FailedReference:
    """The dead letter of a reference that the server refused."""
    return FailedReference(
        reason=failure.reason,
        error=_utf8(failure.error),
        attempts=failure.attempts,
        collection=given.collection,
        tenant=given.tenant,
        from_uuid=given.from_uuid,
        from_property=given.from_property,
        to_uuid=given.to_uuid,
        to_collection=given.to_collection,
        reference=given,
        row=None,
        position=_text(position),
    )


def _row(source: Source) -> Any:
    return SourceRow(source.row, source.position or "", True) if source.text else source.row


def _portable(failure: FailedObject) -> FailedObject:
    """The failure with an object or row that a coder takes; else the failure itself would fail its bundle."""
    given, row = failure.object, failure.row
    if given is not None:
        given = given._replace(
            uuid=_text(given.uuid), tenant=_text(given.tenant), collection=_text(given.collection)
        )
        if is_codable(given, _OBJECT):
            return failure._replace(object=given)
        row = given
    return failure._replace(object=None, row=_codable(row, failure.position))


def _codable(row: Any, position: Optional[str]) -> Any:
    """The row in a form that a coder takes."""
    # A text with half of a surrogate pair is refused as it is, and taken as part of a pickled value.
    for form in (row, SourceRow(row, position or "")):
        if is_codable(form):
            return form
    return _utf8(wire.representation(row))


def is_codable(value: Any, coder: beam.coders.Coder = _ANY) -> bool:
    """Whether a coder takes the value."""
    try:
        # Beam's coder goes down into these itself, and at some 20,000 levels takes the process with it. Others,
        # named tuples among them, are pickled, which takes a list that holds itself, and refuses what is too deep.
        if (coder is not _ANY or type(value) in _CONTAINERS) and _is_deep(value):
            return False
        coder.encode(value)
    except Exception:  # whatever the classes of the value raise
        return False
    return True


def _is_deep(value: Any) -> bool:
    """Whether lists, mappings and the like lie in each other more than 1,000 levels deep, or in themselves."""
    level: list[Any] = [[value]]
    for _ in range(_DEEPEST):
        inner: dict[int, Any] = {}  # each once, however often it is there
        for outer in level:
            items = (*outer, *outer.values()) if isinstance(outer, dict) else outer
            inner |= {id(item): item for item in items if isinstance(item, _CONTAINERS)}
        if not inner:
            return False
        level = list(inner.values())
    return True


def _text(value: Any) -> Optional[str]:
    if value is None:
        return None
    try:
        return _utf8(str(value))
    except Exception:  # an integer of more digits than Python prints, or whatever a class of the user's raises
        return f"<{type(value).__name__}>"


def _utf8(text: str) -> str:
    return text.encode("utf-8", "replace").decode()
