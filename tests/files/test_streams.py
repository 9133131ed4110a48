from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import tracemalloc

import pytest
import zstandard

from weaviate_io.files import read_rows
from weaviate_io.files.streams import StorageError, open_file, split_compression
from weaviate_io.files.unreadable import BrokenFile
from weaviate_io.objects import FailedObject

COMPRESS = {
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".zst": zstandard.ZstdCompressor().compress,
    ".xz": lzma.compress,
    "": bytes,
}


@pytest.mark.parametrize("suffix", COMPRESS)
@pytest.mark.parametrize("parts", [1, 2])
def test_every_compression_by_its_name_also_of_several_members(tmp_path, suffix, parts):
    path = tmp_path / f"x.JSON{suffix.upper()}"
    path.write_bytes(COMPRESS[suffix](b'{"a": 1}\n') * parts)
    assert [row.row for row in read_rows(str(path))] == [{"a": 1}] * parts


@pytest.mark.parametrize("suffix", COMPRESS)
def test_an_empty_file_is_no_rows(tmp_path, suffix):
    path = tmp_path / f"x.json{suffix}"
    path.write_bytes(COMPRESS[suffix](b""))
    assert list(read_rows(str(path))) == []


@pytest.mark.parametrize("suffix", [".gz", ".bz2", ".zst", ".xz"])
@pytest.mark.parametrize("name", ["x.jsonl", "x.json", "x.csv", "array.json"])
def test_a_truncated_stream_gives_its_whole_rows_and_then_one_failure(tmp_path, suffix, name):
    items = [{"a": os.urandom(2_000).hex()} for _ in range(600)]
    if name == "array.json":
        text = json.dumps(items)
    elif name == "x.csv":
        text = "a\n" + "".join(f"{item['a']}\n" for item in items)
    else:
        text = "".join(json.dumps(item) + "\n" for item in items)
    data = COMPRESS[suffix](text.encode())
    path = tmp_path / f"{name}{suffix}"
    path.write_bytes(data[: len(data) * 4 // 5])
    *found, failed = read_rows(str(path))
    assert [row.row for row in found] == items[: len(found)]
    # bzip2 works in blocks of 900 kB, zstd in blocks of 128 kB
    assert len(found) > 200 or suffix == ".bz2"
    assert isinstance(failed, FailedObject)
    assert failed.position == f"{path}: after {found[-1].position.split(': ')[-1]}"
    assert "the rest of this file was not read" in failed.error
    assert "\n" not in failed.error


@pytest.mark.parametrize("suffix", [".gz", ".bz2", ".zst", ".xz"])
def test_what_is_not_compressed_as_its_name_says_is_one_failure(tmp_path, suffix):
    path = tmp_path / f"x.json{suffix}"
    path.write_bytes(b'[{"a": 1}]')
    (failed,) = read_rows(str(path))
    assert failed.position == f"{path}: beginning"
    assert failed.row == str(path)


def test_well_compressed_data_does_not_fill_the_memory(tmp_path):
    path = tmp_path / "x.gz"
    with gzip.open(path, "wb") as file:
        for _ in range(100):
            file.write(bytes(1 << 20))
    tracemalloc.start()
    try:
        with open_file(str(path)) as stream:
            size = sum(len(data) for data in iter(lambda: stream.read(1 << 16), b""))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert size == 100 << 20
    assert peak < 10 << 20


def test_bytes_are_counted_as_they_lie_in_the_filesystem(tmp_path):
    path = tmp_path / "x.json.gz"
    path.write_bytes(gzip.compress(b'{"a": 1}\n' * 1_000))
    counted = []
    list(read_rows(str(path), on_bytes=counted.append))
    assert sum(counted) == path.stat().st_size


@pytest.mark.parametrize("name", ["x.json", "x.json.gz", "x.csv.zst", "x.parquet", "x.avro", "x.jsonl.bz2"])
def test_a_failing_filesystem_is_no_fault_of_the_file(monkeypatch, name):
    class Failing(io.RawIOBase):
        def read(self, size=-1):
            raise OSError("connection reset")

        def seek(self, offset, whence=0):
            return 100

        def tell(self):
            return 100

    monkeypatch.setattr("weaviate_io.files.streams.FileSystems.open", lambda path, compression_type: Failing())
    with pytest.raises(StorageError, match=f"{name}: reading failed: connection reset"):
        list(read_rows(name))


def test_split_compression():
    assert split_compression("a/B.JSON.GZ") == ("a/B.JSON", "gzip")
    assert split_compression("a.zst/b.csv") == ("a.zst/b.csv", None)


def test_reading_after_damage_raises_again(tmp_path):
    path = tmp_path / "x.gz"
    path.write_bytes(gzip.compress(b"x" * 100)[:-4])
    with open_file(str(path)) as stream:
        assert stream.read1(1_000) == b"x" * 100
        with pytest.raises(BrokenFile):
            stream.read1(1_000)
