"""An open connection to a server: the gRPC channel, the REST session, and what is known of its collections.

There is one :class:`Client` per process and connection, shared by every DoFn and closed by its last user. It
is opened on the worker only, never while a pipeline is constructed. A forked child starts with none.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Mapping
from typing import Any, Optional

import grpc
import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from weaviate_io import proto
from weaviate_io.causes import grpc_cause, rest_cause, rest_refusal
from weaviate_io.connection import WeaviateConnection
from weaviate_io.errors import WeaviateError
from weaviate_io.flow import Flow
from weaviate_io.schema import DEFAULT_VECTOR, CollectionSchema
from weaviate_io.version import __version__

_LOGGER = logging.getLogger(__name__)

_HEALTH = "/grpc.health.v1.Health/Check"
_INTEGRATION = {"x-weaviate-client-integration": f"weaviate-io/{__version__}"}
_CHANNEL_OPTIONS = [
    # The server's own limit decides; its refusal names both sizes.
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    # Without it, a long outage is followed by up to two minutes of waiting for the next attempt.
    ("grpc.max_reconnect_backoff_ms", 5000),
    ("grpc.use_local_subchannel_pool", 1),
]
_REST_TIMEOUT = (10.0, 60.0)  # seconds to connect, and to wait for an answer
_RETRIES = Retry(
    total=8,
    backoff_factor=0.5,
    backoff_max=30,
    status_forcelist=(429, 502, 503, 504),
    allowed_methods={"GET"},
    raise_on_status=False,
)
_FRESH_FOR = 30.0  # seconds; a description younger than this is not read again


class Client:
    """One open connection. Use :func:`acquire` and :func:`release`, which share it.

    Raises :class:`~weaviate_io.errors.WeaviateError` within seconds, naming the cause, where the server cannot
    be reached or lets nobody in.
    """

    def __init__(self, connection: WeaviateConnection) -> None:
        self._connection = connection
        self._headers = connection.resolve_headers() | _INTEGRATION
        self._resolved_at = time.monotonic()
        roots = _read_authority(connection)
        self._session = _session(connection, self._headers)
        try:
            meta = self._probe_rest()
            self._channel = _open_channel(connection, roots)
            try:
                self._probe_grpc()
            except BaseException:
                self._channel.close()
                raise
        except BaseException:
            self._session.close()
            raise
        self.version: str = meta["version"]
        self.max_message_size: int = int(meta.get("grpcMaxMessageSize") or 104_858_000)
        self.flow = Flow(connection.timeout)
        self._batch_objects = self._channel.unary_unary(proto.BATCH_OBJECTS)
        self._batch_references = self._channel.unary_unary(proto.BATCH_REFERENCES)
        self._search = self._channel.unary_unary(proto.SEARCH)
        self._schemas: dict[str, tuple[float, Optional[CollectionSchema]]] = {}
        self._lock = threading.RLock()

    def batch_objects(self, request: bytes, timeout: float) -> Any:
        """Start a BatchObjects call and return its future; the caller gives the place in flight back."""
        return self._batch_objects.future(request, timeout=timeout, metadata=self._metadata())

    def batch_references(self, request: bytes, timeout: float) -> Any:
        """Start a BatchReferences call and return its future; the caller gives the place in flight back."""
        return self._batch_references.future(request, timeout=timeout, metadata=self._metadata())

    def search(self, request: Any) -> Any:
        """Call Search and return the reply; raises ``grpc.RpcError``."""
        payload = self._search(
            request.SerializeToString(), timeout=self._connection.timeout, metadata=self._metadata()
        )
        return proto.SearchReply.FromString(payload)

    def _metadata(self) -> tuple[tuple[str, str], ...]:
        return tuple(self._headers.items())

    def renew_secrets(self, since: float) -> bool:
        """Resolve the secrets again after a refusal, as a token may have run out.

        Args:
          since: ``time.monotonic()`` of the refused request.

        Returns whether there are others now than it was sent with, so that another try makes sense.
        """
        with self._lock:
            if self._resolved_at > since:
                return True
            headers = self._connection.resolve_headers() | _INTEGRATION
            if headers == self._headers:
                return False
            self._headers, self._resolved_at = headers, time.monotonic()
            self._session.headers.update(headers)
            return True

    def schema(self, name: str, refresh: bool = False) -> Optional[CollectionSchema]:
        """What the collection expects, None where it does not exist.

        The description is kept. Where it is missing, or ``refresh`` says that it may have changed, it is read
        again once it is older than 30 s, so that a stream of refused objects does not ask each time.
        """
        with self._lock:
            read_at, schema = self._schemas.get(name, (-_FRESH_FOR, None))
            now = time.monotonic()
            if name not in self._schemas or ((refresh or schema is None) and now - read_at > _FRESH_FOR):
                description = self.describe(name)
                schema = None if description is None else CollectionSchema.from_rest(description)
                self._schemas[name] = (now, schema)
            return schema

    def forget(self, name: str) -> None:
        """Read the description of the collection anew at its next use."""
        with self._lock:
            self._schemas.pop(name, None)

    def describe(self, name: str) -> Optional[dict[str, Any]]:
        """The REST description of a collection, None where it does not exist."""
        response = self.rest("GET", f"/v1/schema/{name}", accept=(200, 404))
        return None if response.status_code == 404 else response.json()

    def stored_dimensions(self, schema: CollectionSchema) -> dict[str, int]:
        """Vector lengths by vector name, read off one stored object; empty where there is none to ask.

        Each tenant fixes its own lengths, so for a multi-tenant collection the server is left to judge.
        """
        if schema.multi_tenant or schema.open_ended or not schema.vectors:
            return {}
        search = proto.SearchRequest(collection=schema.name, limit=1, uses_127_api=True)
        search.metadata.uuid = search.metadata.vector = True
        search.properties.SetInParent()
        try:
            results = self.search(search).results
        except grpc.RpcError:
            return {}  # a check that spares a round trip, not one that the write depends on
        lengths: dict[str, int] = {}
        for result in results:
            if result.metadata.vector_bytes:
                lengths[DEFAULT_VECTOR] = len(result.metadata.vector_bytes) // 4
            for vector in result.metadata.vectors:
                multi = vector.type == proto.VECTOR_MULTI_FP32
                size = (
                    int.from_bytes(vector.vector_bytes[:2], "little")
                    if multi
                    else len(vector.vector_bytes) // 4
                )
                lengths[vector.name] = size
        return lengths

    def rest(
        self, method: str, path: str, json: Any = None, accept: tuple[int, ...] = (200,)
    ) -> requests.Response:
        """Call the REST API; raises :class:`WeaviateError` for a status that is not accepted."""
        url = f"{self._connection.rest_url}{path}"
        try:
            response = self._session.request(
                method, url, json=json, timeout=_REST_TIMEOUT, verify=self._session.verify
            )
        except requests.RequestException as error:
            raise WeaviateError(f"{method} {url}: {rest_cause(error)}") from None
        if response.status_code not in accept:
            raise WeaviateError(f"{method} {url}: {rest_refusal(response)}")
        return response

    def close(self) -> None:
        """Wait for what is in flight, up to its deadline, then close. Nothing in flight is cancelled."""
        vectorized = any(schema and schema.makes_vectors for _, schema in self._schemas.values())
        if not self.flow.wait_idle(self.flow.deadline(vectorized)):
            _LOGGER.warning("closing the connection to %s with requests in flight", self._connection.rest_url)
        self._channel.close()
        self._session.close()

    def _probe_rest(self) -> dict[str, Any]:
        url = f"{self._connection.rest_url}/v1/meta"
        timeout = self._connection.probe_timeout
        with requests.Session() as once:  # no retries: a wrong address must show at once
            once.headers.update(self._session.headers)
            try:
                response = once.get(url, timeout=timeout, verify=self._session.verify)
            except requests.RequestException as error:
                raise WeaviateError(
                    f"no Weaviate at {self._connection.rest_url}{self._derived()}: {rest_cause(error)}"
                ) from None
        if response.status_code != 200:
            raise WeaviateError(f"{self._connection.rest_url}: {rest_refusal(response)}")
        try:
            meta = response.json()
        except ValueError:
            meta = None
        if not isinstance(meta, dict) or "version" not in meta:
            raise WeaviateError(
                f"{self._connection.rest_url} answers, but is no Weaviate (its /v1/meta has no version)"
            )
        return meta

    def _probe_grpc(self) -> None:
        target = self._connection.grpc_target
        check = self._channel.unary_unary(_HEALTH)
        try:
            check(b"", timeout=self._connection.probe_timeout, metadata=self._metadata())
        except grpc.RpcError as error:
            cause = grpc_cause(error, self._connection)
            if cause:
                raise WeaviateError(f"no gRPC at {target}: {cause}") from None

    def _derived(self) -> str:
        """The gRPC address, where the user did not give it, so that a wrong guess is seen at once."""
        return "" if self._connection.grpc_url else f" (gRPC at {self._connection.grpc_target})"


def _session(connection: WeaviateConnection, headers: Mapping[str, str]) -> requests.Session:
    session = requests.Session()
    session.headers.update(headers)
    if connection.tls_ca:
        # To be given with every request too: a variable such as REQUESTS_CA_BUNDLE beats that of the session.
        session.verify = connection.tls_ca
    adapter = HTTPAdapter(max_retries=_RETRIES)
    session.mount("http://", adapter)
    session.mount("https://", adapter)
    return session


def _read_authority(connection: WeaviateConnection) -> Optional[bytes]:
    """The certificate authority to trust, None for the usual ones."""
    if not connection.tls_ca:
        return None
    try:
        with open(connection.tls_ca, "rb") as file:
            return file.read()
    except OSError as error:
        raise WeaviateError(
            f"tls_ca={connection.tls_ca!r} cannot be read on this worker: {error.strerror}"
        ) from None


def _open_channel(connection: WeaviateConnection, roots: Optional[bytes]) -> grpc.Channel:
    target = connection.grpc_target
    compression = grpc.Compression.Gzip if connection.compression else None
    if not connection.grpc_secure:
        return grpc.insecure_channel(target, _CHANNEL_OPTIONS, compression)
    return grpc.secure_channel(target, grpc.ssl_channel_credentials(roots), _CHANNEL_OPTIONS, compression)


class _Registry:
    """The open clients of this process and how many use each."""

    def __init__(self) -> None:
        self._clients: dict[WeaviateConnection, tuple[Client, int]] = {}
        self._inherited: list[Any] = []
        self.reset()
        os.register_at_fork(after_in_child=self.reset)

    def reset(self) -> None:
        # A forked child keeps the clients of its parent, unused: gRPC may hang where it ends their channels.
        self._inherited.append(self._clients)
        self._lock = threading.Lock()
        self._clients = {}

    def acquire(self, connection: WeaviateConnection) -> Client:
        with self._lock:
            client, users = self._clients.get(connection) or (Client(connection), 0)
            self._clients[connection] = (client, users + 1)
            return client

    def release(self, connection: WeaviateConnection) -> None:
        with self._lock:
            client, users = self._clients.pop(connection, (None, 0))
            if users > 1 and client is not None:
                self._clients[connection] = (client, users - 1)
                return
        if client is not None:
            client.close()


_registry = _Registry()


def acquire(connection: WeaviateConnection) -> Client:
    """The open client of this process for the connection; opened by its first user."""
    return _registry.acquire(connection)


def release(connection: WeaviateConnection) -> None:
    """Give a client back; the last user closes it."""
    _registry.release(connection)
