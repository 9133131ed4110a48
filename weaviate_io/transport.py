"""The two ways to a server, REST and gRPC, with the same certificates and the same patience.

What goes over them is the matter of :mod:`weaviate_io.client`, the headers that let it in of
:mod:`weaviate_io.access`.
"""

from __future__ import annotations

import queue
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, Optional, TypeVar, Union

import grpc
import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from weaviate_io.connection import WeaviateConnection
from weaviate_io.errors import WeaviateError

_CHANNEL_OPTIONS: list[tuple[str, Any]] = [
    # The server's own limit decides; its refusal names both sizes.
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    # Without it, a long outage is followed by up to two minutes of waiting for the next attempt.
    ("grpc.max_reconnect_backoff_ms", 5000),
    ("grpc.use_local_subchannel_pool", 1),
]
_RETRIES = Retry(
    total=8,
    backoff_factor=0.5,
    backoff_max=30,
    status_forcelist=(429, 502, 503, 504),
    allowed_methods={"GET"},
    raise_on_status=False,
)

_CONNECTIONS = 32  # of a session; what needs more at the same time makes them anew
_KEPT = 32_000_000  # bytes; glibc gives all blocks of more than 33,554,432 back, whatever was freed before

_Answer = TypeVar("_Answer")

Authorize = Callable[[requests.PreparedRequest], requests.PreparedRequest]
"""Adds its headers to a request."""


@dataclass(frozen=True, repr=False)
class Certificates:
    """What TLS needs, in PEM: the authority to trust (None for the usual ones), and the client's own."""

    authority: Optional[bytes] = None
    chain: Optional[bytes] = None
    key: Optional[bytes] = None


def read_certificates(connection: WeaviateConnection) -> Certificates:
    """Read and check the files of ``tls_ca``, ``tls_cert`` and ``tls_key``.

    Raises:
      WeaviateError: one is missing on this worker or of no use. REST and gRPC would each say so in words of
        their own, gRPC on standard error.
    """
    authority = chain = key = None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if connection.tls_ca:
        authority = _read("tls_ca", connection.tls_ca)
        try:
            context.load_verify_locations(connection.tls_ca)
        except (ssl.SSLError, ValueError):
            raise WeaviateError(f"tls_ca={connection.tls_ca!r} holds no certificate in PEM") from None
    if connection.tls_cert:
        key_path = connection.tls_key or connection.tls_cert
        chain, key = _read("tls_cert", connection.tls_cert), _read("tls_key", key_path)
        try:
            # Without a password, a key that has one would be asked for on the terminal.
            context.load_cert_chain(connection.tls_cert, key_path, password="")
        except (ssl.SSLError, ValueError):
            raise WeaviateError(
                f"tls_cert={connection.tls_cert!r} and tls_key={key_path!r} are no certificate in PEM with its "
                "unencrypted key"
            ) from None
    return Certificates(authority, chain, key)


def open_session(
    connection: WeaviateConnection, authorize: Optional[Authorize] = None, retries: bool = True
) -> requests.Session:
    """A REST session with the server.

    Args:
      connection: the server.
      authorize: adds headers to each request.
      retries: whether to try again what a balancer refuses.
    """
    session = requests.Session()
    if connection.tls_ca:
        # To be given with every request too: a variable such as REQUESTS_CA_BUNDLE beats that of the session.
        session.verify = connection.tls_ca
    if connection.tls_cert:
        key = connection.tls_key or connection.tls_cert
        session.cert = (connection.tls_cert, key)
    # Never None: a .netrc of the worker that knows the host would take the place of the key.
    session.auth = authorize or _unchanged
    pool = {}
    if connection.tls_server_name:
        pool = {"server_hostname": connection.tls_server_name, "assert_hostname": connection.tls_server_name}
    _mount(session, _Adapter(pool, _RETRIES if retries else 0))
    return session


def open_issuer_session(connection: WeaviateConnection) -> requests.Session:
    """A session with whoever issues tokens: the usual authorities are trusted, and that of ``tls_ca`` too."""
    session = requests.Session()
    session.auth = _unchanged
    context = ssl.create_default_context()
    if connection.tls_ca:
        context.load_verify_locations(connection.tls_ca)
    _mount(session, _Adapter({"ssl_context": context}))
    return session


def open_channel(connection: WeaviateConnection, certificates: Certificates) -> grpc.Channel:
    """A gRPC channel to the server. It connects at the first call."""
    _keep_freed_memory()
    target = connection.grpc_target
    compression = grpc.Compression.Gzip if connection.compression else None
    if not connection.grpc_secure:
        return grpc.insecure_channel(target, _CHANNEL_OPTIONS, compression)
    credentials = grpc.ssl_channel_credentials(
        certificates.authority, private_key=certificates.key, certificate_chain=certificates.chain
    )
    options = list(_CHANNEL_OPTIONS)
    if connection.tls_server_name:
        options.append(("grpc.ssl_target_name_override", connection.tls_server_name))
    return grpc.secure_channel(target, credentials, options, compression)


@cache
def _keep_freed_memory() -> None:
    """Have this process use the memory of a request again for the next one.

    A large block goes back to the system when it is freed, and the pages of the next one are fresh, which takes up to
    a quarter of the CPU of a write. glibc keeps blocks that are no larger than one that was freed before, up to 64 MB
    of them for each of its arenas. This one is never touched, so that it takes no memory, and it is freed once: a
    second one would come from what is kept. Elsewhere it does nothing.
    """
    bytes(_KEPT)


def within(seconds: float, call: Callable[[], _Answer]) -> _Answer:
    """What the call gives, or ``requests.Timeout`` once so many seconds have passed.

    The limits of requests hold for each address of a host and each piece of an answer, and not at all for the
    look-up of its name. The call is left to end by itself.

    >>> within(10, lambda: 5)
    5
    """
    answers: queue.SimpleQueue[tuple[Any, Optional[BaseException]]] = queue.SimpleQueue()

    def run() -> None:
        try:
            answers.put((call(), None))
        except BaseException as error:
            answers.put((None, error))

    threading.Thread(target=run, name="weaviate-io-contact", daemon=True).start()
    try:
        answer, error = answers.get(timeout=seconds)
    except queue.Empty:
        raise requests.Timeout("timed out") from None
    if error is not None:
        raise error
    return answer  # type: ignore[no-any-return]


class _Adapter(HTTPAdapter):
    def __init__(self, pool: dict[str, Any], retries: Union[Retry, int] = 0) -> None:
        self._pool = pool
        super().__init__(max_retries=retries, pool_maxsize=_CONNECTIONS)

    def init_poolmanager(self, connections: int, maxsize: int, block: bool = False, **options: Any) -> None:
        super().init_poolmanager(connections, maxsize, block, **options, **self._pool)

    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
        return super().proxy_manager_for(proxy, **options, **self._pool)


def _mount(session: requests.Session, adapter: HTTPAdapter) -> None:
    session.mount("http://", adapter)
    session.mount("https://", adapter)


def _unchanged(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request


def _read(keyword: str, path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise WeaviateError(f"{keyword}={path!r} cannot be read on this worker: {error.strerror}") from None
