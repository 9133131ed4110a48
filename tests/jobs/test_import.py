"""What an import reads, maps, writes and refuses, on the fake server."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.jobs.conftest import Run, dead_letters, stored, write_json
from weaviate_io.testing import FakeWeaviate

INPUT = ("--input", "a.json")


def test_all_rows_are_written_and_the_code_is_0(to_fake: Run, articles: FakeWeaviate) -> None:
    ran = to_fake("import", *INPUT)
    assert ran.code == 0
    assert ran.out[0] == "5 rows read"
    assert ran.out[1].startswith("5 objects written, 0 failed, ")
    assert ran.err == []
    assert len(articles.objects) == 5


def test_no_folder_is_left_where_nothing_failed(to_fake: Run, folder: Path) -> None:
    assert to_fake("import", *INPUT).code == 0
    assert [path.name for path in folder.iterdir()] == ["a.json"]


@pytest.mark.parametrize(
    "words",
    [
        ("--input", "b1.json", "b2.json"),
        ("--input", "b1.json", "--input", "b2.json"),
        ("--input=b1.json", "--input=b2.json"),
        ("--input", "b?.json"),
        ("--input", "b*.json", "b1.json"),
        ("--input", "./b*.json"),
        ("--input", "s*/b*.json"),
        ("--input", "sub/b1.json", "sub/b2.json"),
        ("--input", "b[12].json"),
    ],
)
def test_several_files_are_read_once_each(to_fake: Run, articles: FakeWeaviate, words: tuple[str, ...]) -> None:
    Path("sub").mkdir()
    for place in ("b1.json", "sub/b1.json"):
        write_json(place, [{"title": "one"}])
    for place in ("b2.json", "sub/b2.json"):
        write_json(place, [{"title": "two"}])
    assert to_fake("import", *words).out[0] == "2 rows read"
    assert {row["title"] for row in stored(articles)} == {"one", "two"}


def test_a_name_with_brackets_is_a_name(to_fake: Run, articles: FakeWeaviate) -> None:
    write_json("b[1].json", [{"title": "one"}])
    assert to_fake("import", "--input", "b[1].json").code == 0
    assert len(articles.objects) == 1


def test_map_renames_fields_and_leaves_out_the_others(to_fake: Run, articles: FakeWeaviate) -> None:
    write_json("b.json", [{"Title": "Dune", "Year": 1965, "Note": "x"}])
    assert to_fake("import", "--input", "b.json", "--map", "title=Title", "year=Year").code == 0
    assert stored(articles) == [{"title": "Dune", "year": 1965}]


def test_map_may_be_given_again(to_fake: Run, articles: FakeWeaviate) -> None:
    write_json("b.json", [{"Title": "Dune", "Year": 1965}])
    assert to_fake("import", "--input", "b.json", "--map", "title=Title", "--map", "year=Year").code == 0
    assert stored(articles) == [{"title": "Dune", "year": 1965}]


def test_a_mapped_field_that_no_row_has_is_warned_of(to_fake: Run) -> None:
    ran = to_fake("import", *INPUT, "--map", "title=title", "year=Yaer")
    assert ran.code == 0
    assert ran.err == [
        "weaviate-io: warning: no row has a field 'Yaer'; look for it in --map and --vector-field"
    ]


def test_unknown_fields_fail_or_are_dropped(to_fake: Run, articles: FakeWeaviate) -> None:
    write_json("b.json", [{"title": "Dune", "isbn": "1"}])
    ran = to_fake("import", "--input", "b.json")
    assert ran.code == 1
    assert "  1 failed: unknown_property" in ran.out
    assert "--unknown-properties drop" in ran.out[3]
    assert to_fake("import", "--input", "b.json", "--unknown-properties", "drop").code == 0
    assert stored(articles) == [{"title": "Dune"}]


def test_csv_is_read_by_the_types_of_the_schema(to_fake: Run, articles: FakeWeaviate) -> None:
    Path("b.csv").write_text(
        "title,zip,year,price,sold,day,tags,v\n"
        '1984,01234,1949,8.5,true,2024-05-01T00:00:00Z,"[""a"", ""b""]","[1, 0.5]"\n'
        "Dune,,,,,,,\n"
    )
    assert to_fake("import", "--input", "b.csv", "--vector-field", "v", "--id-field", "title").code == 0
    rows = {row["title"]: row for row in stored(articles)}
    day = rows["1984"].pop("day")
    assert str(day).startswith("2024-05-01")
    assert rows["1984"] == {
        "title": "1984",
        "zip": "01234",
        "year": 1949,
        "price": 8.5,
        "sold": True,
        "tags": ["a", "b"],
    }
    assert rows["Dune"] == {"title": "Dune"}
    vectors = [message.vector_bytes or message.vectors for message in articles.objects.values()]
    assert sum(bool(vector) for vector in vectors) == 1


def test_tsv_has_tabs(to_fake: Run, articles: FakeWeaviate) -> None:
    Path("b.tsv").write_text("title\tzip\nDune, part one\t007\n")
    assert to_fake("import", "--input", "b.tsv").code == 0
    assert stored(articles) == [{"title": "Dune, part one", "zip": "007"}]


def test_a_csv_value_of_the_wrong_type_fails_alone(to_fake: Run, articles: FakeWeaviate) -> None:
    Path("b.csv").write_text("title,year\nDune,1965\nEmma,soon\n")
    ran = to_fake("import", "--input", "b.csv")
    assert ran.code == 1
    assert "    b.csv: row 2: property 'year' of Article expects an integer, not 'soon'" in ran.out
    assert [row["title"] for row in stored(articles)] == ["Dune"]


def test_vectors_of_a_npy_file(to_fake: Run, articles: FakeWeaviate) -> None:
    np.save("v.npy", np.arange(10, dtype=np.float32).reshape(5, 2))
    assert to_fake("import", *INPUT, "--vectors", "v.npy").code == 0
    assert len(articles.objects) == 5
    assert all(message.vector_bytes or message.vectors for message in articles.objects.values())


def test_named_vectors(run: Run, articles: FakeWeaviate) -> None:
    none = {"vectorizer": {"none": {}}, "vectorIndexType": "hnsw"}
    articles.create_collection(
        {
            "class": "Page",
            "properties": [{"name": "title", "dataType": ["text"]}],
            "vectorConfig": {"title": none, "body": none},
        }
    )
    write_json("b.json", [{"title": "Dune", "tv": [1.0, 2.0], "bv": [3.0, 4.0, 5.0]}])
    ran = run(
        *("import", "--input", "b.json", "--collection", "Page"),
        *("--vector-field", "title=tv", "--vector-field", "body=bv"),
        *("--url", articles.url, "--grpc-url", articles.grpc_url),
    )
    assert ran.code == 0, ran
    (message,) = articles.objects.values()
    assert {vector.name for vector in message.vectors} == {"title", "body"}


def test_tenants_of_a_field(run: Run, fake: FakeWeaviate) -> None:
    fake.create_collection(
        {
            "class": "Note",
            "properties": [{"name": "text", "dataType": ["text"]}],
            "multiTenancyConfig": {"enabled": True, "autoTenantCreation": True},
        }
    )
    write_json("b.json", [{"text": "x", "who": "ann"}, {"text": "y", "who": "bob"}, {"text": "z"}])
    ran = run(
        *("import", "--input", "b.json", "--collection", "Note", "--tenant-field", "who"),
        *("--url", fake.url, "--grpc-url", fake.grpc_url),
    )
    assert ran.code == 1
    assert "  1 failed: invalid_tenant" in ran.out
    assert sorted(tenant for _, tenant, _ in fake.objects) == ["ann", "bob"]


def test_the_key_goes_to_the_server_and_not_to_the_terminal(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "very-secret")
    monkeypatch.setenv("MODEL_KEY", "very-secret-too")
    write_json("a.json", [{"title": "x"}])
    with FakeWeaviate(api_key="very-secret") as fake:
        fake.create_collection({"class": "Article", "properties": [{"name": "title", "dataType": ["text"]}]})
        where = ("--collection", "Article", "--url", fake.url, "--grpc-url", fake.grpc_url)
        ran = run(
            *("import", *INPUT, *where, "--api-key", "env:MY_KEY", "--model-provider", "openai=env:MODEL_KEY")
        )
        sent = [request.metadata for request in fake.requests if request.method == "BatchObjects"]
        refused = run("import", *INPUT, *where)
    assert ran.code == 0, ran
    assert [metadata["x-openai-api-key"] for metadata in sent] == ["very-secret-too"]
    assert "very-secret" not in str(ran)
    assert refused.code == 2
    assert "401" in refused.error


def test_a_row_that_cannot_be_read_is_a_dead_letter_with_its_place(
    to_fake: Run, articles: FakeWeaviate
) -> None:
    Path("b.jsonl").write_text('{"title": "one"}\nnot json\n{"title": "two"}\n')
    ran = to_fake("import", "--input", "b.jsonl")
    assert ran.code == 1
    assert ran.out[0] == "3 rows read"
    assert "  1 failed: unreadable" in ran.out
    assert not any("send them again" in line for line in ran.out)
    assert ran.out[-1] == "what could not be read: mend it in its file, and import that again"
    (letter,) = dead_letters()
    assert letter["position"] == "b.jsonl: line 2"
    assert letter["row"].strip() == "not json"
    assert len(articles.objects) == 2


def test_an_array_that_breaks_off_gives_what_came_before(to_fake: Run, articles: FakeWeaviate) -> None:
    Path("b.json").write_text('[{"title": "one"}, {"title": "tw')
    ran = to_fake("import", "--input", "b.json")
    assert ran.code == 1
    assert len(articles.objects) == 1
    assert "the rest of this file was not read" in dead_letters()[0]["error"]


def test_every_reason_is_shown_with_an_example(to_fake: Run) -> None:
    write_json("b.json", [{"year": "x"}, {"isbn": 1}, {"year": "y"}, 5])
    ran = to_fake("import", "--input", "b.json")
    reasons = [line.strip() for line in ran.out if " failed: " in line]
    assert sorted(reasons) == [
        "1 failed: unknown_property",
        "1 failed: unreadable",
        "2 failed: invalid_property",
    ]
    assert sum(line.startswith("    b.json: item ") for line in ran.out) == 3


def test_a_dry_run_sends_and_creates_nothing_and_tells_what_would_fail(
    run: Run, fake: FakeWeaviate, folder: Path
) -> None:
    write_json("a.json", [{"title": "x"}, {"title": 7}, {"title": "z"}])
    write_json("s.json", {"class": "Fresh", "properties": [{"name": "title", "dataType": ["text"]}]})
    ran = run(
        *("import", *INPUT, "--collection", "Fresh", "--schema", "s.json", "--dry-run"),
        *("--url", fake.url, "--grpc-url", fake.grpc_url),
    )
    assert ran.code == 1
    assert ran.out[1] == "2 objects would be written, 1 would fail; nothing was sent"
    assert ran.out[2] == "  1 failed: invalid_property"
    assert not any("failed/" in line for line in ran.out)
    assert fake.schemas == {}
    assert [request for request in fake.requests if request.method == "BatchObjects"] == []
    assert not (folder / "failed").exists()


def test_a_dry_run_empties_nothing(to_fake: Run, articles: FakeWeaviate) -> None:
    assert to_fake("import", *INPUT).code == 0
    assert to_fake("import", *INPUT, "--write-disposition", "WRITE_TRUNCATE", "--dry-run").code == 0
    assert len(articles.objects) == 5


def test_the_schema_creates_the_collection(run: Run, fake: FakeWeaviate) -> None:
    write_json("a.json", [{"title": "x"}])
    write_json("s.json", {"class": "Fresh", "properties": [{"name": "title", "dataType": ["text"]}]})
    where = ("--url", fake.url, "--grpc-url", fake.grpc_url)
    words = ("import", *INPUT, "--collection", "Fresh", "--schema", "s.json", *where)
    assert run(*words, "--create-disposition", "CREATE_NEVER").code == 2
    assert fake.schemas == {}
    assert run(*words).code == 0
    assert list(fake.schemas) == ["Fresh"]


def test_truncating_asks_for_yes(to_fake: Run, articles: FakeWeaviate) -> None:
    assert to_fake("import", *INPUT).code == 0
    write_json("b.json", [{"title": "new"}])
    words = ("import", "--input", "b.json", "--write-disposition", "WRITE_TRUNCATE")
    refused = to_fake(*words)
    assert refused.code == 2
    assert refused.error == "WRITE_TRUNCATE deletes all objects of Article; add --yes if you mean it"
    assert len(articles.objects) == 5
    assert to_fake(*words, "--yes").code == 0
    assert [row["title"] for row in stored(articles)] == ["new"]


def test_write_empty_refuses_a_collection_with_objects(to_fake: Run, articles: FakeWeaviate) -> None:
    words = ("import", *INPUT, "--write-disposition", "WRITE_EMPTY")
    assert to_fake(*words).code == 0
    again = to_fake(*words)
    assert again.code == 2
    assert "not empty" in again.error


def test_two_runs_leave_each_object_once(to_fake: Run, articles: FakeWeaviate) -> None:
    assert to_fake("import", *INPUT).code == 0
    assert to_fake("import", *INPUT).code == 0
    assert len(articles.objects) == 5


def test_max_errors_stops_the_job(to_fake: Run) -> None:
    write_json("b.json", [{"year": "x"}] * 20)
    assert to_fake("import", "--input", "b.json", "--max-errors", "20").code == 1
    ran = to_fake("import", "--input", "b.json", "--max-errors", "3")
    assert ran.code == 1
    assert ran.out == []
    assert ran.err[0] == "weaviate-io: 4 objects failed, --max-errors 3 is allowed; the first of them:"
    assert len(ran.err) == 5
    for number, line in enumerate(ran.err[1:], 1):
        assert line.startswith(
            f"  a row of Article at b.json: item {number}: invalid_property: property 'year'"
        )


def test_max_errors_counts_rows_that_cannot_be_read(to_fake: Run) -> None:
    Path("b.jsonl").write_text("nonsense\n" * 20)
    ran = to_fake("import", "--input", "b.jsonl", "--max-errors", "3")
    assert ran.code == 1
    assert "4 objects failed, --max-errors 3 is allowed" in ran.err[0]


def test_a_failed_job_leaves_nothing_behind(to_fake: Run, folder: Path) -> None:
    write_json("b.json", [{"year": "x"}] * 20)
    assert to_fake("import", "--input", "b.json", "--max-errors", "3").code == 1
    assert to_fake("import", *INPUT, "--collection", "Absent").code == 2
    assert sorted(path.name for path in folder.iterdir()) == ["a.json", "b.json"]


def test_two_runs_have_a_dead_letter_each(to_fake: Run) -> None:
    write_json("b.json", [{"year": "x"}])
    assert to_fake("import", "--input", "b.json").code == 1
    assert to_fake("import", "--input", "b.json").code == 1
    assert len(list(Path("failed").iterdir())) == 2
    assert len(dead_letters()) == 2


@pytest.mark.parametrize("batching", ["bundle", "group_into_batches"])
def test_batching_does_not_change_the_outcome(to_fake: Run, articles: FakeWeaviate, batching: str) -> None:
    write_json("b.json", [{"title": f"t{n}", "year": n if n % 5 else "x"} for n in range(50)])
    ran = to_fake("import", "--input", "b.json", "--batching", batching, "--batch-size", "7")
    assert ran.code == 1
    assert ran.out[1].startswith("40 objects written, 10 failed")
    assert len(articles.objects) == 40


def test_objects_with_one_id_are_counted(to_fake: Run, articles: FakeWeaviate) -> None:
    write_json("b.json", [{"title": "same", "year": n} for n in range(3)])
    ran = to_fake("import", "--input", "b.json", "--id-field", "title")
    assert ran.out[2] == "  2 of them have the id of another: the last one of each id is kept"
    assert stored(articles) == [{"title": "same", "year": 2}]


@pytest.mark.parametrize("runner", ["DirectRunner", "BundleBasedDirectRunner", "FnApiRunner"])
def test_options_of_beam_pass_through(to_fake: Run, articles: FakeWeaviate, runner: str) -> None:
    ran = to_fake("import", *INPUT, f"--runner={runner}", "--direct_num_workers", "1", "--job_name=x")
    assert ran.code == 0, ran
    assert len(articles.objects) == 5


def test_the_logs_of_others_are_as_before(to_fake: Run) -> None:
    import logging

    before = logging.getLogger("apache_beam").level, list(logging.getLogger().handlers)
    assert to_fake("import", *INPUT).code == 0
    assert (logging.getLogger("apache_beam").level, logging.getLogger().handlers) == before


def test_the_dead_letter_holds_the_reason_and_the_object(to_fake: Run) -> None:
    write_json("b.json", [{"title": "x", "year": "soon"}])
    to_fake("import", "--input", "b.json", "--dead-letter", "letters/of/today")
    (letter,) = dead_letters("letters/of/today")
    assert letter["weaviate_io"] == 1
    assert letter["reason"] == "invalid_property"
    assert letter["collection"] == "Article"
    assert "soon" in json.dumps(letter)
