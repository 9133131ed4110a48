"""Rows from CSV and TSV, as text: what a value means is decided later, by the schema of the collection.

The standard library's parser, and not pyarrow's, for what happens around a bad row: pyarrow ends the file at
a row that does not fit into a block, takes an unclosed quote for a value that goes on to the end of the file,
and needs the header before it can be told not to guess types. Both are as fast as each other here.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from functools import partial
from typing import Any, cast

from weaviate_io.files.unreadable import MAX_ROW_BYTES, SNIPPET, BrokenFile, unreadable
from weaviate_io.objects import FailedObject, SourceRow

# An unclosed quote swallows the rows behind it up to here. A character takes four bytes in the parser.
_MAX_FIELD_CHARS = 16 << 20


def read_csv(stream: io.BufferedIOBase, path: str, delimiter: str = ",") -> Iterator[SourceRow | FailedObject]:
    """Reads a table of text with a header line; every value is text, an empty one ``None``.

    Quoted values may have line ends in them. Empty lines are skipped and not counted. A row with more or
    fewer fields than the header, bytes that are not UTF-8, or text behind a closing quote fails alone.

    Args:
      stream: the uncompressed bytes, UTF-8 with or without a byte order mark.
      path: the name of the file, for positions.
      delimiter: the character between two fields.

    Raises:
      BrokenFile: for a header with a column that has no name, or the name of another.

    >>> [row.row for row in read_csv(io.BytesIO(b"zip,city\\n01234,Oslo\\n"), "x.csv")]
    [{'zip': '01234', 'city': 'Oslo'}]
    """
    csv.field_size_limit(max(csv.field_size_limit(), _MAX_FIELD_CHARS))
    text = io.TextIOWrapper(cast(Any, stream), encoding="utf-8-sig", errors="surrogateescape", newline="")
    lines: list[str] = []

    def remembered() -> Iterator[str]:
        for line in iter(partial(text.readline, MAX_ROW_BYTES), ""):
            lines.append(line)
            yield line

    reader = csv.reader(remembered(), delimiter=delimiter, strict=True)
    names: list[str] | None = None
    number = 0
    while True:
        lines.clear()
        error = None
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as failure:
            error, fields = _explain(failure), [""]
        if not fields:
            continue
        raw = "".join(lines)
        if not _is_text(raw):
            error = "has bytes that are not UTF-8"
        if names is None:
            names = _header(fields, raw, error)
            continue
        number += 1
        if error is None and len(fields) != len(names):
            error = f"has {len(fields)} field{'s'[: len(fields) != 1]}, the header has {len(names)}"
        position = f"{path}: row {number}"
        if error is not None:
            yield unreadable(position, error, _raw(raw))
        else:
            row = {name: value or None for name, value in zip(names, fields, strict=True)}
            yield SourceRow(row, position, True)


def _header(fields: list[str], raw: str, error: str | None) -> list[str]:
    seen: set[str] = set()
    for column, name in enumerate(fields, start=1):
        if error is None and not name.strip():
            error = f"column {column} has no name (pandas writes such a column unless index=False)"
        if error is None and name in seen:
            error = f"column {column} has the name of another, {name!r}"
        seen.add(name)
    if error is not None:
        raise BrokenFile(
            f"the header {error}" if error.startswith("has") else error, "header", _raw(raw[:SNIPPET])
        )
    return fields


def _explain(failure: csv.Error) -> str:
    if "unexpected end of data" in str(failure):
        return "has a quote that is never closed"
    if "field limit" in str(failure):
        return f"has a field of more than {_MAX_FIELD_CHARS:,} characters; is a quote not closed?"
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
