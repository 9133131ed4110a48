"""The wait itself, on scripted answers: when it ends, when it gives up, what it says meanwhile. No time passes."""

from __future__ import annotations

import logging
import math
from typing import Any

import apache_beam as beam
import pytest

from tests.write.running import FN_API
from weaviate_io import WriteToWeaviate
from weaviate_io.errors import WeaviateError
from weaviate_io.indexing import IndexingWait

URL = "http://weaviate.invalid:8080"


class Server:
    """Gives the scripted answers, one for each look, then the last one for ever."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    def rest(self, method: str, path: str, accept: tuple[int, ...] = (200,)) -> Any:
        self.asked.append(path)
        self._nodes = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        self.status_code = 404 if self._nodes is None else 200
        assert self.status_code in accept
        return self

    def json(self) -> dict[str, Any]:
        return {"nodes": self._nodes}


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        assert seconds >= 0
        self.now += seconds


def node(*shards: Any, synchronous: bool = False, status: str = "HEALTHY") -> dict[str, Any]:
    """A node as the server describes it; a shard is its queue, or its queue and its status."""
    pairs = [shard if isinstance(shard, tuple) else (shard, "READY") for shard in shards]
    return {
        "status": status,
        "batchStats": {"ratePerSecond": 0, **({"queueLength": 0} if synchronous else {})},
        "shards": [{"vectorQueueLength": queue, "vectorIndexingStatus": state} for queue, state in pairs]
        or None,
    }


QUIET = [node(0)]
BUSY = [node(0), node(0, 5)]


def wait(
    *answers: Any, seconds: float = 600.0, names: tuple[str, ...] = ("Note",)
) -> tuple[float, Server, list[int]]:
    server, clock = Server(*answers), Clock()
    looks: list[int] = []
    running = IndexingWait(server, names, seconds, on_look=looks.append, clock=clock, sleep=clock.sleep)  # type: ignore[arg-type]
    return running.run(), server, looks


@pytest.mark.parametrize(
    ("answers", "looks"),
    [
        ([QUIET], [0, 0, 0]),
        ([BUSY, BUSY, QUIET], [5, 5, 0, 0, 0]),
        ([QUIET, QUIET, BUSY, QUIET], [0, 0, 5, 0, 0, 0]),
        ([[node((0, "INDEXING"))], QUIET], [0, 0, 0, 0]),
        ([[node((0, "LOADING"))], QUIET], [0, 0, 0, 0]),
        ([[node((0, "READONLY"), (0, "LAZY_LOADING"))]], [0, 0, 0]),
        ([[node(status="TIMEOUT")], QUIET], [0, 0, 0, 0]),
        ([[node(0), node(status="UNAVAILABLE")], QUIET], [0, 0, 0, 0]),
        ([[node(synchronous=True), node(0)]], [0, 0, 0]),
        ([[node(0, synchronous=True)]], [0]),
        ([[node(7, synchronous=True)], [node(0, synchronous=True)]], [7, 0]),
        ([[node(synchronous=True)]], [0]),
        ([None], [0]),
        ([BUSY, None], [5, 0]),
    ],
)
def test_it_ends_when_all_shards_are_quiet_at_several_looks(answers, looks):
    seconds, server, seen = wait(*answers)
    assert seen == looks
    assert set(server.asked) == {"/v1/nodes/Note?output=verbose"}
    assert (seconds == 0) == (len(looks) == 1)


def test_every_collection_is_looked_at():
    _, server, looks = wait(QUIET, BUSY, QUIET, names=("A", "B"))
    assert looks == [5, 0, 0, 0]
    assert [path.split("/")[3].split("?")[0] for path in server.asked] == ["A", "B"] * 4


@pytest.mark.parametrize(
    ("answer", "names", "message"),
    [
        (
            [node(1200, 34)],
            ("Note",),
            "1,234 vectors of Note were still waiting to be indexed after wait_for_indexing=2.5 s; ",
        ),
        (
            [node(1)],
            ("A", "B", "C", "D"),
            "4 vectors of A, B, C and 1 more were still waiting to be indexed after wait_for_indexing=2.5 s; ",
        ),
        ([node(status="TIMEOUT")], ("Note",), "after wait_for_indexing=2.5 s (1 nodes do not answer); "),
    ],
)
def test_it_gives_up_at_the_limit_with_one_line(answer, names, message):
    with pytest.raises(WeaviateError) as caught:
        wait(answer, seconds=2.5, names=names)
    assert message in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("seconds", [1e-9, 0.3, 5.0, 1000.0])
def test_it_ends_at_the_limit_and_not_later(seconds):
    clock = Clock()
    with pytest.raises(WeaviateError):
        IndexingWait(Server(BUSY), ("Note",), seconds, clock=clock, sleep=clock.sleep).run()  # type: ignore[arg-type]
    assert seconds - 1e-6 <= clock.now - 100.0 <= seconds + 0.02


def test_progress_is_logged_every_ten_seconds_at_most(caplog):
    caplog.set_level(logging.INFO, logger="weaviate_io.indexing")
    with pytest.raises(WeaviateError):
        wait([node(3210)], seconds=95.0)
    lines = [record.getMessage() for record in caplog.records if record.name == "weaviate_io.indexing"]
    assert 5 <= len(lines) <= 9
    assert lines[0].startswith("3,210 vectors of Note wait to be indexed, after 1")


@pytest.mark.parametrize("given", [0, -1, 0.0, math.nan, math.inf, "60", [60], 1j], ids=str)
def test_what_is_no_time_limit_is_refused_at_construction(given):
    with pytest.raises(
        ValueError, match=r"^wait_for_indexing=.* is neither True nor a number of seconds above 0$"
    ):
        WriteToWeaviate("Note", url=URL, wait_for_indexing=given)


@pytest.mark.parametrize("given", [True, 1, 0.5])
def test_unbounded_input_is_refused_at_construction(given):
    rows = FN_API.pipeline() | beam.Create([{"n": 1}])
    rows.is_bounded = False
    with pytest.raises(
        ValueError, match="wait_for_indexing= needs bounded input: the writes of a stream have no end"
    ):
        rows | WriteToWeaviate("Note", url=URL, wait_for_indexing=given)


def _steps(**options: Any) -> bool:
    pipeline = FN_API.pipeline()
    pipeline | beam.Create([{"n": 1}]) | WriteToWeaviate("Note", url=URL, **options)
    steps = pipeline.to_runner_api().components.transforms.values()
    return any("WaitForIndexing" in step.unique_name for step in steps)


def test_the_step_is_there_only_when_asked_for():
    assert _steps(wait_for_indexing=5) and _steps(wait_for_indexing=True)
    assert not any(
        _steps(**options)
        for options in ({}, {"wait_for_indexing": False}, {"wait_for_indexing": 5, "dry_run": True})
    )
