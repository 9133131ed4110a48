"""Rows from Parquet and Avro, whose values have types of their own."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any, cast

import pyarrow as pa
import pyarrow.parquet as pq
from fastavro import reader as avro_reader

from weaviate_io import arrow
from weaviate_io.files.parquet_metadata import readable_metadata
from weaviate_io.files.streams import StorageError
from weaviate_io.files.unreadable import BrokenFile, unreadable
from weaviate_io.objects import FailedObject, SourceRow

_ROWS_PER_BATCH = 1_000
_READ_BUFFER = 1 << 20


def read_parquet(stream: io.BufferedIOBase, path: str) -> Iterator[SourceRow | FailedObject]:
    """Reads a Parquet file batch by batch; values are as :func:`weaviate_io.arrow.rows` gives them.

    Args:
      stream: the bytes of the file; must be able to seek.
      path: the name of the file, for positions.

    Raises:
      BrokenFile: when the file is no Parquet file, or is damaged or cut off.

    >>> [row.row for row in read_parquet(open("x.parquet", "rb"), "x.parquet")]  # doctest: +SKIP
    [{'title': 'Dune'}]
    """
    number = 0
    try:
        metadata = readable_metadata(stream)
        # Without a buffer size pyarrow reads the whole column of a row group at once.
        with pq.ParquetFile(stream, metadata=metadata, buffer_size=_READ_BUFFER, pre_buffer=False) as file:
            for batch in file.iter_batches(_ROWS_PER_BATCH, use_threads=False):
                for row in arrow.rows(batch):
                    number += 1
                    yield SourceRow(row, f"{path}: row {number}")
    except (pa.ArrowException, OSError, ValueError, NotImplementedError) as error:
        raise BrokenFile(f"is no Parquet file that can be read: {_one_line(error)}") from error


def read_avro(stream: io.BufferedIOBase, path: str) -> Iterator[SourceRow | FailedObject]:
    """Reads an Avro file record by record; logical types become Python's datetime, Decimal and UUID.

    Args:
      stream: the bytes of the file.
      path: the name of the file, for positions.

    Raises:
      BrokenFile: when the file is no Avro file, or is damaged or cut off.

    >>> [row.row for row in read_avro(open("x.avro", "rb"), "x.avro")]  # doctest: +SKIP
    [{'title': 'Dune'}]
    """
    number = 0
    try:
        for record in avro_reader(cast(Any, stream)):
            number += 1
            yield _record(record, f"{path}: row {number}")
    except (StorageError, BrokenFile):
        raise
    except Exception as error:  # fastavro raises what its decoding ran into: KeyError, struct.error, ...
        raise BrokenFile(f"is no Avro file that can be read: {_one_line(error)}") from error


def _record(record: Any, position: str) -> SourceRow | FailedObject:
    if isinstance(record, dict):
        return SourceRow(record, position)
    return unreadable(position, f"is a value of type {type(record).__name__}, not a record", repr(record))


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
