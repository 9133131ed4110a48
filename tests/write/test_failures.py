"""What cannot be written: how it ends, what is told of it, and how it is written after all."""

from __future__ import annotations

import dataclasses
import logging
import uuid
from array import array
from typing import Any, NamedTuple

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pytest
from apache_beam import coders
from apache_beam.testing.util import assert_that, equal_to
from apache_beam.transforms.error_handling import CollectingErrorHandler

from tests.write.running import FN_API, LOOPBACK, TWO_PROCESSES
from weaviate_io import FailedObject, WeaviateObject, WriteToWeaviate, generate_uuid5
from weaviate_io.client import acquire, release
from weaviate_io.encoding import ObjectEncoder, decode_object
from weaviate_io.limits import CheckTotal, FailureLimit, Limit, TooManyErrors, describe
from weaviate_io.objects import SourceRow
from weaviate_io.schema import CollectionSchema
from weaviate_io.testing import Errors, ErrorsWhere
from weaviate_io.translating import Translator

SCHEMA = {
    "class": "Article",
    "properties": [
        {"name": "number", "dataType": ["int"]},
        {"name": "title", "dataType": ["text"]},
        {"name": "secret", "dataType": ["text"]},
    ],
}
BATCHINGS = pytest.mark.parametrize("batching", ["bundle", "group_into_batches"])
REFUSAL = "invalid text property 'title' on class 'Article': not today"


@pytest.fixture
def into(fake: Any) -> dict[str, Any]:
    fake.create_collection(SCHEMA)
    return {"collection": "Article", "url": fake.url, "grpc_url": fake.grpc_url, "id_field": "number"}


def good(count: int) -> list[dict[str, Any]]:
    return [{"number": i, "title": f"t{i}"} for i in range(count)]


def bad(count: int) -> list[dict[str, Any]]:
    return [{"number": i, "title": 5, "secret": "payload"} for i in range(1000, 1000 + count)]


def refuse_all(request: Any, number: int) -> ErrorsWhere:
    return ErrorsWhere(lambda message: REFUSAL)


@BATCHINGS
def test_raise_fails_the_job_at_the_first_failure(write, into, batching):
    with pytest.raises(Exception, match="an object failed, none is allowed; the first of them:") as error:
        write([*good(5), *bad(1)], WriteToWeaviate(**into, on_failure="raise", batching=batching))
    assert ": invalid_property: property 'title' of Article expects text" in str(error.value)
    assert len(write(good(5), WriteToWeaviate(**into, on_failure="raise", batching=batching)).written) == 5


@BATCHINGS
def test_raise_fails_the_job_when_the_server_refuses(write, into, fake, batching):
    fake.behave(refuse_all)
    with pytest.raises(Exception, match=r"an object failed, none is allowed; .*\n.*not today"):
        write(good(3), WriteToWeaviate(**into, on_failure="raise", batching=batching))


@BATCHINGS
def test_more_failures_than_max_errors_fail_the_job(write, into, batching):
    transform = WriteToWeaviate(**into, max_errors=3, batching=batching)
    assert len(write([*good(5), *bad(3)], transform).failed) == 3
    with pytest.raises(Exception, match="4 objects failed, max_errors=3 is allowed"):
        write([*good(5), *bad(4)], transform)


@BATCHINGS
def test_a_transform_that_is_used_again_counts_anew(write, into, batching):
    transform = WriteToWeaviate(**into, max_errors=3, batching=batching)
    assert [len(write(bad(3), transform).failed) for _ in range(3)] == [3, 3, 3]


@BATCHINGS
def test_the_total_over_processes_counts(write, into, batching):
    """Of 5 failures in two processes none may have more than 4, and still they are too many."""
    rows = [row for pair in zip(good(5), bad(5), strict=True) for row in pair]
    with pytest.raises(Exception, match="5 objects failed, max_errors=4 is allowed"):
        write(rows, WriteToWeaviate(**into, max_errors=4, batching=batching), TWO_PROCESSES, bundles=4)


def failures(count: int) -> list[FailedObject]:
    return [
        FailedObject("why", f"because {i}", 1, "Article", None, f"id {i}", None, i, None) for i in range(count)
    ]


@pytest.mark.parametrize("runner", [FN_API, TWO_PROCESSES], ids=lambda runner: runner.name)
@pytest.mark.parametrize(
    ("limit", "exceeded"),
    [
        (Limit(5), ""),
        (Limit(4), "5 objects failed, max_errors=4 is allowed"),
        (Limit(max_error_rate=0.005), ""),
        (Limit(max_error_rate=0.0049), "5 of 1,000 objects failed, max_error_rate=0.0049 is allowed"),
        (Limit(9, 0.0049), "5 of 1,000 objects failed, max_error_rate=0.0049 is allowed"),
    ],
)
def test_the_total_counts_objects_of_all_windows(runner, limit, exceeded):
    """In the last step all objects are one sum, whatever their windows."""
    pipeline = runner.pipeline()
    objects = (
        pipeline
        | beam.Create(range(1000))
        | beam.Map(lambda i: beam.window.TimestampedValue(i, i))
        | beam.WindowInto(beam.window.FixedWindows(5))
    )
    told = failures(5)
    written = objects | "Written" >> beam.Filter(lambda i: i >= 5)
    failed = objects | "Failed" >> beam.Filter(lambda i: i < 5) | beam.Map(lambda i: told[i])
    (written, failed) | CheckTotal(limit)
    if not exceeded:
        pipeline.run().wait_until_finish()
        return
    with pytest.raises(Exception, match=exceeded) as error:
        pipeline.run().wait_until_finish()
    for i in range(5):
        assert f"\n  id {i} of Article: why: because {i}" in str(error.value)


def test_the_error_shows_the_first_ten_failures(write, into):
    with pytest.raises(Exception, match="12 objects failed, max_errors=11 is allowed") as error:
        write([*good(5), *bad(12)], WriteToWeaviate(**into, max_errors=11))
    shown = str(error.value).split("the first of them:")[-1]
    assert shown.count("invalid_property: property 'title' of Article expects text") == 10
    assert generate_uuid5(1000) in shown and generate_uuid5(1010) not in shown


@BATCHINGS
def test_a_share_of_failures_counts_from_1000_objects_on(write, into, batching):
    transform = WriteToWeaviate(**into, max_error_rate=0.1, batching=batching)
    assert len(write([*bad(100), *good(899)], transform).failed) == 100
    assert len(write([*bad(100), *good(900)], transform).failed) == 100
    with pytest.raises(Exception, match=r"of 1,0.. objects failed, max_error_rate=0\.1 is allowed"):
        write([*bad(102), *good(910)], transform)


def test_a_share_of_failures_counts_what_the_server_refuses(write, into, fake):
    fake.behave(lambda request, number: ErrorsWhere(lambda m: REFUSAL if m.uuid[0] in "012" else None))
    with pytest.raises(Exception, match=r"objects failed, max_error_rate=0\.1 is allowed"):
        write(good(2000), WriteToWeaviate(**into, max_error_rate=0.1))


def test_a_share_of_failures_stops_a_process_before_the_input_ends():
    limit = FailureLimit("early", Limit(max_error_rate=0.01))
    for failure in failures(10):
        limit.taken(1)
        limit.failed(failure)
    limit.taken(989)
    limit.written(500)
    limit.taken(1)
    with pytest.raises(TooManyErrors, match="11 of 1,001 objects failed"):
        limit.taken(1)
        limit.failed(failures(11)[10])


@BATCHINGS
@pytest.mark.parametrize("runner", [FN_API, LOOPBACK], ids=lambda runner: runner.name)
def test_an_error_handler_gets_the_failures(into, batching, runner):
    with runner.pipeline() as pipeline:
        with CollectingErrorHandler() as handler:
            write = WriteToWeaviate(**into, batching=batching).with_error_handler(handler)
            pipeline | beam.Create([*good(4), *bad(3)]) | write
        reasons = handler.output() | beam.Map(lambda failure: failure.reason)
        assert_that(reasons, equal_to(["invalid_property"] * 3))


def test_no_error_handler_means_that_a_failure_fails_the_job(write, into):
    with pytest.raises(Exception, match="an object failed"):
        write([*good(4), *bad(1)], WriteToWeaviate(**into).with_error_handler(None))


@BATCHINGS
def test_the_first_ten_failures_are_logged_without_payload(write, into, caplog, batching):
    with caplog.at_level(logging.WARNING, "weaviate_io"):
        done = write([*good(4), *bad(15)], WriteToWeaviate(**into, batching=batching))
    lines = [record.getMessage() for record in caplog.records if record.name.startswith("weaviate_io")]
    assert len(done.failed) == 15
    assert len(lines) == 10
    for line in lines:
        assert line.startswith("not written: ") and "invalid_property" in line and "payload" not in line
    assert lines[0].split()[2] == generate_uuid5(1000)


def canonical(obj: Any) -> Any:
    """What an object is once it is encoded: the same for every way to say it."""
    schema = CollectionSchema.from_rest(SCHEMA)
    read = decode_object(ObjectEncoder(schema).encode(obj).payload, schema)
    return read.uuid, sorted(read.properties.items()), list(read.vector)


GIVEN = [
    WeaviateObject({"number": 1, "title": "a"}, uuid=uuid.UUID(int=1), vector=[0.5, 1.5]),
    WeaviateObject({"title": "b"}, uuid=str(uuid.UUID(int=2)), vector=np.array([1.0, 2.0])),
    WeaviateObject({"number": None, "title": "c"}, vector=array("f", [2.0, 3.0])),
]


@pytest.mark.parametrize("runner", [FN_API, TWO_PROCESSES], ids=lambda runner: runner.name)
@BATCHINGS
def test_failures_keep_their_objects(write, into, fake, batching, runner):
    fake.behave(refuse_all)
    del into["id_field"]
    done = write(GIVEN, WriteToWeaviate(**into, batching=batching), runner)
    assert {(one.reason, one.error, one.attempts, one.row) for one in done.failed} == {
        ("invalid_property", REFUSAL, 1, None)
    }
    assert sorted(canonical(one.object) for one in done.failed) == sorted(canonical(one) for one in GIVEN)
    assert all(one.uuid == one.object.uuid for one in done.failed)


def test_a_bundle_gives_failed_objects_back_as_they_were_given(write, into, fake):
    fake.behave(refuse_all)
    given = WeaviateObject({"number": 2**40, "title": "a"}, uuid=uuid.UUID(int=1), vector=[0.1, 0.2])
    done = write([given], WriteToWeaviate(**into, batching="bundle"))
    kept = done.failed[0].object
    assert kept.properties == given.properties and kept.vector == [0.1, 0.2]  # not rounded to float32


def test_after_a_shuffle_integers_are_integers_and_vectors_float32(write, into, fake):
    fake.behave(refuse_all)
    given = WeaviateObject({"number": 2**40, "title": "a"}, uuid=uuid.UUID(int=1), vector=[0.1, 0.2])
    done = write([given], WriteToWeaviate(**into, batching="group_into_batches"))
    kept = done.failed[0].object
    assert kept.properties == given.properties and type(kept.properties["number"]) is int
    assert list(kept.vector) == [np.float32(0.1), np.float32(0.2)]


@BATCHINGS
def test_rows_that_are_no_rows_are_kept_as_they_are(write, into, batching):
    given = ["a text", 5, None, {"title": "no key"}, object]
    done = write(given, WriteToWeaviate(**into, batching=batching))
    assert sorted(map(str, (one.row for one in done.failed))) == sorted(map(str, given))
    assert {one.object for one in done.failed} == {None}
    assert {one.reason for one in done.failed} == {"invalid_row", "missing_id"}


class Tuple(NamedTuple):
    number: int
    title: Any


@dataclasses.dataclass
class Data:
    number: int
    title: Any


ROWS = {
    "dict": {"number": 1, "title": 5},
    "beam.Row": beam.Row(number=1, title=5),
    "NamedTuple": Tuple(1, 5),
    "dataclass": Data(1, 5),
    "WeaviateObject": WeaviateObject({"number": 1, "title": 5}, uuid=generate_uuid5(1)),
    "table": pa.table({"number": [1], "title": [5]}),
    "record batch": pa.RecordBatch.from_pydict({"number": [1], "title": [5]}),
    "row of a file": SourceRow({"number": 1, "title": 5}, "x.json: line 1"),
    "text of a file": SourceRow({"number": "one", "title": "5"}, "x.csv: line 1", True),
}


@pytest.mark.parametrize("kind", ROWS)
@BATCHINGS
def test_every_kind_of_row_can_fail_and_be_replayed(write, into, fake, kind, batching):
    transform = WriteToWeaviate(**into, batching=batching)
    first = write([ROWS[kind]], transform, through="group_by_key")
    assert len(first.failed) == 1 and not first.written
    second = write(first.failed, transform, through="group_by_key")
    again = second.failed[0]
    assert identity(again) == identity(first.failed[0])
    fields = [{"name": "number", "dataType": ["number"]}, {"name": "title", "dataType": ["int"]}]
    if kind == "text of a file":
        fields[0]["dataType"] = ["text"]
    fake.reset()
    fake.create_collection({"class": "Article", "properties": fields})
    third = write(second.failed, transform)
    assert [one.uuid for one in third.written] == [uuid for _, _, uuid in fake.objects]
    if kind != "text of a file":
        assert third.written[0].uuid == generate_uuid5(1)


def test_rows_of_every_kind_can_fail_and_be_replayed_in_other_processes(write, into):
    transform = WriteToWeaviate(**into)
    first = write(list(ROWS.values()), transform, TWO_PROCESSES, through="group_by_key", bundles=2)
    second = write(first.failed, transform, TWO_PROCESSES, through="group_by_key", bundles=2)
    assert len(first.failed) == len(ROWS)
    assert sorted(map(identity, first.failed)) == sorted(map(identity, second.failed))


def identity(failure: Any) -> tuple[str, ...]:
    return failure.reason, str(failure.uuid), str(failure.position)


@BATCHINGS
def test_replaying_failures_keeps_ids_and_destinations(write, fake, batching):
    """Ids made of content or of a key stay, also where the server's schema or the mapping changed since."""
    names = ["Even", "Odd"]
    for name in names:
        fake.create_collection({**SCHEMA, "class": name, "multiTenancyConfig": {"enabled": True}})
    at = {"url": fake.url, "grpc_url": fake.grpc_url, "batching": batching}
    rows = [{"number": i, "title": f"t{i}", "who": f"w{i % 3}", "v": [float(i), 1.0]} for i in range(10)]
    transform = WriteToWeaviate(
        lambda row: names[row["number"] % 2], tenant_field="who", vector_field="v", id_field="number", **at
    )
    first = write(rows, transform)
    assert {one.reason for one in first.failed} == {"tenant_not_found"} and len(first.failed) == 10
    for name in names:
        fake._store.set_tenants(name, [{"name": f"w{i}"} for i in range(3)])
    again = write(first.failed, WriteToWeaviate(lambda row: "Nowhere", **at))
    assert not again.failed
    assert set(fake.objects) == {(names[i % 2], f"w{i % 3}", generate_uuid5(i)) for i in range(10)}
    stored = {key[2]: decode_object(message.SerializeToString()) for key, message in fake.objects.items()}
    for i in range(10):
        assert list(stored[generate_uuid5(i)].vector) == [float(i), 1.0]


HOSTILE = "half a pair \ud800"
HOSTILE_ROWS = {
    "id": WeaviateObject({"title": "x"}, uuid=HOSTILE, tenant="t"),
    "tenant": WeaviateObject({"title": "x"}, uuid=uuid.UUID(int=1), tenant=HOSTILE),
    "value": WeaviateObject({"title": HOSTILE}, uuid=uuid.UUID(int=2), tenant="t"),
    "name": WeaviateObject({HOSTILE: 1}, uuid=uuid.UUID(int=3), tenant="t"),
    "collection": WeaviateObject({"title": "x"}, uuid=uuid.UUID(int=4), tenant="t", collection=HOSTILE),
    "vector": WeaviateObject({"title": "x"}, uuid=uuid.UUID(int=5), tenant="t", vector={HOSTILE: [1.0]}),
    "vector value": WeaviateObject({"title": "x"}, uuid=uuid.UUID(int=5), tenant="t", vector=HOSTILE),
    "reference": WeaviateObject({}, uuid=uuid.UUID(int=5), tenant="t", references={HOSTILE: HOSTILE}),
    "position": SourceRow({"title": 7}, HOSTILE),
    "row": SourceRow({"title": HOSTILE}, "x.json: line 2"),
    "field": SourceRow({HOSTILE: 5}, "x.json: line 3"),
    "large number": {"title": 2**70},
    "text row": SourceRow({"title": "x", HOSTILE: HOSTILE}, "x.csv: line 1", True),
    "text": SourceRow(HOSTILE, "x.json: line 4"),
    "list": SourceRow([HOSTILE], "x.json: line 5"),
}


def hostile_row(kind: str) -> Any:
    # Not by beam.Create: its own coder takes no such text.
    return HOSTILE_ROWS[kind]


class Hostile(beam.PTransform):
    def expand(self, begin: Any) -> Any:
        kinds = begin | beam.Create([*HOSTILE_ROWS, "fine"], reshuffle=False)
        return kinds | beam.FlatMap(lambda kind: good(5) if kind == "fine" else [hostile_row(kind)])


@BATCHINGS
@pytest.mark.parametrize("runner", [FN_API, TWO_PROCESSES], ids=lambda runner: runner.name)
def test_hostile_text_fails_its_row_and_not_the_bundle(write, fake, runner, batching):
    """Lone surrogates wherever text may be; the coders of the outputs take no such text."""
    fake.create_collection({**SCHEMA, "multiTenancyConfig": {"enabled": True, "autoTenantCreation": True}})
    transform = WriteToWeaviate("Article", tenant="t", url=fake.url, grpc_url=fake.grpc_url, batching=batching)
    done = write(Hostile(), transform, runner, through="group_by_key")
    assert len(done.written) == 5
    assert len(done.failed) == len(HOSTILE_ROWS)
    again = write(done.failed, transform, runner, through="group_by_key")
    assert sorted(one.reason for one in again.failed) == sorted(one.reason for one in done.failed)


class Unportable:
    def __reduce__(self) -> Any:
        raise TypeError("not to be pickled")


@pytest.mark.parametrize("row", [{"number": 1, "title": Unportable()}, Unportable()], ids=["value", "row"])
def test_what_no_coder_takes_is_told_as_text(into, row):
    settings = WriteToWeaviate(**into)._settings
    translator = Translator(settings, acquire(settings.connection))
    (failure,) = translator.translate(row)
    release(settings.connection)
    assert failure.object is None and "Unportable" in failure.row
    assert coders.registry.get_coder(FailedObject).encode(failure)


def test_hostile_words_of_the_server_do_not_fail_the_bundle(write, into, fake):
    fake.script(Errors({0: "invalid text property 'title' on class 'Article': \x00 \uffff 🎉"}))
    done = write(good(2), WriteToWeaviate(**into), through="group_by_key")
    assert [one.error for one in done.failed] == [
        "invalid text property 'title' on class 'Article': \x00 \uffff 🎉"
    ]


def test_a_failure_out_of_another_process_is_described_too():
    failure = FailedObject("invalid_row", "no object", 0, "Article", None, "3f2c", None, None, None)
    made_by_beam = NamedTuple("BeamSchema", [(name, Any) for name in FailedObject._fields])(*failure)
    assert describe(made_by_beam) == describe(failure) == "3f2c of Article: invalid_row: no object"
