"""Tables as elements: their rows go out in blocks, and each is judged as if it had come alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tests.write.running import Done, run_write
from weaviate_io import WriteToWeaviate, generate_uuid5
from weaviate_io.errors import WeaviateError
from weaviate_io.objects import FailedObject, WeaviateObject
from weaviate_io.sender import Sender
from weaviate_io.testing import Disconnect, ErrorsWhere, FakeWeaviate, Ok

SCHEMA = {
    "class": "Article",
    "vectorizer": "none",
    "properties": [{"name": "number", "dataType": ["int"]}, {"name": "title", "dataType": ["text"]}],
}


def table(rows: int, **columns: Any) -> pa.Table:
    numbers = np.arange(rows)
    vectors = np.stack([numbers + 1, np.full(rows, 0.5), -numbers], 1).astype(np.float32)
    return pa.table(
        {
            "number": numbers,
            "title": [f"title {n}" for n in numbers],
            "embedding": pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), 3),
            **columns,
        }
    )


@pytest.fixture
def fake(fake: FakeWeaviate) -> FakeWeaviate:
    fake.create_collection(SCHEMA)
    return fake


@pytest.fixture
def write(fake: FakeWeaviate, tmp_path: Any) -> Any:
    def run(elements: Any, **options: Any) -> Done:
        options = {"id_field": "number", "vector_field": "embedding", **options}
        transform = WriteToWeaviate("Article", url=fake.url, grpc_url=fake.grpc_url, **options)
        return run_write(elements, transform, tmp_path)

    return run


def stored(fake: FakeWeaviate) -> dict[str, tuple[str, list[float]]]:
    return {
        uuid: (
            message.properties.non_ref_properties["title"],
            np.frombuffer(message.vector_bytes, "<f4").tolist(),
        )
        for (_, _, uuid), message in fake.objects.items()
    }


def expected(*numbers: int) -> dict[str, tuple[str, list[float]]]:
    return {generate_uuid5(n): (f"title {n}", [n + 1.0, 0.5, -float(n)]) for n in numbers}


def batches(fake: FakeWeaviate) -> list[int]:
    return [len(one.uuids) for one in fake.requests if one.method == "BatchObjects"]


@pytest.mark.parametrize("as_batches", [False, True], ids=["table", "record batches"])
def test_all_rows_are_written_in_few_requests(write: Any, fake: FakeWeaviate, as_batches: bool) -> None:
    given = table(2500)
    done = write(given.to_batches(700) if as_batches else [given])
    assert not done.failed and len(done.written) == 2500
    assert {one.uuid for one in done.written} == stored(fake).keys()
    assert stored(fake) == expected(*range(2500))
    assert sum(batches(fake)) == 2500 and len(batches(fake)) <= 4


def test_a_refused_row_fails_alone_with_its_place_in_the_table(write: Any, fake: FakeWeaviate) -> None:
    refused = ErrorsWhere(
        lambda one: "no such luck" if one.properties.non_ref_properties["number"] in (3, 450) else None
    )
    fake.behave(lambda *_: refused)
    done = write([table(600)])
    assert {(one.position, one.error, one.attempts) for one in done.failed} == {
        ("table: row 3", "no such luck", done.failed[0].attempts),
        ("table: row 450", "no such luck", done.failed[0].attempts),
    }
    failed = next(one for one in done.failed if one.position == "table: row 3")
    assert isinstance(failed, FailedObject) and failed.object is not None
    assert failed.object.properties == {"number": 3, "title": "title 3"} and failed.uuid == generate_uuid5(3)
    assert stored(fake) == expected(*(n for n in range(600) if n not in (3, 450)))


def test_a_bad_row_fails_alone_and_its_neighbours_are_written(write: Any, fake: FakeWeaviate) -> None:
    given = table(300)
    vectors = given["embedding"].to_pylist()
    vectors[7][1] = float("nan")
    vectors[250] = [1.0]
    given = given.set_column(2, "embedding", pa.array(vectors, pa.list_(pa.float32())))
    done = write([given], dimensions=3)
    assert {(one.position, one.reason) for one in done.failed} == {
        ("table: row 7", "invalid_vector"),
        ("table: row 250", "invalid_vector"),
    }
    assert stored(fake) == expected(*(n for n in range(300) if n not in (7, 250)))


def test_of_equal_ids_the_last_is_stored_and_all_share_its_outcome(write: Any, fake: FakeWeaviate) -> None:
    given = table(200).append_column("key", pa.array([n // 2 for n in range(200)]))
    done = write([given], id_field="key", properties=["number", "title"])
    assert len(done.written) == 200 and len({one.uuid for one in done.written}) == 100
    assert done.counters["duplicates"] == 100
    assert {title for title, _ in stored(fake).values()} == {f"title {n}" for n in range(1, 200, 2)}


def as_table(count: int, title: str) -> pa.Table:
    return pa.table({"number": np.arange(count), "title": [title] * count})


OLD_BEFORE_NEW = {
    "chunks of a table": [pa.concat_tables([as_table(100, "old"), as_table(2000, "new")])],
    "tables": [as_table(100, "old"), as_table(2000, "new")],
    "few rows before a table": [as_table(3, "old"), as_table(2000, "new")],
    "dicts before a table": [*as_table(100, "old").to_pylist(), as_table(2000, "new")],
    "dicts before others": [
        *as_table(100, "old").to_pylist(),
        *(WeaviateObject({"number": n, "title": "new"}, uuid=generate_uuid5(n)) for n in range(2000)),
    ],
}


@pytest.mark.parametrize("kind", OLD_BEFORE_NEW)
def test_what_waits_for_company_is_not_overtaken_by_what_replaces_it(
    write: Any, fake: FakeWeaviate, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    sent: dict[str, bytes] = {}
    submit = Sender.submit

    def watched(sender: Sender, schema: Any, objects: Any) -> Any:
        for entry in objects:
            sent[entry.uuid] = entry.payload
        return submit(sender, schema, objects)

    monkeypatch.setattr(Sender, "submit", watched)
    done = write(OLD_BEFORE_NEW[kind], vector_field=None)
    assert not done.failed and len(sent) == 2000
    assert all(b"new" in payload for payload in sent.values())


def test_others_that_wait_for_company_go_on_waiting(write: Any, fake: FakeWeaviate) -> None:
    rest = pa.table({"number": np.arange(2000, 2003), "title": ["rest"] * 3})
    write([rest, as_table(2000, "new"), as_table(2003, "rest").slice(2002)], vector_field=None)
    assert sorted(batches(fake)) == [3, 2000]  # two of one id are one


def test_a_table_for_a_collection_that_is_not_there_fails_the_job_in_one_line(
    fake: FakeWeaviate, tmp_path: Any
) -> None:
    transform = WriteToWeaviate("Absent", url=fake.url, grpc_url=fake.grpc_url, id_field="number")
    with pytest.raises(WeaviateError, match="collection Absent does not exist") as raised:
        run_write([table(100)], transform, tmp_path)
    assert "CollectionNotFound" not in str(raised.value)


def test_a_column_that_is_not_written_costs_no_row(write: Any, fake: FakeWeaviate) -> None:
    unreadable = pa.DictionaryArray.from_arrays(pa.array([0] * 100), pa.array(["x"], pa.string_view()))
    given = table(100, when=pa.array([1] * 100, pa.timestamp("us", "Nowhere/At_All")), code=unreadable)
    keys = given["number"].to_pylist()
    keys[3] = None
    given = given.set_column(0, "number", pa.array(keys, pa.int64()))
    done = write([given], properties=["title"])
    assert [(one.position, one.reason) for one in done.failed] == [("table: row 3", "missing_id")]
    assert len(done.written) == 99


def test_what_may_be_stored_is_repaired(write: Any, fake: FakeWeaviate) -> None:
    fake.script(Disconnect(stored=True), Ok())
    done = write([table(600)])
    assert not done.failed and len(done.written) == 600
    assert done.counters["unknown_outcomes"] and done.counters["repaired"]
    assert stored(fake) == expected(*range(600)) and not fake.unindexed


def test_what_a_killed_worker_left_is_found_and_repaired(write: Any, fake: FakeWeaviate) -> None:
    write([table(400)])
    fake.unindexed.update({("Article", "", generate_uuid5(n)) for n in (5, 300)})
    done = write([table(400)])
    # Each is looked for before it is sent, and with the rest of a repaired request once more after.
    assert done.counters["verified"] == 800 and done.counters["unindexed"] == 2
    assert not done.failed and not fake.unindexed and stored(fake) == expected(*range(400))


def test_tables_with_few_rows_share_a_request(write: Any, fake: FakeWeaviate) -> None:
    done = write([table(300).slice(start, 3) for start in range(0, 300, 3)])
    assert len(done.written) == 300 and stored(fake) == expected(*range(300))
    assert len(batches(fake)) <= 2


def test_rows_of_tenants_share_a_request(fake: FakeWeaviate, tmp_path: Any) -> None:
    fake.reset()
    fake.create_collection({**SCHEMA, "multiTenancyConfig": {"enabled": True, "autoTenantCreation": True}})
    given = table(300, tenant=[f"t{n % 3}" for n in range(300)])
    transform = WriteToWeaviate(
        "Article",
        url=fake.url,
        grpc_url=fake.grpc_url,
        id_field="number",
        vector_field="embedding",
        tenant_field="tenant",
    )
    done = run_write([given], transform, tmp_path)
    assert not done.failed and {(one.tenant, one.uuid) for one in done.written} == {
        (f"t{n % 3}", generate_uuid5(n)) for n in range(300)
    }
    assert {(tenant, uuid) for _, tenant, uuid in fake.objects} == {
        (one.tenant, one.uuid) for one in done.written
    }


@pytest.mark.parametrize("tenants", [3, 40])
def test_what_a_killed_worker_left_is_found_in_each_tenant(
    fake: FakeWeaviate, tmp_path: Any, tenants: int
) -> None:
    fake.reset()
    fake.create_collection({**SCHEMA, "multiTenancyConfig": {"enabled": True, "autoTenantCreation": True}})
    given = table(800, tenant=[f"t{n % tenants}" for n in range(800)])

    def write(given: pa.Table) -> Done:
        names = {"id_field": "number", "vector_field": "embedding", "tenant_field": "tenant"}
        return run_write(
            [given], WriteToWeaviate("Article", url=fake.url, grpc_url=fake.grpc_url, **names), tmp_path
        )

    write(given.slice(400))
    before = len(fake.requests)
    write(given.slice(0, 400))
    assert [one.method for one in fake.requests[before:]].count("Search") == tenants
    fake.unindexed.update({("Article", f"t{n % tenants}", generate_uuid5(n)) for n in (5, 300)})
    done = write(given.slice(0, 400))
    assert done.counters["verified"] == 800 and done.counters["unindexed"] == 2
    assert not done.failed and not fake.unindexed and len(fake.objects) == 800


def test_the_level_of_consistency_goes_with_a_block(write: Any, fake: FakeWeaviate) -> None:
    assert len(write([table(300)], consistency_level="QUORUM").written) == 300
    assert stored(fake) == expected(*range(300))
