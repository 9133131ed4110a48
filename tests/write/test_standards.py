"""What Beam's standards for I/O ask of a sink beyond writing: lineage, display data, types, results."""

from __future__ import annotations

from typing import Any

import apache_beam as beam
import pytest
from apache_beam.metrics.metric import Lineage
from apache_beam.transforms.display import DisplayData

from tests.write.running import FN_API
from weaviate_io import (
    FailedObject,
    FailedReference,
    WeaviateReference,
    WriteReferencesToWeaviate,
    WriteToWeaviate,
    WrittenObject,
)

ROWS = [{"of": "Book", "title": "Dune"}, {"of": "Film", "title": "Dune"}, {"of": "Film", "title": 5}]


@pytest.fixture
def into(fake: Any) -> dict[str, Any]:
    for name in ("Book", "Film", "Song"):
        fake.create_collection({"class": name, "properties": [{"name": "title", "dataType": ["text"]}]})
    return {"url": fake.url, "grpc_url": fake.grpc_url}


@pytest.mark.parametrize("batching", ["bundle", "group_into_batches"])
def test_lineage_names_the_collections_that_were_written(into: Any, fake: Any, batching: str) -> None:
    pipeline = FN_API.pipeline()
    write = WriteToWeaviate(lambda row: row["of"], properties=["title"], batching=batching, **into)
    pipeline | beam.Create(ROWS) | write
    result = pipeline.run()
    result.wait_until_finish()
    server = fake.url.removeprefix("http://")
    found = Lineage.query(result.metrics(), Lineage.SINK)
    assert found == {Lineage.get_fq_name("weaviate", server, name) for name in ("Book", "Film")}


@pytest.mark.parametrize("batching", ["bundle", "group_into_batches"])
def test_both_outputs_have_types_with_runtime_type_check(into: Any, write: Any, batching: str) -> None:
    transform = WriteToWeaviate(lambda row: row["of"], properties=["title"], batching=batching, **into)
    types: dict[str, Any] = {}

    def see(result: Any) -> None:
        types.update({name: getattr(result, name).element_type for name in result._fields})

    done = write(ROWS, transform, options=["--runtime_type_check"], also=see)
    assert types == {"written": WrittenObject, "failed": FailedObject}
    assert (len(done.written), len(done.failed)) == (2, 1)


def test_references_have_types_too() -> None:
    pipeline = beam.Pipeline()
    write = WriteReferencesToWeaviate("Film", url="http://localhost:8080")
    result = pipeline | beam.Create([WeaviateReference("a", "by", "b")]) | write
    assert (result.written.element_type, result.failed.element_type) == (WeaviateReference, FailedReference)


def test_display_data_says_where_the_data_go_and_no_secret() -> None:
    write = WriteToWeaviate(
        "Film", url="https://x.weaviate.cloud", api_key="env:KEY", headers={"x-key": "env:B"}
    )
    shown = {item.key: item.value for item in DisplayData.create_from(write).items}
    assert shown["collection"] == "Film"
    assert shown["url"] == "https://x.weaviate.cloud"
    assert not [value for value in shown.values() if "KEY" in str(value) or "env:" in str(value)]
