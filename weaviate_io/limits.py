"""How many objects may fail before the job does: counted in each process as it goes, and over all of them at the end.

A process sees its own failures only, so a job on many workers is stopped early by whichever worker exceeds the
limit alone; the sum is known when the input has ended.
"""

from __future__ import annotations

import logging
import threading
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Optional

import apache_beam as beam
from apache_beam.transforms.window import GlobalWindows

from weaviate_io.objects import Failed, FailedObject

_LOGGER = logging.getLogger(__name__)

RATE_FROM = 1000
"""Objects after which a share of failures says something."""

_ONE = {"objects": "an object", "references": "a reference"}
_FIRST = 10  # failures that each process logs, and that the error shows


class TooManyErrors(RuntimeError):
    """More objects failed than the job allows; the message shows the first ten failures."""


class Limit(NamedTuple):
    """How much may fail.

    Args:
      max_errors: objects; None for any number.
      max_error_rate: share of the objects, 0 to 1, once there are ``RATE_FROM`` of them; None for any.
    """

    max_errors: Optional[int] = None
    max_error_rate: Optional[float] = None

    def __str__(self) -> str:
        return " and ".join(f"{name}={value:g}" for name, value in self._asdict().items() if value is not None)

    def exceeded(self, failed: int, objects: int, things: str = "objects") -> str:
        """What is exceeded, in words; nothing where nothing is.

        >>> Limit(max_error_rate=0.01).exceeded(11, 1000)
        '11 of 1,000 objects failed, max_error_rate=0.01 is allowed'
        """
        if self.max_errors is not None and failed > self.max_errors:
            allowed = f"max_errors={self.max_errors}" if self.max_errors else "none"
            counted = _ONE[things] if failed == 1 else f"{failed:,} {things}"
            return f"{counted} failed, {allowed} is allowed"
        rate = self.max_error_rate
        if rate is not None and objects >= RATE_FROM and failed > rate * objects:
            return f"{failed:,} of {objects:,} {things} failed, max_error_rate={rate:g} is allowed"
        return ""


@dataclass
class _Count:
    """What one process counted of one write."""

    taken: int = 0
    written: int = 0
    failed: int = 0
    first: list[str] = field(default_factory=list)

    def check(self, limit: Limit, things: str) -> None:
        # A failure of the encoder is known at once, a written object only when its request was answered: until
        # then it is counted as taken. A process that sends what others took in knows the second number only.
        exceeded = limit.exceeded(self.failed, max(self.taken, self.written + self.failed), things)
        if exceeded:
            raise TooManyErrors(_message(exceeded, self.first))


_lock = threading.Lock()
_counts: dict[str, _Count] = defaultdict(_Count)


class FailureLimit:
    """Counts what becomes of a write's objects in this process, logs its first ten failures, and stops the job.

    Args:
      write: names the write, the same on every worker; its instances in one process share a count.
      limit: what is allowed; each count above it raises :class:`TooManyErrors`.
      things: what is written, ``"objects"`` or ``"references"``.
    """

    def __init__(self, write: str, limit: Limit, things: str = "objects") -> None:
        self._write = write
        self._things = things
        self._limit = limit
        self._counts_all = limit.max_error_rate is not None

    def taken(self, objects: int) -> None:
        """So many objects came in."""
        if self._counts_all:
            with _lock:
                _counts[self._write].taken += objects

    def written(self, objects: int) -> None:
        """So many objects were written."""
        if self._counts_all:
            with _lock:
                count = _counts[self._write]
                count.written += objects
                count.check(self._limit, self._things)

    def failed(self, failure: Failed) -> None:
        """An object failed."""
        with _lock:
            count = _counts[self._write]
            count.failed += 1
            if len(count.first) < _FIRST:
                count.first.append(describe(failure))
                # Errors quote values, which do not belong into a log; the dead letter has them.
                _LOGGER.warning("not written: %s: %s", _place(failure), failure.reason)
            count.check(self._limit, self._things)


class CheckTotal(beam.PTransform):
    """Fails a job of bounded input whose objects failed too often, over all workers.

    Takes the named tuple of PCollections that a write gives.
    """

    def __init__(self, limit: Limit, things: str = "objects") -> None:
        super().__init__()
        self._limit = limit
        self._things = things

    def expand(self, outputs: tuple[beam.PCollection, beam.PCollection]) -> beam.PCollection:
        written, failed = outputs
        told = [failed | "Describe" >> beam.Map(describe).with_output_types(str)]
        if self._limit.max_error_rate is not None:
            told.append(written | "Written" >> beam.Map(lambda _: _WRITTEN).with_output_types(str))
        return (
            told
            | "Together" >> beam.Flatten()
            | "Global" >> beam.WindowInto(GlobalWindows())
            | "Total" >> beam.CombineGlobally(_TotalFn()).without_defaults()
            | "Compare" >> beam.Map(_compare, self._limit, self._things)
        )


_WRITTEN = ""
"""Stands for an object that was written, among the descriptions of those that failed."""


class _Total(NamedTuple):
    failed: int
    objects: int
    first: list[str]


class _TotalFn(beam.CombineFn):
    """Counts the objects and the failures, and keeps the first descriptions."""

    def create_accumulator(self) -> _Total:
        return _Total(0, 0, [])

    def add_input(self, total: _Total, told: str) -> _Total:
        if told == _WRITTEN:
            return _Total(total.failed, total.objects + 1, total.first)
        return _Total(total.failed + 1, total.objects + 1, [*total.first, told][:_FIRST])

    def merge_accumulators(self, totals: Iterable[_Total]) -> _Total:
        failed, objects, first = self.create_accumulator()
        for total in totals:
            failed, objects, first = failed + total.failed, objects + total.objects, first + total.first
        return _Total(failed, objects, first[:_FIRST])

    def extract_output(self, total: _Total) -> _Total:
        return total


def _compare(total: _Total, limit: Limit, things: str) -> None:
    exceeded = limit.exceeded(total.failed, total.objects, things)
    if exceeded:
        raise TooManyErrors(_message(exceeded, total.first))


def _message(exceeded: str, first: Sequence[str]) -> str:
    shown = "".join(f"\n  {description}" for description in first)
    return f"{exceeded}; the first of them:{shown}"


def describe(failure: Failed) -> str:
    """A failure in one line, with its error but not the object."""
    error = " ".join(failure.error.split())
    return f"{_place(failure)}: {failure.reason}: {error:.300}"


def _place(failure: Any) -> str:
    where = f" at {failure.position}" if failure.position else ""
    into = f" of {failure.collection}" if failure.collection else ""
    if failure._fields == FailedObject._fields:  # out of another process it is of a class that Beam makes
        return f"{failure.uuid or 'a row'}{into}{where}"
    reference = f"{failure.from_property} of {failure.from_uuid}" if failure.from_uuid else "a row"
    return f"{reference}{into}{where}"
