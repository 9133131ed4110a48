"""Traps of Beam's runners and coders that a write must not fall into, each shown to be avoided."""

from __future__ import annotations

import threading
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.metrics import Metrics
from apache_beam.transforms.timeutil import TimeDomain
from apache_beam.transforms.userstate import BagStateSpec, TimerSpec, on_timer
from apache_beam.transforms.window import SlidingWindows

from tests.write.running import DIRECT, FN_API, Keep, kept
from weaviate_io import WeaviateObject, WriteToWeaviate, client
from weaviate_io.batching import GroupBoundedIntoBatches, _BatchFn
from weaviate_io.testing import ErrorsWhere

SCHEMA = {"class": "Article", "properties": [{"name": "number", "dataType": ["int"]}]}
BATCHINGS = pytest.mark.parametrize("batching", ["bundle", "group_into_batches"])
IN_PROCESS = pytest.mark.parametrize("runner", [FN_API, DIRECT], ids=lambda runner: runner.name)


@pytest.fixture
def into(fake: Any) -> dict[str, Any]:
    fake.create_collection(SCHEMA)
    return {"collection": "Article", "url": fake.url, "grpc_url": fake.grpc_url}


def rows(count: int) -> list[dict[str, Any]]:
    return [{"number": i} for i in range(count)]


class CountThem(beam.DoFn):
    def process(self, element: Any) -> Any:
        Metrics.counter("user", "seen").inc()
        yield element


@IN_PROCESS
@BATCHINGS
@pytest.mark.parametrize("count", [10, 700, 2050])
def test_metrics_of_a_user_behind_a_batch_are_complete(into, runner, batching, count):
    pipeline = runner.pipeline()
    result = pipeline | beam.Create(rows(count)) | WriteToWeaviate(**into, batching=batching)
    result.written | beam.ParDo(CountThem())
    finished = pipeline.run()
    finished.wait_until_finish()
    (seen,) = finished.metrics().query(beam.metrics.MetricsFilter().with_name("seen"))["counters"]
    assert seen.result == count


@IN_PROCESS
@BATCHINGS
def test_setup_is_not_repeated(write, into, monkeypatch, runner, batching):
    """The legacy runner sets a DoFn up for each bundle and try; a client would be opened for each."""
    events = []
    for name in ("acquire", "release"):
        original = getattr(client, name)

        def counted(connection: Any, name: str = name, original: Any = original) -> Any:
            events.append(name)
            return original(connection)

        monkeypatch.setattr(client, name, counted)
    write(rows(2050), WriteToWeaviate(**into, batching=batching), runner)
    dofns = {"bundle": 1, "group_into_batches": 2}[batching]
    assert events.count("acquire") == events.count("release") == dofns


class GroupByTimer(beam.DoFn):
    """A user's own batches, let out by a timer."""

    VALUES = BagStateSpec("values", beam.coders.PickleCoder())
    END = TimerSpec("end", TimeDomain.WATERMARK)

    def process(
        self,
        element: Any,
        window: Any = beam.DoFn.WindowParam,
        values: Any = beam.DoFn.StateParam(VALUES),
        end: Any = beam.DoFn.TimerParam(END),
    ) -> None:
        values.add(element[1])
        end.set(window.max_timestamp())

    @on_timer(END)
    def out(self, values: Any = beam.DoFn.StateParam(VALUES)) -> Any:
        yield from values.read()
        values.clear()


@IN_PROCESS
@BATCHINGS
@pytest.mark.parametrize("count", [10, 250])
def test_a_timer_behind_a_write_loses_nothing(into, tmp_path, runner, batching, count):
    with runner.pipeline() as pipeline:
        result = pipeline | beam.Create(rows(count)) | WriteToWeaviate(**into, batching=batching)
        keyed = result.written | beam.Map(lambda one: (len(one.uuid), one))
        keyed | beam.ParDo(GroupByTimer()) | beam.ParDo(Keep(tmp_path))
    assert len(list(kept(tmp_path))) == count


@IN_PROCESS
@BATCHINGS
@pytest.mark.parametrize("count", [10, 250])
def test_a_write_behind_a_write_loses_nothing(fake, into, tmp_path, runner, batching, count):
    """What the first one writes is the input of the second."""
    fake.create_collection({"class": "Log", "properties": [{"name": "of", "dataType": ["uuid"]}]})
    at = {"url": fake.url, "grpc_url": fake.grpc_url, "batching": batching}
    with runner.pipeline() as pipeline:
        first = pipeline | beam.Create(rows(count)) | "First" >> WriteToWeaviate("Article", **at)
        second = (
            first.written | beam.Map(lambda one: {"of": one.uuid}) | "Second" >> WriteToWeaviate("Log", **at)
        )
        second.written | beam.ParDo(Keep(tmp_path))
    assert len(list(kept(tmp_path))) == count
    assert len(fake.objects) == 2 * count


@IN_PROCESS
@BATCHINGS
@pytest.mark.parametrize("count", [10, 250])
def test_wait_on_and_side_inputs_of_both_outputs_together(fake, into, tmp_path, runner, batching, count):
    fake.behave(lambda request, number: ErrorsWhere(refuse_odd))
    with runner.pipeline() as pipeline:
        result = pipeline | beam.Create(rows(count)) | WriteToWeaviate(**into, batching=batching)
        once = pipeline | "Once" >> beam.Create([0])
        counts = once | beam.Map(
            lambda _, written, failed: (len(written), len(failed)),
            beam.pvalue.AsList(result.written),
            beam.pvalue.AsList(result.failed),
        )
        counts | "Counts" >> beam.ParDo(Keep(tmp_path / "counts"))
        waited = once | beam.WaitOn(result.written, result.failed) | "Late" >> beam.Map(lambda _: "late")
        waited | "Waited" >> beam.ParDo(Keep(tmp_path / "waited"))
    assert [one.value for one in kept(tmp_path / "counts")] == [(count // 2, count // 2)]
    assert [one.value for one in kept(tmp_path / "waited")] == ["late"]


def refuse_odd(message: Any) -> str | None:
    number = message.properties.non_ref_properties.fields["number"].number_value
    return "invalid integer property 'number' on class 'Article': odd" if number % 2 else None


def test_the_timer_of_a_bounded_batch_is_inside_its_window():
    """At window.end, one tick later, what it lets out would be dropped by some runners."""

    class Timer:
        at: Any = None

        def set(self, at: Any) -> None:
            self.at = at

        def clear(self) -> None:
            self.at = None

    class State(list):
        def add(self, value: Any) -> None:
            self.append(value)

        def read(self) -> Any:
            return self[-1] if self and isinstance(self[-1], tuple) and len(self[-1]) == 2 else (self or None)

        write = add

    window, timer = beam.transforms.window.IntervalWindow(0, 10), Timer()
    values, size = State(), State()
    value = (b"payload", 0, None)
    assert list(_BatchFn(10).process(("key", value), window, values, size, timer)) == []
    assert timer.at == window.max_timestamp() < window.end


def test_a_bounded_batch_has_no_timer_of_processing_time():
    """One such timer would move a pipeline to the local runner that loses batches."""
    _, timers = beam.transforms.userstate.get_dofn_specs(_BatchFn(10))
    assert {timer.time_domain for timer in timers} == {TimeDomain.WATERMARK}


@pytest.mark.parametrize("count, batch_size", [(10, 100), (250, 100), (200, 100), (1050, 500)])
@IN_PROCESS
def test_bounded_batches_are_full_and_complete(tmp_path, runner, count, batch_size):
    elements = [("Article", (b"x" * 10, i, None)) for i in range(count)]
    with runner.pipeline() as pipeline:
        batches = pipeline | beam.Create(elements, reshuffle=False) | GroupBoundedIntoBatches(batch_size)
        batches | beam.Map(lambda batch: batch[1]) | beam.ParDo(Keep(tmp_path))
    found = [one.value for one in kept(tmp_path)]
    assert sorted(i for batch in found for _, i, _ in batch) == list(range(count))
    full, rest = divmod(count, batch_size)
    assert sorted(map(len, found)) == sorted([batch_size] * full + [rest] * bool(rest))


@IN_PROCESS
def test_bounded_batches_are_limited_in_bytes(tmp_path, runner):
    elements = [("Article", (b"x" * 1_000_000, i, None)) for i in range(10)]
    with runner.pipeline() as pipeline:
        batches = pipeline | beam.Create(elements, reshuffle=False) | GroupBoundedIntoBatches(500)
        batches | beam.Map(lambda batch: len(batch[1])) | beam.ParDo(Keep(tmp_path))
    assert sorted(one.value for one in kept(tmp_path)) == [2, 4, 4]


@BATCHINGS
def test_windows_do_not_multiply_calls(write, into, fake, batching):
    """A DoFn that asks for the window, or has state, is called once for each."""

    class Stamped(beam.PTransform):
        def expand(self, begin: Any) -> Any:
            stamped = (
                begin
                | beam.Create(range(10))
                | beam.Map(lambda i: beam.window.TimestampedValue({"number": i}, i))
            )
            return stamped | beam.WindowInto(SlidingWindows(40, 10))

    done = write(Stamped(), WriteToWeaviate(**into, batching=batching))
    sent = sum(len(request.uuids) for request in fake.requests if request.method == "BatchObjects")
    assert (sent, len(done.written), done.counters["written"]) == (10, 40, 10)


def test_a_truncating_write_waits_although_the_first_bundle_is_there(write, into, fake, monkeypatch):
    """No object is sent, and no schema read, before the collection is made anew."""
    from weaviate_io import emptying

    reached = []
    original = emptying.truncate

    def late(*args: Any) -> Any:
        reached.append(len(fake.requests))
        return original(*args)

    monkeypatch.setattr(emptying, "truncate", late)
    write(rows(5), WriteToWeaviate(**into))
    before = len(fake.requests)
    write([{"number": 99}], WriteToWeaviate(**into, write_disposition="WRITE_TRUNCATE"))
    assert reached == [before]
    assert len(fake.objects) == 1


@BATCHINGS
def test_uuids_as_integers_of_128_bits_fail_their_row_only(write, into, batching):
    given = [WeaviateObject({"number": 1}, uuid=2**127), {"number": 2}]
    done = write(given, WriteToWeaviate(**into, batching=batching), through="group_by_key")
    assert [one.reason for one in done.failed] == ["invalid_uuid"]
    assert len(done.written) == 1


@IN_PROCESS
def test_a_write_leaves_no_threads_behind(write, into, runner):
    write(rows(5), WriteToWeaviate(**into), runner)
    names = {thread.name for thread in threading.enumerate() if "weaviate_io" in thread.name}
    assert names == set()
