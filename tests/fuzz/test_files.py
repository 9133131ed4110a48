"""Whatever bytes a file has, they are rows or failures, in bounded memory."""

from __future__ import annotations

import gzip
import io
from pathlib import Path
from typing import Any

import apache_beam as beam
import fastavro
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.large import read_hostile
from weaviate_io import FailedObject
from weaviate_io.failures import failure_from_json, failure_to_json
from weaviate_io.files import read_rows
from weaviate_io.objects import SourceRow


def _parquet() -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.table({"a": ["x", None], "v": [[1.0], [2.0]]}), file)
    return file.getvalue()


def _avro() -> bytes:
    file = io.BytesIO()
    schema = {"type": "record", "name": "R", "fields": [{"name": "a", "type": "string"}]}
    fastavro.writer(file, schema, [{"a": "x"}, {"a": "y"}])
    return file.getvalue()


_ROWS = b'{"a": 1, "b": "\xc3\xa9\\ud83d\\ude00"}\n{"a": [2, {"c": null}]}\n'
GOOD = {
    "jsonl": _ROWS,
    "json": b"[" + _ROWS.replace(b"}\n{", b"},\n{") + b"]",
    "csv": b'a,b\r\n1,"x\n""y"""\r\n,\xc3\xa9\r\n',
    "tsv": b"a\tb\n1\t2\n",
    "parquet": _parquet(),
    "avro": _avro(),
}
PIECES = [
    b"\xff\xfe",
    b"\xef\xbb\xbf",
    b"\0",
    b'"',
    b"[",
    b"{" * 2000,
    b"9" * 5000,
    b"1e999",
    b"NaN",
    b"\\ud800",
    b",",
]


@st.composite
def contents(draw: Any) -> tuple[str, bytes]:
    """A format, and the bytes of a file that was well before it was cut, changed and added to, or never was."""
    format = draw(st.sampled_from(list(GOOD)))
    data = draw(st.sampled_from([GOOD[format], GOOD[format], b""]) | st.binary(max_size=200))
    for _ in range(draw(st.integers(0, 3))):
        place, end = sorted((draw(st.integers(0, len(data))), draw(st.integers(0, len(data)))))
        end = draw(st.sampled_from([place, min(place + 1, len(data)), end]))
        data = data[:place] + draw(st.sampled_from([*PIECES, b""]) | st.binary(max_size=4)) + data[end:]
    encoding = draw(st.sampled_from([None, None, None, "utf-16", "utf-16-le", "utf-32"]))
    return format, data if encoding is None else data.decode(errors="ignore").encode(encoding)


@given(contents(), st.booleans(), st.integers(0, 30))
def test_any_bytes(tmp_path_factory: Any, content: tuple[str, bytes], packed: bool, lost: int) -> None:
    format, data = content
    path = tmp_path_factory.getbasetemp() / f"any.{format}"
    if packed and format != "parquet":
        path, data = Path(f"{path}.gz"), gzip.compress(data, mtime=0)
        data = data[: len(data) - lost]
    path.write_bytes(data)
    coder = beam.coders.registry.get_coder(FailedObject)
    for row in read_rows(str(path)):
        if isinstance(row, SourceRow):
            assert isinstance(row.row, dict)
            continue
        assert row.reason == "unreadable" and row.position and len(row.error.splitlines()) == 1
        coder.decode(coder.encode(row))
        failure_from_json(failure_to_json(row))


@pytest.mark.parametrize("name", ["many values.jsonl", "deep.json"])
def test_memory_is_bounded(tmp_path: Path, name: str) -> None:
    read_hostile(name, tmp_path)
