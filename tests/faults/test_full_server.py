"""A real server that takes no writes: its disk or memory is full, or somebody made it read-only."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.faults.trial import Trial
from weaviate_io.testing import WeaviateServer

pytestmark = pytest.mark.server
COUNT = 100
SECONDS = 120
"""Until a server that goes on writing is a failure."""

FULL = {
    "disk": ({"DISK_USE_READONLY_PERCENTAGE": "1"}, "read-only|read only"),
    "memory": ({"MEMORY_READONLY_PERCENTAGE": "1", "GOMEMLIMIT": "500MiB"}, "read-only|read only"),
    "allocation": ({"GOMEMLIMIT": "20MiB"}, "not enough memory"),
}


@pytest.mark.parametrize("full", FULL)
def test_what_is_not_stored_is_never_told_written_and_the_rerun_writes_it(
    write: Any, sending: Callable[..., None], tmp_path: Path, full: str
) -> None:
    environment, words = FULL[full]
    with WeaviateServer(version="1.39.3", data_path=tmp_path / "data", environment=environment) as server:
        sending(budget=4.0, pause=lambda tries: 0.2)
        one = Trial(write, server, batch_size=20)
        give_up = time.monotonic() + SECONDS
        with pytest.raises(Exception, match=words):
            while time.monotonic() < give_up:  # the server looks at its disk and memory every half second
                one.run(range(COUNT))
    assert not list(tmp_path.glob("*/failed/*/*")), "nobody's fault: no dead letter"
    with WeaviateServer(version="1.39.3", data_path=tmp_path / "data") as server:
        one.server = server
        one.options |= {"url": server.url, "grpc_url": server.grpc_url}
        assert not one.run(range(COUNT)).failed
        one.check()


def test_a_shard_that_is_read_only_for_a_time_is_waited_for(
    write: Any, server: WeaviateServer, sending: Callable[..., None]
) -> None:
    one = Trial(write, server, batch_size=20, verify="all")
    shards = f"/schema/{one.collection}/shards"
    (shard,) = one.rest("GET", shards)
    one.rest("PUT", f"{shards}/{shard['name']}", {"status": "READONLY"})

    def pause(tries: int) -> float:
        if tries == 2:
            one.rest("PUT", f"{shards}/{shard['name']}", {"status": "READY"})
        return 0.0

    sending(pause=pause)
    done = one.run(range(COUNT))
    assert done.counters["retries"] and not done.failed
    one.check()


def test_a_server_for_reading_only_fails_the_job_with_its_words(
    write: Any, sending: Callable[..., None], tmp_path: Path
) -> None:
    sending(budget=1.0, pause=lambda tries: 0.2)
    with WeaviateServer(version="1.39.3", data_path=tmp_path / "data") as server:
        one = Trial(write, server, batch_size=20)
    read_only = {"OPERATIONAL_MODE": "ReadOnly"}
    with WeaviateServer(version="1.39.3", data_path=tmp_path / "data", environment=read_only) as server:
        one.options |= {"url": server.url, "grpc_url": server.grpc_url}
        with pytest.raises(Exception, match="read-only mode"):
            one.run(range(COUNT))
        meta = requests.get(f"{server.url}/v1/objects", params={"class": one.collection}, timeout=60).json()
        assert meta["objects"] == []
