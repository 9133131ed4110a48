"""A collection made ready before the first write: emptied, or checked to be empty.

Emptying drops the collection and makes it anew, in a step of its own that all writes wait for. A runner may
repeat a step, so what the collection was is fixed by a shuffle before anything is dropped, and the new one
names the run that made it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple, Optional

import apache_beam as beam

from weaviate_io import client, proto
from weaviate_io.connection import WeaviateConnection
from weaviate_io.creation import SchemaSource, WriteDisposition, create, definition
from weaviate_io.errors import WeaviateError


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
    if found is not None and (found.get("multiTenancyConfig") or {}).get("enabled"):
        tenants = opened.rest("GET", f"/v1/schema/{name}/tenants").json()
    return Existing(found, tenants)


def truncate(opened: client.Client, name: str, before: Existing, source: SchemaSource, run: str) -> None:
    """Empty a collection by making it anew, once per run.

    The new collection's description names the run, so that a second try of this step, however late, leaves
    alone what was written since. Without a schema it is made as it was, tenants included.
    """
    mark = f"[emptied by weaviate-io run {run}]"
    present = opened.describe(name)
    if present is not None and mark in (present.get("description") or ""):
        return
    wanted = definition(source, name) if source is not None else before.definition
    if wanted is None:
        return
    if present is not None:
        opened.rest("DELETE", f"/v1/schema/{name}")
        opened.forget(name)
    text = (wanted.get("description") or "").partition(" [emptied by weaviate-io run")[0]
    create(opened, {**wanted, "class": name, "description": f"{text} {mark}".strip()})
    if before.tenants:
        opened.rest("POST", f"/v1/schema/{name}/tenants", json=before.tenants)


def require_empty(opened: client.Client, name: str, before: Existing) -> None:
    """Raise :class:`WeaviateError` where the collection has objects."""
    if before.definition is None:
        return
    multi_tenant = (before.definition.get("multiTenancyConfig") or {}).get("enabled")
    active = [t["name"] for t in before.tenants if t.get("activityStatus", "ACTIVE") in ("ACTIVE", "HOT")]
    for tenant in active if multi_tenant else [""]:
        search = proto.SearchRequest(collection=name, tenant=tenant, limit=1, uses_127_api=True)
        search.metadata.uuid = True
        search.properties.SetInParent()
        if opened.search(search).results:
            where = f" (tenant {tenant})" if tenant else ""
            raise WeaviateError(f"collection {name}{where} is not empty, and write_disposition is WRITE_EMPTY")
