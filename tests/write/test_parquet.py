"""Parquet files as tables on a real server: every type of property, tenants, named vectors, nulls, and one bad row."""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from weaviate.classes.config import Configure, DataType, Property

from tests.write.running import FN_API
from weaviate_io import WriteToWeaviate, generate_uuid5
from weaviate_io.counters import counters

ROWS = 400
START = dt.datetime(2024, 5, 1, 12, tzinfo=dt.timezone.utc)
BAD = 17


def row(number: int) -> dict[str, Any]:
    """What is to be stored of a row; every third one lacks what may be absent."""
    known = {
        "text": f"text {number}",
        "int": number,
        "number": number / 7,
        "boolean": number % 2 == 0,
        "date": START + dt.timedelta(milliseconds=number),
        "uuid": uuid.UUID(int=number + 1),
        "texts": [f"tag {number}", "common"],
        "ints": [number, -number],
        "numbers": [number / 3],
        "booleans": [True, False],
        "dates": [START, START + dt.timedelta(seconds=number)],
        "uuids": [uuid.UUID(int=number + 2)],
        "object": {"name": f"name {number}", "number": number},
        "objects": [{"name": "x", "number": number}, {"name": "y", "number": 1}],
    }
    return dict.fromkeys(known) | {"text": known["text"]} if number % 3 == 0 else known


def vectors(number: int) -> dict[str, list[float]]:
    one, other = [float(number + 1), 0.5, -1.0], [1.0, float(number)]
    return {"one": one} if number % 5 == 0 else {"one": one, "other": other}


def file_of(folder: Any) -> str:
    moment = pa.timestamp("ms", "UTC")
    types = {"date": moment, "dates": pa.list_(moment)}
    rows = [row(number) for number in range(ROWS)]
    columns = {}
    for name in rows[1]:
        values = [one[name] for one in rows]
        if name in ("uuid", "uuids"):
            values = [[str(one) for one in v] if isinstance(v, list) else v and str(v) for v in values]
        columns[name] = pa.array(values, types.get(name))
    one = [vectors(number)["one"] for number in range(ROWS)]
    one[BAD] = [1.0, float("nan"), 1.0]
    columns["key"] = pa.array(range(ROWS))
    columns["owner"] = pa.array([f"tenant{number % 3}" for number in range(ROWS)]).dictionary_encode()
    columns["first"] = pa.array(one, pa.list_(pa.float32(), 3))
    columns["second"] = pa.array([vectors(n).get("other") for n in range(ROWS)], pa.list_(pa.float32()))
    pq.write_table(pa.table(columns), folder / "rows.parquet", row_group_size=150)
    return str(folder / "rows.parquet")


@pytest.mark.parametrize("batching", ["bundle", "group_into_batches"])
def test_a_parquet_file_arrives_as_it_is(server, witness, new_name, tmp_path, batching):
    name = new_name()
    nested = [Property(name="name", data_type=DataType.TEXT), Property(name="number", data_type=DataType.INT)]
    kinds = ["text", "int", "number", "boolean", "date", "uuid"]
    witness.collections.create(
        name,
        multi_tenancy_config=Configure.multi_tenancy(enabled=True, auto_tenant_creation=True),
        vector_config=[
            Configure.Vectors.self_provided(name="one"),
            Configure.Vectors.self_provided(name="other"),
        ],
        properties=[
            *(Property(name=kind, data_type=DataType(kind)) for kind in kinds),
            *(Property(name=f"{kind}s", data_type=DataType(f"{kind}[]")) for kind in kinds),
            Property(name="object", data_type=DataType.OBJECT, nested_properties=nested),
            Property(name="objects", data_type=DataType.OBJECT_ARRAY, nested_properties=nested),
        ],
    )
    with FN_API.pipeline() as pipeline:
        outputs = (
            pipeline
            | beam.io.ReadFromParquetBatched(file_of(tmp_path))
            | WriteToWeaviate(
                name,
                url=server.url,
                grpc_url=server.grpc_url,
                id_field="key",
                tenant_field="owner",
                vector_field={"one": "first", "other": "second"},
                batching=batching,
            )
        )
        position = outputs.failed | beam.Map(lambda failed: f"{failed.position} {failed.reason}")
        position | beam.io.WriteToText(str(tmp_path / "failed"), shard_name_template="")
    counted = counters(pipeline.result)
    assert counted["written"] == ROWS - 1 and counted["failed"] == 1
    assert (tmp_path / "failed").read_text() == f"table: row {BAD} invalid_vector\n"
    collection = witness.collections.use(name)
    stored = {
        str(one.uuid): (tenant, one)
        for tenant in ("tenant0", "tenant1", "tenant2")
        for one in collection.with_tenant(tenant).iterator(include_vector=True)
    }
    assert stored.keys() == {generate_uuid5(number) for number in range(ROWS) if number != BAD}
    for number in set(range(ROWS)) - {BAD}:
        tenant, found = stored[generate_uuid5(number)]
        assert tenant == f"tenant{number % 3}"
        assert {key: value for key, value in found.properties.items() if value is not None} == {
            key: value for key, value in row(number).items() if value is not None
        }
        assert {key: np.float32(v).tolist() for key, v in found.vector.items() if v} == vectors(number)
