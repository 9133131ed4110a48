"""Opens a file of any Beam filesystem as a stream of its uncompressed bytes, in bounded memory.

Beam's own decompression is not used: it takes a truncated gzip file for a complete one, decompresses 16 MiB
of compressed bytes at a time (gigabytes, for well compressed data), and its file object has ``closed`` as a
method, which pyarrow takes for true.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zlib
from collections.abc import Callable
from typing import Any, BinaryIO

import pyarrow as pa
from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems

from weaviate_io.files.unreadable import BrokenFile

_BUFFER = 1 << 20
# pyarrow fills a read completely or fails it, so what precedes the damage of a file is lost up to this size.
_STEP = 1 << 16

COMPRESSIONS = {".gz": "gzip", ".bz2": "bzip2", ".zst": "zstd", ".zstd": "zstd", ".xz": "xz"}


class StorageError(Exception):
    """The filesystem failed while a file was read; no fault of the file, a retry may cure it."""


def split_compression(path: str) -> tuple[str, str | None]:
    """The path without the suffix of its compression, and the compression.

    >>> split_compression("a/x.json.gz")
    ('a/x.json', 'gzip')
    """
    for suffix, compression in COMPRESSIONS.items():
        if path.lower().endswith(suffix):
            return path[: -len(suffix)], compression
    return path, None


def open_file(path: str, on_bytes: Callable[[int], Any] | None = None) -> io.BufferedReader:
    """Opens a file for reading, decompressed by the suffix of its name.

    Args:
      path: a path of any Beam filesystem.
      on_bytes: called with every number of bytes read from the filesystem, before decompression.

    Reading raises :class:`BrokenFile` where the compressed stream is damaged or ends early, and
    :class:`StorageError` where the filesystem fails.

    >>> open_file("articles.json.gz").read(1)  # doctest: +SKIP
    b'['
    """
    file = FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED)
    source = _Source(file, path, on_bytes)
    compression = split_compression(path)[1]
    if compression is None:
        return io.BufferedReader(source, _BUFFER)
    buffered = io.BufferedReader(source, _BUFFER)
    return io.BufferedReader(_Decompressed(buffered, compression), _BUFFER)


class _Source(io.RawIOBase):
    """The bytes of a file as they lie in the filesystem: counted, and its failures told from bad content."""

    def __init__(self, file: BinaryIO, path: str, on_bytes: Callable[[int], Any] | None):
        self._file = file
        self._path = path
        self._on_bytes = on_bytes

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            data = self._file.read(len(buffer))
        except Exception as error:
            raise StorageError(f"{self._path}: reading failed: {error}") from error
        buffer[: len(data)] = data
        if self._on_bytes is not None and data:
            self._on_bytes(len(data))
        return len(data)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._file.seek(offset, whence)
        return self._file.tell()

    def tell(self) -> int:
        return self._file.tell()

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()


class _Decompressed(io.RawIOBase):
    """The uncompressed bytes of a stream. Every whole part before a damage is delivered first."""

    def __init__(self, source: io.BufferedIOBase, compression: str):
        self._source = source
        self._compression = compression
        self._stream = _DECOMPRESSORS[compression](source)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            data = self._stream.read1(min(len(buffer), _STEP))
        except (EOFError, OSError, zlib.error, lzma.LZMAError, pa.ArrowException) as error:
            raise BrokenFile(f"the {self._compression} stream is damaged or cut off ({error})") from error
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        if not self.closed:
            self._source.close()
        super().close()


_DECOMPRESSORS: dict[str, Callable[[Any], Any]] = {
    "gzip": lambda source: gzip.GzipFile(fileobj=source, mode="rb"),
    "bzip2": bz2.BZ2File,
    "xz": lzma.LZMAFile,
    # zstandard's own reader takes a truncated stream for a complete one; pyarrow's does not.
    "zstd": lambda source: pa.CompressedInputStream(pa.PythonFile(source, "r"), "zstd"),
}
