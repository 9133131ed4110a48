"""Imports of files that are read in parts."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import weaviate

from tests.jobs.conftest import Run, dead_letters, write_json
from weaviate_io.counters import process_totals
from weaviate_io.testing import FakeWeaviate

ROOT = Path(__file__).parents[2]
ROWS = 3_000
TWO_PROCESSES = ("--direct_num_workers=2", "--direct_running_mode=multi_processing")


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("weaviate_io.files.read.PART_BYTES", 5_000)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))  # of the worker processes


def write_json_lines(path: str) -> None:
    lines = [json.dumps({"title": f"tïtle {n}", "year": n}, ensure_ascii=False) for n in range(ROWS)]
    lines[1234] = '{"title": bad}'
    Path(path).write_text("\n".join(lines), encoding="utf-8")


def write_table(path: str) -> None:
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["title", "year"])
        for n in range(ROWS):
            writer.writerow([f'tïtle\nof "{n}"', n] if n != 1234 else ["bad"])


WRITERS = {"rows.jsonl": write_json_lines, "rows.json": write_json_lines, "rows.csv": write_table}


@pytest.mark.parametrize("workers", [(), TWO_PROCESSES], ids=["one process", "two processes"])
@pytest.mark.parametrize("file", WRITERS)
def test_a_file_in_parts_is_imported_exactly_once(
    on_server: Run,
    witness: weaviate.WeaviateClient,
    new_name: Callable[[], str],
    file: str,
    workers: tuple[str, ...],
) -> None:
    name = new_name()
    WRITERS[file](file)
    properties = [{"name": "title", "dataType": ["text"]}, {"name": "year", "dataType": ["int"]}]
    write_json("schema.json", {"class": name, "vectorizer": "none", "properties": properties})
    ran = on_server(
        "import",
        "--input",
        file,
        "--collection",
        name,
        "--schema",
        "schema.json",
        "--id-field",
        "year",
        *workers,
    )
    assert ran.code == 1, ran
    assert ran.out[0] == f"{ROWS:,} rows read"
    assert ran.out[1].startswith(f"{ROWS - 1:,} objects written, 1 failed, ")
    collection = witness.collections.get(name)
    assert collection.aggregate.over_all(total_count=True).total_count == ROWS - 1
    years = {item.properties["year"] for item in collection.iterator(return_properties=["year"])}
    assert years == {*range(ROWS)} - {1234}
    (letter,) = dead_letters()
    start = int(letter["position"].removeprefix(f"{file}: byte "))
    assert Path(file).read_bytes()[start:].startswith(letter["row"].encode())


@pytest.mark.parametrize("file", WRITERS)
def test_the_progress_ends_at_the_size_of_the_file(to_fake: Run, articles: FakeWeaviate, file: str) -> None:
    WRITERS[file](file)
    before = process_totals.bytes_read
    assert to_fake("import", "--input", file).code == 1
    assert process_totals.bytes_read - before == Path(file).stat().st_size
    assert len(articles.objects) == ROWS - 1
