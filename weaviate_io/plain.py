"""``WriteRowsToWeaviate``: the write for Beam YAML and for other languages.

What crosses a language is plain data only: the arguments are texts, numbers, lists and mappings of texts, and the
outputs are flat rows whose schemas every SDK knows. In Python use :class:`WriteToWeaviate`, which takes functions
and objects as well.
"""

# No "from __future__ import annotations" here: Beam reads the types of the arguments as they stand.
import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Optional

import apache_beam as beam

from weaviate_io.failures import failure_to_json
from weaviate_io.objects import FailedObject, register_row
from weaviate_io.providers import ModelProvider
from weaviate_io.secret import OidcClientCredentials
from weaviate_io.write import WriteToWeaviate

_WRITTEN = "written"


class FailedRow(NamedTuple):
    """A failure as Beam YAML has them.

    Args:
      element: the whole failure as a line of JSON, which :class:`ReadFailuresFromJson` reads for a replay.
      msg: the reason, and the words of the server or of the encoder.
      stack: the collection, id, tenant, number of tries and place in a file, as far as they are known.
    """

    element: str
    msg: str
    stack: str


register_row(FailedRow)


class WriteRowsToWeaviate(beam.PTransform):
    """Writes rows into Weaviate, by batches over gRPC.

    The output ``written`` has rows of collection, uuid and tenant. The output that ``error_handling`` names has
    rows of element, msg and stack; without it the first failure fails the job.

    Args:
      collection: Name of the collection.
      url: REST address of the server, such as https://db.example.com.
      grpc_url: gRPC address, HOST:PORT; by default that of Weaviate Cloud, or port 50051 of the same host.
      api_key: Reference to the key, never the key itself: env:NAME is a variable of the workers,
        type:GcpSecret;version_name:projects/P/secrets/S/versions/V a secret of Google's Secret Manager.
      oidc_client_secret: Reference to the secret of a client of the server's OpenID Connect issuer, in place of a key.
      oidc_client_id: The client; by default the one that the server names.
      oidc_scopes: Scopes to ask the issuer for.
      headers: Headers of the requests; values may be references.
      tls_ca: Path of the certificate authority to trust.
      tls_cert: Path of the certificate of the client.
      tls_key: Path of its key.
      tls_server_name: Name in the certificate of the server.
      model_providers: Model providers, such as openai, and the references to their keys.
      id_field: Field that holds the id, or a key to make the id of; without it the id is made of the content.
      id_fields: Fields that are one key together.
      vector_field: Field that holds the vector.
      vector_fields: Field of each named vector.
      tenant_field: Field that holds the tenant.
      tenant: Tenant of all rows.
      create_tenants: Create the tenants that do not exist.
      activate_tenants: Activate the tenants that are inactive.
      allowed_tenants: Names of the tenants that rows may have; rows of others fail.
      properties: Property to field; without it all fields are properties.
      references_field: Reference property to the field that holds the ids it points at.
      schema: REST JSON of the collection, or the path of a file with it, to create it where there is none.
      create_disposition: CREATE_IF_NEEDED or CREATE_NEVER.
      write_disposition: WRITE_APPEND, WRITE_TRUNCATE or WRITE_EMPTY.
      auto_schema: Let the server create the collection by its own guess.
      dimensions: Length that vectors must have.
      unknown_properties: What to do about fields that the collection lacks: fail or drop.
      timezone: Zone of dates that carry none.
      batching: auto, bundle or group_into_batches.
      batch_size: Most objects in a request.
      max_buffering_duration_secs: Seconds that a row of unbounded input waits for company.
      max_requests_in_flight: Most requests in flight at a time, over all workers.
      max_errors: Fail the job when more rows failed.
      max_error_rate: Fail the job when a larger share of at least 1,000 rows failed.
      consistency_level: ONE, QUORUM or ALL.
      dry_run: Check everything, but send nothing.
      wait_for_indexing: End the job only when the vectors can be searched, and fail it after so many seconds.
      verify: Which objects to look for in the vector index: existing, all or off; or repair, which asks for none.
      error_handling: This option specifies whether and where to output rows that failed, as output: NAME.

    Raises:
      ValueError: when the arguments contradict each other or cannot be what is meant; at construction.

    >>> write = WriteRowsToWeaviate("Article", "http://localhost:8080", error_handling={"output": "failed"})
    """

    def __init__(
        self,
        collection: str,
        url: str,
        *,
        grpc_url: Optional[str] = None,
        api_key: Optional[str] = None,
        oidc_client_secret: Optional[str] = None,
        oidc_client_id: Optional[str] = None,
        oidc_scopes: Optional[Sequence[str]] = None,
        headers: Optional[Mapping[str, str]] = None,
        tls_ca: Optional[str] = None,
        tls_cert: Optional[str] = None,
        tls_key: Optional[str] = None,
        tls_server_name: Optional[str] = None,
        model_providers: Optional[Mapping[str, str]] = None,
        id_field: Optional[str] = None,
        id_fields: Optional[Sequence[str]] = None,
        vector_field: Optional[str] = None,
        vector_fields: Optional[Mapping[str, str]] = None,
        tenant_field: Optional[str] = None,
        tenant: Optional[str] = None,
        create_tenants: bool = False,
        activate_tenants: bool = False,
        allowed_tenants: Optional[Sequence[str]] = None,
        properties: Optional[Mapping[str, str]] = None,
        references_field: Optional[Mapping[str, str]] = None,
        schema: Optional[str] = None,
        create_disposition: str = "CREATE_IF_NEEDED",
        write_disposition: str = "WRITE_APPEND",
        auto_schema: bool = False,
        dimensions: Optional[int] = None,
        unknown_properties: str = "fail",
        timezone: Optional[str] = None,
        batching: str = "auto",
        batch_size: Optional[int] = None,
        max_buffering_duration_secs: Optional[float] = None,
        max_requests_in_flight: Optional[int] = None,
        max_errors: Optional[int] = None,
        max_error_rate: Optional[float] = None,
        consistency_level: Optional[str] = None,
        dry_run: bool = False,
        wait_for_indexing: Optional[float] = None,
        verify: str = "existing",
        error_handling: Optional[Mapping[str, str]] = None,
    ) -> None:
        super().__init__("WriteToWeaviate")
        self._failed = _output(error_handling, max_errors is not None or max_error_rate is not None)
        self._write = WriteToWeaviate(
            collection,
            url=url,
            grpc_url=grpc_url,
            api_key=_api_key(api_key, oidc_client_secret, oidc_client_id, oidc_scopes),
            headers=headers,
            tls_ca=tls_ca,
            tls_cert=tls_cert,
            tls_key=tls_key,
            tls_server_name=tls_server_name,
            model_providers=[ModelProvider(name, api_key=key) for name, key in (model_providers or {}).items()],
            id_field=_one("id_field", id_field, "id_fields", id_fields),
            vector_field=_one("vector_field", vector_field, "vector_fields", vector_fields),
            tenant_field=tenant_field,
            tenant=tenant,
            create_tenants=create_tenants,
            activate_tenants=activate_tenants,
            allowed_tenants=allowed_tenants,
            properties=properties,
            references_field=references_field,
            schema=_schema(schema),
            create_disposition=create_disposition,
            write_disposition=write_disposition,
            auto_schema=auto_schema,
            dimensions=dimensions,
            unknown_properties=unknown_properties,
            timezone=timezone,
            batching=batching,
            batch_size=batch_size,
            max_buffering_duration_secs=max_buffering_duration_secs,
            max_requests_in_flight=max_requests_in_flight,
            on_failure="raise" if self._failed is None else "dead_letter",
            max_errors=max_errors,
            max_error_rate=max_error_rate,
            consistency_level=consistency_level,
            dry_run=dry_run,
            wait_for_indexing=wait_for_indexing,
            verify=verify,
        )

    def expand(self, rows: beam.PCollection) -> dict[str, beam.PCollection]:
        result = rows | "Write" >> self._write
        if self._failed is None:
            return {_WRITTEN: result.written}
        failed = result.failed | "ToRows" >> beam.Map(failed_row).with_output_types(FailedRow)
        return {_WRITTEN: result.written, self._failed: failed}


def failed_row(failure: FailedObject) -> FailedRow:
    """A failure as a flat row.

    >>> failed_row(FailedObject("invalid_row", "no object", 0, "Article", None, None, None, "x", None)).stack
    'collection Article, attempts 0'
    """
    shown = {name: getattr(failure, name) for name in ("collection", "uuid", "tenant", "attempts", "position")}
    stack = ", ".join(f"{name} {value}" for name, value in shown.items() if value is not None)
    return FailedRow(failure_to_json(failure), f"{failure.reason}: {failure.error}", stack)


def _output(error_handling: Optional[Mapping[str, str]], has_limit: bool) -> Optional[str]:
    if not error_handling:
        if has_limit:
            raise ValueError("max_errors and max_error_rate need error_handling={'output': NAME}")
        return None
    name = error_handling.get("output")
    others = sorted(set(error_handling) - {"output"})
    if not name or name == _WRITTEN or others:
        raise ValueError(f"error_handling takes output: NAME, another name than {_WRITTEN!r}, and nothing else")
    return name


def _api_key(
    key: Optional[str], secret: Optional[str], client_id: Optional[str], scopes: Optional[Sequence[str]]
) -> Any:
    if secret is None:
        if client_id or scopes:
            raise ValueError("oidc_client_id and oidc_scopes need oidc_client_secret")
        return key
    if key is not None:
        raise ValueError("give api_key or oidc_client_secret, not both")
    return OidcClientCredentials(secret, client_id, scopes or ())


def _one(name: str, value: Any, other_name: str, other: Any) -> Any:
    if value is not None and other is not None:
        raise ValueError(f"give {name} or {other_name}, not both")
    return other if value is None else value


def _schema(source: Optional[str]) -> Any:
    if source is None or not source.lstrip().startswith("{"):
        return source
    try:
        return json.loads(source)
    except json.JSONDecodeError as error:
        raise ValueError(f"schema is no JSON: {error}") from None
