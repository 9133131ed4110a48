"""Where the server is and how to get in: plain frozen data, safe to pickle, to print and to compare.

Nothing here opens anything; :mod:`weaviate_io.client` does, on the worker.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Optional, Union
from urllib.parse import urlsplit

from weaviate_io.secret import OidcClientCredentials, Secret

DEFAULT_GRPC_PORT = 50051
"""Where Weaviate listens for gRPC unless told otherwise."""

_HEADER_NAME = re.compile(r"[A-Za-z0-9_.-]+")  # what gRPC takes


@dataclass(frozen=True)
class WeaviateConnection:
    """A Weaviate server.

    Args:
      url: REST address, ``http://host:port`` or ``https://host``; of a Weaviate Cloud cluster the host is enough.
      grpc_url: gRPC address, ``host:port``, ``grpc://host:port`` or ``grpcs://host:port``. Derived from ``url``
        when absent: the gRPC host of a Weaviate Cloud cluster, else port 50051 of the same host.
      api_key: reference to the API key or token: ``"env:NAME"``, a function, or a ``beam.Secret``; or
        :class:`OidcClientCredentials`, which fetch tokens. A function is asked again when the server refuses what
        it gave, and when that is a JWT, before it runs out.
      headers: further request headers, such as keys of model providers; values are references like ``api_key``.
      tls_ca: path of a PEM file with the certificate authority to trust, on the worker.
      tls_cert: path of a PEM file with a certificate of the client, where the server asks for one.
      tls_key: path of a PEM file with its key, without password; the default is ``tls_cert``, which may hold both.
      tls_server_name: name that the certificate of the server must have, where that is not the host of its
        address: behind a tunnel, say. Holds for REST and gRPC.
      timeout: shortest deadline of a write, seconds. It grows with the slowest request seen, and is at least 300
        where the server makes the vectors; a short one leaves objects stored but unindexed, so it cannot go below 90.
      probe_timeout: how long the first contact may take, seconds; of REST, of gRPC and of an OIDC issuer each.
      compression: ``"gzip"`` compresses what gRPC sends. It pays where the network is slow and objects are mostly
        text: vectors hardly shrink, and it costs more CPU than everything else here.

    Raises ``ValueError`` where an address cannot be one.

    >>> connection = WeaviateConnection("my-cluster.weaviate.cloud", api_key="env:WEAVIATE_API_KEY")
    >>> connection.grpc_target, connection.grpc_secure
    ('grpc-my-cluster.weaviate.cloud:443', True)
    """

    url: str
    grpc_url: Optional[str] = None
    api_key: Union[Secret, OidcClientCredentials, Any, None] = None
    headers: Mapping[str, Any] = field(default_factory=dict)
    tls_ca: Optional[str] = None
    timeout: float = 90.0
    probe_timeout: float = 8.0
    compression: Optional[str] = None
    tls_cert: Optional[str] = None
    tls_key: Optional[str] = None
    tls_server_name: Optional[str] = None

    def __post_init__(self) -> None:
        if isinstance(self.url, str) and "://" not in self.url and _is_cloud(self.url.partition("/")[0]):
            object.__setattr__(self, "url", f"https://{self.url}")
        parts = _split("url", self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"url={self.url!r} is no address; use http://host:port or https://host")
        if parts.query or parts.fragment:
            raise ValueError("url= ends with '?' or '#' and more; give the address alone")
        if self.grpc_url is not None:
            _split_grpc(self.grpc_url)
        if not self.timeout >= 90:
            raise ValueError(
                f"timeout={self.timeout} is below 90 s, where the server may store without indexing"
            )
        if not self.probe_timeout > 0:
            raise ValueError(f"probe_timeout={self.probe_timeout} is no time to wait; use seconds above 0")
        if self.compression not in (None, "gzip"):
            raise ValueError(f"compression={self.compression!r} is unknown; use 'gzip', or None for none")
        if self.tls_key and not self.tls_cert:
            raise ValueError("tls_key= is the key of a certificate; give that as tls_cert=")
        if (self.tls_cert or self.tls_server_name) and parts.scheme == "http" and not self.grpc_secure:
            raise ValueError(
                "tls_cert= and tls_server_name= need TLS: https:// in url=, or grpcs:// in grpc_url="
            )
        if self.api_key is not None and not isinstance(self.api_key, (Secret, OidcClientCredentials)):
            object.__setattr__(self, "api_key", Secret(self.api_key))
        object.__setattr__(self, "headers", {k: _header(k, v) for k, v in self.headers.items()})

    def __hash__(self) -> int:
        return hash((self.url, self.grpc_url, self.tls_ca, self.timeout))

    @property
    def rest_url(self) -> str:
        """The REST address without a trailing slash or ``/v1``."""
        return self.url.rstrip("/").removesuffix("/v1")

    @property
    def grpc_target(self) -> str:
        """``host:port`` of the gRPC endpoint."""
        if self.grpc_url is not None:
            return _split_grpc(self.grpc_url)[0]
        parts = urlsplit(self.url)
        host = parts.hostname or ""
        if host.endswith(".weaviate.network"):
            name, _, domain = host.partition(".")
            return f"{name}.grpc.{domain}:443"
        if _is_cloud(host):
            return f"grpc-{host}:443"
        return f"[{host}]:{DEFAULT_GRPC_PORT}" if ":" in host else f"{host}:{DEFAULT_GRPC_PORT}"

    @property
    def grpc_secure(self) -> bool:
        """Whether gRPC goes over TLS: as the scheme of ``grpc_url`` says, else as ``url`` does."""
        scheme = _split_grpc(self.grpc_url)[1] if self.grpc_url is not None else ""
        return (scheme or urlsplit(self.url).scheme) in ("grpcs", "https")

    def resolve_headers(self, token: Optional[str] = None) -> dict[str, str]:
        """All request headers with their secrets, names in lower case as gRPC wants; on the worker only.

        ``token`` is one that was fetched with the ``api_key``, in place of which it is sent.
        """
        headers = {name.lower(): value.resolve() for name, value in self.headers.items()}
        if self.api_key is not None:
            if token is None:
                assert isinstance(self.api_key, Secret)
                token = self.api_key.resolve()
            headers["authorization"] = f"Bearer {token}"
            host = urlsplit(self.url).hostname or ""
            if _is_cloud(host):  # the embedding service of Weaviate Cloud asks whose objects these are
                headers.setdefault("x-weaviate-cluster-url", f"https://{host}")
        return headers


def _is_cloud(host: str) -> bool:
    return host.lower().endswith((".weaviate.cloud", ".weaviate.io", ".weaviate.network"))


def _header(name: str, value: Any) -> Secret:
    if not _HEADER_NAME.fullmatch(name):
        raise ValueError(f"{name!r} in headers= is no name of a header")
    if isinstance(value, Secret):
        return value
    sensitive = any(word in name.lower() for word in ("key", "token", "secret", "authorization"))
    return Secret(value, warn=sensitive)


def _split(name: str, address: Any, prefix: str = "") -> Any:
    """The parts of an address, refused where it holds a password or no valid port. Errors show no password."""
    try:
        parts = urlsplit(prefix + address if isinstance(address, str) else "")
        userinfo = "@" in parts.netloc
        port_is_valid = parts.port != 0
    except ValueError:
        userinfo, port_is_valid = "@" in address, False
    if userinfo:
        raise ValueError(f"{name}= holds a user or password; give the key as api_key='env:NAME'")
    if not port_is_valid:
        raise ValueError(f"{name}={address!r} has no valid host and port")
    return parts


def _split_grpc(address: Any) -> tuple[str, str]:
    """``host:port`` and the scheme, if one is given."""
    scheme, separator, rest = address.partition("://") if isinstance(address, str) else ("", "", "")
    if not separator:
        scheme, rest = "", address
    parts = _split("grpc_url", rest, prefix="//")
    scheme = scheme.lower()
    if (
        scheme not in ("", "grpc", "grpcs", "http", "https")
        or not parts.hostname
        or parts.path.strip("/")
        or parts.query
    ):
        raise ValueError(
            f"grpc_url={address!r} is no address; use host:port, grpc://host:port or grpcs://host:port"
        )
    port = parts.port or (443 if scheme in ("grpcs", "https") else DEFAULT_GRPC_PORT)
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{host}:{port}", scheme
