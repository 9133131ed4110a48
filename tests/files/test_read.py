from __future__ import annotations

import gzip

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam import coders
from apache_beam.testing import test_pipeline
from apache_beam.testing.util import assert_that, equal_to

from weaviate_io.files import ReadRows, format_of, match, read_rows
from weaviate_io.objects import FailedObject, SourceRow


@pytest.mark.parametrize(
    "path, format",
    [
        ("a.json", "json"),
        ("A.JSON.GZ", "json"),
        ("gs://b/a.jsonl.zst", "jsonl"),
        ("a.ndjson", "jsonl"),
        ("a.csv.bz2", "csv"),
        ("a.tsv", "tsv"),
        ("a.parquet", "parquet"),
        ("a.avro", "avro"),
    ],
)
def test_the_name_says_the_format(path, format):
    assert format_of(path) == format


def test_a_forced_format_wins():
    assert format_of("part-00000", "csv") == "csv"


@pytest.mark.parametrize(
    "arguments, words",
    [
        (("a.txt",), r"a\.txt: .* known are \.json, .*--format"),
        (("part-00000",), "--format"),
        (("a.json.deflate",), "--format"),
        (("a.json", "xml"), "format 'xml' is unknown; known are json, jsonl, csv, tsv, parquet, avro"),
        (("a.parquet.gz",), "decompress the file first"),
    ],
)
def test_unknown_formats_are_one_line(arguments, words):
    with pytest.raises(ValueError, match=words) as error:
        format_of(*arguments)
    assert "\n" not in str(error.value)


def test_json_forced_to_lines_is_not_taken_for_an_array(tmp_path):
    path = tmp_path / "x.json"
    path.write_text('[1]\n{"a": 2}\n')
    bad, good = read_rows(str(path), "jsonl")
    assert isinstance(bad, FailedObject)
    assert good.row == {"a": 2}


def test_a_broken_file_ends_in_one_failure_with_its_place(tmp_path):
    path = tmp_path / "x.json"
    path.write_text('[{"a": 1}, {"a": oops}]')
    first, failed = read_rows(str(path))
    assert first == SourceRow({"a": 1}, f"{path}: item 1")
    assert failed == FailedObject(
        reason="unreadable",
        error="Expecting value; the rest of this file was not read",
        attempts=0,
        collection=None,
        tenant=None,
        uuid=None,
        object=None,
        row='{"a": oops}]',
        position=f"{path}: item 2, byte 17",
    )


def test_match_gives_each_file_once_with_its_size(tmp_path):
    (tmp_path / "b.json").write_text("[]")
    (tmp_path / "a.json").write_text("")
    found = match([f"{tmp_path}/*.json", f"{tmp_path}/b.json"])
    assert [(file.path, file.size_in_bytes) for file in found] == [
        (f"{tmp_path}/a.json", 0),
        (f"{tmp_path}/b.json", 2),
    ]
    assert match(f"{tmp_path}/a.json")[0].path == f"{tmp_path}/a.json"


@pytest.mark.parametrize("name", ["nothing.json", "nothing-*.json"])
def test_a_pattern_without_a_file_is_named(tmp_path, name):
    (tmp_path / "a.json").write_text("")
    with pytest.raises(FileNotFoundError, match=r"^no file matches '.*nothing.*'$"):
        match([f"{tmp_path}/a.json", f"{tmp_path}/{name}"])


@pytest.mark.parametrize("end", ["", "/"])
def test_a_directory_is_refused(tmp_path, end):
    (tmp_path / "a.json").write_text("")
    with pytest.raises(IsADirectoryError, match=r"give a pattern such as '.*/\*\.json'"):
        match([f"{tmp_path}{end}"])


@pytest.mark.parametrize(
    "arguments, words",
    [
        ({"patterns": []}, "no input files"),
        ({"patterns": ["x"], "format": "xml"}, "format 'xml' is unknown"),
        ({"patterns": ["x"], "vectors": "v.npy"}, "go together"),
        ({"patterns": ["x"], "vector_column": "v"}, "go together"),
    ],
)
def test_wrong_arguments_are_refused_at_once(arguments, words):
    with pytest.raises(ValueError, match=words):
        ReadRows(**arguments)


def test_the_outputs_have_coders_of_their_own():
    rows, failed = beam.Pipeline() | ReadRows(["no-such-file.json"])
    assert rows.element_type is SourceRow
    assert failed.element_type is FailedObject
    assert isinstance(coders.registry.get_coder(failed.element_type), coders.RowCoder)


@pytest.mark.parametrize(
    "options",
    [[], ["--direct_running_mode=multi_processing", "--direct_num_workers=2"]],
    ids=["in process", "two processes"],
)
def test_a_pipeline_reads_all_formats_and_counts(tmp_path, options):
    (tmp_path / "a.json").write_text('[{"n": 1}, 2]')
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(b'{"n": 3}\nbad\n'))
    (tmp_path / "c.csv").write_text("n\n4\n")
    pq.write_table(pa.table({"n": [5]}), tmp_path / "d.parquet")
    pipeline = test_pipeline.TestPipeline(runner="FnApiRunner", argv=options)
    rows, failed = pipeline | ReadRows([f"{tmp_path}/*"])
    # Behind a shuffle, so that both outputs go through their coders.
    assert_that(
        rows | "Shuffle rows" >> beam.Reshuffle(),
        equal_to(
            [
                SourceRow({"n": 1}, f"{tmp_path}/a.json: item 1"),
                SourceRow({"n": 3}, f"{tmp_path}/b.jsonl.gz: line 1"),
                SourceRow({"n": "4"}, f"{tmp_path}/c.csv: row 1", True),
                SourceRow({"n": 5}, f"{tmp_path}/d.parquet: row 1"),
            ]
        ),
        "rows",
    )
    assert_that(
        failed
        | "Shuffle failed" >> beam.Reshuffle()
        | beam.Map(lambda failure: (failure.position, failure.row)),
        equal_to([(f"{tmp_path}/a.json: item 2", "2"), (f"{tmp_path}/b.jsonl.gz: line 2", "bad\n")]),
        "failed",
    )
    result = pipeline.run()
    result.wait_until_finish()
    counters = {
        counter.key.metric.name: counter.committed
        for counter in result.metrics().query()["counters"]
        if counter.key.metric.namespace == "weaviate_io"
    }
    assert counters["rows_read"] == 4
    assert counters["rows_unreadable"] == 2
    assert counters["bytes_read"] >= sum(file.stat().st_size for file in tmp_path.iterdir())


def test_a_pipeline_reads_vectors_beside_one_file(tmp_path):
    (tmp_path / "a.json").write_text('[{"n": 1}, {"n": 2}]')
    np.save(tmp_path / "v.npy", np.array([[1, 2], [3, 4]], np.float32))
    with test_pipeline.TestPipeline(runner="FnApiRunner") as pipeline:
        rows, _ = pipeline | ReadRows([f"{tmp_path}/a.json"], vectors=f"{tmp_path}/v.npy", vector_column="v")
        assert_that(
            rows | beam.Map(lambda row: (row.row["n"], row.row["v"].tolist())),
            equal_to([(1, [1, 2]), (2, [3, 4])]),
        )


@pytest.mark.parametrize(
    "names, options, words",
    [
        ([], {}, "no file matches"),
        (["a.txt"], {}, "--format"),
        (["a.json", "b.json"], {"vectors": "v.npy", "vector_column": "v"}, "2 files match"),
    ],
)
def test_a_pipeline_fails_with_the_reason(tmp_path, names, options, words):
    for name in names:
        (tmp_path / name).write_text("")
    with pytest.raises(Exception, match=words), test_pipeline.TestPipeline(runner="FnApiRunner") as pipeline:
        _ = pipeline | ReadRows([f"{tmp_path}/*"], **options)
