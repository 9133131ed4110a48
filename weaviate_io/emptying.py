"""A collection made ready before the first write: emptied, or checked to be empty.

Emptying drops the collection and makes it anew, in a step of its own that all writes wait for. A runner may
repeat a step, so what the collection was is fixed by a shuffle before anything is dropped, and the new one
names the run that made it.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from typing import Any, NamedTuple, Optional

import apache_beam as beam

from weaviate_io import client, proto
from weaviate_io.connection import WeaviateConnection
from weaviate_io.creation import SchemaSource, WriteDisposition, create, definition
from weaviate_io.errors import WeaviateError
from weaviate_io.schema import has_tenants

_LOGGER = logging.getLogger(__name__)

_MARK = "[emptied by weaviate-io run"
"""How the description of an emptied collection ends, with the name of the run."""


class PrepareCollection(beam.PTransform):
    """Empties a collection or checks that it is empty; its one output element says that it is done."""

    def __init__(
        self,
        connection: WeaviateConnection,
        collection: str,
        schema: SchemaSource,
        disposition: WriteDisposition,
        run: str,
    ) -> None:
        super().__init__()
        self._connection = connection
        self._collection = collection
        self._schema = schema
        self._disposition = disposition
        self._run = run

    def expand(self, begin: Any) -> beam.PCollection:
        return (
            begin
            | "Once" >> beam.Create([self._collection], reshuffle=False)
            | "Look" >> beam.ParDo(_LookFn(self._connection))
            | "Keep" >> beam.Reshuffle()
            | "Prepare" >> beam.ParDo(_PrepareFn(self._connection, self._schema, self._disposition, self._run))
            | "Done" >> beam.Reshuffle()
        )


class _LookFn(beam.DoFn):
    def __init__(self, connection: WeaviateConnection) -> None:
        self._connection = connection

    def process(self, collection: str) -> Iterator[tuple[str, Existing]]:
        opened = client.acquire(self._connection)
        try:
            yield collection, look(opened, collection)
        finally:
            client.release(self._connection)


class _PrepareFn(beam.DoFn):
    def __init__(
        self, connection: WeaviateConnection, schema: SchemaSource, disposition: WriteDisposition, run: str
    ) -> None:
        self._connection = connection
        self._schema = schema
        self._disposition = disposition
        self._run = run

    def process(self, element: tuple[str, Existing]) -> Iterator[str]:
        collection, before = element
        opened = client.acquire(self._connection)
        try:
            if self._disposition is WriteDisposition.WRITE_EMPTY:
                require_empty(opened, collection, before)
            else:
                truncate(opened, collection, before, self._schema, self._run)
        finally:
            client.release(self._connection)
        yield collection


class Existing(NamedTuple):
    """What a collection was before it was emptied, so that it can be made again."""

    definition: Optional[dict[str, Any]]
    tenants: list[dict[str, Any]]


def look(opened: client.Client, name: str) -> Existing:
    """The collection's definition and tenants."""
    found = opened.describe(name)
    tenants: list[dict[str, Any]] = []
    if found is not None and has_tenants(found):
        tenants = opened.rest("GET", f"/v1/schema/{name}/tenants").json()
    return Existing(found, tenants)


def truncate(opened: client.Client, name: str, before: Existing, source: SchemaSource, run: str) -> None:
    """Empty a collection by making it anew, once per run.

    The new collection's description names the run, so that a second try of this step, however late, leaves
    alone what was written since. Without a schema it is made as it was, tenants included.
    """
    mark = f"{_MARK} {run}]"
    present = opened.describe(name)
    if present is None or mark not in (present.get("description") or ""):
        if source is None and before.definition is None:
            return
        wanted = definition(before.definition if source is None else source, name)
        if present is not None:
            opened.rest("DELETE", f"/v1/schema/{name}")
        text = (wanted.get("description") or "").partition(_MARK)[0].strip()
        try:
            create(opened, {**wanted, "description": f"{text} {mark}".strip()})
        except WeaviateError:
            _LOGGER.error("%s is dropped, and was to be made anew from %s", name, json.dumps(wanted))
            raise
    _restore_tenants(opened, name, before.tenants)


def _restore_tenants(opened: client.Client, name: str, tenants: list[dict[str, Any]]) -> None:
    """Create the tenants that the collection lacks; one that was offloaded has no data left, and is inactive."""
    if not tenants:
        return
    after = look(opened, name)
    if after.definition is None or not has_tenants(after.definition):
        return
    present = {tenant["name"] for tenant in after.tenants}
    missing = [
        {"name": tenant["name"], "activityStatus": "ACTIVE" if _is_active(tenant) else "INACTIVE"}
        for tenant in tenants
        if tenant["name"] not in present
    ]
    if missing:
        opened.rest("POST", f"/v1/schema/{name}/tenants", json=missing)


def _is_active(tenant: dict[str, Any]) -> bool:
    return tenant.get("activityStatus", "ACTIVE") in ("ACTIVE", "HOT")


def require_empty(opened: client.Client, name: str, before: Existing) -> None:
    """Raise :class:`WeaviateError` where the collection has objects."""
    if before.definition is None:
        return
    active = [tenant["name"] for tenant in before.tenants if _is_active(tenant)]
    for tenant in active if has_tenants(before.definition) else [""]:
        search = proto.SearchRequest(collection=name, tenant=tenant, limit=1, uses_127_api=True)
        search.metadata.uuid = True
        search.properties.SetInParent()
        if opened.search(search).results:
            where = f" (tenant {tenant})" if tenant else ""
            raise WeaviateError(f"collection {name}{where} is not empty, and write_disposition is WRITE_EMPTY")
