"""What a write counts: Beam metrics, and the totals of this process."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from apache_beam.metrics import Metrics
from apache_beam.metrics.metric import Lineage

from weaviate_io.counters import NAMESPACE, process_totals
from weaviate_io.objects import Failed
from weaviate_io.outcome import Tally

_TALLIED = (
    "requests",
    "retries",
    "unknown_outcomes",
    "repaired",
    "verified",
    "unindexed",
    "splits",
    "bytes",
)
_REMEMBERED_IDS = 250_000  # ids of a bundle that are kept to count objects with one id; about 20 MB


class Accounts:
    """The metrics of one DoFn, all in the namespace ``weaviate_io``.

    Counters: ``written``, ``failed``, ``failed_REASON``, ``duplicates`` (objects whose id came before in the
    bundle), ``requests``, ``retries``, ``unknown_outcomes``, ``repaired``, ``verified`` (looked for in the vector
    index), ``unindexed`` (stored, but missing there), ``splits``, ``bytes`` and Beam's
    ``cumulativeThrottlingSeconds``. Distributions: ``batch_size`` and ``latency_ms``. Where objects went is
    Beam's lineage: ``weaviate:SERVER.COLLECTION``.

    Args:
      prefix: what the names of the first four begin with, ``references_`` for references.
      server: host and port of the server, for the lineage.
    """

    def __init__(self, prefix: str = "", server: str = "") -> None:
        self._prefix = prefix
        self._server = server
        self._reached: set[str] = set()
        self._counters = {
            name: Metrics.counter(NAMESPACE, f"{prefix}{name}") for name in ("written", "failed", "duplicates")
        }
        self._counters |= {name: Metrics.counter(NAMESPACE, name) for name in _TALLIED}
        self._throttled = Metrics.counter(NAMESPACE, "cumulativeThrottlingSeconds")
        self._throttled_rest = 0.0
        self._batch_size = Metrics.distribution(NAMESPACE, "batch_size")
        self._latency = Metrics.distribution(NAMESPACE, "latency_ms")
        self._keys: dict[str, set[int]] = {}

    def start_bundle(self) -> None:
        self._keys.clear()
        self._reached.clear()

    def seen(self, collection: str, keys: Sequence[Hashable]) -> None:
        """Count objects whose key came before. Of a bundle's first 250,000 none is missed."""
        known = self._keys.setdefault(collection, set())
        if sum(map(len, self._keys.values())) < _REMEMBERED_IDS:
            before = len(known)
            known.update(map(hash, keys))
            new = len(known) - before
        else:
            new = len(set(map(hash, keys)) - known)
        if new < len(keys):
            self._counters["duplicates"].inc(len(keys) - new)

    def written(self, count: int) -> None:
        if count:
            self._counters["written"].inc(count)
            process_totals.written += count

    def reached(self, collection: str) -> None:
        """Note a collection that objects went to; once a bundle, since a bundle that fails counts for nothing."""
        if collection not in self._reached:
            self._reached.add(collection)
            Lineage.sinks().add("weaviate", Lineage.wrap_segment(self._server), collection)

    def failed(self, failure: Failed) -> None:
        self._counters["failed"].inc()
        process_totals.failed += 1
        Metrics.counter(NAMESPACE, f"{self._prefix}failed_{failure.reason}").inc()

    def add(self, tally: Tally) -> None:
        """Take over what a sender did, and set its tally to zero."""
        for name in _TALLIED:
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
