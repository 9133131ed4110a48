"""The bar of a job: what it shows while the job runs, here or far away, and how it ends."""

from __future__ import annotations

import builtins
from typing import Any, NamedTuple

import apache_beam as beam
import pytest
from apache_beam.metrics.metricbase import MetricName
from apache_beam.runners.runner import PipelineState

from weaviate_io import WriteToWeaviate, bar, progress
from weaviate_io.counters import NAMESPACE


class Key(NamedTuple):
    metric: MetricName


class Counted(NamedTuple):
    key: Key
    committed: int | None
    attempted: int


class FarJob:
    """A job of a runner that does not wait: each look at its state is a step further."""

    def __init__(self, *written: int, end: str = PipelineState.DONE) -> None:
        self._written = list(written)
        self._end = end

    @property
    def state(self) -> str:
        return PipelineState.RUNNING if len(self._written) > 1 else self._end

    def step(self, seconds: float) -> None:
        self._written.pop(0)

    def metrics(self) -> Any:
        return self

    def query(self) -> Any:
        found = {"written": self._written[0], "failed": 1}
        keys = {name: Key(MetricName(NAMESPACE, name)) for name in found}
        return {"counters": [Counted(keys[name], None, value) for name, value in found.items()]}

    def wait_until_finish(self) -> None:
        if self._end == PipelineState.FAILED:
            raise RuntimeError("the job failed")


class Seen:
    """Takes the place of the bar, and keeps what it is to show."""

    n = 0

    def __init__(self) -> None:
        self.shown: list[tuple[int, int]] = []

    def set_postfix(self, failed: int, refresh: bool) -> None:
        self._failed = failed

    def refresh(self) -> None:
        self.shown.append((self.n, self._failed))


def test_a_local_job_is_run_and_its_counts_are_shown(fake: Any, capsys: pytest.CaptureFixture[str]) -> None:
    fake.create_collection({"class": "Article", "properties": [{"name": "title", "dataType": ["text"]}]})
    pipeline = beam.Pipeline(runner="FnApiRunner")
    write = WriteToWeaviate("Article", url=fake.url, grpc_url=fake.grpc_url)
    pipeline | beam.Create([{"title": "Dune"}, {"title": "Solaris"}, {"title": 5}]) | write
    assert progress(pipeline, total=3).state == PipelineState.DONE
    last = capsys.readouterr().err.splitlines()[-1].rpartition("\r")[2]
    assert "| 2/3 [" in last
    assert "failed=1]" in last


def test_a_job_far_away_is_followed_to_its_end() -> None:
    job, seen = FarJob(0, 70, 100), Seen()
    assert bar._follow(job, seen, wait=job.step) is job
    assert seen.shown == [(0, 1), (70, 1), (100, 1)]


def test_a_job_that_fails_far_away_fails_here() -> None:
    job = FarJob(0, 70, end=PipelineState.FAILED)
    with pytest.raises(RuntimeError, match="the job failed"):
        bar._follow(job, Seen(), wait=job.step)


def test_what_a_local_job_fails_with_comes_out(capsys: pytest.CaptureFixture[str]) -> None:
    def refuse(_: Any) -> None:
        raise ValueError("no such row")

    pipeline = beam.Pipeline(runner="FnApiRunner")
    pipeline | beam.Create([1]) | beam.Map(refuse)
    with pytest.raises(ValueError, match="no such row"):
        progress(pipeline)


def test_without_tqdm_it_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    given = builtins.__import__

    def without_tqdm(name: str, *rest: Any) -> Any:
        if name.startswith("tqdm"):
            raise ImportError(name)
        return given(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without_tqdm)
    with pytest.raises(ImportError, match="pip install 'weaviate-io\\[notebook\\]'"):
        progress(beam.Pipeline(runner="FnApiRunner"))
