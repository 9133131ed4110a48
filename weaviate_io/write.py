"""``WriteToWeaviate``: checks what it is asked for, and wires the steps of a write of objects."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import timezone as utc
from datetime import tzinfo
from typing import Any, NamedTuple, Optional, TypeVar, Union
from weakref import WeakKeyDictionary
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import apache_beam as beam

from weaviate_io.connection import WeaviateConnection
from weaviate_io.creation import CreateDisposition, SchemaSource, WriteDisposition, read_schema
from weaviate_io.emptying import PrepareCollection
from weaviate_io.indexing import WaitForIndexing, wait_seconds
from weaviate_io.mapping import Field, Mapper
from weaviate_io.objects import FailedObject, WrittenObject
from weaviate_io.providers import Providers
from weaviate_io.schema import collection_name
from weaviate_io.tenants import AllowedNames, AllowedTenants
from weaviate_io.translating import Settings
from weaviate_io.verification import VERIFY
from weaviate_io.wiring import Write, connection_of, level_of, limit_of, one_of, tenant_name

_Disposition = TypeVar("_Disposition", CreateDisposition, WriteDisposition)


class WriteToWeaviateResult(NamedTuple):
    """What a write gives: ``written`` holds :class:`WrittenObject`, ``failed`` holds :class:`FailedObject`."""

    written: beam.PCollection
    failed: beam.PCollection


class WriteToWeaviate(Write):
    """Writes a PCollection into Weaviate, by batches over gRPC.

    Elements are mappings, ``beam.Row``, named tuples, dataclasses, :class:`WeaviateObject`, pyarrow tables or
    record batches, or the :class:`FailedObject` of an earlier write, mixed as they come. They are not changed.

    Every element is in ``written`` once the server has stored and indexed it, or in ``failed`` with the reason.
    A server with ``ASYNC_INDEXING`` acknowledges an object before its vector can be searched: there ``written``
    means stored, and ``wait_for_indexing`` ends the job when it means searchable too.
    Delivery is at least once; ids are deterministic, so a repeated bundle or job writes the same objects again
    and leaves no duplicates. To write an object is to replace it: references that were added to it by
    ``WriteReferencesToWeaviate`` are gone, those given with it (``references_field``) are its own.

    Args:
      collection: name of the collection, or a function of the row that gives it.
      connection: a :class:`WeaviateConnection`; or its fields ``url``, ``grpc_url``, ``api_key``, ``headers``,
        ``tls_ca``, ``tls_cert``, ``tls_key`` and ``tls_server_name`` directly.
      model_providers: a :class:`ModelProvider`, or several, for collections whose vectors the server makes: their
        keys and rates become headers of the connection. A rate limit of theirs is waited out, up to 30 minutes an
        object. Where they take no key, or are down for 5 minutes, and no object gets through, the job fails.
      id_field: field (or function of the row) that gives the id: a UUID is used as it is, any other text or
        integer is a key, of which ``generate_uuid5`` makes the id. A list of fields is one key: the id is
        ``generate_uuid5(json.dumps([...]))`` of their texts. Without it the id is made of the content.
      vector_field: field (or function) that gives the vector, or a mapping of vector name to field.
      tenant_field: field (or function) that gives the tenant.
      tenant: the tenant of all objects that name none.
      create_tenants: create the tenants that do not exist, each once, before the first batch that needs it. A
        collection with ``autoTenantCreation`` does that by itself; then ``allowed_tenants`` is all it needs.
      activate_tenants: activate the tenants that are inactive, before the first batch that needs them. Without
        it their objects fail as ``tenant_not_active``, and where the server cannot bring an offloaded tenant
        back they do so with it.
      allowed_tenants: names of tenants, or a regular expression (its text, or compiled) that a whole name
        matches. An object of another tenant fails as ``tenant_not_allowed``, so that a typo does not become a
        tenant. Without it all names are allowed.
      properties: what to write as properties: a list of fields, a mapping of property to field, or a function of
        the row that gives a mapping. Without it all fields but the vectors; the id and tenant fields only where
        the schema has properties of their names.
      references_field: a mapping of reference property to the field that gives what it points at, or a function of
        the row that gives a mapping of property to that: an id, a list of ids, or a mapping of collection to
        them, where ids are UUIDs or keys as for ``id_field``. The objects pointed at must exist already, else the
        object fails; see ``WriteReferencesToWeaviate`` for the other way.
      schema: what to create an absent collection from: its REST JSON, a path to that, or a function of the
        collection's name.
      create_disposition: ``CREATE_IF_NEEDED`` (from ``schema``) or ``CREATE_NEVER``.
      write_disposition: ``WRITE_APPEND``, or, for one collection and bounded input, ``WRITE_TRUNCATE`` (emptied
        first, once for each constructed pipeline) or ``WRITE_EMPTY`` (the job fails where there are objects).
      auto_schema: let the server create collections and properties by its own guess from the first values.
      dimensions: the length of the vectors, or a mapping of vector name to length. Without it one stored object
        tells.
      unknown_properties: ``"fail"`` puts an object with a property that the schema lacks into ``failed``,
        ``"drop"`` writes it without.
      timezone: zone (``"UTC"``, ``"Europe/Berlin"``) of dates and times that carry none; without it such objects
        fail.
      batching: ``"bundle"``, ``"group_into_batches"``, or ``"auto"``: the first for bounded input, the second for
        unbounded.
      batch_size: most objects in a request; without it the size adapts, up to 2,000 and about 4 MB.
      max_requests_in_flight: most requests in flight over all workers of the job, for a server that is shared.
        Without it each worker process has at most 16. Batches are made by ``GroupIntoBatches`` then, and sent
        through so many keys, each of them one request after the other: it costs a second shuffle of all objects,
        and a runner may use fewer keys at once. The limit is that of this write; a request that was given up at
        its deadline, or whose worker died, may still go on in the server.
      max_buffering_duration_secs: seconds an object of unbounded input waits for company, 1 by default.
      on_failure: ``"dead_letter"``, or ``"raise"`` to fail the job at the first object that cannot be written.
      max_errors: fail the job when more objects failed; the error shows the first ten. Each worker process counts
        its own; for bounded input the total is checked at the end too.
      max_error_rate: likewise when a larger share failed, 0 to 1, once there are 1,000 objects.
      consistency_level: ``"ONE"``, ``"QUORUM"`` (the server's default) or ``"ALL"`` of the replicas.
      dry_run: map, check and encode, but create and send nothing; ``written`` is what would be sent.
      wait_for_indexing: end the job only when the vectors of the collections written can be searched, and fail
        it where that takes longer than so many seconds; ``True`` for one hour. Bounded input only. What comes
        out of ``written`` does not wait. The metric ``written`` counts what is acknowledged, ``searchable``
        what was waited for. On a server without ``ASYNC_INDEXING`` there is nothing to wait for. Needs the
        right to read nodes, where the server has such rights.
      verify: which objects are looked for in the vector index. ``"existing"``: those that are stored already when
        they are to be written, since whoever wrote them may have been killed before they were indexed, and
        sending them again would not change that. ``"all"``: the others too, once they are acknowledged; where
        the server indexes later, this adds nothing. ``"off"``: none. What is stored without being indexed is
        repaired, together with the rest of its request, and counted by the metric ``unindexed``. ``"repair"``:
        none, all are repaired unasked, which writes each twice: for a run after a node with one of several
        replicas was killed, since only one of them can be asked. All but ``"off"`` need the right to read the
        collection.

    Returns:
      :class:`WriteToWeaviateResult`; both outputs keep the window and timestamp of their input.

    Raises:
      ValueError: when the options contradict each other or cannot be what is meant; at construction.
      WeaviateError: on the worker, when the server cannot be reached or stays away.

    >>> write = WriteToWeaviate("Article", url="http://localhost:8080", id_field="doi", vector_field="embedding")
    >>> write.display_data()["collection"]
    'Article'
    """

    def __init__(
        self,
        collection: Field,
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
        model_providers: Optional[Providers] = None,
        id_field: Union[Field, Sequence[str], None] = None,
        vector_field: Union[Field, Mapping[str, str], None] = None,
        tenant_field: Optional[Field] = None,
        tenant: Optional[str] = None,
        properties: Union[Sequence[str], Mapping[str, str], Callable[[Any], Any], None] = None,
        references_field: Union[Mapping[str, str], Callable[[Any], Any], None] = None,
        schema: SchemaSource = None,
        create_disposition: Union[CreateDisposition, str] = CreateDisposition.CREATE_IF_NEEDED,
        write_disposition: Union[WriteDisposition, str] = WriteDisposition.WRITE_APPEND,
        auto_schema: bool = False,
        dimensions: Union[int, Mapping[str, int], None] = None,
        unknown_properties: str = "fail",
        timezone: Union[str, tzinfo, None] = None,
        batching: str = "auto",
        batch_size: Optional[int] = None,
        max_requests_in_flight: Optional[int] = None,
        max_buffering_duration_secs: Optional[float] = None,
        on_failure: str = "dead_letter",
        max_errors: Optional[int] = None,
        max_error_rate: Optional[float] = None,
        consistency_level: Optional[str] = None,
        dry_run: bool = False,
        create_tenants: bool = False,
        activate_tenants: bool = False,
        allowed_tenants: AllowedNames = None,
        wait_for_indexing: Union[bool, float, None] = None,
        verify: str = "existing",
    ) -> None:
        if not callable(collection):
            collection = collection_name(collection)
        self._write_disposition = _member(WriteDisposition, "write_disposition", write_disposition)
        self._wait_seconds = wait_seconds(wait_for_indexing)
        self._check(collection, properties, id_field, references_field)
        settings = Settings(
            name="",
            connection=connection_of(
                connection,
                model_providers,
                url=url,
                grpc_url=grpc_url,
                api_key=api_key,
                headers=headers,
                tls_ca=tls_ca,
                tls_cert=tls_cert,
                tls_key=tls_key,
                tls_server_name=tls_server_name,
            ),
            mapper=Mapper(
                collection,
                id_field,
                vector_field,
                tenant_field,
                tenant_name(tenant),
                properties,
                references_field,
            ),
            schema=_schema_for(collection, read_schema(schema)),
            create_disposition=_member(CreateDisposition, "create_disposition", create_disposition),
            auto_schema=auto_schema,
            unknown_properties=one_of("unknown_properties", unknown_properties, ("fail", "drop")),
            dimensions=dimensions,
            timezone=_zone(timezone),
            consistency_level=level_of(consistency_level),
            batch_size=batch_size,
            max_requests_in_flight=max_requests_in_flight,
            limit=limit_of(on_failure, max_errors, max_error_rate),
            dry_run=dry_run,
            create_tenants=create_tenants,
            activate_tenants=activate_tenants,
            allowed_tenants=_allowed(allowed_tenants, tenant),
            verify=one_of("verify", verify, VERIFY),
        )
        super().__init__(settings, (WrittenObject, FailedObject), batching, max_buffering_duration_secs)

    def expand(self, pcoll: beam.PCollection) -> WriteToWeaviateResult:
        settings: Settings = self._named()
        self._check_runner(pcoll)
        if self._wait_seconds is not None and not pcoll.is_bounded:
            raise ValueError("wait_for_indexing= needs bounded input: the writes of a stream have no end")
        written, failed = self._outputs(pcoll, settings, self._gate(pcoll, settings))
        if self._wait_seconds is not None and not settings.dry_run:
            written | "WaitForIndexing" >> WaitForIndexing(settings.connection, self._wait_seconds)
        return WriteToWeaviateResult(written, failed)

    def display_data(self) -> dict[str, Any]:
        return {
            **self._shown(self._settings.mapper.collection),
            "write_disposition": self._write_disposition.value,
            "create_disposition": self._settings.create_disposition.value,
        }

    def _gate(self, pcoll: beam.PCollection, settings: Settings) -> dict[str, Any]:
        """The side input that holds writes back until the collection is as ``write_disposition`` wants it."""
        if self._write_disposition is WriteDisposition.WRITE_APPEND or settings.dry_run:
            return {}
        if not pcoll.is_bounded:
            raise ValueError(f"write_disposition={self._write_disposition.value} needs bounded input")
        collection = settings.mapper.collection
        assert isinstance(collection, str)  # checked at construction
        ready = pcoll.pipeline | "Prepare" >> PrepareCollection(
            settings.connection,
            collection,
            settings.schema if settings.create_disposition is CreateDisposition.CREATE_IF_NEEDED else None,
            self._write_disposition,
            _run_of(pcoll.pipeline),
        )
        return {"gate": beam.pvalue.AsIter(ready)}

    def _check(self, collection: Field, properties: Any, id_field: Any, references_field: Any) -> None:
        if isinstance(properties, str):
            raise ValueError(f"properties={properties!r} is a text; use a list of field names")
        if isinstance(id_field, Sequence) and not (
            id_field and all(isinstance(name, str) for name in id_field)
        ):
            raise ValueError(f"id_field={id_field!r} names no field; use a name, a list of names or a function")
        if not (
            references_field is None or callable(references_field) or isinstance(references_field, Mapping)
        ):
            raise ValueError(
                f"references_field={references_field!r} is neither a mapping of reference property to field "
                "nor a function"
            )
        if callable(collection) and self._write_disposition is not WriteDisposition.WRITE_APPEND:
            raise ValueError(
                f"write_disposition={self._write_disposition.value} needs one named collection, not a function"
            )


_runs: WeakKeyDictionary[beam.Pipeline, str] = WeakKeyDictionary()


def _run_of(pipeline: beam.Pipeline) -> str:
    """Names the pipeline: two of its writes empty a collection once, those of another empty it again."""
    return _runs.setdefault(pipeline, uuid.uuid4().hex)


def _allowed(given: AllowedNames, tenant: Optional[str]) -> Optional[AllowedTenants]:
    if given is None:
        return None
    allowed = AllowedTenants.of(given)
    if tenant is not None and not allowed.has(tenant):
        raise ValueError(f"tenant={tenant!r} is not in allowed_tenants=")
    return allowed


def _schema_for(collection: Field, schema: SchemaSource) -> SchemaSource:
    if isinstance(schema, Mapping) and not callable(collection):
        named = collection_name(schema.get("class", collection))
        if named != collection:
            raise ValueError(f"schema= describes collection {named}, but the write goes to {collection}")
    return schema


def _member(kind: type[_Disposition], name: str, value: str) -> _Disposition:
    return kind(one_of(name, value, [member.value for member in kind]))


def _zone(zone: Union[str, tzinfo, None]) -> Optional[tzinfo]:
    if not isinstance(zone, str):
        return zone
    if zone.upper() in ("UTC", "Z"):
        return utc.utc  # slim images come without a time zone database
    try:
        return ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError):
        raise ValueError(
            f"timezone={zone!r} is no time zone; use a name such as 'UTC' or 'Europe/Berlin'"
        ) from None
