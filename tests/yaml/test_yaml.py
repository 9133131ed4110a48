"""Pipelines in Beam YAML, whole, and what they are told where they cannot be meant."""

from __future__ import annotations

import inspect
import json
import re
from pathlib import Path
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from apache_beam.yaml import main, yaml_provider

from weaviate_io import ReadFailuresFromJson, WriteToWeaviate, generate_uuid5
from weaviate_io.plain import WriteRowsToWeaviate
from weaviate_io.yaml import PROVIDERS

SCHEMA = {
    "class": "Article",
    "properties": [
        {"name": "title", "dataType": ["text"]},
        {"name": "year", "dataType": ["int"]},
    ],
}
ROWS = [
    {"doi": "10.1/dune", "title": "Dune", "year": 1965, "embedding": [0.25, 0.75]},
    {"doi": "10.1/solaris", "title": "Solaris", "year": 2**60, "embedding": [0.5, 0.5]},
]

AS_JSON = {"callable": "import json\ndef as_json(row): return json.dumps(row._asdict())"}


def written_as_lines(output: str, path: Path, line: Any) -> list[dict[str, Any]]:
    """The steps that write an output into a file, a line of each row."""
    name = path.name
    fields = {"language": "python", "fields": {"line": line}}
    return [
        {"type": "MapToFields", "name": f"{name} lines", "input": output, "config": fields},
        {"type": "WriteToText", "name": name, "input": f"{name} lines", "config": {"path": str(path)}},
    ]


def run_yaml(write: dict[str, Any], after: list[dict[str, Any]], rows: Any = ROWS) -> None:
    """Run a pipeline of YAML as ``python -m apache_beam.yaml.main`` does."""
    spec = {
        "providers": [{"include": str(PROVIDERS)}],
        "pipeline": {
            "transforms": [
                {"type": "Create", "config": {"elements": rows}},
                {"type": "WriteToWeaviate", "name": "Write", "input": "Create", "config": write},
                *after,
            ]
        },
    }
    main.run([f"--yaml_pipeline={yaml.safe_dump(spec)}", "--runner=FnApiRunner"])


@pytest.fixture
def into(fake: Any) -> dict[str, Any]:
    return {
        "collection": "Article",
        "url": fake.url,
        "grpc_url": fake.grpc_url,
        "schema": json.dumps(SCHEMA),
        "id_field": "doi",
        "vector_field": "embedding",
    }


def lines_of(folder: Path, name: str) -> list[Any]:
    return [json.loads(line) for path in folder.glob(f"{name}*") for line in path.read_text().splitlines()]


def test_a_pipeline_writes_and_keeps_what_failed(fake: Any, into: dict[str, Any], tmp_path: Path) -> None:
    run_yaml(
        {**into, "error_handling": {"output": "failed"}},
        [
            *written_as_lines("Write.failed", tmp_path / "failed", AS_JSON),
            *written_as_lines("Write", tmp_path / "written", AS_JSON),
        ],
    )
    (stored,) = fake.objects.values()
    properties = dict(stored.properties.non_ref_properties.items())
    assert (properties, stored.uuid) == ({"title": "Dune", "year": 1965}, generate_uuid5("10.1/dune"))
    (written,) = lines_of(tmp_path, "written")
    assert written == {"collection": "Article", "uuid": stored.uuid, "tenant": None}
    (failed,) = lines_of(tmp_path, "failed")
    assert set(failed) == {"element", "msg", "stack"}
    assert failed["msg"].startswith("invalid_property: property 'year' of Article ")
    assert failed["stack"].startswith("collection Article, uuid ")


def test_the_elements_that_failed_are_a_dead_letter_to_replay(
    fake: Any, into: dict[str, Any], tmp_path: Path
) -> None:
    run_yaml(
        {**into, "error_handling": {"output": "failed"}},
        written_as_lines("Write.failed", tmp_path / "failures", "element"),
    )
    fake.reset()
    fake.create_collection({**SCHEMA, "properties": [{"name": "title", "dataType": ["text"]}]})
    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        failures = pipeline | ReadFailuresFromJson(f"{tmp_path}/failures*")
        failures | WriteToWeaviate("Article", url=fake.url, grpc_url=fake.grpc_url, unknown_properties="drop")
    (stored,) = fake.objects.values()
    assert (stored.properties.non_ref_properties["title"], stored.uuid) == (
        "Solaris",
        generate_uuid5("10.1/solaris"),
    )


def test_without_error_handling_the_first_failure_fails_the_job(into: dict[str, Any]) -> None:
    with pytest.raises(Exception, match="an object failed, none is allowed"):
        run_yaml(into, [])


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"colection": "A"}, "colection"),
        ({"max_errors": 3}, "need error_handling="),
        ({"id_fields": ["doi"]}, "give id_field or id_fields, not both"),
        ({"schema": "{"}, "schema is no JSON"),
        ({"oidc_client_id": "a"}, "need oidc_client_secret"),
        ({"api_key": "env:A", "oidc_client_secret": "env:B"}, "not both"),
        ({"verify": "some"}, "verify='some' is none of"),
    ],
    ids=str,
)
def test_what_cannot_be_meant_is_told_with_its_line(
    into: dict[str, Any], config: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message) as error:
        run_yaml({**into, **config}, [])
    assert 'at "Write" at line ' in str(error.value)


@pytest.mark.parametrize(
    "output", [{"output": "written"}, {"output": "failed", "threshold": 1}, {"output": ""}]
)
def test_error_handling_names_an_output_and_nothing_else(output: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="error_handling takes output: NAME"):
        WriteRowsToWeaviate("Article", "http://localhost:8080", error_handling=output)


def test_every_option_is_typed_and_described_to_yaml() -> None:
    (provider,) = yaml_provider.load_providers(str(PROVIDERS))
    fields = provider.config_schema("WriteToWeaviate").fields
    assert len(fields) > 40
    assert [field.name for field in fields if "any" in str(field.type).lower()] == []
    assert [field.name for field in fields if not field.description] == []
    assert provider.description("WriteToWeaviate").startswith("Writes rows into Weaviate")


def test_every_option_of_the_write_is_one_here() -> None:
    theirs = set(inspect.signature(WriteToWeaviate).parameters)
    ours = set(inspect.signature(WriteRowsToWeaviate).parameters)
    assert theirs - ours == {"connection", "on_failure"}  # said by the others, and by error_handling


def test_the_pipeline_of_the_documentation_runs(
    fake: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (Path(__file__).parents[2] / "docs" / "yaml.md").read_text()
    (documented,) = re.findall(r"^```yaml\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    fake.create_collection(SCHEMA)
    rows = [{**row, "year": [1965, None][number]} for number, row in enumerate(ROWS)]
    rows[1]["embedding"] = []
    (tmp_path / "data").mkdir()
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "data" / "articles-1.parquet")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WEAVIATE_API_KEY", "some-key")
    where = f"url: {fake.url}\n        grpc_url: {fake.grpc_url}"
    spec = documented.replace("url: http://localhost:8080", where)
    main.run([f"--yaml_pipeline={spec}", "--runner=FnApiRunner"])
    (stored,) = fake.objects.values()
    assert stored.uuid == generate_uuid5("10.1/dune")
    (failed,) = lines_of(tmp_path / "failed", "articles")
    assert failed["reason"] == "invalid_vector"
