"""What a worker holds, and for how long: connections, buffers, input elements, outcomes."""

from __future__ import annotations

import copy
import dataclasses
import os
import threading
import uuid
from typing import Any

import apache_beam as beam
import grpc
import numpy as np
import pyarrow as pa
import pytest
from apache_beam.pvalue import TaggedOutput
from apache_beam.utils.timestamp import Timestamp
from apache_beam.utils.windowed_value import WindowedValue

from tests.fuzz.strategies import ODD
from tests.write.running import DIRECT, FN_API, LOOPBACK, TWO_PROCESSES
from weaviate_io import WeaviateConnection, WeaviateObject, WriteToWeaviate, client
from weaviate_io.batching import BundleBuffer, RowBuffer, size_of
from weaviate_io.errors import WeaviateError
from weaviate_io.objects import SourceRow
from weaviate_io.request import Entry
from weaviate_io.schema import CollectionSchema
from weaviate_io.testing import Delay, Fail, Ok
from weaviate_io.writing import EncodeFn, WriteInBundleFn

SCHEMA = {
    "class": "Article",
    "properties": [{"name": "number", "dataType": ["int"]}, {"name": "tags", "dataType": ["text[]"]}],
}
BATCHINGS = pytest.mark.parametrize("batching", ["bundle", "group_into_batches"])
ROWS = [{"number": i} for i in range(20)]


@pytest.fixture(autouse=True)
def own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing that other tests left open: Beam's bundle-based runner tears no failed bundle down."""
    monkeypatch.setattr(client, "_registry", client._Registry())


@pytest.fixture
def into(fake: Any) -> dict[str, Any]:
    fake.create_collection(SCHEMA)
    return {"collection": "Article", "url": fake.url, "grpc_url": fake.grpc_url}


@pytest.fixture
def connection(fake: Any) -> WeaviateConnection:
    return WeaviateConnection(fake.url, grpc_url=fake.grpc_url)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What happened to connections of this process, in order."""
    events: list[str] = []
    for name, event in (("__init__", "opened"), ("close", "closed")):
        original = getattr(client.Client, name)

        def wrapped(self: Any, *args: Any, original: Any = original, event: str = event) -> Any:
            events.append(event)
            return original(self, *args)

        monkeypatch.setattr(client.Client, name, wrapped)
    return events


@pytest.mark.parametrize("runner", [FN_API, DIRECT, LOOPBACK], ids=lambda runner: runner.name)
@BATCHINGS
def test_what_is_opened_is_closed(write, into, opened, runner, batching):
    write(ROWS, WriteToWeaviate(**into, batching=batching), runner)
    assert opened.count("opened") >= 1
    assert opened.count("opened") == opened.count("closed")
    assert client._registry._clients == {}


def test_a_process_has_one_client_for_a_connection(connection, opened):
    again = WeaviateConnection(connection.url, grpc_url=connection.grpc_url)
    first, second = client.acquire(connection), client.acquire(again)
    assert first is second
    client.release(connection)
    assert opened == ["opened"]
    assert first.describe("Nothing") is None  # still open for its other user
    client.release(again)
    assert opened == ["opened", "closed"]


def test_many_threads_open_one_client(connection, opened):
    together = threading.Barrier(8)
    clients = []

    def use() -> None:
        together.wait()
        clients.append(client.acquire(connection))

    threads = [threading.Thread(target=use) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(map(id, clients))) == 1 and opened == ["opened"]
    for _ in threads:
        client.release(connection)
    assert opened == ["opened", "closed"]


def test_a_client_that_could_not_be_opened_is_tried_again(connection, fake):
    closed = WeaviateConnection("http://127.0.0.1:1", grpc_url=fake.grpc_url)
    for _ in range(2):
        with pytest.raises(WeaviateError, match="nothing listens there"):
            client.acquire(closed)
    client.release(closed)  # of which nothing comes
    assert client._registry._clients == {}


class Bundle:
    """A DoFn run by hand: what the SDK calls, in its order."""

    def __init__(self, dofn: Any) -> None:
        self.dofn = dofn
        dofn.setup()

    def process(self, *elements: Any) -> list[Any]:
        window = WindowedValue(None, Timestamp(0), (beam.transforms.window.GlobalWindow(),))
        return [out for element in elements for out in self.dofn.process(element, window)]


def written(outputs: Any) -> int:
    return sum(isinstance(out, WindowedValue) for out in outputs)


def write_fn(into: dict[str, Any], **options: Any) -> WriteInBundleFn:
    transform = WriteToWeaviate(**into, **options)
    return WriteInBundleFn(dataclasses.replace(transform._settings, name="test"))


def test_setup_reads_no_schema(fake):
    """A step before may create the collection, and on some runners it runs after setup()."""
    fn = write_fn({"collection": "Article", "url": fake.url, "grpc_url": fake.grpc_url})
    bundle = Bundle(fn)
    fn.start_bundle()
    fake.create_collection(SCHEMA)
    bundle.process(*ROWS)
    assert written(fn.finish_bundle()) == 20
    fn.teardown()


def test_a_failed_process_leaves_nothing_for_the_next_bundle(into, fake):
    fn = write_fn(into, batch_size=5, max_errors=0)
    bundle = Bundle(fn)
    fn.start_bundle()
    with pytest.raises(Exception, match="an object failed"):
        bundle.process(*ROWS[:9], {"number": "bad"})  # five wait for each other
    fn.start_bundle()
    outputs = [*bundle.process(*ROWS[10:12]), *fn.finish_bundle()]
    assert len(outputs) == 2
    assert {out.value.uuid for out in outputs} <= {uuid for _, _, uuid in fake.objects}
    fn.teardown()


def test_a_failed_finish_leaves_nothing_for_the_next_bundle(into, fake):
    fn = write_fn(into)
    bundle = Bundle(fn)
    fake.script(Fail(grpc.StatusCode.UNIMPLEMENTED, "no such method"))
    fn.start_bundle()
    bundle.process(*ROWS[:7])
    with pytest.raises(WeaviateError, match="writing to Article failed: UNIMPLEMENTED"):
        list(fn.finish_bundle())
    fn.start_bundle()
    bundle.process(*ROWS[10:12])
    assert written(fn.finish_bundle()) == 2
    assert len(fake.objects) == 2
    fn.teardown()


def test_a_generator_that_is_left_half_read_leaves_nothing_for_the_next_bundle(into, fake):
    """An exception downstream ends the outputs of a bundle in the midst."""
    fn = write_fn(into, batch_size=5)
    bundle = Bundle(fn)
    fn.start_bundle()
    bundle.process(*ROWS[:4])  # they wait for a fifth
    outputs = fn.finish_bundle()
    next(outputs)
    outputs.close()
    fn.start_bundle()
    bundle.process({"number": 99})
    assert written(fn.finish_bundle()) == 1
    fn.teardown()


def test_teardown_does_not_cancel_what_is_in_flight(into, fake):
    """A cancelled write may be stored without being indexed."""
    fn = write_fn(into, batch_size=5, verify="off")  # else it is sent with what comes after its look-up
    bundle = Bundle(fn)
    fake.behave(lambda request, number: Delay(1e6, then=Ok()))
    fn.start_bundle()
    bundle.process(*ROWS[:5])
    fake.wait_until(lambda: fake.hanging == 1)
    closing = threading.Thread(target=fn.teardown)
    closing.start()
    fake.release()
    closing.join()
    assert len(fake.objects) == 5


@pytest.mark.parametrize("kind", [WriteInBundleFn, EncodeFn])
def test_input_elements_are_not_changed(into, fake, kind):
    table = pa.table({"number": [1, 2], "v": [[1.0, 2.0], [3.0, 4.0]]})
    given = [
        {"number": 1, "tags": ["a"], "v": np.array([1.0, 2.0])},
        {"number": "bad", "tags": ["b"], "v": [1.0, 2.0]},
        {"number": 2, "tags": "refused", "v": [1.0, 2.0]},
        {"number": 4, "tags": None, "v": [1.0]},
        beam.Row(number=5, v=[1.0, 2.0]),
        WeaviateObject(
            {"number": 3, "tags": ["c"]}, uuid="no uuid", vector=np.array([1.0, 2.0]), references={}
        ),
        WeaviateObject({"number": 3}, uuid=uuid.UUID(int=1), vector={"default": [1.0, 2.0]}, tenant=None),
        SourceRow({"number": "7", "tags": "[]", "v": "[1, 2]"}, "x.csv: line 1", True),
        table,
    ]
    copies = copy.deepcopy(given)
    transform = WriteToWeaviate(**into, vector_field="v")
    fn = kind(dataclasses.replace(transform._settings, name="test"))
    bundle = Bundle(fn)
    fn.start_bundle()
    outputs = [*bundle.process(*given), *(fn.finish_bundle() or ())]
    fn.teardown()
    assert len(outputs) == len(given) + 1
    assert repr(given) == repr(copies)
    again = Bundle(kind(dataclasses.replace(transform._settings, name="test")))
    again.dofn.start_bundle()
    failures = [getattr(out.value, "value", out.value) for out in outputs if isinstance(out, TaggedOutput)]
    more = again.process(*failures)
    assert more and repr(given) == repr(copies)
    again.dofn.teardown()


class Stub:
    """A sender that only tells sizes."""

    max_bytes = 4_000_000

    def __init__(self, objects: int) -> None:
        self._objects = objects

    def request_size(self, schema: Any) -> int:
        return self._objects


def an_entry(size: int, tenant: str | None = None) -> Entry:
    return Entry((b"x" * size,), "uuid", tenant)


@pytest.mark.parametrize("collections, tenants", [(300, 1), (1, 10_000), (30, 100)])
def test_a_bundle_holds_a_bounded_number_of_bytes(collections, tenants):
    buffer = BundleBuffer(Stub(objects=7000), limit=1_000_000)  # type: ignore[arg-type]
    schemas = [CollectionSchema(f"C{i}", {}, {}) for i in range(collections)]
    held = gone = peak = 0
    count = 20_000
    for i in range(count):
        item = an_entry(500, f"t{i % tenants}")
        held += item.size
        for _, items in buffer.add(schemas[i % collections], item):
            held -= sum(one.size for one in items)
            gone += len(items)
        peak = max(peak, held)
    assert peak <= 1_000_000 and held > 0
    gone += sum(len(items) for _, items in buffer.flush())
    assert gone == count
    assert list(buffer.flush()) == []


def test_a_bundle_gives_out_the_largest_batch_first():
    buffer = BundleBuffer(Stub(objects=1000), limit=10_000)  # type: ignore[arg-type]
    schemas = [CollectionSchema(name, {}, {}) for name in "AB"]
    assert list(buffer.add(schemas[0], an_entry(2_000))) == []
    assert list(buffer.add(schemas[1], an_entry(6_000))) == []
    (batch,) = buffer.add(schemas[0], an_entry(2_500))
    assert batch[0].name == "B"


def test_a_bundle_closes_a_batch_by_count_and_by_bytes():
    schema = CollectionSchema("A", {}, {})
    by_count = BundleBuffer(Stub(objects=3))  # type: ignore[arg-type]
    assert [len(items) for _ in range(7) for _, items in by_count.add(schema, an_entry(10))] == [3, 3]
    by_bytes = BundleBuffer(Stub(objects=1000))  # type: ignore[arg-type]
    batches = [items for _ in range(10) for _, items in by_bytes.add(schema, an_entry(1_500_000))]
    assert [len(items) for items in batches] == [2] * 4


def test_ten_thousand_tenants_share_requests(write, fake):
    """Tenants are mixed in a request: there is no batch for each."""
    tenancy = {"enabled": True, "autoTenantCreation": True}
    fake.create_collection({**SCHEMA, "multiTenancyConfig": tenancy})
    rows = [{"number": i, "who": f"t{i}"} for i in range(10_000)]
    transform = WriteToWeaviate("Article", url=fake.url, grpc_url=fake.grpc_url, tenant_field="who")
    done = write(rows, transform)
    assert len(done.written) == 10_000
    assert done.counters["requests"] < 50


def test_two_processes_are_two(write, into):
    done = write(ROWS, WriteToWeaviate(**into), TWO_PROCESSES, bundles=8)
    assert len(done.pids) == 2 and os.getpid() not in done.pids


def test_rows_wait_until_they_are_as_many_or_as_large_as_a_request():
    by_count = RowBuffer(lambda: 40, 1_000_000)
    assert [by_count.add({"id": n}, f"element {n}", n) for n in range(40)] == [False] * 39 + [True]
    rows, elements, origins = by_count.take()
    assert [row["id"] for row in rows] == origins == list(range(40))
    assert elements == [f"element {n}" for n in range(40)]
    assert by_count.take() == ([], [], [])
    large = RowBuffer(lambda: 1000, 1_000_000)  # as the first one shows
    assert [large.add({"id": n, "text": "x" * 100_000}, None, n) for n in range(9)] == [False] * 8 + [True]
    growing = RowBuffer(lambda: 1000, 1_000_000)  # as is noticed of the others
    taken = [growing.add({"id": n, "text": "x" * (100_000 if n else 1)}, None, n) for n in range(17)]
    assert taken == [False] * 16 + [True]
    tokens = RowBuffer(lambda: 1000, 1_000_000)  # 51,200 bytes, which the length of an array does not tell
    taken = [
        tokens.add({"id": n, "vector": np.zeros((100, 128), np.float32)} if n else {}, None, n)
        for n in range(33)
    ]
    assert taken == [False] * 32 + [True]


@pytest.mark.parametrize(
    "value",
    [[[0.5] * 128] * 195, [0.5] * 25_000, {"inner": ["x" * 100_000]}, ["x" * 50_000] * 2],
    ids=["tokens", "numbers", "object", "texts"],
)
def test_rows_are_measured_by_what_is_in_their_values(value: Any) -> None:
    rows = RowBuffer(lambda: 1000, 1_000_000)
    taken = [rows.add({"id": n, "value": value} if n else {}, None, n) for n in range(17)]
    assert taken == [False] * 16 + [True]


class Unmeasurable:
    def __len__(self):
        raise ValueError("nobody knows")


def test_a_row_that_cannot_be_measured_is_left_to_the_encoder():
    nested: list[Any] = []
    for _ in range(100_000):
        nested = [nested]
    assert size_of({"a": nested}) == 1
    branching: dict[str, Any] = {}
    branching["children"] = [{"parent": branching}, {"parent": branching}]
    assert size_of(branching) == 1
    for value in ODD:
        assert size_of({"a": value}) >= 1
        assert not RowBuffer(lambda: 40, 1_000_000).add({"a": value}, None, None)
    assert RowBuffer(lambda: 0, 100).add({}, None, None)
    unmeasured = RowBuffer(lambda: 40, 1_000_000)
    assert [unmeasured.add({"text": Unmeasurable()}, None, None) for _ in range(40)] == [False] * 39 + [True]
