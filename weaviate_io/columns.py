"""Tables and rows to the bytes of a request, column by column: the fast path, for what columns can tell at once.

Arrow's kernels join the pieces of all rows, so that no Python object is made for a row. What a column cannot tell at
once (a key that an id is made of, a blob, a date that is text) is encoded value by value, as a single row is. Rows
with anything wrong, or unusual, are left to the way of single rows (:mod:`weaviate_io.encoding`), which says what.

The bytes are the same as those of the way of rows; property tests hold the two against each other.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Optional, Union

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from weaviate_io import wire
from weaviate_io.arrow import items_of
from weaviate_io.encoding import ObjectEncoder, check_tenant, vector_head
from weaviate_io.errors import RowError
from weaviate_io.framing import EMPTY_LIST, delimited, struct_entry, varint
from weaviate_io.mapping import Mapper, id_of
from weaviate_io.pieces import Piece, contents, joined, lengths, of_each, of_fixed_size, sum_of, where
from weaviate_io.property_columns import are_canonical, entries_of, texts_of
from weaviate_io.request import Block
from weaviate_io.schema import CollectionSchema
from weaviate_io.tenants import AllowedTenants
from weaviate_io.transposing import Columns, columns_of_batch, columns_of_rows
from weaviate_io.vectors import stacked

ENCODED = 1.05
"""About how many times as large a large row is once it is encoded, with id, framing, and the names of properties."""

FEW = 64
"""Fewer rows than these are encoded sooner one by one."""

Limits = Callable[[], tuple[int, int]]
"""Gives the most objects and the most bytes that a block should have now."""


class Rows(NamedTuple):
    """Rows that go the other way, one by one: from ``start`` up to ``stop``."""

    start: int
    stop: int


class _Unusual(Exception):
    """All rows go the other way."""


class _Encoded(NamedTuple):
    """Rows as pieces in the order of the wire, and what their outcomes are reported by."""

    pieces: list[Piece]
    sizes: np.ndarray
    uuids: list[str]
    tenants: list[Optional[str]]
    has_vectors: np.ndarray


class ColumnEncoder:
    """Encodes many rows at once for one collection.

    Args:
      mapper: which columns are what; one whose parts are columns as they are (``is_by_columns``).
      encoder: encodes single rows of the collection.
      schema: what the collection expects.
      allowed_tenants: those that may be written, None for all.
    """

    def __init__(
        self,
        mapper: Mapper,
        encoder: ObjectEncoder,
        schema: CollectionSchema,
        allowed_tenants: Optional[AllowedTenants] = None,
    ) -> None:
        self._mapper = mapper
        self.encoder = encoder
        self._schema = schema
        self._allowed = allowed_tenants
        self._required = mapper.required_fields

    def encode_table(
        self, table: Union[pa.Table, pa.RecordBatch], limits: Limits
    ) -> Iterator[Union[Block, Rows]]:
        """The rows of a table in order, in blocks that are a request each; what is unusual as places of rows.

        Args:
          table: the table or record batch.
          limits: gives the most objects and the most bytes that a block should have now.
        """
        start = 0
        for batch in [table] if isinstance(table, pa.RecordBatch) else table.to_batches():
            if batch.num_rows < FEW:
                yield Rows(start, start + batch.num_rows)
                start += batch.num_rows
                continue
            size = self._rows_at_once(batch, *limits())
            for offset in range(0, batch.num_rows, size):
                part = batch.slice(offset, size)
                for encoded in self._encode(columns_of_batch(part), start, *limits()):
                    if isinstance(encoded, Block):
                        encoded.number()
                    yield encoded
                start += part.num_rows

    def encode_rows(self, rows: Sequence[Mapping[str, Any]], limits: Limits) -> Iterator[Union[Block, Rows]]:
        """The same for rows that are dicts, at most as many as a request has."""
        columns = None if len(rows) < FEW else columns_of_rows(rows, self._required)
        if columns is None:
            yield Rows(0, len(rows))
        else:
            yield from self._encode(columns, 0, *limits())

    def _rows_at_once(self, batch: pa.RecordBatch, most_objects: int, most_bytes: int) -> int:
        """How many rows are encoded at once: parts of one size, a request each as far as can be told before."""
        used = self._mapper.used_fields
        named = zip(batch.schema.names, batch.columns, strict=True)
        try:
            size = sum(_bytes_of(column) for name, column in named if used is None or name in used)
        except pa.ArrowException:  # some versions cannot tell it of views
            size = 0
        parts = math.ceil(max(1, batch.num_rows / max(FEW, most_objects), ENCODED * size / most_bytes))
        return max(1, math.ceil(batch.num_rows / parts))

    def _encode(
        self, columns: Columns, start: int, most_objects: int, most_bytes: int
    ) -> Iterator[Union[Block, Rows]]:
        try:
            encoded, bad = self._encoded(columns)
        except Exception:  # whatever it is, the way of rows says it
            yield Rows(start, start + columns.rows)
            return
        bad |= encoded.sizes > most_bytes
        first = 0
        for place in [*np.flatnonzero(bad).tolist(), columns.rows]:
            yield from _blocks(encoded, first, place, start, most_objects, most_bytes)
            if place < columns.rows:
                yield Rows(start + place, start + place + 1)
            first = place + 1

    def _encoded(self, columns: Columns) -> tuple[_Encoded, np.ndarray]:
        bad = np.zeros(columns.rows, bool)
        mapper, schema = self._mapper, self._schema
        if len(set(columns.names)) < len(columns.names):
            raise _Unusual
        properties: list[pa.Array] = []
        keys: set[bytes] = set()
        for name, field in self._properties(columns.names).items():
            key, piece = self._property(name, columns, field, bad)
            if key in keys:
                raise _Unusual
            if piece is not None:
                keys.add(key)
                properties.append(piece)
        size = sum_of(properties, columns.rows)
        if mapper.id_field is None:
            uuids, id_piece = self._ids_of_content(properties, bad)
        else:
            uuids, id_piece = _ids(columns, _known(columns, mapper.id_field), bad)
        tenants, tenant_pieces = self._tenants(columns, bad)
        vectors, has_vectors = self._vectors(columns, bad)
        before: list[Piece] = [b"\x0a\x24", id_piece, of_each(size, _properties_head)]
        after = [delimited(b"\x22", schema.name.encode()), *tenant_pieces, *vectors]
        size += sum_of([*before, *after], columns.rows)
        head = of_each(size, _object_head)
        size += lengths(head)
        return _Encoded([head, *before, *properties, *after], size, uuids, tenants, has_vectors), bad

    def _properties(self, columns: Sequence[str]) -> Mapping[str, str]:
        """The properties, by the columns that give them."""
        chosen: Any = self._mapper.properties
        if chosen is None:
            left_out = set(self._mapper.left_out(self._schema))
            return {name: name for name in columns if name not in left_out}
        wanted = chosen if isinstance(chosen, Mapping) else {name: name for name in chosen}
        found = {name: field for name, field in wanted.items() if field in columns}
        if wanted and not found:
            raise _Unusual
        return found

    def _property(
        self, name: str, columns: Columns, field: str, bad: np.ndarray
    ) -> tuple[bytes, Optional[pa.Array]]:
        key, encoder = self.encoder.column(name)
        if encoder is None:
            return key, None
        known = self._schema.properties.get(name)
        if known is not None and (column := columns.array(field)) is not None:
            piece = entries_of(known, key, column, bad)
            if piece is not None:
                return key, piece
        entries: list[Optional[bytes]] = []
        for place, value in enumerate(columns.values(field)):
            try:
                encoded = encoder(value)
            except Exception:  # whatever it is, the way of rows says it
                bad[place] = True
                encoded = None
            entries.append(None if encoded is None else struct_entry(key, encoded))
        return key, pa.array(entries, pa.binary())

    def _ids_of_content(self, properties: Sequence[pa.Array], bad: np.ndarray) -> tuple[list[str], pa.Array]:
        ids = [""] * len(bad)
        for place, row in enumerate(zip(*(column.to_pylist() for column in properties), strict=True)):
            content = sorted(filter(None, row))
            # Where an empty list seems to be among them, or there are none, the way of rows knows what counts.
            if content and not any(entry.endswith(EMPTY_LIST) for entry in content):
                ids[place] = self.encoder.content_id(b"".join(content))
        bad |= np.array([not one for one in ids])
        return ids, pa.array(ids, pa.binary())

    def _tenants(self, columns: Columns, bad: np.ndarray) -> tuple[list[Optional[str]], list[Piece]]:
        mapper = self._mapper
        if mapper.tenant_field is None:
            names: list[Any] = [mapper.tenant]
            indices = None
        else:
            column = columns.array(_known(columns, mapper.tenant_field))
            if column is None:
                raise _Unusual
            coded = pc.dictionary_encode(column)
            names = [mapper.tenant if name is None else name for name in [None, *coded.dictionary.to_pylist()]]
            signed = coded.indices.cast(pa.int64())
            indices = pc.add(pc.fill_null(signed, -1), 1).to_numpy(zero_copy_only=False)
        checked: list[Optional[str]] = []
        for number, name in enumerate(names):
            try:
                tenant = check_tenant(self._schema, name)
                if self._allowed is not None:
                    self._allowed.check(tenant, self._schema.name)
                checked.append(tenant)
            except RowError:
                checked.append(None)
                bad |= True if indices is None else indices == number
        fields = [delimited(b"\x2a", name.encode()) if name else b"" for name in checked]
        if indices is None:
            return checked * columns.rows, [fields[0]]
        return [checked[index] for index in indices.tolist()], [
            pa.array(fields, pa.binary()).take(pa.array(indices))
        ]

    def _vectors(self, columns: Columns, bad: np.ndarray) -> tuple[list[Piece], np.ndarray]:
        wanted: Any = self._mapper.vector_field
        present = np.zeros(columns.rows, bool)
        if wanted is None:
            return [], present
        if not isinstance(wanted, Mapping):
            wanted = {self.encoder.only_vector(): wanted}
        elif len(wanted) > 1 and "" in self._schema.vectors:
            raise _Unusual
        pieces: list[Piece] = []
        for name, field in sorted(wanted.items()):
            fields, has_it = self._vector(name, columns, _known(columns, field), bad)
            pieces += fields
            present |= has_it
        return pieces, present

    def _vector(
        self, name: str, columns: Columns, field: str, bad: np.ndarray
    ) -> tuple[list[Piece], np.ndarray]:
        """The fields of one vector, and which rows have it."""
        name, index, expected = self.encoder.vector(name)
        if index.multi:
            return self._vector_by_value(name, columns.values(field), bad)
        column = columns.array(field)
        numbers = _float_vectors(columns.values(field)) if column is None else _float_lists(column)
        if numbers is None:
            return self._vector_by_value(name, columns.values(field), bad)
        flat, length, empty = numbers
        if (expected is not None and length != expected) or not 0 < length < 2**16:
            return self._vector_by_value(name, columns.values(field), bad)
        with np.errstate(over="ignore"):
            data = np.ascontiguousarray(flat, "<f4")
        if not np.isfinite(data).all():
            bad[~empty] |= ~np.isfinite(data.reshape(-1, length)).all(axis=1)
        head, tail = vector_head(name, 4 * length)
        values = of_fixed_size(data.view(np.uint8).reshape(-1, 4 * length), empty)
        if not empty.any():
            return [head, values, tail] if tail else [head, values], ~empty
        present = pa.array(~empty)
        fields: list[Piece] = [where(present, head), values]
        return [*fields, where(present, tail)] if tail else fields, ~empty

    def _vector_by_value(self, name: str, values: list[Any], bad: np.ndarray) -> tuple[list[Piece], np.ndarray]:
        fields: list[Optional[bytes]] = []
        for place, value in enumerate(values):
            field = None
            if not wire.is_null(value):
                try:
                    field = b"".join(self.encoder.vector_field(name, value))
                except Exception:  # whatever it is, the way of rows says it
                    bad[place] = True
            fields.append(field)
        return [pa.array(fields, pa.binary())], np.array([field is not None for field in fields])


def _bytes_of(column: pa.Array) -> int:
    """Bytes of a column once each row has its own value."""
    texts = texts_of(column.dictionary) if pt.is_dictionary(column.type) else None
    if texts is None:
        return column.nbytes
    return pc.sum(pc.binary_length(texts).take(column.indices)).as_py() or 0


def _known(columns: Columns, field: Any) -> str:
    """The name of a column, if there is one of that name."""
    if not isinstance(field, str) or field not in columns.names:
        raise _Unusual
    return field


def _blocks(
    encoded: _Encoded, first: int, stop: int, start: int, most_objects: int, most_bytes: int
) -> Iterator[Block]:
    """The rows from ``first`` to ``stop``, as many in a block as may be."""
    ends = np.cumsum(encoded.sizes)
    while first < stop:
        before = int(ends[first - 1]) if first else 0
        end = min(first + most_objects, stop, int(np.searchsorted(ends, before + most_bytes, "right")))
        pieces = [one if isinstance(one, bytes) else one.slice(first, end - first) for one in encoded.pieces]
        yield Block.of_rows(
            contents(joined(pieces)).to_pybytes(),
            encoded.sizes[first:end].tolist(),
            encoded.uuids[first:end],
            encoded.tenants[first:end],
            encoded.has_vectors[first:end].tolist(),
            start + first,
        )
        first = end


def _object_head(size: int) -> bytes:
    return b"\x0a" + varint(size)


def _properties_head(size: int) -> bytes:
    head = b"\x0a" + varint(size)
    return b"\x1a" + varint(len(head) + size) + head


def _ids(columns: Columns, field: str, bad: np.ndarray) -> tuple[list[str], pa.Array]:
    given, column = columns.values(field), columns.array(field)
    texts = None if column is None else texts_of(column)
    if texts is not None and not texts.null_count and are_canonical(texts):
        return given, texts.view(pa.binary())
    ids = [id_of(key) for key in given]
    bad |= np.array([one is None for one in ids])
    return [one or "" for one in ids], pa.array(ids, pa.binary())


def _float_lists(column: pa.Array) -> Optional[tuple[np.ndarray, int, np.ndarray]]:
    """The numbers of lists of floats one after the other, the length of all lists, and which lists are null.

    A null has no numbers. None where they are no lists of floats, are not of one length, or have nulls in them.
    """
    kind = column.type
    if isinstance(column, pa.ExtensionArray):
        return None
    empty = column.is_null().to_numpy(zero_copy_only=False)
    if pt.is_fixed_size_list(kind):
        length, values = kind.list_size, column.flatten()
    elif pt.is_list(kind) or pt.is_large_list(kind):
        places, values = items_of(column)
        sizes = np.diff(places)
        length = int(sizes.max(initial=0))
        if (sizes != np.where(empty, 0, length)).any():
            return None
    else:
        return None
    if not pt.is_floating(values.type) or pt.is_float16(values.type) or values.null_count:
        return None
    return values.to_numpy(), length, empty


def _float_vectors(vectors: list[Any]) -> Optional[tuple[np.ndarray, int, np.ndarray]]:
    """The same for vectors as Python has them."""
    flat = stacked(vectors)
    return None if flat is None else (flat, len(flat) // len(vectors), np.zeros(len(vectors), bool))
