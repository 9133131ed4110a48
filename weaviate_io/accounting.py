"""What a write counts: Beam metrics, the limit on failures, and the first failures in the log."""

from __future__ import annotations

import logging
import threading
from collections import defaultdict
from collections.abc import Hashable
from typing import Optional

from apache_beam.metrics import Metrics

from weaviate_io.objects import Failed, FailedObject, FailedReference
from weaviate_io.outcome import Tally
from weaviate_io.progress import NAMESPACE, process_totals

_LOGGER = logging.getLogger(__name__)

_NOUNS = (("objects", "an object"), ("references", "a reference"))
_LOGGED = 10  # failures that each process logs
_REMEMBERED_IDS = 250_000  # ids of a bundle that are kept to count objects with one id; about 20 MB


class TooManyErrors(RuntimeError):
    """More objects failed than the job allows."""


class Accounts:
    """The metrics of one DoFn, all in the namespace ``weaviate_io``.

    Counters: ``written``, ``failed``, ``failed_REASON``, ``duplicates`` (objects whose id came before in the
    bundle), ``requests``, ``retries``, ``unknown_outcomes``, ``repaired``, ``splits``, ``bytes`` and Beam's
    ``cumulativeThrottlingSeconds``. Distributions: ``batch_size`` and ``latency_ms``.

    Args:
      prefix: what the names of the first four begin with, ``references_`` for references.
    """

    def __init__(self, prefix: str = "") -> None:
        self._prefix = prefix
        self._counters = {
            name: Metrics.counter(NAMESPACE, f"{prefix}{name}") for name in ("written", "failed", "duplicates")
        }
        self._counters |= {
            name: Metrics.counter(NAMESPACE, name)
            for name in (
                "requests",
                "retries",
                "unknown_outcomes",
                "repaired",
                "splits",
                "bytes",
            )
        }
        self._throttled = Metrics.counter(NAMESPACE, "cumulativeThrottlingSeconds")
        self._throttled_rest = 0.0
        self._batch_size = Metrics.distribution(NAMESPACE, "batch_size")
        self._latency = Metrics.distribution(NAMESPACE, "latency_ms")
        self._ids: set[int] = set()

    def start_bundle(self) -> None:
        self._ids.clear()

    def seen(self, collection: str, identity: Hashable) -> None:
        """Count an object whose id came before. Of a bundle's first 250,000 ids none is missed."""
        key = hash((collection, identity))
        if key in self._ids:
            self._counters["duplicates"].inc()
        elif len(self._ids) < _REMEMBERED_IDS:
            self._ids.add(key)

    def written(self, count: int) -> None:
        if count:
            self._counters["written"].inc(count)
            process_totals.written += count

    def failed(self, failure: Failed) -> None:
        self._counters["failed"].inc()
        process_totals.failed += 1
        Metrics.counter(NAMESPACE, f"{self._prefix}failed_{failure.reason}").inc()

    def add(self, tally: Tally) -> None:
        """Take over what a sender did, and set its tally to zero."""
        for name in ("requests", "retries", "unknown_outcomes", "repaired", "splits", "bytes"):
            amount = getattr(tally, name)
            if amount:
                self._counters[name].inc(amount)
        for size in tally.batch_sizes:
            self._batch_size.update(size)
        for latency in tally.latencies_ms:
            self._latency.update(latency)
        # The counter holds whole seconds; the rest waits for the next time.
        self._throttled_rest += tally.throttled_seconds
        whole = int(self._throttled_rest)
        if whole:
            self._throttled.inc(whole)
            self._throttled_rest -= whole
        tally.__init__()  # type: ignore[misc]


_lock = threading.Lock()
_counts: dict[str, int] = defaultdict(int)


class FailureLimit:
    """Counts the failures of a write in this process, logs the first ten, and stops the job above the limit.

    Args:
      write: names the write, the same on every worker; its instances in one process share a count.
      max_errors: failures that are allowed; None for any number.
    """

    def __init__(self, write: str, max_errors: Optional[int]) -> None:
        self._write = write
        self._max_errors = max_errors

    def count(self, failure: Failed) -> None:
        """Raise :class:`TooManyErrors` when this failure is one too many."""
        with _lock:
            _counts[self._write] += 1
            count = _counts[self._write]
        if count <= _LOGGED:
            # Errors quote values, which do not belong into a log; the dead letter has them.
            _LOGGER.warning("not written: %s: %s", _place(failure), failure.reason)
        if self._max_errors is not None and count > self._max_errors:
            many, one = _NOUNS[isinstance(failure, FailedReference)]
            allowed = f"more than max_errors={self._max_errors} {many}" if self._max_errors else one
            raise TooManyErrors(f"{allowed} failed; the last: {describe(failure)}")


def describe(failure: Failed) -> str:
    """A failure in one line, with its error but not the object."""
    return f"{_place(failure)}: {failure.reason}: {failure.error}"


def _place(failure: Failed) -> str:
    where = f" at {failure.position}" if failure.position else ""
    into = f" of {failure.collection}" if failure.collection else ""
    if isinstance(failure, FailedObject):
        return f"{failure.uuid or 'a row'}{into}{where}"
    reference = f"{failure.from_property} of {failure.from_uuid}" if failure.from_uuid else "a row"
    return f"{reference}{into}{where}"
