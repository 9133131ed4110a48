"""What happens while a pipeline is constructed: checks, and nothing else. No network, no secrets, no surprises."""

from __future__ import annotations

import datetime
import pickle
import socket
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.internal import cloudpickle_pickler, pickler
from apache_beam.io.restriction_trackers import OffsetRange, OffsetRestrictionTracker
from apache_beam.options.pipeline_options import DebugOptions
from apache_beam.portability.api import beam_runner_api_pb2
from apache_beam.runners.direct.direct_runner import BundleBasedDirectRunner
from apache_beam.transforms.window import FixedWindows

from tests.write.running import DIRECT, FN_API, LOOPBACK
from weaviate_io import (
    CheckWeaviate,
    FailedObject,
    ModelProvider,
    WeaviateConnection,
    WriteToWeaviate,
    WrittenObject,
)
from weaviate_io.testing import FakeWeaviate

URL = "http://weaviate.invalid:8080"
KEY = "hunter2-is-no-good-key"
BATCHINGS = pytest.mark.parametrize("batching", ["bundle", "group_into_batches"])


class Unbounded(beam.PTransform):
    """Numbers as rows, in a PCollection that says that it is unbounded."""

    def expand(self, begin: Any) -> beam.PCollection:
        rows = begin | beam.Create([{"number": i} for i in range(3)])
        rows.is_bounded = False
        return rows


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise AssertionError(f"network access: {args}")

    for name in ("connect", "connect_ex", "bind", "sendto"):
        monkeypatch.setattr(socket.socket, name, refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr("weaviate_io.client.Client.__init__", refuse)


@pytest.mark.parametrize("disposition", ["WRITE_APPEND", "WRITE_TRUNCATE", "WRITE_EMPTY"])
@BATCHINGS
def test_there_is_no_network_access(no_network, batching, disposition):
    pipeline = FN_API.pipeline()
    transform = WriteToWeaviate(
        "Article", url=URL, schema={"properties": []}, batching=batching, write_disposition=disposition
    )
    result = pipeline | beam.Create([{"number": 1}]) | transform
    result.failed | beam.Map(print)
    pipeline.to_runner_api()


def options(**more: Any) -> dict[str, Any]:
    return {
        "collection": "Article",
        "url": URL,
        "schema": lambda name: {"class": name},
        "id_field": lambda row: row["number"],
        "timezone": "Europe/Berlin",
        "headers": {"X-Cohere-Api-Key": "env:COHERE_KEY"},
        "model_providers": ModelProvider("openai", api_key="env:OPENAI_KEY", requests_per_minute=60),
        **more,
    }


@pytest.mark.parametrize("dumps", [pickler.dumps, pickle.dumps], ids=["beam", "pickle"])
def test_the_transform_can_be_pickled(dumps):
    loads = pickler.loads if dumps is pickler.dumps else pickle.loads
    functions = {} if dumps is pickler.dumps else {"schema": {"class": "Article"}, "id_field": "number"}
    transform = WriteToWeaviate(**options(api_key="env:KEY", **functions))
    again = loads(dumps(transform))
    assert again.display_data() == transform.display_data()
    pipeline = FN_API.pipeline()
    pipeline | beam.Create([1]) | again


@BATCHINGS
def test_no_secret_is_in_the_job(monkeypatch, batching):
    monkeypatch.setenv("WEAVIATE_TEST_SECRET", KEY)
    monkeypatch.setenv("COHERE_KEY", KEY)
    monkeypatch.setenv("OPENAI_KEY", KEY)
    pipeline = FN_API.pipeline()
    transform = WriteToWeaviate(**options(api_key="env:WEAVIATE_TEST_SECRET", batching=batching))
    pipeline | beam.Create([{"number": 1}]) | transform
    # Beam compresses what it pickles, so that no text could be found in the graph itself.
    dumped: list[bytes] = []
    dump = cloudpickle_pickler._dumps

    def keep(*args: Any, **more: Any) -> bytes:
        dumped.append(dump(*args, **more))
        return dumped[-1]

    monkeypatch.setattr(cloudpickle_pickler, "_dumps", keep)
    proto = pipeline.to_runner_api()
    everything = b"".join(dumped) + proto.SerializeToString()
    assert b"WEAVIATE_TEST_SECRET" in everything  # so that what is looked through is what is sent
    assert KEY.encode() not in everything


def test_a_literal_key_is_shown_nowhere(recwarn):
    cohere = ModelProvider("cohere", api_key=KEY)
    transform = WriteToWeaviate(
        "Article", url=URL, api_key=KEY, headers={"X-OpenAI-Api-Key": KEY}, model_providers=[cohere]
    )
    pipeline = FN_API.pipeline()
    pipeline | beam.Create([{"number": 1}]) | transform
    shown = [repr(transform), str(transform), repr(transform.display_data()), repr(transform._settings)]
    for one in pipeline.to_runner_api().components.transforms.values():
        shown += [one.unique_name, *(str(item) for item in one.display_data)]
    assert all(KEY not in text for text in shown)
    assert any("literal secret" in str(warning.message) for warning in recwarn)


@pytest.mark.parametrize(
    "given", [{"url": URL}, {"connection": WeaviateConnection(URL)}], ids=["url", "connection"]
)
def test_model_providers_are_headers_of_the_connection(given):
    providers = [ModelProvider("openai", api_key="env:A"), ModelProvider("cohere", api_key="env:B")]
    transform = WriteToWeaviate("Article", model_providers=providers, **given)
    assert transform._settings.connection == WeaviateConnection(
        URL, headers=providers[0].headers() | providers[1].headers()
    )


def test_model_providers_that_contradict_the_headers_are_refused():
    with pytest.raises(ValueError, match=r"the header X-Cohere-Api-Key .* is given by headers= too"):
        WriteToWeaviate(**options(model_providers=ModelProvider("cohere", api_key="env:OTHER")))


def test_a_literal_key_is_not_in_errors_of_the_job(write, recwarn):
    with FakeWeaviate(api_key="another") as locked, pytest.raises(Exception) as caught:
        write(
            [{"number": 1}], WriteToWeaviate("Article", url=locked.url, grpc_url=locked.grpc_url, api_key=KEY)
        )
    assert "lets nobody in with this api_key=" in str(caught.value)
    assert KEY not in str(caught.value)


def test_display_data():
    data = WriteToWeaviate(**options(batching="bundle")).display_data()
    assert data == {
        "collection": "Article",
        "url": URL,
        "grpc_target": "weaviate.invalid:50051",
        "batching": "bundle",
        "write_disposition": "WRITE_APPEND",
        "create_disposition": "CREATE_IF_NEEDED",
    }
    chosen = WriteToWeaviate(**options(collection=lambda row: "X")).display_data()
    assert chosen["collection"] == "chosen by a function"


def test_display_data_is_in_the_job():
    pipeline = FN_API.pipeline()
    pipeline | beam.Create([{"number": 1}]) | "Into Weaviate" >> WriteToWeaviate("Article", url=URL)
    transforms = pipeline.to_runner_api().components.transforms.values()
    (ours,) = [one for one in transforms if one.unique_name == "Into Weaviate"]
    assert any(b"weaviate.invalid" in item.payload for item in ours.display_data)


@BATCHINGS
@pytest.mark.parametrize("flags", [("--runtime_type_check",), ("--type_check_additional=all",)], ids=str)
def test_type_hints_hold_at_run_time(write, fake, batching, flags):
    fake.create_collection({"class": "Article", "properties": [{"name": "number", "dataType": ["int"]}]})
    transform = WriteToWeaviate("Article", url=fake.url, grpc_url=fake.grpc_url, batching=batching)
    rows = [*({"number": i} for i in range(5)), {"number": "x"}, {"other": 1}, "no row"]
    done = write(rows, transform, options=flags)
    assert (len(done.written), len(done.failed)) == (5, 3)


@BATCHINGS
@pytest.mark.parametrize("bounded", [True, False])
def test_outputs_have_types_and_row_coders(batching, bounded):
    pipeline = LOOPBACK.pipeline()
    rows = pipeline | (beam.Create([{"number": 1}]) if bounded else Unbounded())
    for dry_run in (False, True):
        transform = WriteToWeaviate("Article", url=URL, batching=batching, dry_run=dry_run)
        result = rows | f"{dry_run}" >> transform
        for pcoll, kind in ((result.written, WrittenObject), (result.failed, FailedObject)):
            assert pcoll.element_type is kind
            coder = beam.coders.registry.get_coder(pcoll.element_type)
            assert isinstance(coder, beam.coders.RowCoder)
            assert pcoll.is_bounded == bounded


@BATCHINGS
def test_every_pcollection_of_the_job_that_is_shuffled_has_a_coder_of_its_own(batching):
    """No fallback to pickling for what leaves the worker: objects are bytes, outputs are rows."""
    pipeline = FN_API.pipeline()
    result = pipeline | beam.Create([{"number": 1}]) | WriteToWeaviate("Article", url=URL, batching=batching)
    proto = pipeline.to_runner_api()
    coders = proto.components.coders
    produced = {
        proto.components.pcollections[one].coder_id
        for transform in proto.components.transforms.values()
        if transform.unique_name.endswith(("/Write", "/Send", "/Encode", "/Shard"))
        for one in transform.outputs.values()
    }
    # Failures hold fields of any type, so that their rows are for Python's eyes only.
    opaque = {one for one in produced if one.startswith("ref_Coder_OpaqueRowCoder")}
    assert opaque
    urns = {coders[one].spec.urn for one in produced - opaque}
    assert urns <= {"beam:coder:row:v1", "beam:coder:kv:v1"}, urns
    assert result.written.element_type is WrittenObject


@pytest.mark.parametrize("batching", ["auto", "bundle", "group_into_batches"])
@pytest.mark.parametrize("runner", [DIRECT.flags[0], "--runner=BundleBasedDirectRunner"])
def test_unbounded_input_is_refused_on_the_direct_runner(batching, runner):
    pipeline = beam.Pipeline(argv=[runner])
    with pytest.raises(
        ValueError, match=r"the DirectRunner loses streaming batches .*run with --runner=PrismRunner"
    ):
        pipeline | Unbounded() | WriteToWeaviate("Article", url=URL, batching=batching)


@pytest.mark.parametrize("runner", ["PrismRunner", "DirectRunner"])
@pytest.mark.parametrize(("batching", "splits"), [("bundle", True), ("group_into_batches", False)])
def test_prism_is_told_not_to_split_bundles_of_objects_that_wait_in_state(runner, batching, splits):
    pipeline = beam.Pipeline(argv=[f"--runner={runner}"])
    pipeline | beam.Create([{}]) | WriteToWeaviate("Article", url=URL, batching=batching)
    experiments = pipeline.options.view_as(DebugOptions)
    assert experiments.lookup_experiment("prism_disable_sdf_split", False) is not splits


def test_unbounded_input_is_refused_on_the_spark_runner():
    pipeline = beam.Pipeline(argv=["--runner=SparkRunner"])
    with pytest.raises(ValueError, match=r"the SparkRunner takes no unbounded input .*--runner=FlinkRunner"):
        pipeline | Unbounded() | WriteToWeaviate("Article", url=URL)


@pytest.mark.parametrize("runner", ["FnApiRunner", "DirectRunner"])
def test_threads_that_lose_elements_are_refused(runner):
    threads = ["--direct_running_mode=multi_threading", "--direct_num_workers=2"]
    pipeline = beam.Pipeline(argv=[f"--runner={runner}", *threads])
    with pytest.raises(ValueError, match=r"multi_threading lose .*run with multi_processing instead"):
        pipeline | beam.Create([{}]) | WriteToWeaviate("Article", url=URL)
    with pytest.raises(ValueError, match=r"multi_threading lose"):
        pipeline | CheckWeaviate("Article", url=URL)
    elsewhere = beam.Pipeline(argv=["--runner=PrismRunner", *threads])
    elsewhere | beam.Create([{}]) | WriteToWeaviate("Article", url=URL)


class Counting(beam.transforms.core.RestrictionProvider):
    def initial_restriction(self, element: int) -> OffsetRange:
        return OffsetRange(0, element)

    def create_tracker(self, restriction: OffsetRange) -> OffsetRestrictionTracker:
        return OffsetRestrictionTracker(restriction)

    def restriction_size(self, element: int, restriction: OffsetRange) -> int:
        return restriction.size()


class Count(beam.DoFn):
    def process(self, element: int, tracker: Any = beam.DoFn.RestrictionParam(Counting())) -> Any:
        number = tracker.current_restriction().start
        while tracker.try_claim(number):
            yield {"number": number}
            number += 1


@BATCHINGS
@pytest.mark.parametrize("runner", [FN_API, DIRECT], ids=lambda runner: runner.name)
def test_a_direct_runner_is_not_left_for_the_one_that_loses_batches(write, fake, monkeypatch, runner, batching):
    """Nor would a splittable DoFn run there beside it."""

    def refuse(*_: Any) -> Any:
        raise AssertionError("run by the BundleBasedDirectRunner")

    monkeypatch.setattr(BundleBasedDirectRunner, "run_pipeline", refuse)
    fake.create_collection({"class": "Article", "properties": [{"name": "number", "dataType": ["int"]}]})

    class Numbers(beam.PTransform):
        def expand(self, begin: Any) -> Any:
            return begin | beam.Create([40, 2]) | beam.ParDo(Count())

    transform = WriteToWeaviate("Article", url=fake.url, grpc_url=fake.grpc_url, batching=batching)
    assert len(write(Numbers(), transform, runner, through="group_by_key").written) == 42


BAD = [
    ({"collection": "my articles"}, "'my articles' is not a collection name"),
    ({"collection": None}, "None is not a collection name"),
    ({"collection": ""}, "'' is not a collection name"),
    ({"url": None}, "say where Weaviate is: url='http://localhost:8080', or connection="),
    ({"url": "localhost:8080"}, "url='localhost:8080' is no address"),
    ({"grpc_url": "http://x/y"}, "grpc_url='http://x/y' is no address"),
    ({"connection": WeaviateConnection(URL)}, "give connection= or url=, not both"),
    ({"batching": "bundles"}, "batching='bundles' is none of 'auto', 'bundle', 'group_into_batches'"),
    ({"batch_size": 0}, "batch_size=0 is not between 1 and 2000"),
    ({"batch_size": 2001}, "batch_size=2001 is not between 1 and 2000"),
    ({"max_buffering_duration_secs": 0}, "max_buffering_duration_secs=0 is not above 0"),
    ({"id_field": []}, "id_field=[] names no field; use a name, a list of names or a function"),
    ({"id_field": ["doi", 2]}, "id_field=['doi', 2] names no field"),
    ({"max_errors": -1}, "max_errors=-1 is below 0"),
    ({"max_error_rate": -0.1}, "max_error_rate=-0.1 is no share; use a number from 0 to 1"),
    ({"max_error_rate": 5}, "max_error_rate=5 is no share"),
    ({"on_failure": "ignore"}, "on_failure='ignore' is none of 'dead_letter', 'raise'"),
    ({"unknown_properties": "add"}, "unknown_properties='add' is none of 'fail', 'drop'"),
    ({"consistency_level": "MOST"}, "consistency_level='MOST' is none of"),
    (
        {"create_disposition": "CREATE"},
        "create_disposition='CREATE' is none of 'CREATE_IF_NEEDED', 'CREATE_NEVER'",
    ),
    (
        {"write_disposition": "TRUNCATE"},
        "write_disposition='TRUNCATE' is none of 'WRITE_APPEND', 'WRITE_TRUNCATE'",
    ),
    ({"timezone": "Mars/Olympus"}, "timezone='Mars/Olympus' is no time zone"),
    ({"tenant": "no tenant!"}, "tenant='no tenant!' is not a tenant name"),
    ({"properties": "title"}, "properties='title' is a text; use a list of field names"),
    ({"schema": {"class": "Other"}}, "schema= describes collection Other, but the write goes to Article"),
    ({"schema": {"properties": {"title": "text"}}}, "schema= is no collection"),
    ({"schema": "/no/such/file.json"}, "schema='/no/such/file.json' cannot be read: No such file"),
    (
        {"collection": lambda row: "X", "write_disposition": "WRITE_TRUNCATE"},
        "write_disposition=WRITE_TRUNCATE needs one named collection, not a function",
    ),
    (
        {"collection": lambda row: "X", "write_disposition": "WRITE_EMPTY"},
        "write_disposition=WRITE_EMPTY needs one named collection, not a function",
    ),
]


@pytest.mark.parametrize("bad, message", BAD, ids=[message for _, message in BAD])
def test_a_bad_option_gives_one_clear_line(bad, message):
    with pytest.raises(ValueError) as caught:
        WriteToWeaviate(**{"collection": "Article", "url": URL, **bad})
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text, message", [("{", "is no JSON"), ("[]", "is no collection"), ('{"class": 5}', "5 is not")]
)
def test_a_bad_schema_file_gives_one_clear_line(tmp_path, text, message):
    path = tmp_path / "schema.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        WriteToWeaviate("Article", url=URL, schema=path)


@pytest.mark.parametrize("disposition", ["WRITE_TRUNCATE", "WRITE_EMPTY"])
def test_emptying_needs_bounded_input(disposition):
    rows = LOOPBACK.pipeline() | Unbounded()
    with pytest.raises(ValueError, match=f"write_disposition={disposition} needs bounded input"):
        rows | WriteToWeaviate("Article", url=URL, write_disposition=disposition)


def test_good_options_are_taken():
    for zone in ("UTC", "Z", "Europe/Berlin", datetime.timezone.utc, None):
        WriteToWeaviate("article", url=URL, timezone=zone)
    for level in ("ONE", "QUORUM", "ALL", None):
        WriteToWeaviate("article", url=URL, consistency_level=level)
    WriteToWeaviate("article", connection=WeaviateConnection(URL))
    WriteToWeaviate("article", url=URL, schema="gs://bucket/schema.json")  # read on the worker


def test_windows_of_the_input_are_those_of_the_outputs():
    for batching in ("bundle", "group_into_batches"):
        rows = FN_API.pipeline() | beam.Create([1]) | beam.WindowInto(FixedWindows(7))
        result = rows | WriteToWeaviate("Article", url=URL, batching=batching)
        assert result.written.windowing.windowfn == result.failed.windowing.windowfn == FixedWindows(7)


def test_a_runner_may_replace_the_sharding():
    """The batching of both kinds of input goes by the name and the payload of Beam's own transform."""
    found = {}
    for kind in (beam.Create([1]), Unbounded()):
        pipeline = LOOPBACK.pipeline()
        transform = WriteToWeaviate("Article", url=URL, batching="group_into_batches", batch_size=7)
        pipeline | kind | transform
        for one in pipeline.to_runner_api().components.transforms.values():
            if one.spec.urn == "beam:transform:group_into_batches_with_sharded_key:v1":
                payload = beam_runner_api_pb2.GroupIntoBatchesPayload
                found[type(kind).__name__] = payload.FromString(one.spec.payload)
    assert {name: one.batch_size for name, one in found.items()} == {"Create": 7, "Unbounded": 7}
    assert found["Create"].max_buffering_duration_millis == 0
    assert found["Unbounded"].max_buffering_duration_millis == 1000
