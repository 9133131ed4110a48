"""Reads the rows of files: which files, in which format, and the transform that does it in a pipeline."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple, Union

import apache_beam as beam
from apache_beam.io.filesystem import FileMetadata
from apache_beam.io.filesystems import FileSystems
from apache_beam.metrics import Metrics
from apache_beam.pvalue import PCollection, TaggedOutput

from weaviate_io.counters import NAMESPACE, process_totals
from weaviate_io.files.csv_rows import read_csv
from weaviate_io.files.json_rows import read_json, read_json_lines
from weaviate_io.files.parts import DELIMITERS, PART_BYTES, Part, divide, read_part
from weaviate_io.files.streams import COMPRESSIONS, open_file, split_compression
from weaviate_io.files.typed_rows import read_avro, read_parquet
from weaviate_io.files.unreadable import BrokenFile, unreadable
from weaviate_io.files.vectors import add_vectors, open_vectors
from weaviate_io.objects import FailedObject, SourceRow

_Reader = Callable[[io.BufferedIOBase, str], Iterator["SourceRow | FailedObject"]]

FORMATS: dict[str, _Reader] = {
    "json": read_json,
    "jsonl": read_json_lines,
    "csv": partial(read_csv, delimiter=DELIMITERS["csv"]),
    "tsv": partial(read_csv, delimiter=DELIMITERS["tsv"]),
    "parquet": read_parquet,
    "avro": read_avro,
}
_SUFFIXES = {f".{name}": name for name in FORMATS} | {".ndjson": "jsonl"}


def format_of(path: str, format: str | None = None) -> str:
    """The format of a file: the one that is forced, else the one its name says.

    Args:
      path: the name of the file; a suffix of compression is passed over.
      format: one of ``json``, ``jsonl``, ``csv``, ``tsv``, ``parquet``, ``avro``; ``None`` takes the name's.

    Raises:
      ValueError: when the format or the suffix is unknown.

    >>> format_of("articles.jsonl.gz")
    'jsonl'
    """
    if format is not None:
        if format not in FORMATS:
            raise ValueError(f"format {format!r} is unknown; known are {', '.join(FORMATS)}")
        return format
    name, compression = split_compression(path)
    for suffix, known in _SUFFIXES.items():
        if name.lower().endswith(suffix):
            if known == "parquet" and compression:
                raise ValueError(f"{path}: Parquet is compressed inside; decompress the file first")
            return known
    raise ValueError(
        f"{path}: the name does not say the format; known are {', '.join(_SUFFIXES)} "
        f"(and behind them {', '.join(COMPRESSIONS)}), or give --format"
    )


def match(patterns: str | Sequence[str]) -> list[FileMetadata]:
    """The files that the patterns name, each once, in the order of the patterns and then of their names.

    Args:
      patterns: paths or glob patterns of any Beam filesystem (``*`` stops at ``/``, ``**`` does not).

    Raises:
      FileNotFoundError: when a pattern names no file.
      IsADirectoryError: when a pattern is the name of a directory.

    >>> match("no-such-*.json")
    Traceback (most recent call last):
    FileNotFoundError: no file matches 'no-such-*.json'
    """
    files: dict[str, FileMetadata] = {}
    for pattern in [patterns] if isinstance(patterns, str) else patterns:
        found = sorted(_found(pattern), key=lambda file: file.path)
        # A name that ends in a slash would match everything below it, whatever it is.
        if pattern.endswith("/") or (found and _is_directory(pattern)):
            folder = pattern.rstrip("/")
            raise IsADirectoryError(f"{pattern!r} is a directory; give a pattern such as '{folder}/*.json'")
        if not found:
            raise FileNotFoundError(f"no file matches {pattern!r}")
        files |= {file.path: file for file in found}
    return list(files.values())


def _found(pattern: str) -> list[FileMetadata]:
    if FileSystems.get_scheme(pattern) is not None:
        return FileSystems.match([pattern])[0].metadata_list
    local = os.path.expanduser(pattern)
    if os.path.isfile(local):  # its name may hold a bracket
        return [FileMetadata(local, os.path.getsize(local))]
    # Beam finds nothing by a pattern such as x*.json, whose fixed part names no folder.
    given = "" if local.startswith((os.sep, os.curdir)) else os.path.join(os.curdir, "")
    found = FileSystems.match([given + local])[0].metadata_list
    for file in found:
        file.path = file.path.removeprefix(given)
    return found


def _is_directory(path: str) -> bool:
    return FileSystems.get_scheme(path) is None and os.path.isdir(path)


def read_rows(
    path: str,
    format: str | None = None,
    vectors: str | None = None,
    vector_column: str | None = None,
    on_bytes: Callable[[int], Any] | None = None,
) -> Iterator[SourceRow | FailedObject]:
    """Reads one file, in bounded memory. A part that cannot be read becomes a ``FailedObject``.

    Args:
      path: a path of any Beam filesystem.
      format: as for :func:`format_of`.
      vectors: path of a ``.npy`` file whose vector i belongs to row i.
      vector_column: the name that the vector gets in the row.
      on_bytes: called with every number of bytes read from the filesystem, before decompression.

    Raises:
      ValueError: for an unknown format, or vectors that do not fit the rows.

    >>> [row.row for row in read_rows("articles.csv")]  # doctest: +SKIP
    [{'title': 'Dune'}]
    """
    reader = FORMATS[format_of(path, format)]
    with contextlib.ExitStack() as stack:
        stream = stack.enter_context(open_file(path, on_bytes))
        rows: Iterator[SourceRow | FailedObject] = reader(stream, path)
        if vectors is not None:
            if vector_column is None:
                raise ValueError("vectors need the name of the column they go to; give vector_column")
            rows = add_vectors(rows, stack.enter_context(open_vectors(vectors)), vector_column, vectors)
        last = None
        try:
            for row in rows:
                last = row.position
                yield row
        except BrokenFile as failure:
            place = failure.place or (f"after {last.removeprefix(f'{path}: ')}" if last else "beginning")
            error = f"{failure}; the rest of this file was not read"
            yield unreadable(f"{path}: {place}", error, path if failure.row is None else failure.row)


class ReadRowsResult(NamedTuple):
    """What :class:`ReadRows` gives.

    Args:
      rows: PCollection of ``SourceRow``.
      failed: PCollection of ``FailedObject``, for what could not be read.
    """

    rows: PCollection[SourceRow]
    failed: PCollection[FailedObject]


class ReadRows(beam.PTransform):
    """Reads the rows of all files that match, spread over the workers.

    A file is read by one worker, but JSON Lines, CSV and TSV of more than 64 MiB, not compressed and without
    ``vectors``, are read in parts of about that size by many. The rows and failures are the same, each once;
    their positions are then the byte where they start, counted from 0, and no line or row number:
    ``tail -c +4712 a.jsonl | head -1`` shows the row at ``a.jsonl: byte 4711``. CSV is looked through first
    for where its rows start; from a quote that is out of place on (``5" disk``) the rest is one part. A file
    that changes after it was divided fails the job, since its rows could be lost or torn; what is added to a
    file that is read as a whole may be read or not.

    The parts are plain elements behind a shuffle and no splittable DoFn: that works on every runner, old local
    ones included, and few runners could divide a part further while it is read.

    Args:
      patterns: as for :func:`match`; looked up when the pipeline runs.
      format: as for :func:`format_of`.
      vectors: path of a ``.npy`` file whose vector i belongs to row i; the patterns must match one file then.
      vector_column: the name that the vector gets in the row.
      part_bytes: size of a part; 64 MiB unless given.

    Raises:
      ValueError: for an unknown format, no patterns, or ``vectors`` without ``vector_column``; when the
        pipeline runs, for files whose name does not say a format and vectors that do not fit.
      FileNotFoundError: when the pipeline runs, for a pattern without a file.

    >>> rows, failed = pipeline | ReadRows(["articles-*.json.gz"])  # doctest: +SKIP
    """

    def __init__(
        self,
        patterns: str | Sequence[str],
        *,
        format: str | None = None,
        vectors: str | None = None,
        vector_column: str | None = None,
        part_bytes: int | None = None,
    ):
        super().__init__()
        self._patterns = [patterns] if isinstance(patterns, str) else list(patterns)
        if not self._patterns:
            raise ValueError("no input files are given")
        if format is not None:
            format_of("", format)
        if (vectors is None) != (vector_column is None):
            raise ValueError("vectors and vector_column go together; give both or neither")
        self._format = format
        self._vectors = vectors
        self._vector_column = vector_column
        self._part_bytes = part_bytes or PART_BYTES

    def expand(self, pipeline: beam.Pipeline) -> ReadRowsResult:
        read = _Read(self._format, self._vectors, self._vector_column)
        outputs = (
            pipeline
            | "Patterns" >> beam.Create([self._patterns])
            | "Match" >> beam.FlatMap(_files, self._format, self._vectors).with_output_types(tuple[str, int])
            | "Spread files" >> beam.Reshuffle()
            | "Divide"
            >> beam.FlatMap(_divide, self._format, self._vectors, self._part_bytes).with_output_types(
                Union[str, Part]
            )
            | "Spread parts" >> beam.Reshuffle()
            | "Read"
            >> beam.ParDo(read)
            .with_output_types(SourceRow, failed=FailedObject)
            .with_outputs("failed", main="rows")
        )
        return ReadRowsResult(outputs["rows"], outputs["failed"])

    def display_data(self) -> dict[str, Any]:
        return {"patterns": ", ".join(self._patterns), "format": self._format or "by name"}


def _files(patterns: list[str], format: str | None, vectors: str | None) -> list[tuple[str, int]]:
    """Path and size of every file."""
    files = [(file.path, file.size_in_bytes) for file in match(patterns)]
    for path, _ in files:
        format_of(path, format)
    if vectors is not None and len(files) != 1:
        raise ValueError(
            f"vectors go with the rows of one file; {len(files)} files match {', '.join(patterns)}"
        )
    return files


def _divide(
    file: tuple[str, int], format: str | None, vectors: str | None, part_bytes: int
) -> Iterator[str | Part]:
    """The parts of a large file; the path of one that is read as a whole."""
    path, size = file
    divided = False
    if size > part_bytes and vectors is None:  # a part cannot tell which vectors belong to its rows
        for part in divide(path, format_of(path, format), part_bytes):
            process_totals.go_on()
            divided = True
            yield part
    if not divided:
        yield path


class _Read(beam.DoFn):
    def __init__(self, format: str | None, vectors: str | None, vector_column: str | None):
        self._arguments = (format, vectors, vector_column)
        self._rows = Metrics.counter(NAMESPACE, "rows_read")
        self._unreadable = Metrics.counter(NAMESPACE, "rows_unreadable")
        self._bytes = Metrics.counter(NAMESPACE, "bytes_read")

    def process(self, file: str | Part) -> Iterable[SourceRow | TaggedOutput]:
        if isinstance(file, Part):
            rows = read_part(file, self._count)
        else:
            rows = read_rows(file, *self._arguments, on_bytes=self._count)
        for row in rows:
            process_totals.go_on()
            if isinstance(row, FailedObject):
                self._unreadable.inc()
                process_totals.failed += 1
                yield TaggedOutput("failed", row)
            else:
                self._rows.inc()
                yield row

    def _count(self, number: int) -> None:
        self._bytes.inc(number)
        process_totals.bytes_read += number
