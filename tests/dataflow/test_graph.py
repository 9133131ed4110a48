"""The graph that Dataflow would get, made the way its runner makes it: stable, complete, without secrets."""

from __future__ import annotations

import base64
import bz2
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.portability.api import beam_runner_api_pb2
from apache_beam.runners.dataflow.dataflow_runner import DataflowRunner
from apache_beam.runners.portability.stager import Stager
from apache_beam.testing.test_stream import TestStream
from apache_beam.transforms import environments
from apache_beam.transforms.window import FixedWindows

from weaviate_io import ReadRows, WriteFailuresToJson, WriteToWeaviate

KEY = "sk-do-not-show-me"
FLAGS = (
    *("--runner=DataflowRunner", "--project=p", "--region=r", "--temp_location=gs://b/t", "--job_name=j"),
    *("--sdk_container_image=example.com/weaviate-io:1", "--sdk_location=container"),
)


def graph(unbounded: bool, **options: Any) -> beam_runner_api_pb2.Pipeline:
    """The graph of an import: read, write, keep what failed."""
    flags = PipelineOptions([*FLAGS, *(["--streaming"] if unbounded else [])])
    pipeline = beam.Pipeline(runner="FnApiRunner", options=flags)
    if unbounded:
        rows = pipeline | TestStream().advance_watermark_to_infinity() | beam.WindowInto(FixedWindows(60))
    else:
        rows = (pipeline | "Read" >> ReadRows("/b/*.json")).rows
    write = WriteToWeaviate(
        "Article", url="https://x.weaviate.cloud", api_key="env:DATAFLOW_TEST_KEY", id_field="doi", **options
    )
    result = rows | "Write" >> write
    result.failed | "DeadLetter" >> WriteFailuresToJson("/b/failed")
    # What DataflowRunner.run_pipeline does before it asks Google for anything.
    pipeline.visit(DataflowRunner.combinefn_visitor())
    pipeline.visit(DataflowRunner.side_input_visitor())
    pipeline.replace_all(DataflowRunner._PTRANSFORM_OVERRIDES)
    DataflowRunner()._adjust_pipeline_for_dataflow_v2(pipeline)
    image = environments.DockerEnvironment.from_container_image("example.com/weaviate-io:1")
    return pipeline.to_runner_api(default_environment=image)


@pytest.fixture(scope="module", params=[False, True], ids=["bounded", "unbounded"])
def graphs(request: Any) -> Iterator[tuple[Any, Any]]:
    """The graph of one pipeline, made twice, with the key at hand."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DATAFLOW_TEST_KEY", KEY)
        yield graph(request.param), graph(request.param)


def steps(proto: Any) -> list[str]:
    return [transform.unique_name for transform in proto.components.transforms.values()]


def shuffled(proto: Any) -> Iterator[Any]:
    """The coders of what is kept between steps: what is grouped, and what state holds."""
    for transform in proto.components.transforms.values():
        if transform.spec.urn == "beam:transform:group_by_key:v1":
            for pcoll in transform.inputs.values():
                yield from tree(proto, proto.components.pcollections[pcoll].coder_id)
        if transform.spec.urn == "beam:transform:pardo:v1":
            payload = beam_runner_api_pb2.ParDoPayload.FromString(transform.spec.payload)
            for spec in payload.state_specs.values():
                for coder in (spec.bag_spec.element_coder_id, spec.read_modify_write_spec.coder_id):
                    yield from tree(proto, coder) if coder else ()


def tree(proto: Any, coder_id: str) -> Iterator[Any]:
    coder = proto.components.coders[coder_id]
    yield coder.spec
    for component in coder.component_coder_ids:
        yield from tree(proto, component)


def unpacked(proto: Any) -> bytes:
    """The graph with everything in it that is packed."""
    found = [proto.SerializeToString()]
    for transform in proto.components.transforms.values():
        packed = transform.spec.payload
        if transform.spec.urn == "beam:transform:pardo:v1":
            packed = beam_runner_api_pb2.ParDoPayload.FromString(packed).do_fn.payload
        try:
            found.append(bz2.decompress(base64.b64decode(packed)))
        except (OSError, ValueError):
            found.append(packed)
    return b"".join(found)


def test_steps_have_names_of_their_own_and_the_same_in_every_submission(graphs: Any) -> None:
    one, other = graphs
    assert len(set(steps(one))) == len(steps(one))
    assert steps(one) == steps(other)


def test_steps_are_called_as_in_earlier_versions() -> None:
    found = set(steps(graph(unbounded=True)))
    ours = {
        "Write/Encode",
        "Write/Global",
        "Write/GroupIntoBatches",
        "Write/Send",
        "Write/Rewindow",
        "Write/Reshuffle",
    }
    assert ours <= found


def test_coders_are_the_same_in_every_submission(graphs: Any) -> None:
    one, other = (
        {c.SerializeToString(deterministic=True) for c in g.components.coders.values()} for g in graphs
    )
    assert one == other


def test_what_is_kept_between_steps_names_no_class_of_this_package(graphs: Any) -> None:
    for proto in graphs:
        for spec in shuffled(proto):
            assert b"weaviate_io" not in spec.payload
            assert spec.urn.startswith("beam:coder:")


def test_no_secret_is_in_the_graph(graphs: Any) -> None:
    for proto in graphs:
        found = unpacked(proto)
        assert b"DATAFLOW_TEST_KEY" in found  # the reference is, so this looks where it should
        assert KEY.encode() not in found
        assert base64.b64encode(KEY.encode()) not in found


def test_the_package_is_staged_for_workers_without_a_container_of_their_own(tmp_path: Path) -> None:
    sdist = tmp_path / "weaviate_io-0.1.0.tar.gz"
    tarfile.open(sdist, "w:gz").close()
    options = PipelineOptions([*FLAGS, f"--extra_package={sdist}", "--sdk_location=container"])
    roles = [artifact.role_payload for artifact in Stager.create_job_resources(options, str(tmp_path))]
    staged = {beam_runner_api_pb2.ArtifactStagingToRolePayload.FromString(role).staged_name for role in roles}
    assert {"weaviate_io-0.1.0.tar.gz", "extra_packages.txt"} <= staged
