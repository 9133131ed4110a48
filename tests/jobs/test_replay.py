"""Sending again what failed, after the cause is mended."""

from __future__ import annotations

import gzip
from pathlib import Path

import grpc
import pytest

from tests.jobs.conftest import Run, dead_letters, stored, write_json
from weaviate_io.testing import Errors, FakeWeaviate

LETTERS = ("--input", "failed/*.jsonl")


def add_property(fake: FakeWeaviate, name: str, data_type: str) -> None:
    fake.schemas["Article"]["properties"].append({"name": name, "dataType": [data_type]})


def test_after_the_schema_is_mended_all_is_written(to_fake: Run, articles: FakeWeaviate, folder: Path) -> None:
    write_json("b.json", [{"title": "one", "isbn": "1"}, {"title": "two"}, {"title": "three", "isbn": "3"}])
    assert to_fake("import", "--input", "b.json").code == 1
    assert len(articles.objects) == 1
    add_property(articles, "isbn", "text")
    ran = to_fake("replay", *LETTERS)
    assert ran.code == 0, ran
    assert ran.out[0].startswith("2 objects written, 0 failed, ")
    assert ran.out[-1] == "nothing is left of failed/*.jsonl: the files can be deleted"
    assert len(articles.objects) == 3


def test_the_command_that_the_import_prints_works(to_fake: Run, articles: FakeWeaviate) -> None:
    write_json("b.json", [{"title": "one", "isbn": "1"}])
    ran = to_fake("import", "--input", "b.json")
    (line,) = (line for line in ran.out if line.startswith("send them again: "))
    pattern = line.partition("--input '")[2].partition("'")[0]
    add_property(articles, "isbn", "text")
    assert to_fake("replay", "--input", pattern).code == 0
    assert len(articles.objects) == 1


def test_what_fails_again_is_in_a_new_file(to_fake: Run) -> None:
    write_json("b.json", [{"title": "one", "isbn": "1"}])
    to_fake("import", "--input", "b.json")
    ran = to_fake("replay", *LETTERS)
    assert ran.code == 1
    assert len(list(Path("failed").glob("*.jsonl"))) == 2
    first, second = dead_letters()
    assert first["row"] == second["row"]


def test_replaying_twice_leaves_each_object_once(to_fake: Run, articles: FakeWeaviate) -> None:
    write_json("b.json", [{"title": "one", "isbn": "1"}, {"title": "two", "isbn": "2"}])
    to_fake("import", "--input", "b.json")
    add_property(articles, "isbn", "text")
    assert to_fake("replay", *LETTERS).code == 0
    assert to_fake("replay", *LETTERS).code == 0
    assert len(articles.objects) == 2


def test_uuids_and_content_are_kept(to_fake: Run, articles: FakeWeaviate) -> None:
    articles.script(Errors({0: "no such prop with name 'x'", 1: "no such prop with name 'x'"}))
    write_json("b.json", [{"title": "one", "year": 1, "v": [0.1, 0.2]}, {"title": "two", "v": [0.3, 0.4]}])
    words = ("--input", "b.json", "--vector-field", "v", "--id-field", "title")
    ran = to_fake("import", *words)
    assert ran.code == 1
    refused = {letter["uuid"] for letter in dead_letters()}
    assert len(refused) == 2
    assert to_fake("replay", *LETTERS).code == 0
    replayed = {key: message.SerializeToString() for key, message in articles.objects.items()}
    assert {uuid for _, _, uuid in replayed} == refused
    articles.objects.clear()
    assert to_fake("import", *words).code == 0
    assert {key: message.SerializeToString() for key, message in articles.objects.items()} == replayed


def test_text_rows_of_csv_are_still_read_by_the_schema(to_fake: Run, articles: FakeWeaviate) -> None:
    Path("b.csv").write_text("title,zip,year,isbn\nDune,01234,1965,42\n")
    assert to_fake("import", "--input", "b.csv", "--id-field", "title").code == 1
    add_property(articles, "isbn", "int")
    assert to_fake("replay", *LETTERS, "--id-field", "title").code == 0
    assert stored(articles) == [{"title": "Dune", "zip": "01234", "year": 1965, "isbn": 42}]


def test_a_text_row_that_fails_again_is_a_text_row_again(to_fake: Run, articles: FakeWeaviate) -> None:
    Path("b.csv").write_text("title,isbn\nDune,42\n")
    to_fake("import", "--input", "b.csv")
    to_fake("replay", *LETTERS)
    first, second = dead_letters()
    assert first["row"]["$type"] == "text_row"
    assert first["row"] == second["row"]
    assert first["position"] == second["position"] == "b.csv: row 1"


def test_a_server_that_stays_away_is_replayed_later(to_fake: Run, articles: FakeWeaviate) -> None:
    ran = to_fake("import", "--input", "a.json", "--vector-field", "nope")
    assert ran.code == 1
    assert len(dead_letters()) == 5
    assert to_fake("replay", *LETTERS).code == 0
    assert len(articles.objects) == 5


def test_a_row_that_could_not_be_read_fails_again(to_fake: Run) -> None:
    Path("b.jsonl").write_text("nonsense\n")
    to_fake("import", "--input", "b.jsonl")
    ran = to_fake("replay", *LETTERS, "--collection", "Article")
    assert ran.code == 1
    assert [letter["position"] for letter in dead_letters()] == ["b.jsonl: line 1"] * 2


def test_a_row_without_known_collection_asks_for_one(to_fake: Run, articles: FakeWeaviate) -> None:
    write_json("b.json", [{"title": "Dune", "isbn": "1"}])
    to_fake("import", "--input", "b.json")
    (file,) = Path("failed").glob("*.jsonl")
    file.write_text(file.read_text().replace('"collection": "Article"', '"collection": null'))
    add_property(articles, "isbn", "text")
    ran = to_fake("replay", *LETTERS)
    assert ran.code == 1
    assert any("give --collection" in line for line in ran.out)
    assert to_fake("replay", "--input", str(file), "--collection", "Article").code == 0
    assert len(articles.objects) == 1


def test_truncating_while_replaying_is_refused(to_fake: Run) -> None:
    write_json("b.json", [{"isbn": "1"}])
    to_fake("import", "--input", "b.json")
    ran = to_fake("replay", *LETTERS, "--write-disposition", "WRITE_TRUNCATE", "--yes")
    assert ran.code == 2
    assert "WRITE_TRUNCATE" in ran.error


def test_compressed_dead_letters_are_read(to_fake: Run, articles: FakeWeaviate) -> None:
    write_json("b.json", [{"title": "one", "isbn": "1"}])
    to_fake("import", "--input", "b.json")
    (file,) = Path("failed").glob("*.jsonl")
    Path("old.jsonl.gz").write_bytes(gzip.compress(file.read_bytes()))
    add_property(articles, "isbn", "text")
    assert to_fake("replay", "--input", "old.jsonl.gz").code == 0
    assert len(articles.objects) == 1


def test_a_dry_replay_sends_nothing(to_fake: Run, articles: FakeWeaviate) -> None:
    write_json("b.json", [{"title": "one", "isbn": "1"}])
    to_fake("import", "--input", "b.json")
    add_property(articles, "isbn", "text")
    ran = to_fake("replay", *LETTERS, "--dry-run")
    assert ran.code == 0
    assert ran.out == ["1 objects would be written, 0 would fail; nothing was sent"]
    assert articles.objects == {}


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ('{"title": "x"}\n', "bad.jsonl: line 1 holds no failure that WriteFailuresToJson wrote"),
        ('{"weaviate_io": 1, "reason"\n', "bad.jsonl: line 1 holds no failure that WriteFailuresToJson wrote"),
        (
            '\n{"weaviate_io": 99}\n',
            "bad.jsonl: line 2 has format 99, this version reads 1; update weaviate-io",
        ),
        ("\x00\xff", "bad.jsonl: line 1 holds no failure that WriteFailuresToJson wrote"),
    ],
)
def test_a_file_that_is_no_dead_letter_is_named(to_fake: Run, text: str, error: str) -> None:
    Path("bad.jsonl").write_bytes(text.encode("latin-1"))
    ran = to_fake("replay", "--input", "bad.jsonl")
    assert ran.code == 2
    assert ran.error == error


def test_transport_errors_are_retried_not_dead_letters(to_fake: Run, articles: FakeWeaviate) -> None:
    from weaviate_io.testing import Fail

    articles.script(Fail(grpc.StatusCode.UNAVAILABLE, "restarting"))
    assert to_fake("import", "--input", "a.json").code == 0
    assert len(articles.objects) == 5
