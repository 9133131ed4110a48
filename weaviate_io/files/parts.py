"""Large files of lines in parts, which many workers read at once: JSON Lines, CSV and TSV, not compressed.

The parts of a file give the rows and failures that the whole file gives, each once, in bounded memory. Only
the positions differ: a part does not know how many lines precede it, so rows of a file in parts are found by
the byte of the file they start at, counted from 0.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Optional

from apache_beam.io.filesystems import FileSystems

from weaviate_io.files.csv_rows import read_csv, read_header
from weaviate_io.files.csv_starts import BLOCK, row_starts
from weaviate_io.files.json_rows import holds_lines, read_json_lines
from weaviate_io.files.streams import StorageError, open_file, split_compression
from weaviate_io.files.unreadable import BrokenFile, is_utf16
from weaviate_io.objects import FailedObject, SourceRow

PART_BYTES = 64 << 20
"""Files of more bytes are read in parts of about this size."""

DELIMITERS = {"csv": ",", "tsv": "\t"}
_BUFFER = 1 << 20


class Part(NamedTuple):
    """The lines of a file that start in a range of its bytes.

    Args:
      path: the file.
      format: ``json``, ``jsonl``, ``csv`` or ``tsv``.
      start: the first byte of the range; for a table, where a row starts.
      end: the byte behind the range.
      version: size and time of the last change of the file that was divided.
      names: the columns of a table, where the part does not have the header.
    """

    path: str
    format: str
    start: int
    end: int
    version: tuple[int, Optional[float]]
    names: Optional[list[str]] = None


def divide(path: str, format: str, part_bytes: int = PART_BYTES) -> Iterator[Part]:
    """The parts of a file, in their order; none where it is small, or has to be read as a whole.

    Args:
      path: a path of any Beam filesystem.
      format: one of the formats that :class:`~weaviate_io.files.ReadRows` knows.
      part_bytes: size of a part; those of a table may have up to 1 MiB more.

    >>> list(divide("articles.jsonl.gz", "jsonl"))
    []
    """
    if format not in ("json", "jsonl", *DELIMITERS) or split_compression(path)[1] is not None:
        return
    version = _version(path)
    size = version[0]
    if size <= part_bytes:
        return
    if format in DELIMITERS:
        yield from _divide_table(path, format, version, part_bytes)
    elif _holds_lines(path, format):
        for start in range(0, size, part_bytes):
            yield Part(path, format, start, min(start + part_bytes, size), version)


def read_part(part: Part, on_bytes: Callable[[int], Any] | None = None) -> Iterator[SourceRow | FailedObject]:
    """Reads the rows of a part.

    Args:
      part: what :func:`divide` gave.
      on_bytes: called with every number of bytes read; over all parts they are the bytes of the file.

    Raises:
      StorageError: when the file is another one by now.

    >>> [row.position for part in divide("a.jsonl", "jsonl") for row in read_part(part)]  # doctest: +SKIP
    ['a.jsonl: byte 0', 'a.jsonl: byte 9']
    """
    if _version(part.path) != part.version:
        raise StorageError(
            f"{part.path}: was changed while it was read in parts; import it again when it is complete"
        )
    with open_file(part.path) as file:
        lines = _Lines(file, part.start, part.end, on_bytes)
        stream = io.BufferedReader(lines, _BUFFER)
        if part.format in DELIMITERS:
            yield from read_csv(stream, part.path, DELIMITERS[part.format], lines.offset, part.names)
        else:
            yield from read_json_lines(stream, part.path, lines.offset)


def _version(path: str) -> tuple[int, float | None]:
    file = FileSystems.get_filesystem(path).metadata(path)
    return file.size_in_bytes, file.last_updated_in_seconds


def _holds_lines(path: str, format: str) -> bool:
    with open_file(path) as stream:
        if format == "jsonl":
            return not is_utf16(stream.peek())  # of which one failure says more than one for each line
        return holds_lines(stream)


def _divide_table(path: str, format: str, version: tuple[int, float | None], part_bytes: int) -> Iterator[Part]:
    delimiter = DELIMITERS[format]
    with open_file(path) as stream:
        try:
            names, first_row = read_header(stream, delimiter)
        except BrokenFile:
            return
    start, next_names = 0, None
    with open_file(path) as stream:
        for end in row_starts(stream, delimiter, min(BLOCK, part_bytes)):
            if end >= max(start + part_bytes, first_row) and end < version[0]:
                yield Part(path, format, start, end, version, next_names)
                start, next_names = end, names
    yield Part(path, format, start, version[0], version, next_names)


class _Lines(io.RawIOBase):
    """The lines that start in a range of a file, to their ends, of which the last may lie behind the range.

    ``offset`` is the place in the file where the first of them starts.
    """

    def __init__(
        self, file: io.BufferedReader, start: int, end: int, on_bytes: Callable[[int], Any] | None
    ) -> None:
        self._file = file
        self._end = end
        self._on_bytes = on_bytes
        self._position = start
        if start:
            self._pass_line(start - 1)
        self.offset = self._position
        # Without this a line longer than the range would be read here and by whom it belongs to.
        self._ended = self._position >= end

    def _pass_line(self, position: int) -> None:
        """Go behind the line that a position lies in, but no further than the range."""
        self._file.seek(position)
        line = b""
        while position < self._end and not line.endswith(b"\n"):
            line = self._file.readline(min(_BUFFER, self._end - position))
            if not line:
                break
            position += len(line)
        self._position = position

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self._ended:
            return 0
        # Whether a line ends with the range is told by the last byte of the range.
        before_last = self._end - 1 - self._position
        if before_last > 0:
            data = self._file.read1(min(len(buffer), before_last))
        else:
            data = self._file.readline(len(buffer))
            self._ended = data.endswith(b"\n")
        buffer[: len(data)] = data
        self._position += len(data)
        if self._on_bytes is not None and data:
            self._on_bytes(len(data))
        return len(data)
