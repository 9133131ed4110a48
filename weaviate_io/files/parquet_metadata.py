"""The metadata of a Parquet file, changed so that pyarrow reads vectors of fixed size with nulls among them.

Parquet knows only lists of any length; pyarrow keeps the fixed size in an Arrow schema beside the data. When
it reads the file it takes a null for a list of length 0 and fails ("Expected all lists to be of size=2 but
index 2 had size=0", pyarrow 25). Told that the lists are of any length, it reads them.
"""

from __future__ import annotations

import base64
import io

import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.types as pt

_MAGIC = b"PAR1"
_ARROW_SCHEMA = b"ARROW:schema"


def readable_metadata(stream: io.BufferedIOBase) -> pq.FileMetaData:
    """The metadata of a Parquet file, with lists of any length instead of lists of a fixed size.

    Args:
      stream: the bytes of the file; must be able to seek.

    Raises:
      pyarrow.ArrowInvalid: when the stream is no Parquet file.

    >>> readable_metadata(open("x.parquet", "rb")).num_rows  # doctest: +SKIP
    1000
    """
    metadata = pq.read_metadata(stream)
    stored = (metadata.metadata or {}).get(_ARROW_SCHEMA)
    if stored is None:
        return metadata
    schema = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(stored)))
    free = pa.schema([_free(field) for field in schema], schema.metadata)
    if free.equals(schema):
        return metadata
    stream.seek(-8, io.SEEK_END)
    size = int.from_bytes(stream.read(4), "little")
    stream.seek(-8 - size, io.SEEK_END)
    footer = stream.read(size).replace(
        _thrift_string(stored), _thrift_string(base64.b64encode(free.serialize().to_pybytes()))
    )
    return pq.read_metadata(io.BytesIO(_MAGIC + footer + len(footer).to_bytes(4, "little") + _MAGIC))


def _free(field: pa.Field) -> pa.Field:
    return field.with_type(_free_type(field.type))


def _free_type(kind: pa.DataType) -> pa.DataType:
    if pt.is_fixed_size_list(kind) or pt.is_list(kind):
        return pa.list_(_free(kind.value_field))
    if pt.is_large_list(kind):
        return pa.large_list(_free(kind.value_field))
    if pt.is_struct(kind):
        return pa.struct([_free(field) for field in kind])
    return kind


def _thrift_string(text: bytes) -> bytes:
    """A string in Thrift's compact protocol: its length in groups of 7 bits, then its bytes."""
    groups = bytearray()
    length = len(text)
    while length > 0x7F:
        groups.append(length & 0x7F | 0x80)
        length >>= 7
    return bytes(groups) + bytes([length]) + text
