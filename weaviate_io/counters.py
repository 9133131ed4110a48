"""How far a job is: the metrics of a finished one, and a line on the terminal for a local one that runs.

A local runner gives its metrics at the end only, but it runs in this process, so the steps leave their counts
here as they go.
"""

from __future__ import annotations

import shutil
import sys
import threading
import time
from typing import Any, Optional, TextIO

NAMESPACE = "weaviate_io"
"""Namespace of all metrics."""

_INTERVAL = 0.5  # seconds between two pictures of the line


class JobStopped(RuntimeError):
    """The user wants the job to stop."""


class ProcessTotals:
    """What this process has read, written, failed to write, checked and repaired since it started.

    ``stopped`` says that the user wants the running job to stop; the steps that read look at it.
    """

    def __init__(self) -> None:
        self.stopped = False
        self.bytes_read = 0
        self.written = 0
        self.failed = 0
        self.checked = 0
        self.unfindable = 0
        self.repaired = 0

    def go_on(self) -> None:
        """Raise :class:`JobStopped` where the user wants the job to stop."""
        if self.stopped:
            raise JobStopped("the job was stopped")


process_totals = ProcessTotals()


def counters(result: Any) -> dict[str, int]:
    """The counters of a finished job by name, ``weaviate_io``'s only.

    Args:
      result: the :class:`~apache_beam.runners.runner.PipelineResult`. Where the runner has no committed values,
        the attempted ones are given.
    """
    totals: dict[str, int] = {}
    for metric in result.metrics().query()["counters"]:
        if metric.key.metric.namespace == NAMESPACE:
            value = metric.attempted if metric.committed is None else metric.committed
            totals[metric.key.metric.name] = totals.get(metric.key.metric.name, 0) + (value or 0)
    return totals


def texts(result: Any) -> dict[str, set[str]]:
    """The sets of texts that a finished job kept as metrics, by name, ``weaviate_io``'s only.

    Args:
      result: the :class:`~apache_beam.runners.runner.PipelineResult`.
    """
    found: dict[str, set[str]] = {}
    for metric in result.metrics().query()["string_sets"]:
        if metric.key.metric.namespace == NAMESPACE:
            value = metric.attempted if metric.committed is None else metric.committed
            found.setdefault(metric.key.metric.name, set()).update(value or ())
    return found


class TerminalProgress:
    """A line on the terminal, redrawn while a local job runs; nothing where the output is no terminal.

    Args:
      total_bytes: size of the input, where known; gives the share done and the time left.
      stream: where to draw; standard error unless given.

    >>> with TerminalProgress(total_bytes=None):
    ...     pass
    """

    def __init__(self, total_bytes: Optional[int], stream: Optional[TextIO] = None) -> None:
        self._total_bytes = total_bytes
        self._stream = sys.stderr if stream is None else stream
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._draw_until_done, name="progress", daemon=True)

    def __enter__(self) -> TerminalProgress:
        self._started = time.monotonic()
        self._before = dict(vars(process_totals))
        if self._stream.isatty():
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        if self._thread.is_alive():
            self._thread.join()

    def _draw_until_done(self) -> None:
        while not self._done.wait(_INTERVAL):
            # A line that is wrapped could not be drawn over.
            line = self._line()[: shutil.get_terminal_size().columns - 1]
            self._write(f"\r{line}\x1b[K")
        self._write("\r\x1b[K")

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()

    def _line(self) -> str:
        seconds = time.monotonic() - self._started
        done = {name: number - self._before[name] for name, number in vars(process_totals).items()}
        if done["checked"]:
            return (
                f"{done['checked']:,} checked, {done['unfindable']:,} unfindable, {done['repaired']:,} repaired, "
                f"{done['checked'] / seconds:,.0f}/s"
            )
        line = f"{done['written']:,} written, {done['failed']:,} failed, {done['written'] / seconds:,.0f}/s"
        if self._total_bytes:
            share = min(1.0, done["bytes_read"] / self._total_bytes)
            left = f", {seconds / share - seconds:,.0f} s left" if share > 0.01 else ""
            line += f", {share:.0%} of the input read{left}"
        return line
