"""``WriteToWeaviate``: checks what it is asked for, and wires the steps of a write."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import timezone as utc
from datetime import tzinfo
from typing import Any, NamedTuple, Optional, TypeVar, Union
from weakref import WeakKeyDictionary
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import apache_beam as beam
from apache_beam import typehints
from apache_beam.runners.direct.direct_runner import BundleBasedDirectRunner, SwitchingDirectRunner
from apache_beam.transforms.util import GroupIntoBatches
from apache_beam.transforms.window import GlobalWindows

from weaviate_io import proto
from weaviate_io.batching import BATCH_SIZE, MAX_BUFFERING_SECONDS, Batched, GroupBoundedIntoBatches
from weaviate_io.connection import WeaviateConnection
from weaviate_io.creation import CreateDisposition, SchemaSource, WriteDisposition, read_schema
from weaviate_io.emptying import PrepareCollection
from weaviate_io.flow import MAX_OBJECTS
from weaviate_io.indexing import WaitForIndexing, wait_seconds
from weaviate_io.limits import CheckTotal, Limit
from weaviate_io.mapping import Field, Mapper
from weaviate_io.objects import FailedObject, WrittenObject
from weaviate_io.schema import TENANT_NAME, collection_name
from weaviate_io.tenants import AllowedNames, AllowedTenants
from weaviate_io.writing import FAILED, DryRunFn, EncodeFn, SendFn, Settings, WriteInBundleFn

_LOGGER = logging.getLogger(__name__)

_Disposition = TypeVar("_Disposition", CreateDisposition, WriteDisposition)


class WriteToWeaviateResult(NamedTuple):
    """What a write gives: ``written`` holds :class:`WrittenObject`, ``failed`` holds :class:`FailedObject`."""

    written: beam.PCollection
    failed: beam.PCollection


class WriteToWeaviate(beam.PTransform):
    """Writes a PCollection into Weaviate, by batches over gRPC.

    Elements are mappings, ``beam.Row``, named tuples, dataclasses, :class:`WeaviateObject`, pyarrow tables or
    record batches, or the :class:`FailedObject` of an earlier write, mixed as they come. They are not changed.

    Every element is in ``written`` once the server has stored and indexed it, or in ``failed`` with the reason.
    A server with ``ASYNC_INDEXING`` acknowledges an object before its vector can be searched: there ``written``
    means stored, and ``wait_for_indexing`` ends the job when it means searchable too.
    Delivery is at least once; ids are deterministic, so a repeated bundle or job writes the same objects again
    and leaves no duplicates.

    Args:
      collection: name of the collection, or a function of the row that gives it.
      connection: a :class:`WeaviateConnection`; or its fields ``url``, ``grpc_url``, ``api_key``, ``headers``,
        ``tls_ca``, ``tls_cert``, ``tls_key`` and ``tls_server_name`` directly.
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
      batch_size: most objects in a request; without it the size adapts, up to 1,000 and about 4 MB.
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
        id_field: Union[Field, Sequence[str], None] = None,
        vector_field: Union[Field, Mapping[str, str], None] = None,
        tenant_field: Optional[Field] = None,
        tenant: Optional[str] = None,
        properties: Union[Sequence[str], Mapping[str, str], Callable[[Any], Any], None] = None,
        schema: SchemaSource = None,
        create_disposition: Union[CreateDisposition, str] = CreateDisposition.CREATE_IF_NEEDED,
        write_disposition: Union[WriteDisposition, str] = WriteDisposition.WRITE_APPEND,
        auto_schema: bool = False,
        dimensions: Union[int, Mapping[str, int], None] = None,
        unknown_properties: str = "fail",
        timezone: Union[str, tzinfo, None] = None,
        batching: str = "auto",
        batch_size: Optional[int] = None,
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
    ) -> None:
        super().__init__()
        if not callable(collection):
            collection = collection_name(collection)
        self._write_disposition = _member(WriteDisposition, "write_disposition", write_disposition)
        self._batching = _one_of("batching", batching, ("auto", "bundle", "group_into_batches"))
        self._buffering = max_buffering_duration_secs
        self._wait_seconds = wait_seconds(wait_for_indexing)
        self._error_handler: Any = None
        self._check(collection, schema, properties, id_field, tenant, batch_size)
        _one_of("on_failure", on_failure, ("dead_letter", "raise"))
        self._settings = Settings(
            name="",
            connection=_connection(
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
            mapper=Mapper(collection, id_field, vector_field, tenant_field, tenant, properties),
            schema=_schema_for(collection, read_schema(schema)),
            create_disposition=_member(CreateDisposition, "create_disposition", create_disposition),
            auto_schema=auto_schema,
            unknown_properties=_one_of("unknown_properties", unknown_properties, ("fail", "drop")),
            dimensions=dimensions,
            timezone=_zone(timezone),
            consistency_level=_level(consistency_level),
            batch_size=batch_size,
            limit=Limit(0) if on_failure == "raise" else _limit(max_errors, max_error_rate),
            dry_run=dry_run,
            create_tenants=create_tenants,
            activate_tenants=activate_tenants,
            allowed_tenants=_allowed(allowed_tenants, tenant),
        )

    def with_error_handler(self, error_handler: Any) -> WriteToWeaviate:
        """Send the failures to an :class:`~apache_beam.transforms.error_handling.ErrorHandler` as well.

        ``None`` means that nothing handles them: the first failure fails the job, as Beam's other transforms do.
        """
        self._error_handler = error_handler
        if error_handler is None:
            self._settings = replace(self._settings, limit=Limit(0))
        return self

    def expand(self, pcoll: beam.PCollection) -> WriteToWeaviateResult:
        # Named anew each time, so that a second use does not take over the counts of the first.
        settings = replace(self._settings, name=uuid.uuid4().hex)
        self._check_runner(pcoll)
        limit = settings.limit
        checks_total = limit != Limit() and limit != Limit(0)  # the first failure is known where it happens
        if checks_total and not pcoll.is_bounded:
            _LOGGER.warning("%s counts per worker process only: the input is unbounded", limit)
        if self._wait_seconds is not None and not pcoll.is_bounded:
            raise ValueError("wait_for_indexing= needs bounded input: the writes of a stream have no end")
        gate = self._gate(pcoll, settings)
        if settings.dry_run:
            written, failed = _dry(pcoll, settings)
        elif self._groups(pcoll):
            written, failed = self._in_batches(pcoll, settings, gate)
        else:
            written, failed = _in_bundles(pcoll, settings, gate)
        if checks_total and pcoll.is_bounded:
            (written, failed) | "CheckTotal" >> CheckTotal(limit)
        if self._wait_seconds is not None and not settings.dry_run:
            written | "WaitForIndexing" >> WaitForIndexing(settings.connection, self._wait_seconds)
        if self._error_handler is not None:
            self._error_handler.add_error_pcollection(failed)
        return WriteToWeaviateResult(written, failed)

    def display_data(self) -> dict[str, Any]:
        settings = self._settings
        collection = settings.mapper.collection
        return {
            "collection": "chosen by a function" if callable(collection) else collection,
            "url": settings.connection.rest_url,
            "grpc_target": settings.connection.grpc_target,
            "batching": self._batching,
            "write_disposition": self._write_disposition.value,
            "create_disposition": settings.create_disposition.value,
        }

    def _groups(self, pcoll: beam.PCollection) -> bool:
        return self._batching == "group_into_batches" or (self._batching == "auto" and not pcoll.is_bounded)

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

    def _in_batches(self, pcoll: beam.PCollection, settings: Settings, gate: dict[str, Any]) -> tuple[Any, Any]:
        batch_size = settings.batch_size or BATCH_SIZE
        if pcoll.is_bounded:
            batches: beam.PTransform = GroupBoundedIntoBatches(batch_size)
        else:
            seconds = MAX_BUFFERING_SECONDS if self._buffering is None else self._buffering
            batches = GroupIntoBatches.WithShardedKey(batch_size, seconds)
        encode = beam.ParDo(EncodeFn(settings), **gate).with_outputs(FAILED, main="encoded")
        encoded, unusable = _typed(pcoll | "Encode" >> encode, typehints.Tuple[str, Batched])  # type: ignore[misc]
        sent, refused = _typed(
            encoded
            | "Global" >> beam.WindowInto(GlobalWindows())
            | "GroupIntoBatches" >> batches
            | "Send" >> beam.ParDo(SendFn(settings)).with_outputs(FAILED, main="written")
        )
        # What a timer lets out is lost or doubled in some local runners unless a shuffle follows.
        written = sent | "Rewindow" >> beam.WindowInto(pcoll.windowing) | "Reshuffle" >> beam.Reshuffle()
        refused = (
            refused
            | "RewindowFailed" >> beam.WindowInto(pcoll.windowing)
            | "ReshuffleFailed" >> beam.Reshuffle()
        )
        return written, (refused, unusable) | "Failed" >> beam.Flatten()

    def _check(
        self,
        collection: Field,
        schema: SchemaSource,
        properties: Any,
        id_field: Any,
        tenant: Optional[str],
        batch_size: Optional[int],
    ) -> None:
        if isinstance(properties, str):
            raise ValueError(f"properties={properties!r} is a text; use a list of field names")
        if isinstance(id_field, Sequence) and not (
            id_field and all(isinstance(name, str) for name in id_field)
        ):
            raise ValueError(f"id_field={id_field!r} names no field; use a name, a list of names or a function")
        if tenant is not None and not TENANT_NAME.fullmatch(tenant):
            raise ValueError(f"tenant={tenant!r} is not a tenant name: 1 to 64 letters, digits, '_' or '-'")
        if batch_size is not None and not 1 <= batch_size <= MAX_OBJECTS:
            raise ValueError(f"batch_size={batch_size} is not between 1 and {MAX_OBJECTS}")
        if self._buffering is not None and self._buffering <= 0:
            raise ValueError(f"max_buffering_duration_secs={self._buffering} is not above 0")
        if callable(collection) and self._write_disposition is not WriteDisposition.WRITE_APPEND:
            raise ValueError(
                f"write_disposition={self._write_disposition.value} needs one named collection, not a function"
            )

    def _check_runner(self, pcoll: beam.PCollection) -> None:
        runner = pcoll.pipeline.runner
        if not pcoll.is_bounded and isinstance(runner, (SwitchingDirectRunner, BundleBasedDirectRunner)):
            raise ValueError(
                "the DirectRunner loses streaming batches (apache/beam#28716); "
                "run with --runner=PrismRunner instead"
            )


def _dry(pcoll: beam.PCollection, settings: Settings) -> tuple[Any, Any]:
    return _typed(pcoll | "Check" >> beam.ParDo(DryRunFn(settings)).with_outputs(FAILED, main="written"))


def _in_bundles(pcoll: beam.PCollection, settings: Settings, gate: dict[str, Any]) -> tuple[Any, Any]:
    write = beam.ParDo(WriteInBundleFn(settings), **gate)
    return _typed(pcoll | "Write" >> write.with_outputs(FAILED, main="written"))


def _typed(outputs: Any, main: Any = WrittenObject) -> tuple[beam.PCollection, beam.PCollection]:
    """The main output and the failures, with their types.

    Not by ``with_output_types``: with ``--runtime_type_check`` Beam holds every failure against the type of the
    main output.
    """
    first, failed = outputs
    first.element_type, failed.element_type = main, FailedObject
    return first, failed


_runs: WeakKeyDictionary[beam.Pipeline, str] = WeakKeyDictionary()


def _run_of(pipeline: beam.Pipeline) -> str:
    """Names the pipeline: two of its writes empty a collection once, those of another empty it again."""
    return _runs.setdefault(pipeline, uuid.uuid4().hex)


def _connection(connection: Optional[WeaviateConnection], **given: Any) -> WeaviateConnection:
    used = {name: value for name, value in given.items() if value is not None}
    if connection is not None:
        if used:
            raise ValueError(f"give connection= or {', '.join(used)}=, not both")
        return connection
    if "url" not in used:
        raise ValueError("say where Weaviate is: url='http://localhost:8080', or connection=")
    return WeaviateConnection(**used)


def _limit(max_errors: Optional[int], max_error_rate: Optional[float]) -> Limit:
    if max_errors is not None and max_errors < 0:
        raise ValueError(f"max_errors={max_errors} is below 0")
    if max_error_rate is not None and not 0 <= max_error_rate <= 1:
        raise ValueError(f"max_error_rate={max_error_rate} is no share; use a number from 0 to 1")
    return Limit(max_errors, max_error_rate)


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


def _one_of(name: str, value: str, allowed: Sequence[str]) -> str:
    if value not in allowed:
        raise ValueError(f"{name}={value!r} is none of {', '.join(map(repr, allowed))}")
    return value


def _member(kind: type[_Disposition], name: str, value: str) -> _Disposition:
    return kind(_one_of(name, value, [member.value for member in kind]))


def _level(level: Optional[str]) -> Optional[str]:
    return None if level is None else _one_of("consistency_level", level, tuple(proto.CONSISTENCY_LEVELS))


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
