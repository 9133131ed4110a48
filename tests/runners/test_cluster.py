"""A real Flink cluster: workers that have the built package only, and are killed while they write."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.runners import outcome
from tests.runners.cluster import Cluster
from tests.runners.whole import SCHEMA, refuse_sevens
from weaviate_io.testing import ErrorsWhere, FakeWeaviate, StoreThenHang, WeaviateServer

COUNT = 2000
SECONDS = 300
STREAM = ("--streaming", "--checkpointing_interval=1000", "--finish_bundle_before_checkpointing")
"""Without ``job.ENDS``: a source that is over takes part in no checkpoint, and so none would be complete. Without the
last option what a bundle gave stays in the checkpoint's buffer until its step gets another element."""
SLOW_STREAM = (*STREAM, "--step=20", "--pause=0.1")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with Cluster(tmp_path_factory.mktemp("cluster")) as running:
        yield running


@pytest.fixture
def submit(cluster: Cluster, fake: FakeWeaviate, tmp_path: Path) -> Callable[..., Any]:
    """Start the job program, which writes into the fake server and keeps what comes out in ``tmp_path``."""
    fake.create_collection(SCHEMA)

    def submit(*options: str) -> Any:
        server = (f"--url={fake.url}", f"--grpc-url={fake.grpc_url}", f"--folder={tmp_path}")
        return cluster.submit(*server, f"--count={COUNT}", "--batch-size=50", *options)

    return submit


def kill(cluster: Cluster, victim: str) -> None:
    """Kill all of a kind (-9); who supervises task managers starts them again, and they start workers."""
    if victim == "worker":
        cluster.kill_workers()
        return
    for number in (1, 2):
        cluster.kill_task_manager(number)
    for number in (1, 2):
        cluster.start_task_manager(number)


def refuse(fake: FakeWeaviate) -> None:
    fake.behave(lambda request, number: ErrorsWhere(refuse_sevens))


def finish(cluster: Cluster, process: Any) -> None:
    assert process.wait(SECONDS) == 0, cluster.said(process)


def finish_stream(cluster: Cluster, process: Any, folder: Path, count: int) -> None:
    """Wait until each number was told of, and end the stream, whose source is at its end: Flink drains no other."""

    def is_told() -> bool:
        return sum(len({one.uuid for one, *_ in outcome.kept(folder / tag)}) for tag in outcome.TAGS) >= count

    cluster.wait_until(is_told, "has told of all", SECONDS)
    cluster.savepoint(cluster.running_job(), drain=True)
    finish(cluster, process)


@pytest.mark.parametrize("batching", ["bundle", "group_into_batches"])
def test_workers_with_the_built_package_write_everything_once(
    cluster: Cluster, submit: Any, fake: FakeWeaviate, tmp_path: Path, batching: str
) -> None:
    refuse(fake)
    finish(cluster, submit(f"--batching={batching}"))
    outcome.check_once(fake, tmp_path, range(COUNT))


@pytest.mark.long
@pytest.mark.parametrize("batching", ["bundle", "group_into_batches"])
@pytest.mark.parametrize("mode", ["bounded", "unbounded"])
@pytest.mark.parametrize("victim", ["worker", "task manager"])
def test_a_killed_process_leaves_nothing_lost_and_nothing_unfindable(
    cluster: Cluster, submit: Any, fake: FakeWeaviate, tmp_path: Path, victim: str, mode: str, batching: str
) -> None:
    """Requests that are in flight are stored, but not indexed, and whoever sent them is no more."""

    def behave(request: Any, number: int) -> Any:
        return StoreThenHang(600) if number >= 4 else ErrorsWhere(refuse_sevens)

    fake.behave(behave)
    options = SLOW_STREAM if mode == "unbounded" else ()
    running = submit(f"--batching={batching}", *options)
    fake.wait_until(lambda: fake.hanging >= 1, SECONDS)
    kill(cluster, victim)
    refuse(fake)
    fake.wait_until(lambda: not fake.hanging, SECONDS)
    left = set(fake.unindexed)
    if mode == "unbounded":
        finish_stream(cluster, running, tmp_path, COUNT)
    else:
        finish(cluster, running)
    assert left, "nothing was in flight"
    outcome.check_repeated(fake, tmp_path, range(COUNT))


@pytest.mark.long
def test_a_job_that_is_stopped_with_a_savepoint_goes_on_where_it_was(
    cluster: Cluster, submit: Any, fake: FakeWeaviate, tmp_path: Path
) -> None:
    refuse(fake)
    gate = tmp_path / "gate"
    stream = (*SLOW_STREAM, f"--gate={gate}")
    running = submit(*stream)
    job_id = cluster.running_job()
    cluster.wait_until(lambda: outcome.count(tmp_path, "written") > 200, "has written some", SECONDS)
    savepoint = cluster.savepoint(job_id, drain=False)
    finish(cluster, running)
    assert len(outcome.kept(tmp_path / "taken")) < COUNT, "it was over before it was stopped"
    gate.touch()
    again = submit(*stream, f"--savepoint_path={savepoint}")
    finish_stream(cluster, again, tmp_path, COUNT)
    outcome.check_repeated(fake, tmp_path, range(COUNT))


@pytest.mark.long
def test_a_real_server_finds_all_that_was_written_through_kills(
    cluster: Cluster, server: WeaviateServer, new_name: Callable[[], str], tmp_path: Path
) -> None:
    name, count = new_name(), 10_000
    requests.post(f"{server.url}/v1/schema", json={**SCHEMA, "class": name}, timeout=60).raise_for_status()
    where = (f"--url={server.url}", f"--grpc-url={server.grpc_url}", f"--folder={tmp_path}")
    stream = (*STREAM, "--step=50", "--pause=0.1", "--batch-size=200")
    running = cluster.submit(*where, f"--collection={name}", f"--count={count}", *stream)
    for victim in ("worker", "task manager", "worker"):
        before = outcome.count(tmp_path, "written")
        cluster.wait_until(lambda: outcome.count(tmp_path, "written") > before + 1000, "goes on", SECONDS)  # noqa: B023
        kill(cluster, victim)
    finish_stream(cluster, running, tmp_path, count)
    problems = outcome.problems(server, tmp_path, range(count), name)
    assert not problems, problems
