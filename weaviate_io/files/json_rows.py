"""Rows from JSON: arrays of any size, one object per line, or objects one after the other."""

from __future__ import annotations

import codecs
import io
import json
from collections.abc import Callable, Iterator
from typing import Any

from weaviate_io.files.json_window import JsonWindow, TooManyDigits
from weaviate_io.files.unreadable import (
    MAX_ROW_BYTES,
    SNIPPET,
    TOO_DEEP,
    TOO_MANY_DIGITS,
    TOO_MANY_VALUES,
    UTF16,
    BrokenFile,
    has_too_many_values,
    is_utf16,
    unreadable,
)
from weaviate_io.objects import FailedObject, SourceRow

_CHUNK = 1 << 20
_HEAD = 1 << 16
_BOM = codecs.BOM_UTF8
_TYPES = {list: "an array", str: "a string", int: "a number", float: "a number", bool: "a boolean"}


def read_json(stream: io.BufferedIOBase, path: str) -> Iterator[SourceRow | FailedObject]:
    """Reads a JSON file of either kind: an array of objects, or objects one after the other.

    The first byte that is no space decides. Objects one after the other are read line by line, unless the
    first one is spread over several lines.

    Args:
      stream: the uncompressed bytes, UTF-8 with or without a byte order mark.
      path: the name of the file, for positions.

    Raises:
      BrokenFile: where nothing after a place can be read.

    >>> [row.row for row in read_json(io.BytesIO(b'[{"a": 1}, {"a": 2}]'), "x.json")]
    [{'a': 1}, {'a': 2}]
    """
    head = _Head(stream)
    yield from _reader_for(head.start)(io.BufferedReader(head, _CHUNK), path)


def holds_lines(stream: io.BufferedIOBase) -> bool:
    """Whether a JSON file is one that :func:`read_json` reads line by line.

    >>> holds_lines(io.BytesIO(b'{"a": 1}\\n{"a": 2}'))
    True
    """
    head = _Head(stream)
    if head.failure is not None:
        raise head.failure
    try:
        return _reader_for(head.start) is read_json_lines
    except BrokenFile:
        return False


def read_json_lines(
    stream: io.BufferedIOBase, path: str, offset: int | None = None
) -> Iterator[SourceRow | FailedObject]:
    """Reads one JSON object per line; empty lines are skipped, a bad line fails alone.

    Args:
      stream: the uncompressed bytes, UTF-8 with or without a byte order mark.
      path: the name of the file, for positions.
      offset: where in the file the stream begins, when it is a part of it; positions are bytes then.

    >>> [row.position for row in read_json_lines(io.BytesIO(b'{"a": 1}\\n\\n{"a": 2}'), "x.jsonl")]
    ['x.jsonl: line 1', 'x.jsonl: line 3']
    """
    number, start, end = 0, 0, offset or 0
    while line := stream.readline(MAX_ROW_BYTES):
        number += 1
        start, end = end, end + len(line)
        position = f"{path}: line {number}" if offset is None else f"{path}: byte {start}"
        if len(line) == MAX_ROW_BYTES and not line.endswith(b"\n"):
            while rest := stream.readline(_CHUNK):
                end += len(rest)
                if rest.endswith(b"\n"):
                    break
            yield unreadable(position, f"the line is longer than {MAX_ROW_BYTES:,} bytes", line[:SNIPPET])
            continue
        if start == 0:
            if offset is None and is_utf16(line):
                raise BrokenFile(UTF16, "byte 0", line[:SNIPPET])
            line = line.removeprefix(_BOM)
        if line.isspace() or not line:
            continue
        yield _line(line, position)


def read_json_array(stream: io.BufferedIOBase, path: str) -> Iterator[SourceRow | FailedObject]:
    """Reads the items of one JSON array of any size, in constant memory.

    Args:
      stream: the uncompressed bytes, UTF-8 with or without a byte order mark.
      path: the name of the file, for positions.

    Raises:
      BrokenFile: at a syntax error, or where the file ends before the array does.

    >>> [row.position for row in read_json_array(io.BytesIO(b'[{"a": 1}, {"a": 2}]'), "x.json")]
    ['x.json: item 1', 'x.json: item 2']
    """
    window = JsonWindow(stream)
    first = window.next_char()
    if not first:
        return
    if first != "[":
        raise window.broken("is no JSON array: it does not begin with '['", 0)
    window.position += 1
    if window.next_char() != "]":
        number = 0
        while True:
            number += 1
            yield _item(window, number, path)
            end = window.next_char()
            if end == "]":
                break
            if end != ",":
                error = f"expected ',' or ']', found {end!r}" if end else "the file ends before its array does"
                raise window.broken(error, number)
            window.position += 1
    window.position += 1
    if window.next_char():
        raise window.broken("there is text after the end of the array", None)


def _read_concatenated(stream: io.BufferedIOBase, path: str) -> Iterator[SourceRow | FailedObject]:
    window = JsonWindow(stream)
    number = 0
    while window.next_char():
        number += 1
        yield _item(window, number, path)


def _reader_for(start: bytes) -> Callable[[io.BufferedIOBase, str], Iterator[SourceRow | FailedObject]]:
    """What reads a JSON file that starts so."""
    text = start.removeprefix(_BOM).lstrip()
    if is_utf16(text):
        raise BrokenFile(UTF16, "byte 0", text[:SNIPPET])
    if text.startswith(b"["):
        return read_json_array
    return _read_concatenated if _is_spread(text) else read_json_lines


def _is_spread(text: bytes) -> bool:
    """Whether the first object goes on in a second line, judged by the beginning of a file.

    A bad first line of JSON Lines is told from it by the second line, which has an opening brace first.
    """
    first, _, second = text.partition(b"\n")
    try:
        json.loads(first)
    except (ValueError, RecursionError):
        return text.startswith(b"{") and second.lstrip()[:1] in (b'"', b"}")
    return False


def _line(line: bytes, position: str) -> SourceRow | FailedObject:
    try:
        text = line.decode()
    except UnicodeDecodeError as error:
        return unreadable(position, f"byte {error.start} of the line is not UTF-8", line)
    if has_too_many_values(text):
        return unreadable(position, TOO_MANY_VALUES, text)
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        return unreadable(position, f"is no JSON: {error.msg} at character {error.pos}", text)
    except RecursionError:
        return unreadable(position, TOO_DEEP, text)
    except ValueError:
        return unreadable(position, TOO_MANY_DIGITS, text)
    return _checked(value, text, position)


def _item(window: JsonWindow, number: int, path: str) -> SourceRow | FailedObject:
    value, text = window.next_value(number)
    position = f"{path}: item {number}"
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raw = text.encode("utf-8", "surrogateescape")
            return unreadable(position, "the item has bytes that are not UTF-8", raw)
    if value is TooManyDigits:
        return unreadable(position, TOO_MANY_DIGITS, text)
    return _checked(value, text, position)


def _checked(value: Any, text: str, position: str) -> SourceRow | FailedObject:
    if not isinstance(value, dict):
        return unreadable(position, f"is {_TYPES.get(type(value), 'null')}, not an object", text)
    # An escape such as "\ud800" may be half of a pair, which is no text: no coder of Beam can carry it on.
    if "\\ud" in text or "\\uD" in text:
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            return unreadable(position, "has half of a surrogate pair, which is no text", text)
    return SourceRow(value, position)


class _Head(io.RawIOBase):
    """A stream whose first 64 KiB can be seen before they are read.

    A failure met while looking ahead is raised only after everything before it was read.
    """

    def __init__(self, stream: io.BufferedIOBase):
        self._stream = stream
        self.failure: Exception | None = None
        self.start = b""
        try:
            while len(self.start) < _HEAD and (data := self._stream.read1(_HEAD)):
                self.start += data
        except Exception as error:
            self.failure = error
        self._unread = self.start

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self._unread:
            data, self._unread = self._unread[: len(buffer)], self._unread[len(buffer) :]
        elif self.failure is not None:
            raise self.failure
        else:
            data = self._stream.read1(len(buffer))
        buffer[: len(data)] = data
        return len(data)
