"""Why a server could not be reached or lets nobody in: one line that says what to do about it.

Every misconfiguration looks like an outage to gRPC and to requests; only their texts tell them apart.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable

import grpc
import requests

from weaviate_io.connection import WeaviateConnection

_OTHER_HOST = "its certificate is for another host name; if that is the right one, give it as tls_server_name="
# A server that wants a certificate of the client says so after the handshake, and often hangs up before it is heard.
_HUNG_UP = (
    "it hung up after the TLS handshake; is this the right port, and does it want a certificate of the client "
    "(tls_cert=), or another one?"
)
_HANGS_UP = (
    "RemoteDisconnected",
    "Connection reset",
    "ConnectionResetError",
    "Broken pipe",
    "BrokenPipe",
    "Socket closed",
)

_TLS_CAUSES = (
    ("certificate has expired", "its certificate has expired, or the clock here is wrong"),
    ("certificate is not yet valid", "its certificate is not valid yet, or the clock here is wrong"),
    ("ALERT_CERTIFICATE_EXPIRED", "the certificate of tls_cert= has expired"),
    ("CERTIFICATE_REQUIRED", "it wants a certificate of the client; give tls_cert= and tls_key="),
    ("UNKNOWN_CA", "it does not trust the certificate of tls_cert="),
    ("certificate is not valid for", _OTHER_HOST),
    ("CertificateError", _OTHER_HOST),
    ("Hostname Verification", _OTHER_HOST),
    ("Peer name", _OTHER_HOST),
    ("CERTIFICATE_VERIFY_FAILED", "its certificate is not trusted; give the authority as tls_ca="),
    ("EOF occurred in violation", _HUNG_UP),
    ("Secure read failed", _HUNG_UP),
)

_REST_CAUSES = (
    (
        "ProxyError",
        "the proxy of HTTP_PROXY or HTTPS_PROXY does not let it through; NO_PROXY=host goes around it",
    ),
    ("Name or service not known", "its host name does not resolve"),
    ("NameResolutionError", "its host name does not resolve"),
    ("Connection refused", "nothing listens there; is the server running, and is this its REST port?"),
    *_TLS_CAUSES,
    ("WRONG_VERSION_NUMBER", "it does not speak TLS; use http:// in url="),
    ("SSL", "the TLS handshake failed"),
    ("BadStatusLine", "it does not speak HTTP/1; is this the gRPC port?"),
    ("RemoteDisconnected", "it hung up; does it want https:// in url=, or is this the gRPC port?"),
    ("ConnectionResetError", "it hung up; does it want https:// in url=, or is this the gRPC port?"),
    ("Connection aborted", "it does not speak HTTP/1; is this the gRPC port?"),
    ("timed out", "it did not answer in time; is a firewall between?"),
)

_GRPC_CAUSES = (
    ("http1.x server", "it speaks HTTP/1, not gRPC; is this the REST port? gRPC is usually on 50051"),
    ("Failed parsing HTTP/2", "it speaks HTTP/1, not gRPC; is this the REST port? gRPC is usually on 50051"),
    ("DNS resolution failed", "its host name does not resolve"),
    *_TLS_CAUSES,
    ("andshake", "the TLS handshake failed; does it speak TLS (grpcs://), and is its certificate trusted?"),
    ("Connection refused", "nothing listens there; give the gRPC address as grpc_url="),
    ("Socket closed", "it hung up; does it want TLS (grpcs://) or none (grpc://)?"),
    ("Connection reset", "it hung up; does it want TLS (grpcs://) or none (grpc://)?"),
)


_GRPC_PROXIES = ("grpc_proxy", "https_proxy", "http_proxy")
"""Variables that gRPC looks at, in this order, with TLS and without; other spellings it does not know."""

_RESTRICTED = ("maintenance mode", "read-only mode", "scale-out mode")
"""A server that answers so is there, and will take writes again."""


def rest_cause(error: Exception) -> str:
    """Why a REST call got no answer, in words that say what to do."""
    text = repr(error)
    request = getattr(error, "request", None)
    if (
        request is not None
        and str(request.url).startswith("https:")
        and any(sign in text for sign in _HANGS_UP)
    ):
        return _HUNG_UP
    return next((cause for sign, cause in _REST_CAUSES if sign in text), text[:300])


_REFUSED_KEYS = (
    ("no authentication scheme is configured", "the server asks for no key; leave api_key= out"),
    ("anonymous access not enabled", "the server lets nobody in without a key; give api_key="),
    ("", "the server lets nobody in with this api_key="),
)

_FORBIDDEN = re.compile(r"user '(.*?)' has insufficient permissions to (\w+)(?: \[+(.*?)\]+)?")


def rest_refusal(response: requests.Response, redact: Callable[[str], str] = str) -> str:
    """What a REST answer with an error status says."""
    if response.is_redirect:
        place = response.headers["location"]
        return f"{response.status_code} it sends on to {place}; give the address it ends at as url="
    try:
        body = response.json()
        words = body.get("message") or "; ".join(e["message"] for e in body["error"])
    except (ValueError, KeyError, TypeError, AttributeError):
        words = response.text
    said = f"{response.status_code} {redact(words)[:600]}".strip()
    forbidden = _FORBIDDEN.search(words)
    if forbidden:
        user, right, target = forbidden.groups()
        return f"user {user!r} lacks the permission {right} ({target}); give it a role that has it: {said}"
    if response.status_code == 401:
        return f"{next(cause for sign, cause in _REFUSED_KEYS if sign in words)}: {said}"
    return said


def grpc_cause(error: grpc.RpcError, connection: WeaviateConnection) -> str:
    """Why the first gRPC call failed, or nothing where the server was reached all the same."""
    code, details = error.code(), error.details() or ""
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return f"no answer within {connection.probe_timeout:g} s; is a firewall between?"
    if code is grpc.StatusCode.UNIMPLEMENTED:
        return "it speaks gRPC, but is no Weaviate"
    if code is grpc.StatusCode.UNAUTHENTICATED or "extract auth" in details:
        return f"the server refused the key ({details}); check api_key="
    if code is not grpc.StatusCode.UNAVAILABLE or any(words in details for words in _RESTRICTED):
        return ""
    cause = next((cause for sign, cause in _GRPC_CAUSES if sign in details), details[:300])
    if connection.grpc_secure and any(sign in details for sign in _HANGS_UP):
        cause = _HUNG_UP
    proxy = next((name for name in _GRPC_PROXIES if os.environ.get(name)), None)
    if proxy:
        cause += f" (gRPC goes through the proxy of {proxy}, unless no_proxy, in lower case, has the host)"
    return cause
