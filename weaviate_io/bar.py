"""A live bar for a job, in a notebook or on a terminal, whether it runs here or far away."""

from __future__ import annotations

import threading
import time
import warnings
from collections.abc import Callable
from typing import Any, Optional, Union

import apache_beam as beam
from apache_beam.runners.runner import PipelineResult, PipelineState

from weaviate_io.counters import counters, process_totals

_HERE = 0.2  # seconds between two looks at what this process has done
_FAR = 5.0  # seconds between two questions to a runner far away, which counts them


def progress(job: Union[beam.Pipeline, PipelineResult], total: Optional[int] = None) -> PipelineResult:
    """Show how many objects a job has written and failed to write, until it is done.

    Args:
      job: a pipeline, which is run here or submitted, as its runner does; or what ``pipeline.run()`` gave, of a
        runner that does not wait for the end.
      total: how many objects there are, where known; gives the share done and the time left.

    Returns:
      The result of the job.

    Raises:
      ImportError: where tqdm is not installed.
      Exception: what the job fails with.

    A local runner with several processes tells at the end only.

    >>> pipeline = beam.Pipeline(runner="FnApiRunner")
    >>> result = progress(pipeline)
    >>> result.state
    'DONE'
    """
    with _bar(total) as bar:
        result = _run(job, bar) if isinstance(job, beam.Pipeline) else job
        return _follow(result, bar)


def _bar(total: Optional[int]) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that a notebook without widgets gets a bar of text
            from tqdm.auto import tqdm
    except ImportError:
        raise ImportError("progress() needs tqdm: pip install 'weaviate-io[notebook]'") from None
    return tqdm(total=total, unit=" objects", desc="written")


def _run(pipeline: beam.Pipeline, bar: Any) -> PipelineResult:
    """Run a pipeline; what runs in this process shows in its totals, since a local runner returns at the end."""
    before = process_totals.written, process_totals.failed
    done = threading.Event()

    def draw() -> None:
        while not done.wait(_HERE):
            _show(bar, process_totals.written - before[0], process_totals.failed - before[1])

    thread = threading.Thread(target=draw, name="progress", daemon=True)
    thread.start()
    try:
        return pipeline.run()
    finally:
        done.set()
        thread.join()


def _follow(result: PipelineResult, bar: Any, wait: Callable[[float], None] = time.sleep) -> PipelineResult:
    while not PipelineState.is_terminal(result.state):
        _show_counted(bar, result)
        wait(_FAR)
    result.wait_until_finish()  # raises what the job failed with
    _show_counted(bar, result)
    return result


def _show_counted(bar: Any, result: PipelineResult) -> None:
    found = counters(result)
    written = found.get("written", 0) + found.get("references_written", 0)
    _show(bar, written, found.get("failed", 0) + found.get("references_failed", 0))


def _show(bar: Any, written: int, failed: int) -> None:
    bar.n = written
    bar.set_postfix(failed=failed, refresh=False)
    bar.refresh()
