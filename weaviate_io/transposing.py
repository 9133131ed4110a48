"""Columns of a table or of rows: what is encoded together has to lie together.

A column of rows is an Arrow array too where all its values are of one plain Python type, which takes a fraction of
the time that it takes to look at each.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cache
from itertools import chain
from operator import itemgetter
from typing import Any, NamedTuple, Optional

import pyarrow as pa

from weaviate_io import arrow

_KINDS = {str: pa.string(), int: pa.int64(), float: pa.float64(), bool: pa.bool_()}


class Columns(NamedTuple):
    """The columns of some rows.

    Args:
      names: of the columns.
      rows: how many there are.
      array: gives a column by its name as an Arrow array, None where its values are none.
      values: gives the same as Python has them.
    """

    names: Sequence[str]
    rows: int
    array: Callable[[str], Optional[pa.Array]]
    values: Callable[[str], list[Any]]


def columns_of_batch(batch: pa.RecordBatch) -> Columns:
    """The columns of a record batch."""
    return Columns(
        batch.schema.names, batch.num_rows, batch.column, lambda name: arrow.values(batch.column(name))
    )


def columns_of_rows(
    rows: Sequence[Mapping[str, Any]], required: Optional[Collection[str]]
) -> Optional[Columns]:
    """The columns of rows that may have different fields; a field that a row lacks is None.

    Args:
      rows: one or more.
      required: the fields that no row may lack, None for all.

    Returns None where one lacks such a field.

    >>> columns = columns_of_rows([{"id": 1, "title": "Dune"}, {"id": 2}], required=["id"])
    >>> columns.names, columns.values("title"), columns.array("id").type
    (['id', 'title'], ['Dune', None], DataType(int64))
    """
    fields = _of_same_fields(rows)
    if fields is not None:
        return _columns(list(fields), len(rows), fields.__getitem__)
    if required is None or any(name not in row for row in rows for name in required):
        return None
    names = list(dict.fromkeys(chain.from_iterable(rows)))
    return _columns(names, len(rows), cache(lambda name: [row.get(name) for row in rows]))


def _columns(names: list[str], rows: int, values: Callable[[str], list[Any]]) -> Columns:
    return Columns(names, rows, lambda name: _array(values(name)), values)


def _of_same_fields(rows: Sequence[Mapping[str, Any]]) -> Optional[dict[str, list[Any]]]:
    """The values of each field, None where not all rows have the same."""
    names = list(rows[0])
    if set(map(len, rows)) != {len(names)}:
        return None
    try:
        return {name: list(map(itemgetter(name), rows)) for name in names}
    except KeyError:
        return None


def _array(values: list[Any]) -> Optional[pa.Array]:
    types = set(map(type, values)) - {type(None)}
    kind = _KINDS.get(types.pop()) if len(types) == 1 else None
    if kind is None:
        return None
    try:
        return pa.array(values, kind)
    except (pa.ArrowException, OverflowError, UnicodeEncodeError):  # as one is no text, or no int64
        return None
