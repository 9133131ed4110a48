"""``CheckWeaviate``: finds what a collection has stored but cannot find, and repairs it on request."""

from __future__ import annotations

import logging
import math
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Optional, Union

import apache_beam as beam
from apache_beam.metrics import Metrics
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.timestamp import MIN_TIMESTAMP
from apache_beam.utils.windowed_value import WindowedValue

from weaviate_io import client
from weaviate_io.connection import WeaviateConnection
from weaviate_io.counters import NAMESPACE, process_totals
from weaviate_io.doctor import MOST_SUSPECTS, Doctor
from weaviate_io.errors import WeaviateError
from weaviate_io.indexing import IndexingWait, wait_seconds
from weaviate_io.objects import UnfindableObject
from weaviate_io.pace import shared_pace
from weaviate_io.scanning import IdRange
from weaviate_io.schema import collection_name
from weaviate_io.tenants import AllowedNames, AllowedTenants
from weaviate_io.wiring import connection_of, refuse_threads

_LOGGER = logging.getLogger(__name__)

_ACTIVE = ("ACTIVE", "HOT")


@dataclass(frozen=True)
class _Settings:
    """What the steps know of a check; travels with their DoFns."""

    connection: WeaviateConnection
    collection: str
    tenants: Optional[AllowedTenants]
    repair: bool
    exact: bool
    max_rate: Optional[float]
    wait_seconds: Optional[float]
    name: str = field(default="")


class CheckWeaviate(beam.PTransform):
    """Looks for the objects of a collection in all of its indexes, and repairs those that are missing there.

    A server or writer that is killed, or a deadline that passes, may leave objects that are stored, and found by
    their id, but by no vector search or no filter, whoever wrote them. To write them again does not change that.

    The ids are read by cursor, in ranges that workers share. The filter by ids and, for each vector, a vector search
    that is filtered by ids tell what the indexes know; what seems to be missing is looked for again 10 seconds
    later. Vectors that are equal, or of different length under dot, raise no alarm.

    To repair an object is to patch it with vectors that differ by one unit in the last place, and then with its
    own. It is never absent, and keeps its properties, references and time of creation. An object that somebody else
    changes in between is left to them, so a collection may be written meanwhile; only in the few milliseconds
    between reading an object and patching it could another change of its vectors be lost. Where its properties
    were changed as well, that is told, as ``error`` of a repaired object. A worker that is killed
    may leave the few objects that it was repairing with the moved vectors. To run it again is harmless.

    Args:
      collection: name of the collection.
      connection: a :class:`WeaviateConnection`; or its fields ``url``, ``grpc_url``, ``api_key``, ``headers``,
        ``tls_ca``, ``tls_cert``, ``tls_key`` and ``tls_server_name`` directly.
      tenants: names of tenants, or a regular expression (its text, or compiled) that a whole name matches. Without
        it all of them. Those that are not active are not looked at, and counted as ``tenants_skipped``.
      repair: repair what is missing.
      exact: search for each object with its own vector, too. This finds those that a graph knows without a path to
        them, and takes about a millisecond an object and vector.
      max_rate: most requests a second of each worker process. One looks at 500 objects in an index, or at one with
        ``exact``; an object that is repaired takes five.
      wait_for_indexing: seconds to wait until a server with ``ASYNC_INDEXING`` has nothing left to index, ``True``
        for one hour. What is still to be indexed would look like what is missing.

    Returns:
      A PCollection of :class:`UnfindableObject`: one for each index that misses an object, repaired or not. Metrics:
      the counters ``checked``, ``unfindable`` (objects), ``unfindable_KIND`` (by ``kind``, and ``unfindable_KIND
      VECTOR`` where a vector has a name), ``repaired`` and ``left`` (objects), ``raced`` (repaired, and written
      by somebody else at the same moment), ``untold`` (of which an index tells nothing) and ``tenants_skipped``.

    Raises:
      ValueError: when the options cannot be what is meant; at construction.
      WeaviateError: on the worker, when there is no such collection, or the server stays away.

    >>> CheckWeaviate("article", url="http://localhost:8080").display_data()["collection"]
    'Article'
    """

    def __init__(
        self,
        collection: str,
        *,
        connection: Optional[WeaviateConnection] = None,
        url: Optional[str] = None,
        grpc_url: Optional[str] = None,
        api_key: Any = None,
        headers: Optional[Mapping[str, Any]] = None,
        tls_ca: Optional[str] = None,
        tls_cert: Optional[str] = None,
        tls_key: Optional[str] = None,
        tls_server_name: Optional[str] = None,
        tenants: AllowedNames = None,
        repair: bool = False,
        exact: bool = False,
        max_rate: Optional[float] = None,
        wait_for_indexing: Union[bool, float, None] = True,
    ) -> None:
        super().__init__()
        if max_rate is not None and not 0 < max_rate < math.inf:
            raise ValueError(f"max_rate={max_rate!r} is not a number of requests a second above 0")
        self._settings = _Settings(
            connection=connection_of(
                connection,
                url=url,
                grpc_url=grpc_url,
                api_key=api_key,
                headers=headers,
                tls_ca=tls_ca,
                tls_cert=tls_cert,
                tls_key=tls_key,
                tls_server_name=tls_server_name,
            ),
            collection=collection_name(collection),
            tenants=None if tenants is None else AllowedTenants.of(tenants),
            repair=repair,
            exact=exact,
            max_rate=max_rate,
            wait_seconds=wait_seconds(wait_for_indexing),
        )

    def expand(self, begin: Any) -> beam.PCollection:
        refuse_threads(begin.pipeline)
        settings = replace(self._settings, name=uuid.uuid4().hex)
        return (
            begin
            | "Once" >> beam.Create([settings.collection], reshuffle=False)
            | "Tenants" >> beam.ParDo(_TenantsFn(settings)).with_output_types(Optional[str])
            | "ShareTenants" >> beam.Reshuffle()
            | "Divide" >> beam.ParDo(_DivideFn(settings)).with_output_types(IdRange)
            | "ShareRanges" >> beam.Reshuffle()
            | "Check" >> beam.ParDo(_CheckFn(settings)).with_output_types(UnfindableObject)
        )

    def display_data(self) -> dict[str, Any]:
        return {
            "collection": self._settings.collection,
            "url": self._settings.connection.rest_url,
            "grpc_target": self._settings.connection.grpc_target,
            "repair": self._settings.repair,
            "exact": self._settings.exact,
        }


class _Worker(beam.DoFn):
    """Opens the connection in setup and gives it back in teardown."""

    def __init__(self, settings: _Settings) -> None:
        self._settings = settings
        self._client: Optional[client.Client] = None

    def setup(self) -> None:
        self._client = client.acquire(self._settings.connection)

    def teardown(self) -> None:
        if self._client is not None:
            client.release(self._settings.connection)
            self._client = None

    def _doctor(self) -> Doctor:
        assert self._client is not None
        settings = self._settings
        return Doctor(
            self._client,
            settings.collection,
            shared_pace(settings.name, settings.max_rate),
            repair=settings.repair,
            exact=settings.exact,
            wait_seconds=settings.wait_seconds,
        )


class _TenantsFn(_Worker):
    """The tenants to look at, None for a collection that has none; once the server has indexed what it was given."""

    def process(self, collection: str) -> Iterator[Optional[str]]:
        assert self._client is not None
        schema = self._doctor().schema
        if self._settings.wait_seconds is not None:
            IndexingWait(self._client, [collection], self._settings.wait_seconds).run()
        wanted = self._settings.tenants
        if not schema.multi_tenant:
            if wanted is not None:
                raise WeaviateError(f"tenants= is given, and collection {collection} has no tenants")
            yield None
            return
        found = self._client.rest("GET", f"/v1/schema/{collection}/tenants").json()
        status = {tenant["name"]: tenant.get("activityStatus", "ACTIVE") for tenant in found}
        chosen = [name for name in status if wanted is None or wanted.has(name)]
        missing = sorted((wanted.names if wanted else frozenset()) - status.keys())
        if missing or (wanted is not None and not chosen):
            what = ", ".join(map(repr, missing[:3])) or "that matches tenants="
            raise WeaviateError(f"collection {collection} has no tenant {what}")
        if not status:
            _LOGGER.warning(
                "no tenants of %s are seen: there are none, or the right to read_tenants is missing", collection
            )
        active = [name for name in chosen if status[name] in _ACTIVE]
        skipped = len(chosen) - len(active)
        if skipped:
            _LOGGER.info("%d tenants of %s are not active, and are not looked at", skipped, collection)
            Metrics.counter(NAMESPACE, "tenants_skipped").inc(skipped)
        yield from active


class _DivideFn(_Worker):
    def process(self, tenant: Optional[str]) -> list[IdRange]:
        return self._doctor().divide(tenant)


class _CheckFn(_Worker):
    def start_bundle(self) -> None:
        self._patient = self._doctor()

    def process(self, ids: IdRange) -> Iterator[UnfindableObject]:
        for count, untold in self._patient.scan(ids):
            Metrics.counter(NAMESPACE, "checked").inc(count)
            Metrics.counter(NAMESPACE, "untold").inc(untold)
            process_totals.checked += count
            if self._patient.suspects >= MOST_SUSPECTS:
                yield from self._settle()

    def finish_bundle(self) -> Iterator[WindowedValue]:
        for row in self._settle():
            yield WindowedValue(row, MIN_TIMESTAMP, (GlobalWindow(),))

    def _settle(self) -> Iterator[UnfindableObject]:
        for rows in self._patient.settle().values():
            process_totals.unfindable += 1
            Metrics.counter(NAMESPACE, "unfindable").inc()
            healed = all(row.repaired for row in rows)
            Metrics.counter(NAMESPACE, "repaired" if healed else "left").inc()
            if healed and rows[0].error:
                Metrics.counter(NAMESPACE, "raced").inc()
            for row in rows:
                Metrics.counter(NAMESPACE, f"unfindable_{row.kind} {row.vector}".rstrip()).inc()
                yield row
