"""Rows from CSV and TSV, as text: what a value means is decided later, by the schema of the collection.

The standard library's parser, and not pyarrow's, for what happens around a bad row: pyarrow ends the file at
a row that does not fit into a block, takes an unclosed quote for a value that goes on to the end of the file,
and needs the header before it can be told not to guess types. Both are as fast as each other here.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from typing import Any, cast

from weaviate_io.files.unreadable import MAX_ROW_BYTES, MAX_ROW_VALUES, SNIPPET, BrokenFile, unreadable
from weaviate_io.objects import FailedObject, SourceRow

# An unclosed quote swallows the rows behind it up to here. A character takes four bytes in the parser.
MAX_FIELD_CHARS = 16 << 20
_NOT_UTF8 = "has bytes that are not UTF-8"


def read_csv(
    stream: io.BufferedIOBase,
    path: str,
    delimiter: str = ",",
    offset: int | None = None,
    names: Sequence[str] | None = None,
) -> Iterator[SourceRow | FailedObject]:
    """Reads a table of text with a header line; every value is text, an empty one ``None``.

    Quoted values may have line ends in them. Empty lines are skipped and not counted. A row with more or
    fewer fields than the header, bytes that are not UTF-8, or text behind a closing quote fails alone.

    Args:
      stream: the uncompressed bytes, UTF-8 with or without a byte order mark.
      path: the name of the file, for positions.
      delimiter: the character between two fields.
      offset: where in the file the stream begins, when it is a part of it; positions are bytes then.
      names: the columns, where the stream has no header line.

    Raises:
      BrokenFile: for a header with a column that has no name, or the name of another.

    >>> [row.row for row in read_csv(io.BytesIO(b"zip,city\\n01234,Oslo\\n"), "x.csv")]
    [{'zip': '01234', 'city': 'Oslo'}]
    """
    records = _records(stream, delimiter, offset or 0)
    if names is None:
        for header in records:
            names = _header(header)
            break
        else:
            return
    for number, record in enumerate(records, start=1):
        fields, raw, error, start, _ = record
        if error is None and len(fields) != len(names):
            error = f"has {len(fields)} field{'s'[: len(fields) != 1]}, the header has {len(names)}"
        position = f"{path}: row {number}" if offset is None else f"{path}: byte {start}"
        if error is not None:
            yield unreadable(position, error, _raw(raw))
        else:
            row = {name: value or None for name, value in zip(names, fields, strict=True)}
            yield SourceRow(row, position, True)


def read_header(stream: io.BufferedIOBase, delimiter: str = ",") -> tuple[list[str], int]:
    """The columns of a table, and the offset where its header ends; no columns for an empty file.

    Raises:
      BrokenFile: as for :func:`read_csv`.

    >>> read_header(io.BytesIO(b"zip,city\\n01234,Oslo\\n"))
    (['zip', 'city'], 9)
    """
    for header in _records(stream, delimiter, 0):
        return _header(header), header[-1]
    return [], 0


_Record = tuple[list[str], str, "str | None", int, int]


def _records(stream: io.BufferedIOBase, delimiter: str, offset: int) -> Iterator[_Record]:
    """The fields of every row that is not empty, its text, what is wrong with it, and its start and end."""
    csv.field_size_limit(max(csv.field_size_limit(), MAX_FIELD_CHARS))
    text = io.TextIOWrapper(cast(Any, stream), encoding="utf-8", errors="surrogateescape", newline="")
    lines = _Lines(text, delimiter, offset)
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    while True:
        lines.clear()
        start, error = lines.end, None
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as failure:
            error, fields = _explain(failure), [""]
        except _TooMuch as failure:
            error, fields = str(failure), [""]
            reader = csv.reader(
                lines, delimiter=delimiter, strict=True
            )  # the old one is in the middle of the row
        if fields:
            raw = lines.text()
            yield fields, raw, error if _is_text(raw) else _NOT_UTF8, start, lines.end


class _TooMuch(Exception):
    """A row, of however many lines, is longer than any may be."""


class _Lines:
    """The lines of a text, of which those of the current row are remembered, in bounded memory.

    Quoted line ends may go on and on, so a row is no line, and has no end by itself.
    """

    def __init__(self, text: io.TextIOWrapper, delimiter: str, offset: int):
        self._text = text
        self._delimiter = delimiter
        self._lines: list[str] = []
        self.end = offset
        self.clear()

    def clear(self) -> None:
        """Begin another row."""
        self._lines.clear()
        self._size = self._values = 0

    def text(self) -> str:
        """The text of the row; its beginning, where that is too much."""
        row = "".join(self._lines)
        return row[:SNIPPET] if self._is_too_much() else row

    def _is_too_much(self) -> bool:
        return self._size > MAX_ROW_BYTES or self._values > MAX_ROW_VALUES

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._text.readline(MAX_ROW_BYTES)
        if not line:
            raise StopIteration
        at_start = self.end == 0
        self.end += len(line if line.isascii() else line.encode("utf-8", "surrogateescape"))
        self._lines.append(line.removeprefix("\ufeff") if at_start else line)
        self._size += len(line)
        self._values += line.count(self._delimiter)
        if self._is_too_much():
            raise _TooMuch(
                f"is longer than {MAX_ROW_BYTES:,} characters, or has more than {MAX_ROW_VALUES:,} fields; is a "
                "quote not closed?"
            )
        return self._lines[-1]


def _header(record: _Record) -> list[str]:
    fields, raw, error, _, _ = record
    seen: set[str] = set()
    if error is None and "\0" in raw:
        error = "has NUL characters; is the file UTF-16? convert it to UTF-8"
    for column, name in enumerate(fields, start=1):
        if error is not None:
            break
        if not name.strip():
            error = f"column {column} has no name (pandas writes such a column unless index=False)"
        if name in seen:
            error = f"column {column} has the name of another, {name!r:.80}"
        seen.add(name)
    if error == _NOT_UTF8:
        error += "; convert the file to UTF-8"
    if error is not None:
        raise BrokenFile(
            f"the header {error}" if error.startswith("has") else error, "header", _raw(raw[:SNIPPET])
        )
    return fields


def _explain(failure: csv.Error) -> str:
    if "unexpected end of data" in str(failure):
        return "has a quote that is never closed"
    if "field limit" in str(failure):
        return f"has a field of more than {MAX_FIELD_CHARS:,} characters; is a quote not closed?"
    return f"has a misplaced quote: {failure}"


def _is_text(raw: str) -> bool:
    if raw.isascii():
        return True
    try:
        raw.encode()
    except UnicodeEncodeError:
        return False
    return True


def _raw(raw: str) -> str | bytes:
    return raw.rstrip("\r\n") if _is_text(raw) else raw.rstrip("\r\n").encode("utf-8", "surrogateescape")
