"""What a job says to somebody who gets it wrong: one line that names what, where and what to do."""

from __future__ import annotations

import fnmatch
import gzip
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from tests.jobs.conftest import Run, write_json
from weaviate_io.testing import FakeWeaviate

INPUT = ("--input", "a.json")
HERE = ("--collection", "Article")


@pytest.fixture
def clutter(articles: FakeWeaviate, folder: Path) -> FakeWeaviate:
    """Everything that somebody may name by mistake."""
    (folder / "empty.json").touch()
    (folder / "file").touch()
    (folder / "folder.json").mkdir()
    (folder / "binary.json").write_bytes(bytes(range(256)) * 20)
    (folder / "text.txt").write_text("hello\n")
    for suffix in ("parquet", "avro", "json.gz", "json.zst", "json.xz", "json.bz2"):
        (folder / f"text.{suffix}").write_text("hello, I am text\n")
    whole = gzip.compress(b"[" + b",".join(b'{"title": "%d"}' % n for n in range(20_000)) + b"]")
    (folder / "cut.json.gz").write_bytes(whole[: len(whole) // 2])
    (folder / "header.csv").write_text("title,title\nx,y\n")
    (folder / "no_json").write_text("{nope")
    (folder / "a_list").write_text("[1]")
    write_json("other", {"class": "Other"})
    np.save("few.npy", np.ones((3, 2)))
    np.save("many.npy", np.ones((9, 2)))
    np.save("texts.npy", np.array(["a"]))
    write_json("lengths.json", [{"title": f"t{n}", "v": [1.0, 2.0, 3.0][: 2 + (n == 3)]} for n in range(5)])
    return articles


def named(value: tuple[str, ...] | str) -> str:
    """The name of a case: its words, without what it expects."""
    return " ".join(value) if isinstance(value, tuple) and value[0].startswith("-") else "..."


COULD_NOT_RUN = {
    ("--input", "absent.json", *HERE): "no file matches 'absent.json'",
    ("--input", "absent-*.json", *HERE): "no file matches 'absent-[*].json'",
    (
        "--input",
        "folder.json",
        *HERE,
    ): "'folder.json' is a directory; give a pattern such as 'folder.json/[*].json'",
    ("--input", "text.txt", *HERE): "text.txt: the name does not say the format; * or give --format",
    ("--input", "s://bucket/x.json", *HERE): "*filesystem*s://bucket/x.json",
    (*INPUT, *HERE, "--format", "xml"): "argument --format: invalid choice: 'xml' *; see --help",
    (*INPUT, "--collection", "Absent"): "collection Absent does not exist; * --schema * --auto-schema",
    (*INPUT, "--collection", "no such"): "'no such' is not a collection name: *",
    HERE: "the following arguments are required: --input; see --help",
    INPUT: "the following arguments are required: --collection; see --help",
    (*INPUT, *HERE, "--colection", "X"): "--colection is no option *; do you mean --collection?",
    (*INPUT, *HERE, "--nonsense=1"): "--nonsense is no option of this job, nor of Beam; see --help",
    (*INPUT, *HERE, "--yes", "b.json"): "'b.json' belongs to no option; see --help",
    (*INPUT, *HERE, "--direct_num_workers", "x"): "argument --direct_num_workers: invalid int value: 'x'; *",
    (*INPUT, *HERE, "--runner", "NoRunner"): "*NoRunner*",
    (*INPUT, *HERE, "--batch-size", "many"): "argument --batch-size: invalid int value: 'many'; see --help",
    (*INPUT, *HERE, "--batch-size", "5000"): "--batch-size 5000 is not between 1 and 2000",
    (*INPUT, *HERE, "--max-errors", "-1"): "--max-errors -1 is below 0",
    (*INPUT, *HERE, "--map", "title"): "--map 'title' is not of the form NAME=VALUE",
    (*INPUT, *HERE, "--map", "title=a", "title=b"): "--map is given twice for 'title'",
    (*INPUT, *HERE, "--header", "X"): "--header 'X' is not of the form NAME=VALUE",
    (*INPUT, *HERE, "--model-provider", "openai"): "--model-provider 'openai' is not of the form NAME=VALUE",
    (*INPUT, *HERE, "--model-provider", "opnai=env:K"): "there is no model provider 'opnai'; there are *",
    (
        *(*INPUT, *HERE, "--model-provider", "cohere=env:K", "--header", "X-Cohere-Api-Key=env:L"),
    ): "the header X-Cohere-Api-Key of the model provider 'cohere' is given by --header too",
    (*INPUT, *HERE, "--vector-field", "a", "b"): "several --vector-field need names: *",
    (*INPUT, *HERE, "--timezone", "Mars"): "--timezone Mars is no time zone; *",
    (*INPUT, *HERE, "--tenant", "x y"): "*x y* is not a tenant name: *",
    (
        *INPUT,
        *HERE,
        "--allowed-tenants",
        "a",
        "b.*",
    ): "--allowed-tenants has 'b.[*]', which is not a tenant name: *",
    (*INPUT, *HERE, "--allowed-tenants", "("): "--allowed-tenants ( is no regular expression: *",
    (*INPUT, *HERE, "--tenant", "a", "--allowed-tenants", "b"): "--tenant a is not in --allowed-tenants",
    (*INPUT, *HERE, "--wait-for-indexing", "0"): "--wait-for-indexing 0.0 is neither True nor a number *",
    (*INPUT, *HERE, "--wait-for-indexing", "x"): "argument --wait-for-indexing: invalid float value: 'x'; *",
    (*INPUT, *HERE, "--schema", "absent"): "--schema absent cannot be read: No such file or directory",
    (*INPUT, *HERE, "--schema", "folder.json"): "--schema folder.json cannot be read: Is a directory",
    (*INPUT, *HERE, "--schema", "no_json"): "--schema no_json is no JSON: *",
    (*INPUT, *HERE, "--schema", "a_list"): "*a_list* is no collection: *",
    (*INPUT, *HERE, "--schema", "other"): "--schema describes collection Other, but the write goes to Article",
    (*INPUT, *HERE, "--vectors", "absent.npy"): "no file matches 'absent.npy'",
    (*INPUT, *HERE, "--vectors", "file"): "file: is no .npy file of numbers: *",
    (*INPUT, *HERE, "--vectors", "few.npy"): "a.json: item 4: few.npy has no vector for it, only 3; *",
    (*INPUT, *HERE, "--vectors", "many.npy"): "many.npy: has 9 vectors for 5 rows; is it the right file?",
    (*INPUT, *HERE, "--vectors", "texts.npy"): "texts.npy: has 1 dimensions of <U1; *",
    (
        "--input",
        "a.json",
        "lengths.json",
        *HERE,
        "--vectors",
        "few.npy",
    ): "vectors go with the rows of one file; *",
    (
        *INPUT,
        *HERE,
        "--vectors",
        "few.npy",
        "--vector-field",
        "a=x",
        "b=y",
    ): "--vectors fills one --vector-field*",
    (*INPUT, *HERE, "--api-key", "env:NOT_SET_ANYWHERE"): "NOT_SET_ANYWHERE is not set *",
    (*INPUT, *HERE, "--dead-letter", "file"): "--dead-letter file: *file is a file; name another folder",
    (*INPUT, *HERE, "--dead-letter", "file/x"): "--dead-letter file/x: *file is a file; name another folder",
    (*INPUT, *HERE, "--url", "localhost:8080"): "--url localhost:8080 is no address; use *",
    (
        *INPUT,
        *HERE,
        "--url",
        "http://localhost:1",
    ): "no Weaviate at http://localhost:1: nothing listens there; *",
    (
        *INPUT,
        *HERE,
        "--url",
        "http://x.invalid",
    ): "no Weaviate at http://x.invalid: its host name does not resolve",
    (*INPUT, *HERE, "--grpc-url", "localhost:1"): "no gRPC at localhost:1: *",
    (*INPUT, *HERE, "--grpc-url", "ftp://x"): "--grpc-url ftp://x is no address; *",
}


@pytest.mark.parametrize(("words", "line"), COULD_NOT_RUN.items(), ids=named)
def test_what_cannot_run_is_said_in_one_line(
    run: Run, clutter: FakeWeaviate, words: tuple[str, ...], line: str
) -> None:
    where = [] if "--url" in words else ["--url", clutter.url]
    where += [] if "--grpc-url" in words else ["--grpc-url", clutter.grpc_url]
    ran = run("import", *where, *words)
    assert ran.code == 2, ran
    assert ran.out == []
    assert fnmatch.fnmatchcase(ran.error, line), ran.error
    assert clutter.objects == {} or "--vectors" in words
    assert not Path("failed").exists()


SOME_FAILED = {
    ("--input", "binary.json"): ("unreadable", "binary.json: line 1: "),
    ("--input", "text.parquet"): (
        "unreadable",
        "text.parquet: beginning: is no Parquet file that can be read: ",
    ),
    ("--input", "text.avro"): ("unreadable", "text.avro: beginning: is no Avro file that can be read: "),
    ("--input", "text.json.gz"): (
        "unreadable",
        "text.json.gz: beginning: the gzip stream is damaged or cut off ",
    ),
    ("--input", "text.json.zst"): (
        "unreadable",
        "text.json.zst: beginning: the zstd stream is damaged or cut off ",
    ),
    ("--input", "text.json.xz"): (
        "unreadable",
        "text.json.xz: beginning: the xz stream is damaged or cut off ",
    ),
    ("--input", "text.json.bz2"): (
        "unreadable",
        "text.json.bz2: beginning: the bzip2 stream is damaged or cut off ",
    ),
    ("--input", "cut.json.gz"): ("unreadable", "cut.json.gz: after item "),
    ("--input", "header.csv"): (
        "unreadable",
        "header.csv: header: column 2 has the name of another, 'title'; ",
    ),
    (*INPUT, "--format", "parquet"): ("unreadable", "a.json: beginning: is no Parquet file that can be read: "),
    (*INPUT, "--map", "title=Title"): (
        "invalid_row",
        "a.json: item 1: the row has none of the fields of --map; ",
    ),
    (*INPUT, "--map", "isbn=title"): (
        "unknown_property",
        "a.json: item 1: collection Article has no property 'isbn' ",
    ),
    (*INPUT, "--id-field", "doi"): (
        "missing_id",
        "a.json: item 1: the row has no field 'doi' (--id-field); it has ",
    ),
    (*INPUT, "--tenant-field", "t"): (
        "invalid_tenant",
        "a.json: item 1: the row has no field 't' (--tenant-field); ",
    ),
    (*INPUT, "--vector-field", "emb"): (
        "missing_vector",
        "a.json: item 1: the row has no field 'emb' (--vector-field); it has ",
    ),
    (*INPUT, "--vector-field", "name=year"): (
        "unknown_vector",
        "a.json: item 1: collection Article has no vector 'name",
    ),
    ("--input", "lengths.json", "--vector-field", "v"): ("invalid_vector", "lengths.json: item 4: "),
    ("--input", "lengths.json", "--vector-field", "v", "--dimensions", "2"): (
        "invalid_vector",
        "lengths.json: item 4: the vector has 3 values, collection Article expects 2",
    ),
}


@pytest.mark.parametrize(("words", "expected"), SOME_FAILED.items(), ids=named)
def test_what_failed_is_told_with_an_example(
    run: Run, clutter: FakeWeaviate, words: tuple[str, ...], expected: tuple[str, str]
) -> None:
    ran = run("import", *words, *HERE, "--url", clutter.url, "--grpc-url", clutter.grpc_url)
    reason, example = expected
    assert ran.code == 1, ran
    place = next(n for n, line in enumerate(ran.out) if line.endswith(f" failed: {reason}"))
    assert ran.out[place + 1].startswith(f"    {example}"), ran.out[place + 1]
    assert ran.out[place + 2] == "failures with their reasons: failed"
    assert all(line.startswith("weaviate-io: warning: no row has a field ") for line in ran.err), ran.err
    assert [path.suffix for path in Path("failed").iterdir()] == [".jsonl"]


@pytest.mark.parametrize("words", [("--input", "empty.json"), (*INPUT, "--format", "csv")])
def test_input_without_rows_is_warned_of(run: Run, clutter: FakeWeaviate, words: tuple[str, ...]) -> None:
    ran = run("import", *words, *HERE, "--url", clutter.url, "--grpc-url", clutter.grpc_url)
    assert ran.code == 0
    assert ran.error == "warning: the input has no rows; is it the right file, and the right --format?"


def test_swapped_ports_are_told_apart(run: Run, articles: FakeWeaviate) -> None:
    rest, grpc = articles.url.removeprefix("http://"), articles.grpc_url
    swapped = run("import", *INPUT, *HERE, "--url", f"http://{grpc}", "--grpc-url", rest)
    assert swapped.code == 2
    assert swapped.error.endswith("it does not speak HTTP/1; is this the gRPC port?")
    twice = run("import", *INPUT, *HERE, "--url", articles.url, "--grpc-url", rest)
    assert twice.code == 2
    assert twice.error.startswith(f"no gRPC at {rest}: ")


def test_tls_where_there_is_none_is_told(run: Run, articles: FakeWeaviate) -> None:
    secure = articles.url.replace("http:", "https:")
    ran = run("import", *INPUT, *HERE, "--url", secure, "--grpc-url", articles.grpc_url)
    assert ran.code == 2
    assert ran.error == f"no Weaviate at {secure}: it does not speak TLS; use http:// in --url"


def test_a_literal_key_is_warned_of_in_one_line(to_fake: Run) -> None:
    ran = to_fake("import", *INPUT, "--api-key", "very-secret")
    assert ran.code == 0
    assert ran.error.startswith("warning: a literal secret becomes part of the job; ")
    assert "very-secret" not in str(ran)


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a folder where nothing can be created")
def test_a_dead_letter_that_cannot_be_written_is_told(to_fake: Run) -> None:
    ran = to_fake("import", *INPUT, "--dead-letter", "/proc/letters")
    assert ran.code == 2
    assert "/proc" in ran.error


def test_a_folder_that_is_not_ours_is_told_before_anything_is_sent(
    to_fake: Run, articles: FakeWeaviate, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "locked").mkdir()
    # The permissions of a folder mean nothing to root, whom tests may run as.
    monkeypatch.setattr(os, "access", lambda place, mode: Path(place).name != "locked")
    ran = to_fake("import", *INPUT, "--dead-letter", "locked/letters")
    assert ran.code == 2
    assert ran.error == f"--dead-letter locked/letters: {folder}/locked cannot be written; name another folder"
    assert articles.objects == {}


def test_a_full_or_read_only_disk_is_told(to_fake: Run, folder: Path) -> None:
    place = folder / "disk"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", place], capture_output=True)
    if mounted.returncode:
        pytest.skip("mounting is not allowed here")
    try:
        ran = to_fake("import", *INPUT, "--dead-letter", "disk/letters")
    finally:
        subprocess.run(["umount", place], check=True)
    assert ran.code == 2
    assert "cannot be written" in ran.error


@pytest.mark.parametrize("words", [(), ("exprot",), ("-x",)])
def test_the_console_script_without_a_command_tells_its_commands(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    from pipelines import command

    assert command.main(words) == 2
    assert "import" in capsys.readouterr().err


def test_the_console_script_passes_on(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    from pipelines import command

    assert command.main(["import", "--input", "absent.json", "--collection", "X"]) == 2
    assert capsys.readouterr().err == "weaviate-io: no file matches 'absent.json'\n"
    assert command.main(["replay", "--input", "absent.jsonl"]) == 2
    assert capsys.readouterr().err == "weaviate-io: no file matches 'absent.jsonl'\n"
    assert command.main(["--help"]) == 0
    assert command.main(["--version"]) == 0


@pytest.mark.parametrize("command", ["import", "replay"])
def test_help_fits_into_80_columns_and_ends_with_examples(
    run: Run, command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit) as ended:
        run(command, "--help")
    text = capsys.readouterr().out
    assert ended.value.code == 0
    assert "\nexamples:\n" in text
    options, _, examples = text.partition("\nexamples:\n")
    assert max(len(line) for line in options.splitlines()) <= 80
    assert max(len(line) for line in examples.splitlines()) <= 100
