"""``WriteReferencesToWeaviate``: checks what it is asked for, and says what a write of references does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Optional, Union

import apache_beam as beam

from weaviate_io.client import Client
from weaviate_io.connection import WeaviateConnection
from weaviate_io.creation import Catalog, CollectionNotFound, CreateDisposition
from weaviate_io.dead_letter import failed_reference, failed_reference_row
from weaviate_io.errors import RowError, WeaviateError, costs_its_row
from weaviate_io.kind import Encoders, Kind, Translated, Translates, sources
from weaviate_io.mapping import Field, Source
from weaviate_io.objects import FailedReference, WeaviateReference
from weaviate_io.outcome import Failure
from weaviate_io.references.encoding import EncodedReference, ReferenceEncoder, encoded_reference
from weaviate_io.references.mapping import ReferenceMapper
from weaviate_io.references.method import BatchReferences
from weaviate_io.schema import CollectionSchema, collection_name
from weaviate_io.sender import Sender
from weaviate_io.wiring import Write, connection_of, level_of, limit_of, tenant_name


class WriteReferencesToWeaviateResult(NamedTuple):
    """What a write gives: ``written`` holds :class:`WeaviateReference`, ``failed`` holds :class:`FailedReference`."""

    written: beam.PCollection
    failed: beam.PCollection


class WriteReferencesToWeaviate(Write):
    """Writes cross-references between objects that are in Weaviate already, by batches over gRPC.

    Elements are rows (mappings, ``beam.Row``, named tuples, dataclasses, pyarrow tables), of which each may give
    many references, :class:`WeaviateReference`, or the :class:`FailedReference` of an earlier write, mixed as they
    come. Every reference is in ``written`` once the server has it, in canonical form, or in ``failed`` with the
    reason. A row that points at nothing gives nothing.

    The object that has the reference must exist, else the reference fails as ``source_not_found``: write the
    objects first, and let the references wait for them with ``beam.transforms.util.WaitOn(objects.written)``. To
    write such an object again removes its references, as an object is replaced as a whole.

    The server appends what it is sent. A repeated bundle or job would add references a second time, so the
    property must have ``disableDuplicatedReferences`` set, which is possible only where it is created; else the
    job fails, unless ``skip_existing`` or ``allow_duplicates`` says what to do.

    Args:
      collection: name of the collection of the objects that have the reference, or a function of the row.
      connection: a :class:`WeaviateConnection`; or its fields ``url``, ``grpc_url``, ``api_key``, ``headers``,
        ``tls_ca``, ``tls_cert``, ``tls_key`` and ``tls_server_name`` directly.
      from_property: the reference property, for rows.
      from_field: field (or function of the row) that gives the id of the object that has the reference: a UUID is
        used as it is, any other text or integer is a key, of which ``generate_uuid5`` makes the id, as
        ``id_field`` of ``WriteToWeaviate`` does.
      to_field: field (or function) that gives what it points at: an id by the same rule, a list of ids, or a mapping
        of collection to these. Nulls point at nothing. In files of text, such as CSV, lists and mappings are JSON.
      to_collection: name of the collection pointed at, or a function of the row. Needed only where the property
        points into several collections and ``to_field`` does not say which.
      tenant_field: field (or function) that gives the tenant of the object that has the reference.
      tenant: the tenant of all references that name none.
      check_targets: look whether the objects pointed at exist, and put references to absent ones into ``failed`` as
        ``target_not_found``. The server does that by itself for collections with tenants, and not for others.
      skip_existing: for properties without ``disableDuplicatedReferences``: read what the objects have before each
        request, and send only what is absent. Costs about 1 ms for each object, and one request at a time for
        each worker thread. Equal references that two workers write at the same moment may both be added.
      allow_duplicates: for such properties: take it that a repeated bundle or job adds references again. Within a
        bundle, what may have been added before its request failed is read first, and not sent again.
      batching: ``"bundle"``, ``"group_into_batches"``, or ``"auto"``: the first for bounded input, the second for
        unbounded.
      batch_size: most references in a request; without it the size adapts, up to 2,000.
      max_requests_in_flight: most requests in flight over all workers, as for ``WriteToWeaviate``.
      max_buffering_duration_secs: seconds a reference of unbounded input waits for company, 1 by default.
      on_failure: ``"dead_letter"``, or ``"raise"`` to fail the job at the first reference that cannot be written.
      max_errors: fail the job when more references failed; the error shows the first ten. Each worker process
        counts its own; for bounded input the total is checked at the end too.
      max_error_rate: likewise when a larger share failed, 0 to 1, once there are 1,000 references.
      consistency_level: ``"ONE"``, ``"QUORUM"`` (the server's default) or ``"ALL"`` of the replicas.
      dry_run: map, check and encode, but send nothing; ``written`` is what would be sent.

    Returns:
      :class:`WriteReferencesToWeaviateResult`; both outputs keep the window and timestamp of their input.

    Raises:
      ValueError: when the options contradict each other or cannot be what is meant; at construction.
      WeaviateError: on the worker, when the server cannot be reached or stays away, when the collection does not
        exist, or when the property would take duplicates.

    >>> write = WriteReferencesToWeaviate("Author", url="http://localhost:8080", from_property="writesFor",
    ...     from_field="name", to_field="papers")
    >>> write.display_data()["collection"]
    'Author'
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
        from_property: Optional[str] = None,
        from_field: Union[Field, Sequence[str], None] = None,
        to_field: Optional[Field] = None,
        to_collection: Optional[Field] = None,
        tenant_field: Optional[Field] = None,
        tenant: Optional[str] = None,
        check_targets: bool = False,
        skip_existing: bool = False,
        allow_duplicates: bool = False,
        batching: str = "auto",
        batch_size: Optional[int] = None,
        max_requests_in_flight: Optional[int] = None,
        max_buffering_duration_secs: Optional[float] = None,
        on_failure: str = "dead_letter",
        max_errors: Optional[int] = None,
        max_error_rate: Optional[float] = None,
        consistency_level: Optional[str] = None,
        dry_run: bool = False,
    ) -> None:
        given = {"from_property": from_property, "from_field": from_field, "to_field": to_field}
        missing = [name for name, value in given.items() if value is None]
        if 0 < len(missing) < len(given):
            raise ValueError(f"references from rows need {', '.join(missing)}= too")
        if skip_existing and allow_duplicates:
            raise ValueError("skip_existing= and allow_duplicates= contradict each other; give one of them")
        settings = ReferenceSettings(
            name="",
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
            mapper=ReferenceMapper(
                collection if callable(collection) else collection_name(collection),
                from_property,
                from_field,
                to_field,
                to_collection
                if to_collection is None or callable(to_collection)
                else collection_name(to_collection),
                tenant_field,
                tenant_name(tenant),
            ),
            check_targets=check_targets,
            skip_existing=skip_existing,
            allow_duplicates=allow_duplicates,
            consistency_level=level_of(consistency_level),
            batch_size=batch_size,
            max_requests_in_flight=max_requests_in_flight,
            limit=limit_of(on_failure, max_errors, max_error_rate),
            dry_run=dry_run,
        )
        super().__init__(settings, (WeaviateReference, FailedReference), batching, max_buffering_duration_secs)

    def expand(self, pcoll: beam.PCollection) -> WriteReferencesToWeaviateResult:
        self._check_runner(pcoll)
        return WriteReferencesToWeaviateResult(*self._outputs(pcoll, self._named(), {}))

    def display_data(self) -> dict[str, Any]:
        mapper = self._settings.mapper
        return {**self._shown(mapper.collection), "from_property": mapper.from_property or "chosen by elements"}


@dataclass(frozen=True, kw_only=True)
class ReferenceSettings(Kind):
    """A write of references."""

    counters: ClassVar[str] = "references_"
    things: ClassVar[str] = "references"
    failure: ClassVar[type[Any]] = FailedReference

    mapper: ReferenceMapper
    check_targets: bool = False
    skip_existing: bool = False
    allow_duplicates: bool = False

    def open_translator(self, opened: Client) -> ReferenceTranslator:
        return ReferenceTranslator(self, opened)

    def open_sender(self, opened: Client) -> Sender:
        return Sender(
            opened,
            BatchReferences(opened, check_targets=self.check_targets, skip_existing=self.skip_existing),
            consistency_level=self.level,
            batch_size=self.batch_size,
            # Of two requests at once, each would find absent what the other is about to add.
            max_in_flight=1 if self.skip_existing else self.sender_limit,
        )

    def encoded(self, payload: bytes) -> EncodedReference:
        return encoded_reference(payload)

    def done(self, collection: str, entry: EncodedReference) -> WeaviateReference:
        return entry.reference

    def dead(
        self, failure: Failure, schema: CollectionSchema, entry: EncodedReference, source: Optional[Source]
    ) -> FailedReference:
        return failed_reference(failure, entry.reference, entry.position if source is None else source.position)


class ReferenceTranslator(Translates):
    """Elements to encoded references, each checked against the schema of its collection."""

    def __init__(self, settings: ReferenceSettings, opened: Client) -> None:
        self._mapper = settings.mapper
        self._takes_any = settings.skip_existing or settings.allow_duplicates
        self._encoders = Encoders(Catalog(opened, None, CreateDisposition.CREATE_NEVER), ReferenceEncoder)

    def translate(
        self, element: Any, sender: Optional[Sender] = None
    ) -> Iterator[Union[Translated, FailedReference]]:
        """The references of an element, as many as there are, one by one. Failures take their place."""
        for source, number in sources(element, FailedReference):
            yield from self._translate(source, number)

    def _translate(self, source: Source, number: Optional[int]) -> Iterator[Union[Translated, FailedReference]]:
        name = source.collection
        try:
            name = name or self._mapper.destination(source.row)
            self._encoder(name)
            references = self._references(source)
        except RowError as error:
            yield failed_reference_row(error, source._replace(collection=name), None)
            return
        for reference in references:
            given = reference._replace(collection=name)
            try:
                schema, entry = self._encode(name, given)
            except RowError as error:
                yield failed_reference_row(error, source._replace(collection=name), given)
            else:
                entry.row = number
                yield schema, entry

    @costs_its_row
    def _references(self, source: Source) -> list[WeaviateReference]:
        return list(self._mapper.map(source.row, source.text))

    def _encoder(self, name: str) -> tuple[CollectionSchema, ReferenceEncoder]:
        try:
            return self._encoders.get(name)
        except CollectionNotFound as error:
            text = f"collection {name} does not exist; write its objects first, then their references"
            if not callable(self._mapper.collection):
                raise WeaviateError(text) from None
            raise RowError(error.reason, text) from None

    def _encode(self, name: str, given: WeaviateReference) -> tuple[CollectionSchema, EncodedReference]:
        schema, encoder = self._encoder(name)
        try:
            encoded = encoder.encode(given)
        except RowError as error:
            schema, encoder = self._encoders.changed(name, schema, error)
            encoded = encoder.encode(given)
        known = schema.properties[encoded.reference.from_property]
        if not (known.unique_references or self._takes_any):
            raise WeaviateError(
                f"property {known.name!r} of {schema.name} has no disableDuplicatedReferences, so that a repeated "
                "bundle or job would add its references again; create the property with it, or set "
                "skip_existing=True (reads before it writes) or allow_duplicates=True"
            )
        return schema, encoded
