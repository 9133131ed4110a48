"""The Flex Template: its description against the options of the import and the fields that Dataflow knows."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from pipelines import import_files, job, template

ROOT = Path(__file__).parents[2]
METADATA = json.loads((ROOT / "deploy" / "metadata.json").read_text())

PARAMETER_TYPES = [
    *("TEXT", "GCS_READ_BUCKET", "GCS_WRITE_BUCKET", "GCS_READ_FILE", "GCS_WRITE_FILE"),
    *("GCS_READ_FOLDER", "GCS_WRITE_FOLDER", "BOOLEAN", "ENUM", "NUMBER"),
]
PARAMETER = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "pattern": "^[a-zA-Z][a-zA-Z0-9_]*$"},
        "label": {"type": "string", "minLength": 1},
        "helpText": {"type": "string", "minLength": 1},
        "isOptional": {"type": "boolean"},
        "regexes": {"type": "array", "items": {"type": "string", "format": "regex"}},
        "paramType": {"enum": PARAMETER_TYPES},
        "defaultValue": {"type": "string"},
        "enumOptions": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"value": {"type": "string"}},
                "required": ["value"],
                "additionalProperties": False,
            },
        },
    },
    "required": ["name", "label", "helpText"],
    "additionalProperties": False,
}
TEMPLATE = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "minLength": 1},
        "description": {"type": "string"},
        "streaming": {"type": "boolean"},
        "parameters": {"type": "array", "items": PARAMETER},
    },
    "required": ["name", "parameters"],
    "additionalProperties": False,
}
"""TemplateMetadata and ParameterMetadata of the Dataflow API v1b3, as far as this template uses them."""


def test_the_description_has_the_fields_that_dataflow_knows() -> None:
    jsonschema.validate(METADATA, TEMPLATE, format_checker=jsonschema.FormatChecker())


def test_the_description_is_that_of_the_options_as_they_are() -> None:
    assert template.metadata() == METADATA, "make template writes it anew"


def test_every_option_of_the_import_is_a_parameter() -> None:
    options = {action.dest for action in import_files.parser()._actions} - {"help"}
    assert {parameter["name"] for parameter in METADATA["parameters"]} == options
    required = {p["name"] for p in METADATA["parameters"] if not p.get("isOptional")}
    assert required == {"input", "collection", "url", "dead_letter"}


LAUNCH = {
    "input": "gs://b/a.json,gs://b/c.json",
    "collection": "Article",
    "url": "https://x.weaviate.cloud",
    "api_key": "type:GcpSecret;version_name:projects/p/secrets/s/versions/1",
    "map": "title=Title,year=Year",
    "id_field": "doi",
    "auto_schema": "false",
    "create_tenants": "true",
    "max_errors": "10",
    "wait_for_indexing": "true",
    "dead_letter": "gs://b/failed",
    "tenant": "",
}


def test_a_launch_means_what_the_command_line_would() -> None:
    launched = [f"--{name}={value}" for name, value in LAUNCH.items()]
    options, rest = import_files.parser().parse_known_args(
        template.words([*launched, "--runner=DataflowRunner", "--temp_location=gs://b/t"])
    )
    assert rest == ["--runner=DataflowRunner", "--temp_location=gs://b/t"]
    assert (options.input, options.map) == (["gs://b/a.json", "gs://b/c.json"], ["title=Title", "year=Year"])
    assert (options.auto_schema, options.create_tenants, options.wait_for_indexing) == (False, True, True)
    assert (options.max_errors, options.tenant, options.id_field) == (10, None, ["doi"])
    assert options.api_key == LAUNCH["api_key"]


def test_the_values_of_a_launch_pass_the_checks_of_the_description() -> None:
    for parameter in METADATA["parameters"]:
        value = LAUNCH.get(parameter["name"])
        for regex in parameter.get("regexes", []) if value else []:
            assert re.fullmatch(regex, str(value)), parameter["name"]


@pytest.mark.parametrize("word", ["--auto_schema=perhaps", "--collection"])
def test_a_launch_that_cannot_be_meant_is_told_in_a_line(word: str, capsys: Any) -> None:
    assert template.main([word]) == job.COULD_NOT_RUN
    assert word.partition("=")[0].strip("-") in capsys.readouterr().err


def test_the_launcher_finds_its_job() -> None:
    program = (ROOT / "deploy" / "main.py").read_text().replace("weaviate_io.pipelines", "pipelines")
    ran = subprocess.run(
        [sys.executable, "-c", program, "--collection"], capture_output=True, text=True, cwd=ROOT
    )
    assert (ran.returncode, ran.stdout) == (2, "")
    assert "--collection has no value" in ran.stderr
    launched = re.search(
        r"FLEX_TEMPLATE_PYTHON_PY_FILE=/template/(\S+)", (ROOT / "deploy/Dockerfile").read_text()
    )
    assert launched is not None
    assert (ROOT / "deploy" / launched[1]).exists()


def test_a_dead_letter_on_the_workers_of_dataflow_is_refused(tmp_path: Path, capsys: Any) -> None:
    rows = tmp_path / "a.json"
    rows.write_text("[]")
    flags = ["--runner=DataflowRunner", "--project=p", "--region=r", "--temp_location=gs://b/t"]
    code = import_files.main([f"--input={rows}", "--collection=A", *flags])
    assert code == job.COULD_NOT_RUN
    assert "--dead-letter failed would be a folder of the workers" in capsys.readouterr().err
