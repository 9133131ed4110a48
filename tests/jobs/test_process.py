"""The jobs as processes of their own: what only shows there, such as signals and worker processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.jobs.conftest import write_json
from weaviate_io.testing import FakeWeaviate, StoreThenHang

ROOT = Path(__file__).parents[2]
MODULE = (sys.executable, "-m", "pipelines.import_files")
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}


def start(fake: FakeWeaviate, folder: Path, *words: str) -> subprocess.Popen[str]:
    where = ("--collection", "Article", "--url", fake.url, "--grpc-url", fake.grpc_url)
    return subprocess.Popen(
        (*MODULE, "--input", "a.json", *where, *words),
        cwd=folder,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_job_prints_its_summary_and_nothing_else(articles: FakeWeaviate, folder: Path) -> None:
    job = start(articles, folder)
    out, err = job.communicate(timeout=120)
    assert job.returncode == 0, err
    assert out.startswith("5 rows read\n5 objects written, 0 failed, ")
    assert err == ""


def test_ctrl_c_lets_what_is_in_flight_end(articles: FakeWeaviate, folder: Path) -> None:
    write_json("a.json", [{"title": f"title {n}"} for n in range(20_000)])
    articles.behave(lambda request, number: StoreThenHang(600))
    job = start(articles, folder, "--batch-size", "10")
    assert job.stderr is not None
    try:
        articles.wait_until(lambda: articles.hanging, 60)
        job.send_signal(signal.SIGINT)
        assert job.stderr.readline() == (
            "weaviate-io: stopping once the requests in flight are answered; Ctrl-C again leaves at once\n"
        )
        articles.behave(None)
        articles.release()
        out, err = job.communicate(timeout=120)
    finally:
        job.kill()
    assert job.returncode == 2
    assert out == ""
    assert err == "weaviate-io: stopped; run the same command again to go on, nothing is written twice\n"
    assert len(articles.objects) < 20_000
    assert list(folder.iterdir()) == [folder / "a.json"]


def test_a_second_ctrl_c_leaves_at_once(articles: FakeWeaviate, folder: Path) -> None:
    articles.behave(lambda request, number: StoreThenHang(600))
    job = start(articles, folder)
    assert job.stderr is not None
    try:
        articles.wait_until(lambda: articles.hanging, 60)
        job.send_signal(signal.SIGINT)
        job.stderr.readline()
        job.send_signal(signal.SIGINT)
        _, err = job.communicate(timeout=120)
    finally:
        job.kill()
    assert job.returncode == 2
    assert err.startswith("weaviate-io: left at once; ")


def test_two_worker_processes_give_the_same_summary(articles: FakeWeaviate, folder: Path) -> None:
    write_json("a.json", [{"title": "x"}, {"isbn": 1}])
    job = start(
        articles,
        folder,
        *("--runner=DirectRunner", "--direct_num_workers=2", "--direct_running_mode=multi_processing"),
    )
    out, err = job.communicate(timeout=300)
    assert job.returncode == 1, err
    lines = out.splitlines()
    assert lines[0] == "2 rows read"
    assert lines[1].startswith("1 objects written, 1 failed, ")
    assert lines[2] == "  1 failed: unknown_property"
    assert lines[3].startswith("    a.json: item 2: collection Article has no property 'isbn'")
    assert len(articles.objects) == 1
    assert len(list((folder / "failed").glob("*.jsonl"))) == 1
