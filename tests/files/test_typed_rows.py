from __future__ import annotations

import datetime
import io
from decimal import Decimal

import fastavro
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from weaviate_io.files.typed_rows import read_avro, read_parquet
from weaviate_io.files.unreadable import BrokenFile
from weaviate_io.objects import SourceRow


def parquet(table: pa.Table, **options) -> bytes:
    out = io.BytesIO()
    pq.write_table(table, out, **options)
    return out.getvalue()


def avro(schema, records, **options) -> bytes:
    out = io.BytesIO()
    fastavro.writer(out, fastavro.parse_schema(schema), records, **options)
    return out.getvalue()


NUMBERS = {"type": "record", "name": "N", "fields": [{"name": "n", "type": "long"}]}


def test_parquet_rows_and_their_positions_over_row_groups():
    data = parquet(pa.table({"n": range(2_500)}), row_group_size=700)
    found = list(read_parquet(io.BytesIO(data), "x.parquet"))
    assert found[0] == SourceRow({"n": 0}, "x.parquet: row 1")
    assert found[-1] == SourceRow({"n": 2_499}, "x.parquet: row 2500")
    assert len(found) == 2_500


def test_parquet_vectors_are_arrays():
    vectors = pa.array([[1.0, 2.0], None, [3.0, 4.0]], pa.list_(pa.float32(), 2))
    table = pa.table({"v": vectors, "d": [Decimal("1.10"), None, None], "b": [b"\xff", None, None]})
    found = [row.row for row in read_parquet(io.BytesIO(parquet(table)), "x")]
    np.testing.assert_array_equal(found[2]["v"], np.array([3, 4], np.float32))
    assert found[0]["v"].dtype == np.float32
    assert (found[0]["d"], found[0]["b"]) == (Decimal("1.10"), b"\xff")
    assert found[1] == {"v": None, "d": None, "b": None}


@pytest.mark.parametrize("data", [b"", b"PAR1", b"no parquet at all", parquet(pa.table({"n": range(9)}))[:-20]])
def test_what_is_no_parquet_is_broken(data):
    with pytest.raises(BrokenFile, match=r"is no Parquet file that can be read: [^\n]+$"):
        list(read_parquet(io.BytesIO(data), "x.parquet"))


def test_parquet_with_a_damaged_page_gives_what_is_before_it():
    data = bytearray(parquet(pa.table({"n": np.arange(3_000)}), row_group_size=1_000, compression="gzip"))
    start = pq.ParquetFile(io.BytesIO(bytes(data))).metadata.row_group(2).column(0).dictionary_page_offset
    data[start + 40 : start + 80] = b"\xff" * 40
    found = []
    with pytest.raises(BrokenFile):
        for row in read_parquet(io.BytesIO(bytes(data)), "x.parquet"):
            found.append(row)
    assert len(found) == 2_000


def test_avro_rows_and_logical_types():
    schema = {
        "type": "record",
        "name": "R",
        "fields": [
            {"name": "at", "type": {"type": "long", "logicalType": "timestamp-micros"}},
            {"name": "vector", "type": ["null", {"type": "array", "items": "float"}]},
        ],
    }
    at = datetime.datetime(2024, 1, 2, 3, 4, 5, 6, tzinfo=datetime.timezone.utc)
    data = avro(schema, [{"at": at, "vector": [0.5]}, {"at": at, "vector": None}])
    assert list(read_avro(io.BytesIO(data), "x.avro")) == [
        SourceRow({"at": at, "vector": [0.5]}, "x.avro: row 1"),
        SourceRow({"at": at, "vector": None}, "x.avro: row 2"),
    ]


def test_avro_values_that_are_no_records_fail_alone():
    found = list(read_avro(io.BytesIO(avro("long", [1, 2])), "x.avro"))
    assert [(row.position, row.row) for row in found] == [("x.avro: row 1", "1"), ("x.avro: row 2", "2")]


@pytest.mark.parametrize("data", [b"", b"Obj\x01", b"no avro at all"])
def test_what_is_no_avro_is_broken(data):
    with pytest.raises(BrokenFile, match=r"is no Avro file that can be read: [^\n]+$"):
        list(read_avro(io.BytesIO(data), "x.avro"))


def test_cut_avro_gives_a_prefix_and_says_so_wherever_it_is_cut():
    data = avro(NUMBERS, [{"n": n} for n in range(300)], sync_interval=200)
    whole_blocks = 0
    for cut in range(len(data) - 60, len(data)):
        found = []
        try:
            for row in read_avro(io.BytesIO(data[:cut]), "x.avro"):
                found.append(row.row["n"])
        except BrokenFile:
            pass
        else:
            whole_blocks += 1
        assert found == list(range(len(found)))
    assert whole_blocks <= 1, "only a cut between two blocks cannot be seen"


def test_parquet_vectors_of_fixed_size_are_read_with_nulls_anywhere():
    kind = pa.list_(pa.float32(), 2)
    nested = pa.struct({"v": kind, "at": pa.timestamp("ns", "Europe/Paris")})
    table = pa.table(
        {
            "n": pa.array([None, {"v": None, "at": 1}, {"v": [1.0, 2.0], "at": None}], nested),
            "m": pa.array([[None, [1.0, 2.0]], None, []], pa.large_list(kind)),
            "w": pa.array([None, None, [1.0, 2.0]], kind).cast(kind),
        }
    ).replace_schema_metadata({"long": "x" * 40_000})
    found = [row.row for row in read_parquet(io.BytesIO(parquet(table)), "x")]
    assert found[1] == {"n": {"v": None, "at": "1970-01-01T00:00:00.000000001Z"}, "m": None, "w": None}
    assert found[0]["m"][0] is None and found[0]["m"][1].tolist() == [1, 2]
    assert found[2]["n"]["v"].tolist() == found[2]["w"].tolist() == [1, 2]


def test_parquet_of_a_fixed_shape_tensor_is_read():
    tensors = pa.FixedShapeTensorArray.from_numpy_ndarray(np.arange(8, dtype=np.float32).reshape(2, 2, 2))
    found = [row.row for row in read_parquet(io.BytesIO(parquet(pa.table({"v": tensors}))), "x")]
    assert found[1]["v"].tolist() == [[4, 5], [6, 7]]
