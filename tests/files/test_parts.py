"""Files in parts give what the whole file gives, whatever is in them and wherever they are divided."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import pytest
from apache_beam.testing.util import assert_that, equal_to
from hypothesis import example, given
from hypothesis import strategies as st

from tests.write.running import FN_API, Runner
from weaviate_io.counters import counters
from weaviate_io.files import ReadRows, read_rows
from weaviate_io.files.csv_rows import read_csv
from weaviate_io.files.parts import Part, divide, read_part
from weaviate_io.files.streams import StorageError
from weaviate_io.objects import FailedObject, SourceRow

Rows = list["SourceRow | FailedObject"]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file that every example overwrites."""
    return tmp_path_factory.mktemp("parts") / "x"


@pytest.fixture(scope="module", autouse=True)
def small_limits() -> Iterator[None]:
    """Limits that texts of a few bytes can exceed."""
    before = csv.field_size_limit(20)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("weaviate_io.files.json_rows.MAX_ROW_BYTES", 40)
        patch.setattr("weaviate_io.files.json_rows._CHUNK", 9)
        patch.setattr("weaviate_io.files.csv_rows.MAX_ROW_BYTES", 40)
        patch.setattr("weaviate_io.files.csv_rows.MAX_FIELD_CHARS", 20)
        patch.setattr("weaviate_io.files.csv_starts.MAX_FIELD_CHARS", 20)
        patch.setattr("weaviate_io.files.parts._BUFFER", 7)
        yield
    csv.field_size_limit(before)


def in_parts(path: Path, format: str, part_bytes: int) -> tuple[list[Part], Rows, int]:
    """The parts of a file, what they give one after the other, and the bytes that they count."""
    parts = list(divide(str(path), format, part_bytes))
    counted: list[int] = []
    return parts, [row for part in parts for row in read_part(part, counted.append)], sum(counted)


def by_byte(rows: Rows, data: bytes) -> Rows:
    """Rows of JSON Lines with the bytes where their lines start as positions."""
    starts = [0, *(place + 1 for place, byte in enumerate(data) if byte == ord("\n"))]

    def moved(row: Any) -> Any:
        path, _, number = row.position.rpartition(": line ")
        return row._replace(position=f"{path}: byte {starts[int(number) - 1]}")

    return [moved(row) for row in rows]


def unplaced(rows: Rows) -> list[tuple[Any, Any]]:
    return [(row.row, row.error if isinstance(row, FailedObject) else None) for row in rows]


json_lines = st.one_of(
    st.text(st.characters(codec="utf-8"), max_size=8).map(lambda text: json.dumps({"a": text})),
    st.text("aé😀", max_size=8).map(lambda text: json.dumps({"a": text}, ensure_ascii=False)),
    st.sampled_from(["", " ", "\t", "bad", "1", '{"a":', "\ufeff", "\r", "\0", '{"a": "' + "x" * 60 + '"}']),
).map(str.encode) | st.sampled_from([b"\xff", b'{"a": "\xc3"}', b"\xef\xbb"])
line_ends = st.sampled_from([b"\n", b"\r\n", b"\n\n"])


@given(
    st.lists(st.tuples(json_lines, line_ends)),
    st.sampled_from([b"", b"\xef\xbb\xbf"]),
    st.booleans(),
    st.integers(1, 60),
)
def test_parts_of_json_lines_give_the_rows_of_the_whole(
    path: Path, lines: list[tuple[bytes, bytes]], mark: bytes, cut: bool, part_bytes: int
) -> None:
    data = mark + b"".join(line + end for line, end in lines)
    data = data.rstrip(b"\r\n") if cut else data
    path.write_bytes(data)
    parts, rows, counted = in_parts(path, "jsonl", part_bytes)
    assert len(parts) == (-(-len(data) // part_bytes) if len(data) > part_bytes else 0)
    if parts:
        assert rows == by_byte(list(read_rows(str(path), "jsonl")), data)
        assert counted == len(data)


quoting = [b'"', b'""', b',"', b'",', b'"\n', b'\n"', b'"x\ny"', b'5" d']
plain = [b"a", b"b c", b",", b"\n", b"\r\n", b"\r", b",1\n", b"1,2\n", b"x" * 25]
bytes_of_all_kinds = ["é".encode(), "😀".encode(), b"\xff", b"\0", b"\xef\xbb\xbf"]
csv_bytes = st.lists(st.sampled_from([*quoting, *plain, *bytes_of_all_kinds]), max_size=40).map(b"".join)


@given(
    st.sampled_from([b"", b"a,b\n", b"\xef\xbb\xbfa,b\r\n", b'\n\n"a\nb",c\n']), csv_bytes, st.integers(1, 60)
)
@example(b"a,b\n", b'5" disk,1\n"x\ny",2\n3,4\n', 1)
@example(b"a,b\n", b'"5" disk,1\n"x\ny",2\n3,4\n', 1)
@example(b"a,b\n", b'"a"b,"x\n"y,1\n2,3\n4,5\n', 1)
@example(b"a,b\n", b'1,"x\n3,4\n5,6\n', 1)
@example(b"\xef\xbb\xbfa,b\n", b'1,"\n"\n2,"\n"\n', 1)
@example(b"a,b\n", b"x" * 25 + b',"\n",1\n2,3\n"\n",4\n', 1)
def test_parts_of_a_table_give_the_rows_of_the_whole(
    path: Path, header: bytes, rest: bytes, part_bytes: int
) -> None:
    data = header + rest
    path.write_bytes(data)
    parts, rows, counted = in_parts(path, "csv", part_bytes)
    if not parts:
        return
    assert unplaced(rows) == unplaced(list(read_rows(str(path), "csv")))
    assert counted == len(data)
    names = next((part.names for part in parts if part.names is not None), None)
    for row in rows if names else []:
        start = int(str(row.position).rpartition(": byte ")[2])
        assert next(read_csv(io.BytesIO(data[start:]), str(path), ",", start, names)) == row


texts = st.text('aé",\r\n\t', max_size=3)


@given(st.lists(st.tuples(texts, texts)), st.sampled_from(["\n", "\r\n"]), st.sampled_from(["csv", "tsv"]))
def test_a_table_of_the_standard_writer_is_divided_at_every_row(
    path: Path, rows: list[tuple[str, str]], end: str, format: str
) -> None:
    text = io.StringIO(newline="")
    delimiter = {"csv": ",", "tsv": "\t"}[format]
    writer = csv.writer(text, delimiter=delimiter, lineterminator=end, quoting=csv.QUOTE_ALL)
    writer.writerows([("a", "b"), *rows])
    path.write_bytes(text.getvalue().encode())
    parts, found, _ = in_parts(path, format, 1)
    assert [row.row for row in found] == [{"a": a or None, "b": b or None} for a, b in rows]
    assert len(parts) == 1 + len(rows)


def test_a_table_is_divided_up_to_the_first_quote_out_of_place(path: Path) -> None:
    path.write_bytes(b'a,b\n1,"x\ny"\n3,4\n5" disk,6\n7,8\n9,10\n')
    parts, _, _ = in_parts(path, "csv", 4)
    assert [(part.start, part.end) for part in parts] == [(0, 4), (4, 12), (12, 35)]


@pytest.mark.parametrize(
    "name, data",
    [
        ("x.json", b'[{"a": 1},\n{"a": 2}]'),
        ("x.json", b'{\n"a": 1}\n{\n"a": 2}'),
        ("x.json", '{"a": 1}\n{"a": 2}'.encode("utf-16")),
        ("x.jsonl.gz", gzip.compress(b'{"a": 1}\n{"a": 2}', mtime=0)),
        ("x.csv", b"a,a\n1,2\n3,4\n"),
        ("x.parquet", b"PAR1 and so on"),
        ("x.avro", b"Obj and so on"),
    ],
)
def test_what_is_no_table_of_lines_stays_whole(tmp_path: Path, name: str, data: bytes) -> None:
    file = tmp_path / name
    file.write_bytes(data)
    assert list(divide(str(file), name.split(".")[1], 5)) == []


def test_json_that_holds_lines_is_divided(tmp_path: Path) -> None:
    file = tmp_path / "x.json"
    file.write_bytes(b' \n{"a": 1}\n{"a": 2}\n')
    parts, rows, _ = in_parts(file, "json", 10)
    assert len(parts) == 2
    assert rows == [SourceRow({"a": 1}, f"{file}: byte 2"), SourceRow({"a": 2}, f"{file}: byte 11")]


def test_a_file_of_one_part_stays_whole(tmp_path: Path) -> None:
    file = tmp_path / "x.jsonl"
    file.write_bytes(b'{"a": 1}\n{"a": 2}\n')
    assert list(divide(str(file), "jsonl", 18)) == []
    assert len(list(divide(str(file), "jsonl", 17))) == 2


@pytest.mark.parametrize("change", ["grown", "touched"])
def test_a_file_that_changes_is_not_read_on(tmp_path: Path, change: str) -> None:
    file = tmp_path / "x.jsonl"
    file.write_bytes(b'{"a": 1}\n{"a": 2}\n')
    first, second = divide(str(file), "jsonl", 10)
    assert len(list(read_part(first))) == 2
    if change == "grown":
        file.write_bytes(file.read_bytes() + b'{"a": 3}\n')
    os.utime(file, (1, 1))
    with pytest.raises(StorageError, match=r"x\.jsonl: was changed while it was read in parts"):
        list(read_part(second))


def test_a_part_is_read_in_little_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("weaviate_io.files.parts._BUFFER", 1 << 20)
    file = tmp_path / "x.csv"
    file.write_bytes(b"a,b\n" + b'"x\ny",1\n' * 3_000_000)
    monkeypatch.setattr("weaviate_io.files.csv_starts.MAX_FIELD_CHARS", 16 << 20)
    tracemalloc.start()
    try:
        parts = list(divide(str(file), "csv", 8 << 20))
        tracemalloc.reset_peak()
        count = sum(1 for _ in zip(read_part(parts[1]), range(100_000), strict=False))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (len(parts), count) == (3, 100_000)
    assert peak < 6_000_000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a file of every kind that is divided, and one that is not."""
    rows = [json.dumps({"n": n}) if n % 50 else "bad" for n in range(500)]
    (tmp_path / "a.jsonl").write_text("\n".join(rows))
    (tmp_path / "b.csv").write_text("n\n" + "".join(f'"{n}\nx"\n' if n % 50 else "1,2\n" for n in range(500)))
    (tmp_path / "c.json").write_text(json.dumps([{"n": n} for n in range(100)]))
    return tmp_path


def place(row: Any) -> str:
    return str(row.position)


def test_a_pipeline_reads_the_parts_of_a_file(folder: Path, runner: Runner) -> None:
    files = [(name, name.rpartition(".")[2]) for name in ("a.jsonl", "b.csv")]
    expected: Rows = [row for name, format in files for row in in_parts(folder / name, format, 300)[1]]
    expected += read_rows(str(folder / "c.json"))
    pipeline = runner.pipeline()
    rows, failed = pipeline | ReadRows(f"{folder}/*", part_bytes=300)
    assert_that(rows, equal_to([row for row in expected if isinstance(row, SourceRow)]), "rows")
    places = [place(row) for row in expected if isinstance(row, FailedObject)]
    assert_that(failed | beam.Map(place), equal_to(places), "failed")
    result = pipeline.run()
    result.wait_until_finish()
    totals = counters(result)
    assert (totals["rows_read"], totals["rows_unreadable"]) == (490 + 490 + 100, 20)
    assert totals["bytes_read"] == sum(file.stat().st_size for file in folder.iterdir())


def test_a_file_with_vectors_stays_whole(folder: Path) -> None:
    np.save(folder / "v.npy", np.arange(500, dtype=np.float32).reshape(500, 1))
    with FN_API.pipeline() as pipeline:
        rows, _ = pipeline | ReadRows(
            f"{folder}/a.jsonl", part_bytes=300, vectors=f"{folder}/v.npy", vector_column="v"
        )
        found = rows | beam.Map(lambda row: (row.row["n"], int(row.row["v"][0]), row.position))
        assert_that(found, equal_to([(n, n, f"{folder}/a.jsonl: line {n + 1}") for n in range(500) if n % 50]))
