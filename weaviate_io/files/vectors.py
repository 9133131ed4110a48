"""Vectors in a ``.npy`` file beside a file of rows: row i goes with vector i."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from typing import Any, cast

import numpy as np
from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems

from weaviate_io.objects import FailedObject, SourceRow

_COPY_BYTES = 8 << 20


@contextlib.contextmanager
def open_vectors(path: str) -> Iterator[np.ndarray]:
    """Opens a ``.npy`` file without reading it into memory; one that is not local is copied for the time.

    Args:
      path: a path of any Beam filesystem, to an array of numbers of 2 dimensions, or 3 for multi-vectors.

    Raises:
      ValueError: when the file is no such array. Pickled objects are never loaded.

    >>> with open_vectors("vectors.npy") as vectors:  # doctest: +SKIP
    ...     vectors.shape
    (1000, 768)
    """
    with contextlib.ExitStack() as stack:
        local = path
        if FileSystems.get_scheme(path) is not None:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="weaviate-io-"))
            local = os.path.join(folder, "vectors.npy")
            with (
                cast(Any, FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED)) as source,
                open(local, "wb") as copy,
            ):
                shutil.copyfileobj(source, copy, _COPY_BYTES)
        yield _load(local, path)


def _load(local: str, path: str) -> np.ndarray:
    try:
        # Not np.load: that would also unpack .npz archives.
        array = np.lib.format.open_memmap(local, mode="r")
    except (ValueError, EOFError) as error:
        raise ValueError(f"{path}: is no .npy file of numbers: {error}") from error
    if array.ndim not in (2, 3) or array.dtype.kind not in "fiu":
        raise ValueError(
            f"{path}: has {array.ndim} dimensions of {array.dtype}; vectors are numbers in 2 dimensions "
            "(rows, components), or 3 for multi-vectors"
        )
    return array


def add_vectors(
    rows: Iterable[SourceRow | FailedObject], vectors: np.ndarray, column: str, path: str
) -> Iterator[SourceRow | FailedObject]:
    """Adds vector i to row i. A row that cannot be read has a vector too, which is passed over.

    Args:
      rows: what a reader gave for one file.
      vectors: array of 2 or 3 dimensions, one entry per row; integers become floats that hold them exactly.
      column: the name that the vector gets in the row.
      path: the name of the file of vectors, for errors.

    Raises:
      ValueError: at the first row without a vector, at the end when vectors are left over, and when the rows
        have a column of that name already.

    >>> row = next(add_vectors([SourceRow({"a": 1}, "x: row 1")], np.ones((1, 2)), "v", "x.npy"))
    >>> row.row["v"].tolist()
    [1.0, 1.0]
    """
    # A plain array over the mapping: rows pickle and print as numpy arrays.
    plain = vectors.view(np.ndarray)
    floats = plain.dtype if plain.dtype.kind == "f" else np.result_type(plain.dtype, np.float32)
    used = 0
    for row in rows:
        if used == len(plain):
            raise ValueError(
                f"{row.position}: {path} has no vector for it, only {len(plain):,}; is it the right file?"
            )
        if isinstance(row, SourceRow):
            if column in row.row:
                raise ValueError(
                    f"{row.position}: has a column {column!r}; name another for the vectors of {path}"
                )
            row.row[column] = plain[used].astype(floats.newbyteorder("="), copy=False)
        used += 1
        yield row
    if used < len(plain):
        raise ValueError(f"{path}: has {len(plain):,} vectors for {used:,} rows; is it the right file?")
