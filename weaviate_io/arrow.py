"""Rows of pyarrow tables and record batches as Python dicts: the plain path, correct for every type.

Vectors stay numpy arrays. Nothing is rounded silently: a time that a Python object cannot hold becomes text.
"""

from __future__ import annotations

import datetime
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.types as pt

_ROWS_PER_BATCH = 1_000
_UNITS = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_DAY_MS = 86_400_000
_EPOCH = datetime.datetime(1970, 1, 1)
YEARS = (-62_135_596_800, 253_402_300_800)
"""Seconds of the years 1 to 9999, which datetime can hold, and which are written with four digits."""


def rows(table: pa.Table | pa.RecordBatch) -> Iterator[dict[str, Any]]:
    """The rows of a table as dicts of Python values.

    Lists of floats, of fixed size or not, become numpy arrays without a copy, of their own float type, unless
    they have nulls in them. Timestamps become ``datetime``, aware where they have a zone; one that needs
    nanoseconds or lies outside the years 1 to 9999 becomes RFC 3339 text (in UTC, if it has a zone). Maps
    become dicts, or lists of pairs where a key comes twice; UUIDs become text. Bytes and decimals stay what they
    are, and a null is ``None``.

    Args:
      table: the table or record batch.

    Raises:
      ValueError: when two columns, or two fields of a struct, have the same name.

    >>> next(rows(pa.table({"title": ["Dune"], "pages": pa.array([412], pa.int16())})))
    {'title': 'Dune', 'pages': 412}
    """
    names = table.schema.names
    _check_names(names, "two columns")
    batches = [table] if isinstance(table, pa.RecordBatch) else table.to_batches()
    for batch in batches:
        for start in range(0, batch.num_rows, _ROWS_PER_BATCH):
            part = batch.slice(start, _ROWS_PER_BATCH)
            if not names:
                yield from ({} for _ in range(part.num_rows))
            for row in zip(*(values(column) for column in part.columns), strict=True):
                yield dict(zip(names, row, strict=True))


def values(array: pa.Array) -> list[Any]:
    """The values of an array, one Python object for each, as :func:`rows` gives them."""
    kind = array.type
    if isinstance(array, pa.ExtensionArray):
        return _extension(array)
    if pt.is_dictionary(kind):
        return _taken(array.dictionary, array.indices)
    if pt.is_run_end_encoded(kind):
        places = np.arange(array.offset, array.offset + len(array))
        return _taken(array.values, pa.array(np.searchsorted(array.run_ends.to_numpy(), places, side="right")))
    for is_kind, convert in _CONVERSIONS:
        if is_kind(kind):
            return convert(array)
    return _plain(array)


def _check_names(names: list[str], what: str) -> None:
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"{what} are named {name!r}; rename one of them")


def _taken(items: pa.Array, places: pa.Array) -> list[Any]:
    """The values at some places, None where the place is null."""
    try:
        return values(items.take(places))
    except pa.ArrowNotImplementedError:  # of views
        known = values(items)
        return [None if place is None else known[place] for place in places.to_pylist()]


def _plain(array: pa.Array) -> list[Any]:
    try:
        return array.to_pylist()
    except UnicodeDecodeError:  # Arrow does not check its text
        return [_text_or_bytes(value) for value in array]


def _text_or_bytes(value: pa.Scalar) -> str | bytes | None:
    try:
        return value.as_py()
    except UnicodeDecodeError:
        return value.as_buffer().to_pybytes()


def _extension(array: pa.ExtensionArray) -> list[Any]:
    name = array.type.extension_name
    if name == "arrow.uuid":
        return [None if raw is None else str(uuid.UUID(bytes=raw)) for raw in array.storage.to_pylist()]
    if name == "arrow.fixed_shape_tensor":
        return [None if value is None else value.to_numpy() for value in _scalars(array)]
    if name == "arrow.bool8":
        return array.to_pylist()
    return values(array.storage)


def _scalars(array: pa.Array) -> list[Any]:
    return [value if value.is_valid else None for value in array]


def _halves(array: pa.Array) -> list[Any]:
    return [None if value is None else float(value) for value in array.to_pylist()]


def items_of(array: pa.ListArray | pa.LargeListArray) -> tuple[np.ndarray, pa.Array]:
    """Where each list begins among the items of all lists, and the last one ends; and the items.

    >>> places, items = items_of(pa.array([[1, 2], None, [3]])[1:])
    >>> places.tolist(), items.to_pylist()
    ([0, 0, 1], [3])
    """
    offsets = array.offsets.to_numpy()
    first, end = (int(offsets[0]), int(offsets[-1])) if len(offsets) else (0, 0)
    return offsets - first, array.values.slice(first, end - first)


def _lists(array: pa.Array) -> list[Any]:
    places, items = items_of(array)
    part = _slices(items)
    valid = array.is_valid().to_pylist()
    bounds = places.tolist()
    return [part(a, b) if ok else None for a, b, ok in zip(bounds, bounds[1:], valid, strict=False)]


def _fixed_size_lists(array: pa.Array) -> list[Any]:
    size = array.type.list_size
    part = _slices(array.values.slice(array.offset * size, len(array) * size))
    valid = array.is_valid().to_pylist()
    return [part(i * size, (i + 1) * size) if ok else None for i, ok in enumerate(valid)]


def _list_views(array: pa.Array) -> list[Any]:
    # Not by a cast to list: in pyarrow 25 that gives a last offset of 0.
    starts, sizes = array.offsets.to_numpy().tolist(), array.sizes.to_numpy().tolist()
    part = _slices(array.values)
    valid = array.is_valid().to_pylist()
    return [part(a, a + n) if ok else None for a, n, ok in zip(starts, sizes, valid, strict=True)]


def _slices(items: pa.Array) -> Callable[[int, int], Any]:
    """A function that gives the list of the values from one place to another."""
    if not pt.is_floating(items.type):
        flat = values(items)
        return lambda start, end: flat[start:end]
    numbers = items.to_numpy(zero_copy_only=False) if items.null_count else items.to_numpy()
    if not items.null_count:
        return lambda start, end: numbers[start:end]
    nulls = items.is_null().to_numpy(zero_copy_only=False)

    def slice_with_nulls(start: int, end: int) -> Any:
        if nulls[start:end].any():
            return values(items.slice(start, end - start))
        return numbers[start:end]

    return slice_with_nulls


def _structs(array: pa.StructArray) -> list[Any]:
    names = [field.name for field in array.type]
    _check_names(names, "two fields of a struct")
    columns = [values(column) for column in array.flatten()]
    valid = array.is_valid().to_pylist()
    if not columns:
        return [{} if ok else None for ok in valid]
    return [
        dict(zip(names, members, strict=True)) if ok else None
        for ok, members in zip(valid, zip(*columns, strict=True), strict=True)
    ]


def _maps(array: pa.MapArray) -> list[Any]:
    offsets = array.offsets.to_numpy()
    first = int(offsets[0]) if len(offsets) else 0
    end = int(offsets[-1]) if len(offsets) else 0
    keys = values(array.keys.slice(first, end - first))
    items = values(array.items.slice(first, end - first))
    bounds = (offsets - first).tolist()
    return [
        _map(keys[a:b], items[a:b]) if ok else None
        for a, b, ok in zip(bounds, bounds[1:], array.is_valid().to_pylist(), strict=False)
    ]


def _map(keys: list[Any], items: list[Any]) -> dict[Any, Any] | list[tuple[Any, Any]]:
    made = dict(zip(keys, items, strict=True))
    return made if len(made) == len(keys) else list(zip(keys, items, strict=True))


def _timestamps(array: pa.TimestampArray) -> list[Any]:
    unit, zone = array.type.unit, array.type.tz
    per_second = _UNITS[unit]
    counts = array.view(pa.int64()).to_pylist()
    exact = all(
        count is None or (YEARS[0] <= count // per_second < YEARS[1] and (unit != "ns" or count % 1_000 == 0))
        for count in counts
    )
    if exact:
        return _in_datetime(array, zone)
    return [
        None if count is None else _timestamp(array.slice(i, 1), count, per_second, zone)
        for i, count in enumerate(counts)
    ]


def _in_datetime(array: pa.TimestampArray, zone: str | None) -> list[Any]:
    # Nanoseconds would become pandas' type where pandas is installed.
    try:
        return array.cast(pa.timestamp("us", zone)).to_pylist()
    except Exception:  # year 1 or 9999, moved out of the calendar by its zone, or a zone that nobody knows
        return array.cast(pa.timestamp("us", "UTC")).to_pylist()


def _timestamp(value: pa.TimestampArray, count: int, per_second: int, zone: str | None) -> Any:
    second, fraction = divmod(count, per_second)
    if not YEARS[0] <= second < YEARS[1]:
        return f"{np.datetime64(second, 's')}{'Z' if zone else ''}"
    if fraction * 10**6 % per_second == 0:
        return _in_datetime(value, zone)[0]
    return (
        f"{_EPOCH + datetime.timedelta(seconds=second):%Y-%m-%dT%H:%M:%S}.{fraction:09d}{'Z' if zone else ''}"
    )


def _times(array: pa.Time64Array) -> list[Any]:
    counts = array.view(pa.int64()).to_pylist()
    if all(count is None or count % 1_000 == 0 for count in counts):
        return array.cast(pa.time64("us")).to_pylist()
    return [None if count is None else _time(count) for count in counts]


def _time(count: int) -> datetime.time | str:
    second, nanos = divmod(count, 10**9)
    clock = datetime.time(second // 3_600, second // 60 % 60, second % 60, nanos // 1_000)
    return f"{clock:%H:%M:%S}.{nanos:09d}" if nanos % 1_000 else clock


def _durations(array: pa.DurationArray) -> list[Any]:
    unit = array.type.unit
    counts = array.view(pa.int64()).to_pylist()
    return [None if count is None else _duration(count, unit) for count in counts]


def _duration(count: int, unit: str) -> datetime.timedelta | str:
    micros, rest = divmod(count * 10**6, _UNITS[unit])
    try:
        exact = datetime.timedelta(microseconds=micros)
    except OverflowError:
        return f"{count} {unit}"
    return f"{count} {unit}" if rest else exact


def _dates(array: pa.Array) -> list[Any]:
    if pt.is_date32(array.type):
        return [None if day is None else _date(day) for day in array.view(pa.int32()).to_pylist()]
    return [None if ms is None else _date(*divmod(ms, _DAY_MS)) for ms in array.view(pa.int64()).to_pylist()]


def _date(day: int, rest_ms: int = 0) -> datetime.date | str:
    if rest_ms:  # against the specification of date64, and yet not to be dropped
        return str(np.datetime64(day * _DAY_MS + rest_ms, "ms"))
    if YEARS[0] <= day * 86_400 < YEARS[1]:
        return _EPOCH.date() + datetime.timedelta(days=day)
    return str(np.datetime64(day, "D"))


_CONVERSIONS: tuple[tuple[Callable[[pa.DataType], bool], Callable[[Any], list[Any]]], ...] = (
    (pt.is_float16, _halves),
    (lambda kind: pt.is_list(kind) or pt.is_large_list(kind), _lists),
    (pt.is_fixed_size_list, _fixed_size_lists),
    (lambda kind: pt.is_list_view(kind) or pt.is_large_list_view(kind), _list_views),
    (pt.is_map, _maps),
    (pt.is_struct, _structs),
    (pt.is_timestamp, _timestamps),
    (lambda kind: pt.is_time64(kind) and kind.unit == "ns", _times),
    (pt.is_duration, _durations),
    (pt.is_date, _dates),
)
