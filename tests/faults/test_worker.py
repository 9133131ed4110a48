"""A worker that is killed, or whose bundle fails behind the write; and requests that are refused as a whole."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import apache_beam as beam
import grpc
import pytest

from tests.jobs.conftest import write_json
from weaviate_io.testing import Fail, FakeWeaviate, Malformed, StoreThenHang

ROOT = Path(__file__).parents[2]
COUNT = 60
Code = grpc.StatusCode


def test_what_a_killed_worker_left_the_next_run_makes_whole(tmp_path: Path) -> None:
    """What it had in flight is stored, but not indexed; the run that follows sees no error."""
    with FakeWeaviate() as fake:
        fake.create_collection({"class": "Article", "properties": [{"name": "title", "dataType": ["text"]}]})
        rows = [{"title": f"title {n}", "v": [n + 1.0, 0.5]} for n in range(COUNT)]
        write_json(str(tmp_path / "a.json"), rows)
        command = (
            *(sys.executable, "-m", "pipelines.import_files", "--input", "a.json", "--collection", "Article"),
            *("--vector-field", "v", "--batch-size", "10", "--url", fake.url, "--grpc-url", fake.grpc_url),
        )
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}

        def start() -> subprocess.Popen[bytes]:
            return subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL)

        fake.behave(lambda request, number: StoreThenHang(600) if number >= 2 else None)
        worker = start()
        try:
            fake.wait_until(lambda: fake.hanging == 2, 60)
        finally:
            worker.send_signal(signal.SIGKILL)
            worker.wait(60)
        fake.wait_until(lambda: not fake.hanging)
        assert fake.unindexed and len(fake.objects) < COUNT
        fake.behave(None)
        assert start().wait(120) == 0
        assert len(fake.objects) == COUNT
        assert not fake.unindexed


class FailOnce:
    """Raises behind the write, the first time."""

    def __init__(self, mark: Path) -> None:
        self._mark = str(mark)

    def __call__(self, element: Any) -> Any:
        if not os.path.exists(self._mark):
            open(self._mark, "w").close()
            raise RuntimeError("behind the write")
        return element


@pytest.mark.parametrize("batching", ["bundle", "group_into_batches"])
def test_a_bundle_that_fails_behind_the_write_is_written_again_without_a_trace(
    trial: Any, tmp_path: Path, batching: str
) -> None:
    one = trial(batching=batching, batch_size=7)
    then = FailOnce(tmp_path / "failed once")
    with pytest.raises(Exception, match="behind the write"):
        one.run(range(COUNT), also=lambda result: result.written | "Then" >> beam.Map(then))
    one.run(range(COUNT), also=lambda result: result.written | "Then" >> beam.Map(then))
    one.check(most_sends=2)


USAGE = (("grpc-status-details-bin", b"\x08\x08type.googleapis.com/google.rpc.ErrorInfo weaviate.usagelimits"),)


@pytest.mark.usefixtures("no_pause")
@pytest.mark.parametrize(
    ("action", "reason", "requests"),
    [
        (Fail(Code.RESOURCE_EXHAUSTED, "objects", USAGE), "usage_limit", 1),
        (Fail(Code.RESOURCE_EXHAUSTED, "received message larger than max (9 vs. 5)"), "too_large", 15),
        (Malformed(b"\xff\xff", stored=False), "server_error", 33),
    ],
    ids=["usage limit", "larger than max", "no reply at all"],
)
def test_a_request_that_is_never_taken_costs_its_objects_and_no_storm(
    trial: Any, fake: Any, action: Any, reason: str, requests: int
) -> None:
    fake.behave(lambda request, number: action)
    one = trial(batch_size=8, verify="off")
    done = one.run(range(8))
    assert {failure.reason for failure in done.failed} == {reason}
    one.check(failed=range(8), most_sends=requests)
    assert done.counters["requests"] <= requests
