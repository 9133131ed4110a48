"""An open connection to a server: the gRPC channel, the REST session, and what is known of its collections.

There is one :class:`Client` per process and connection, shared by every DoFn and closed by its last user. It
is opened on the worker only, never while a pipeline is constructed. A forked child starts with none.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from typing import Any, Optional

import grpc
import requests

from weaviate_io import proto
from weaviate_io.access import Access
from weaviate_io.causes import grpc_cause, rest_cause, rest_refusal
from weaviate_io.connection import WeaviateConnection
from weaviate_io.errors import WeaviateError, call_verdict
from weaviate_io.flow import Flow
from weaviate_io.schema import DEFAULT_VECTOR, CollectionSchema
from weaviate_io.transport import open_channel, open_session, read_certificates, within

_LOGGER = logging.getLogger(__name__)

_HEALTH = "/grpc.health.v1.Health/Check"
_REST_TIMEOUT = (10.0, 60.0)  # seconds to connect, and to wait for an answer
_FRESH_FOR = 30.0  # seconds; a description younger than this is not read again


class Client:
    """One open connection. Use :func:`acquire` and :func:`release`, which share it.

    Raises :class:`~weaviate_io.errors.WeaviateError` within seconds, naming the cause, where the server cannot
    be reached or lets nobody in.
    """

    def __init__(self, connection: WeaviateConnection) -> None:
        self._connection = connection
        certificates = read_certificates(connection)
        self._access = Access(connection)
        self._session = open_session(connection, self._authorize)
        try:
            meta = self._probe_rest()
            self._channel = open_channel(connection, certificates)
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

    def start_search(self, request: Any) -> Any:
        """Start a Search call and return its future."""
        payload, timeout = request.SerializeToString(), self._connection.timeout
        return self._search.future(payload, timeout=timeout, metadata=self._metadata())

    def search(self, request: Any) -> Any:
        """Call Search and return the reply; raises ``grpc.RpcError``."""
        payload, timeout = request.SerializeToString(), self._connection.timeout
        sent_at = time.monotonic()
        try:
            reply = self._search(payload, timeout=timeout, metadata=self._metadata())
        except grpc.RpcError as error:
            refused = call_verdict(error.code(), error.details() or "").reason == "unauthenticated"
            if not (refused and self.renew_secrets(sent_at)):
                raise
            reply = self._search(payload, timeout=timeout, metadata=self._metadata())
        return proto.SearchReply.FromString(reply)

    @property
    def starts_at_once(self) -> bool:
        """Whether to start a call takes no time: nobody has to be asked for new secrets first."""
        return self._access.is_fresh

    def _metadata(self) -> tuple[tuple[str, str], ...]:
        return tuple(self._access.headers().items())

    def _authorize(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers.update(self._access.headers())
        return request

    def renew_secrets(self, since: float) -> bool:
        """Resolve the secrets again after a refusal, as a token may have run out.

        Args:
          since: ``time.monotonic()`` of the refused request.

        Returns whether there are others now than it was sent with, so that another try makes sense.
        """
        return self._access.renew(since)

    def redact(self, text: str) -> str:
        """A text that somebody else wrote, with ``***`` in place of each secret that it quotes."""
        return self._access.redact(text)

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
        sent_at = time.monotonic()
        response = self._send(method, url, json)
        if response.status_code == 401 and self.renew_secrets(sent_at):
            response = self._send(method, url, json)
        if response.status_code not in accept:
            raise WeaviateError(f"{method} {url}: {rest_refusal(response, self.redact)}")
        return response

    def _send(self, method: str, url: str, json: Any) -> requests.Response:
        try:
            return self._session.request(
                method,
                url,
                json=json,
                timeout=_REST_TIMEOUT,
                verify=self._session.verify,
                allow_redirects=False,  # they would take the keys of model providers to another host
            )
        except requests.RequestException as error:
            raise WeaviateError(self.redact(f"{method} {url}: {rest_cause(error)}")) from None

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
        # No retries: a wrong address must show at once.
        with open_session(self._connection, self._authorize, retries=False) as once:
            try:
                response = within(
                    timeout,
                    lambda: once.get(url, timeout=timeout, verify=once.verify, allow_redirects=False),
                )
            except requests.RequestException as error:
                text = f"no Weaviate at {self._connection.rest_url}{self._derived()}: {rest_cause(error)}"
                raise WeaviateError(self.redact(text)) from None
        if response.status_code != 200:
            raise WeaviateError(f"{self._connection.rest_url}: {rest_refusal(response, self.redact)}")
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
                raise WeaviateError(self.redact(f"no gRPC at {target}: {cause}")) from None

    def _derived(self) -> str:
        """The gRPC address, where the user did not give it, so that a wrong guess is seen at once."""
        return "" if self._connection.grpc_url else f" (gRPC at {self._connection.grpc_target})"


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
