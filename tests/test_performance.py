"""The cost of an object beside the official client's, in the same process: ratios of CPU, with room for noise."""

from __future__ import annotations

import platform
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from typing import Any

import apache_beam as beam
import grpc
import pyarrow as pa
import pytest
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

import weaviate_io
from benchmarks.encoding import SCHEMA, joined, official, ours, ours_together, rows, with_lists
from benchmarks.raw import limits
from weaviate_io import WriteToWeaviate, arrow, client
from weaviate_io.columns import ColumnEncoder
from weaviate_io.encoding import ObjectEncoder, join_request
from weaviate_io.flow import Flow
from weaviate_io.mapping import Mapper
from weaviate_io.schema import CollectionSchema

ROUNDS = 3


def least_cpu(function: Callable[[], Any]) -> float:
    """Seconds of CPU of this process; the least of some rounds, as others only add to it."""
    times = []
    for _ in range(ROUNDS):
        started = time.process_time()
        function()
        times.append(time.process_time() - started)
    return min(times)


def from_table(data: list[dict[str, Any]], vectors: pa.DataType) -> Callable[[], bytes]:
    """What a table of the rows is encoded by."""
    columns: dict[str, Any] = {name: [row[name] for row in data] for name in ("id", "title", "url", "views")}
    table = pa.table({**columns, "embedding": pa.array([row["embedding"] for row in data], vectors)})
    mapper = Mapper("Article", id_field="id", vector_field="embedding")
    encoder = ColumnEncoder(mapper, ObjectEncoder(SCHEMA), SCHEMA)
    return lambda: joined(encoder.encode_table(table, limits))


def test_an_object_is_encoded_with_a_fraction_of_the_official_clients_cpu() -> None:
    data = rows(300)
    lists = with_lists(data)
    theirs = least_cpu(lambda: official(lists))
    assert least_cpu(lambda: ours(data)) <= theirs / 6
    assert least_cpu(lambda: ours_together(data)) <= theirs / 12
    assert least_cpu(lambda: ours_together(lists)) <= theirs / 5
    for vectors in (pa.list_(pa.float32(), 768), pa.list_(pa.float32())):
        encode = from_table(data, vectors)
        assert encode() == ours(data)
        assert least_cpu(encode) <= theirs / 15


EVERYTHING = CollectionSchema.from_rest(
    {
        "class": "Everything",
        "vectorizer": "none",
        "properties": [
            {"name": "texts", "dataType": ["text[]"]},
            {"name": "date", "dataType": ["date"]},
            {"name": "uuid", "dataType": ["uuid"]},
            {
                "name": "object",
                "dataType": ["object"],
                "nestedProperties": [{"name": "n", "dataType": ["int"]}],
            },
        ],
    }
)


def test_columns_of_any_type_are_encoded_with_a_fraction_of_what_rows_take() -> None:
    count = 1000
    ids = [str(uuid.UUID(int=number)) for number in range(count)]
    table = pa.table(
        {
            "id": ids,
            "texts": [["a tag", f"tag {number}"] if number % 10 else None for number in range(count)],
            "date": pa.array(range(count), pa.timestamp("ms", "UTC")),
            "uuid": ids,
            "object": [{"n": number} if number % 10 else None for number in range(count)],
        }
    )
    mapper = Mapper("Everything", id_field="id")
    encode = ObjectEncoder(EVERYTHING).encode
    columns = ColumnEncoder(mapper, ObjectEncoder(EVERYTHING), EVERYTHING)

    def by_rows() -> bytes:
        return join_request(encode(mapper.map(row, EVERYTHING)) for row in arrow.rows(table))

    def by_columns() -> bytes:
        return joined(columns.encode_table(table, limits))

    assert by_columns() == by_rows()
    assert least_cpu(by_columns) <= least_cpu(by_rows) / 3


def test_importing_a_write_adds_little_to_importing_beam() -> None:
    program = """
import time
started = time.process_time()
import apache_beam
beam = time.process_time()
from weaviate_io import WriteToWeaviate
print(beam - started, time.process_time() - beam)
"""
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    beam_takes, ours_takes = map(float, ran.stdout.split())
    assert ours_takes <= beam_takes / 5


def test_a_write_imports_no_reader_check_or_dead_letter_of_others() -> None:
    program = """
import sys
from weaviate_io import WriteToWeaviate
print(*sorted(name for name in sys.modules if name.startswith("weaviate_io.")))
"""
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    imported = set(ran.stdout.split())
    assert "weaviate_io.write" in imported
    assert (
        not {f"weaviate_io.{name}" for name in ("files", "check", "failures", "references", "testing")}
        & imported
    )


@pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason="other libraries keep freed memory as they see fit"
)
def test_the_memory_of_a_request_is_used_again_for_the_next_one() -> None:
    program = """
import resource
from weaviate_io.connection import WeaviateConnection
from weaviate_io.transport import Certificates, open_channel

def fresh_pages():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        requests = [b"." * 4_000_000 for _ in range(4)]
        del requests
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

before = fresh_pages()
open_channel(WeaviateConnection("http://localhost"), Certificates()).close()
print(before, fresh_pages())
"""
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    before, after = map(int, ran.stdout.split())
    assert after <= before / 4


def test_every_public_name_is_there() -> None:
    assert {name for name in weaviate_io.__all__ if not hasattr(weaviate_io, name)} == set()
    assert set(weaviate_io.__all__) <= set(dir(weaviate_io))
    with pytest.raises(AttributeError, match="has no attribute 'WriteToMilvus'"):
        weaviate_io.WriteToMilvus  # noqa: B018


class Acknowledged:
    """A call that is answered at once: all is well."""

    def code(self) -> grpc.StatusCode:
        return grpc.StatusCode.OK

    def result(self) -> bytes:
        return b""

    def add_done_callback(self, callback: Callable[[Any], None]) -> None:
        callback(self)


class FreeServer:
    """A client of a server that costs nothing, not even a round trip."""

    max_message_size = 104_858_000
    starts_at_once = True

    def __init__(self) -> None:
        self.flow = Flow(90.0)
        self.requests = 0

    def schema(self, name: str, refresh: bool = False) -> Any:
        return SCHEMA

    def redact(self, text: str) -> str:
        return text

    def stored_dimensions(self, schema: Any) -> dict[str, int]:
        return {}

    def start_search(self, request: Any) -> Acknowledged:
        return Acknowledged()

    def batch_objects(self, request: bytes, timeout: float) -> Acknowledged:
        self.requests += 1
        return Acknowledged()


DATA = rows(1000)


def block_of_rows(number: int) -> list[dict[str, Any]]:
    """Found by its name where the pipeline runs, so that the rows are not copied."""
    return DATA


def test_a_pipeline_takes_less_than_the_official_client_needs_to_encode(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = FreeServer()
    monkeypatch.setattr(client, "acquire", lambda connection: server)
    monkeypatch.setattr(client, "release", lambda connection: None)

    def write(times: int) -> None:
        with beam.Pipeline(runner=FnApiRunner()) as pipeline:
            source = pipeline | beam.Create(range(times)) | beam.FlatMap(block_of_rows)
            fields = {"id_field": "id", "vector_field": "embedding"}
            # Of a request with two blocks half would be the same objects.
            source | WriteToWeaviate("Article", url="http://none", batch_size=len(DATA), **fields)

    write(1)
    whole = (least_cpu(lambda: write(6)) - least_cpu(lambda: write(1))) / 5
    assert server.requests >= ROUNDS * 6
    lists = with_lists(DATA)
    assert whole <= least_cpu(lambda: official(lists)) / 2
