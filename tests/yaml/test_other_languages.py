"""The write as other languages have it: expanded by a service in another process, and run by a worker there."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apache_beam as beam
import grpc
import pytest
from apache_beam.portability.api import beam_runner_api_pb2, schema_pb2
from apache_beam.transforms.external import ExternalTransform, ImplicitSchemaPayloadBuilder

from tests.write.running import FN_API, Keep, kept
from weaviate_io import WrittenObject
from weaviate_io.testing.process import free_ports

ARTICLES = {"class": "Article", "properties": [{"name": "title", "dataType": ["text"]}]}


@pytest.fixture(scope="module")
def expansion_service() -> Iterator[str]:
    """The address of Beam's expansion service for Python, as a job in Java would start it."""
    port = free_ports().rest
    command = [sys.executable, "-m", "apache_beam.runners.portability.expansion_service_main"]
    flags = [f"--port={port}", "--fully_qualified_name_glob=weaviate_io.*", "--serve_loopback_worker"]
    service = subprocess.Popen([*command, *flags])
    try:
        address = f"localhost:{port}"
        with grpc.insecure_channel(address) as channel:
            grpc.channel_ready_future(channel).result(timeout=60)
        yield address
    finally:
        service.kill()
        service.wait()


def external(service: str, **arguments: Any) -> ExternalTransform:
    """The transform as ``PythonExternalTransform`` of Java makes it."""
    payload = {"constructor": "weaviate_io.plain.WriteRowsToWeaviate", "kwargs": arguments}
    return ExternalTransform(
        "beam:transforms:python:fully_qualified_named", ImplicitSchemaPayloadBuilder(payload).payload(), service
    )


def rows(pipeline: beam.Pipeline) -> beam.PCollection:
    row = beam.Row(doi="10.1/dune", title="Dune", embedding=[0.25, 0.75])
    fails = beam.Row(doi="10.1/none", title="None", embedding=[0.25])
    return pipeline | beam.Create([row, fails])


def test_another_language_writes_rows_and_gets_rows(fake: Any, expansion_service: str, tmp_path: Path) -> None:
    fake.create_collection(ARTICLES)
    write = external(
        expansion_service,
        collection="Article",
        url=fake.url,
        grpc_url=fake.grpc_url,
        headers={"x-team": "search"},
        id_fields=["doi"],
        vector_field="embedding",
        dimensions=2,
        error_handling={"output": "failed"},
    )
    with FN_API.pipeline() as pipeline:
        outputs = rows(pipeline) | write
        for name, rows_out in outputs.items():
            rows_out | f"Keep {name}" >> beam.ParDo(Keep(tmp_path / name))
    (stored,) = fake.objects.values()
    (written,) = (seen.value for seen in kept(tmp_path / "written"))
    assert written == WrittenObject("Article", stored.uuid, None)
    (failed,) = (seen.value for seen in kept(tmp_path / "failed"))
    assert "has 1 values" in failed.msg
    assert '"weaviate_io": 1' in failed.element


def test_what_crosses_has_schemas_that_every_language_knows(expansion_service: str) -> None:
    pipeline = FN_API.pipeline()
    write = external(
        expansion_service,
        collection="Article",
        url="http://localhost:8080",
        error_handling={"output": "failed"},
    )
    rows(pipeline) | "Write" >> write
    proto = pipeline.to_runner_api()
    (expanded,) = (t for t in proto.components.transforms.values() if t.unique_name == "Write")
    assert set(expanded.outputs) == {"written", "failed"}
    fields = {name: fields_of(proto, pcoll) for name, pcoll in expanded.outputs.items()}
    string = schema_pb2.STRING
    assert fields == {
        "written": {"collection": string, "uuid": string, "tenant": string},
        "failed": {"element": string, "msg": string, "stack": string},
    }


def fields_of(proto: beam_runner_api_pb2.Pipeline, pcoll: str) -> dict[str, int]:
    """The fields of the rows of a PCollection, each of an atomic type."""
    coder = proto.components.coders[proto.components.pcollections[pcoll].coder_id]
    assert coder.spec.urn == "beam:coder:row:v1"
    schema = schema_pb2.Schema.FromString(coder.spec.payload)
    assert all(field.type.WhichOneof("type_info") == "atomic_type" for field in schema.fields)
    return {field.name: field.type.atomic_type for field in schema.fields}


def test_another_language_is_told_what_is_wrong_with_its_arguments(expansion_service: str) -> None:
    with pytest.raises(RuntimeError, match="max_errors and max_error_rate need error_handling="):
        rows(FN_API.pipeline()) | external(
            expansion_service, collection="Article", url="http://x", max_errors=3
        )
