"""Why a server could not be reached or lets nobody in: one line that says what to do about it.

Every misconfiguration looks like an outage to gRPC and to requests; only their texts tell them apart.
"""

from __future__ import annotations

import grpc
import requests

from weaviate_io.connection import WeaviateConnection

_REST_CAUSES = (
    ("Name or service not known", "its host name does not resolve"),
    ("NameResolutionError", "its host name does not resolve"),
    ("Connection refused", "nothing listens there; is the server running, and is this its REST port?"),
    ("certificate is not valid for", "its certificate is for another host name"),
    ("CERTIFICATE_VERIFY_FAILED", "its certificate is not trusted; give the authority as tls_ca="),
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
    ("CERTIFICATE_VERIFY_FAILED", "its certificate is not trusted; give the authority as tls_ca="),
    ("Hostname Verification", "its certificate is for another host name"),
    ("Peer name", "its certificate is for another host name"),
    ("andshake", "the TLS handshake failed; does it speak TLS (grpcs://), and is its certificate trusted?"),
    ("Connection refused", "nothing listens there; give the gRPC address as grpc_url="),
    ("Socket closed", "it hung up; does it want TLS (grpcs://) or none (grpc://)?"),
)


_RESTRICTED = ("maintenance mode", "read-only mode", "scale-out mode")
"""A server that answers so is there, and will take writes again."""


def rest_cause(error: Exception) -> str:
    """Why a REST call got no answer, in words that say what to do."""
    text = repr(error)
    return next((cause for sign, cause in _REST_CAUSES if sign in text), text[:300])


def rest_refusal(response: requests.Response) -> str:
    """What a REST answer with an error status says."""
    try:
        body = response.json()
        words = body.get("message") or "; ".join(e["message"] for e in body["error"])
    except (ValueError, KeyError, TypeError, AttributeError):
        words = response.text[:200]
    hint = "the server lets nobody in with this api_key=: " if response.status_code == 401 else ""
    return f"{hint}{response.status_code} {words}".strip()


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
    return next((cause for sign, cause in _GRPC_CAUSES if sign in details), details[:300])
