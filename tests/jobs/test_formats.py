"""Every format end to end on a real server: the same rows give the same objects, whatever file they come from."""

from __future__ import annotations

import bz2
import gzip
import io
import json
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import fastavro
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import requests
import weaviate

from tests.jobs.conftest import Run, dead_letters, write_json
from weaviate_io.testing import WeaviateServer

PROPERTIES = {
    "title": "text",
    "zip": "text",
    "year": "int",
    "price": "number",
    "sold": "boolean",
    "day": "date",
    "tags": "text[]",
}
ROWS: list[dict[str, Any]] = [
    {
        "key": f"key {n}",
        "title": f'title {n}, "quoted", ünïcode',
        "zip": f"0{n:04}",
        "year": 1900 + n if n % 4 else None,
        "price": n / 8,
        "sold": n % 2 == 0,
        "day": datetime(2024, 5, 1 + n, 12, tzinfo=timezone.utc),
        "tags": ["a", f"b{n}"],
        "v": [n / 16, 1.0, -2.5],
    }
    for n in range(20)
]


def json_rows() -> list[dict[str, Any]]:
    return [{**row, "day": row["day"].isoformat()} for row in ROWS]


def json_lines() -> bytes:
    return "".join(json.dumps(row) + "\n" for row in json_rows()).encode()


def table(separator: str) -> bytes:
    frame = pd.DataFrame(json_rows(), dtype=object)
    for column in ("tags", "v"):
        frame[column] = frame[column].map(json.dumps)
    return frame.to_csv(index=False, sep=separator).encode()


def parquet() -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(ROWS), sink, row_group_size=7)
    return sink.getvalue()


def avro() -> bytes:
    sink = io.BytesIO()
    moment = {"type": "long", "logicalType": "timestamp-micros"}
    types = {
        "key": "string",
        "title": "string",
        "zip": "string",
        "year": ["null", "long"],
        "price": "double",
        "sold": "boolean",
        "day": moment,
        "tags": {"type": "array", "items": "string"},
        "v": {"type": "array", "items": "float"},
    }
    fields = [{"name": name, "type": kind} for name, kind in types.items()]
    fastavro.writer(sink, {"type": "record", "name": "Row", "fields": fields}, ROWS)
    return sink.getvalue()


def zstd(data: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(data)
    return sink.getvalue().to_pybytes()


FILES: dict[str, Callable[[], bytes]] = {
    "rows.json": lambda: json.dumps(json_rows(), indent=1).encode(),
    "rows.jsonl": json_lines,
    "rows.csv": lambda: table(","),
    "rows.tsv": lambda: table("\t"),
    "rows.parquet": parquet,
    "rows.avro": avro,
    "rows.json.gz": lambda: gzip.compress(json.dumps(json_rows()).encode()),
    "rows.jsonl.zst": lambda: zstd(json_lines()),
    "rows.ndjson.bz2": lambda: bz2.compress(json_lines()),
    "rows.csv.gz": lambda: gzip.compress(table(",")),
    "rows.avro.gz": lambda: gzip.compress(avro()),
}


def schema(name: str, **more: Any) -> dict[str, Any]:
    properties = [{"name": field, "dataType": [kind]} for field, kind in PROPERTIES.items()]
    return {"class": name, "vectorizer": "none", "properties": properties, **more}


def read_back(witness: weaviate.WeaviateClient, name: str) -> dict[str, tuple[dict[str, Any], Any]]:
    found = witness.collections.get(name).iterator(include_vector=True)
    return {str(item.uuid): (dict(item.properties), item.vector.get("default")) for item in found}


@pytest.mark.parametrize("file", FILES)
def test_each_format_gives_the_same_objects(
    on_server: Run, witness: weaviate.WeaviateClient, new_name: Callable[[], str], file: str
) -> None:
    name = new_name()
    Path(file).write_bytes(FILES[file]())
    write_json("schema.json", schema(name))
    ran = on_server(
        *("import", "--input", file, "--collection", name, "--schema", "schema.json"),
        *("--id-field", "key", "--vector-field", "v"),
    )
    assert ran.code == 0, ran
    expected = {
        weaviate.util.generate_uuid5(row["key"]): (
            {field: row[field] for field in PROPERTIES},
            [float(np.float32(value)) for value in row["v"]],
        )
        for row in ROWS
    }
    assert read_back(witness, name) == expected


def test_vectors_of_a_npy_file_go_with_their_rows(
    on_server: Run, witness: weaviate.WeaviateClient, new_name: Callable[[], str]
) -> None:
    name = new_name()
    vectors = np.random.default_rng(7).random((20, 5))
    np.save("rows.npy", vectors)
    write_json("rows.json", [{"title": f"t{n}"} for n in range(20)])
    write_json("schema.json", schema(name))
    ran = on_server(
        *("import", "--input", "rows.json", "--vectors", "rows.npy"),
        *("--collection", name, "--schema", "schema.json"),
    )
    assert ran.code == 0, ran
    found = {row["title"]: vector for row, vector in read_back(witness, name).values()}
    for n in range(20):
        assert found[f"t{n}"] == pytest.approx(vectors[n], rel=1e-6)


def test_named_vectors_and_tenants(
    on_server: Run, witness: weaviate.WeaviateClient, new_name: Callable[[], str]
) -> None:
    name = new_name()
    none = {"vectorizer": {"none": {}}, "vectorIndexType": "hnsw"}
    definition = schema(
        name,
        vectorConfig={"title": none, "body": none},
        multiTenancyConfig={"enabled": True, "autoTenantCreation": True},
    )
    del definition["vectorizer"]
    write_json("schema.json", definition)
    write_json(
        "rows.json",
        [
            {"title": f"t{n}", "who": "ann" if n % 2 else "bob", "tv": [1.0, n], "bv": [2.0, n, 3]}
            for n in range(10)
        ],
    )
    ran = on_server(
        *("import", "--input", "rows.json", "--collection", name, "--schema", "schema.json"),
        *("--map", "title=title", "--vector-field", "title=tv", "body=bv", "--tenant-field", "who"),
    )
    assert ran.code == 0, ran
    collection = witness.collections.get(name)
    for tenant, odd in (("ann", 1), ("bob", 0)):
        found = {
            str(item.properties["title"]): item.vector
            for item in collection.with_tenant(tenant).iterator(include_vector=True)
        }
        assert found == {
            f"t{n}": {"title": [1.0, float(n)], "body": [2.0, float(n), 3.0]} for n in range(odd, 10, 2)
        }


def test_auto_schema_lets_the_server_guess(
    on_server: Run, witness: weaviate.WeaviateClient, new_name: Callable[[], str]
) -> None:
    name = new_name()
    write_json("rows.json", [{"title": "Dune", "year": 1965, "sold": True}])
    refused = on_server("import", "--input", "rows.json", "--collection", name)
    assert refused.code == 2
    assert refused.error.startswith(f"collection {name} does not exist; ")
    ran = on_server("import", "--input", "rows.json", "--collection", name, "--auto-schema")
    assert ran.code == 0, ran
    (item,) = witness.collections.get(name).iterator()
    assert item.properties == {"title": "Dune", "year": 1965, "sold": True}


def test_failures_are_replayed_after_the_schema_is_mended(
    on_server: Run, witness: weaviate.WeaviateClient, server: WeaviateServer, new_name: Callable[[], str]
) -> None:
    name = new_name()
    write_json("schema.json", schema(name))
    write_json("rows.json", [{"title": f"t{n}", **({"isbn": f"{n}"} if n % 3 == 0 else {})} for n in range(12)])
    ran = on_server("import", "--input", "rows.json", "--collection", name, "--schema", "schema.json")
    assert ran.code == 1
    assert len(dead_letters()) == 4
    url = f"{server.url}/v1/schema/{name}/properties"
    requests.post(url, json={"name": "isbn", "dataType": ["text"]}, timeout=30).raise_for_status()
    assert on_server("replay", "--input", "failed/*.jsonl").code == 0
    assert on_server("replay", "--input", "failed/*.jsonl").code == 0
    assert len(read_back(witness, name)) == 12


def test_what_the_server_refuses_keeps_its_words_and_its_uuid(
    on_server: Run, witness: weaviate.WeaviateClient, new_name: Callable[[], str]
) -> None:
    name = new_name()
    write_json("schema.json", schema(name))
    write_json("rows.json", [{"title": f"t{n}", "v": [1.0, 2.0, 3.0][: 2 + (n == 4)]} for n in range(5)])
    words = ("--input", "rows.json", "--collection", name, "--schema", "schema.json", "--vector-field", "v")
    assert on_server("import", *words).code == 1
    (letter,) = dead_letters()
    assert letter["reason"] == "invalid_vector"
    assert letter["uuid"] is not None
    assert {f"t{n}" for n in range(4)} <= {row["title"] for row, _ in read_back(witness, name).values()}


def test_truncating_keeps_the_schema(
    on_server: Run, witness: weaviate.WeaviateClient, new_name: Callable[[], str]
) -> None:
    name = new_name()
    write_json("schema.json", schema(name))
    write_json("rows.json", [{"title": "old", "zip": "1"}])
    write_json("new.json", [{"title": "new"}])
    assert (
        on_server("import", "--input", "rows.json", "--collection", name, "--schema", "schema.json").code == 0
    )
    ran = on_server(
        *("import", "--input", "new.json", "--collection", name),
        *("--write-disposition", "WRITE_TRUNCATE", "--yes"),
    )
    assert ran.code == 0, ran
    assert [row["title"] for row, _ in read_back(witness, name).values()] == ["new"]
    properties = witness.collections.get(name).config.get().properties
    assert {item.name for item in properties} == set(PROPERTIES)


def test_a_schema_that_the_server_refuses_is_told_in_one_line(
    on_server: Run, new_name: Callable[[], str]
) -> None:
    name = new_name()
    write_json("schema.json", {"class": name, "properties": [{"name": "title", "dataType": ["wrong"]}]})
    write_json("rows.json", [{"title": "x"}])
    ran = on_server("import", "--input", "rows.json", "--collection", name, "--schema", "schema.json")
    assert ran.code == 2
    assert name in ran.error
    assert "wrong" in ran.error
