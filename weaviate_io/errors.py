"""What an error means: the rows that cannot be written, and what to do about each answer of the server.

The server has few status codes and many texts, and replicas quote the texts of other nodes, so the tables
below match substrings anywhere. Order matters: a text that concerns a whole request beats one that refuses an
object, that beats one that leaves open what was stored, and that one which asks for another try.
"""

from __future__ import annotations

import enum
import functools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeVar

import grpc

_Function = TypeVar("_Function", bound=Callable[..., Any])


class RowError(ValueError):
    """A row that cannot become an object of its collection; costs this row only.

    ``reason`` is the stable name that the dead letter carries; the message says what, where and what to do, in one
    line whatever it quotes.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(" ".join(message.split()) if len(message.splitlines()) > 1 else message)
        self.reason = reason

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.reason, str(self))


class WeaviateError(RuntimeError):
    """The job cannot go on: wrong address, refused key, missing collection, or a server that stays away."""


def costs_its_row(function: _Function) -> _Function:
    """A function that raises :class:`RowError` for whatever a row makes it raise.

    Values may be of any class, and a class may raise what it likes when it is asked for anything.
    """

    @functools.wraps(function)
    def guarded(*args: Any, **options: Any) -> Any:
        try:
            return function(*args, **options)
        except (RowError, WeaviateError):
            raise
        except Exception as error:
            raise RowError("invalid_row", f"reading the row raised {words_of(error)}") from error

    return guarded  # type: ignore[return-value]


def words_of(error: Exception) -> str:
    """An exception of foreign code as messages show it: its class and its words, where it has some."""
    try:
        return f"{type(error).__name__}: {error!s:.300}"
    except Exception:
        return type(error).__name__


class SearchRefused(WeaviateError):
    """A search that no other try makes succeed; ``reason`` is as in :class:`Verdict`."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Meaning(enum.Enum):
    """What an error says about the object or the request that it answers."""

    REFUSED = "refused for good; nothing was stored"
    RETRY = "not stored; may succeed later"
    THROTTLED = "a rate limit, not stored: wait, which costs neither a try nor the budget"
    PROVIDER_DOWN = "a model provider does not answer as it should, not stored; may succeed later"
    NO_ACCESS = "a model provider takes no key, account, model or address like this; renew the secrets"
    BLAMED = "a model provider refused a call, perhaps for one text of many: alone the object may pass"
    IN_DOUBT = "may be stored, but not in the vector index: repair it"
    UNCLEAR = "of unknown nature, or the index refused it: repair it, a few times"
    UNINDEXED = "stored, but there was no memory to index it: repair it later"
    TAINTED = "an error of the server reported on one object, that concerns every object of the request"
    POISON = "one object may spoil the whole request: isolate it"
    TOO_LARGE = "the request is larger than the server takes: split it"
    FATAL = "no request can succeed: fail the job"


class Verdict(NamedTuple):
    """A meaning, and the stable reason under which the dead letter files it."""

    meaning: Meaning
    reason: str


_REFUSED, _RETRY, _IN_DOUBT = Meaning.REFUSED, Meaning.RETRY, Meaning.IN_DOUBT
_UNCLEAR, _TAINTED, _POISON, _FATAL = Meaning.UNCLEAR, Meaning.TAINTED, Meaning.POISON, Meaning.FATAL
_THROTTLED, _PROVIDER_DOWN = Meaning.THROTTLED, Meaning.PROVIDER_DOWN

OF_PROVIDER = (_THROTTLED, _PROVIDER_DOWN, Meaning.NO_ACCESS)
"""What concerns every object whose vectors a model provider makes, when it lasts and none of them gets through."""


def _answers(*statuses: int) -> Iterator[str]:
    """How the modules tell that a model provider answered with one of the statuses."""
    for status in statuses:
        yield f"failed with status: {status}"
        yield f"vectorization response (status {status})"
        yield f"embed API error: {status}"
        yield f"StatusCode: {status}"


NO_MEMORY = "not enough memory"
"""What the server says where it has no memory for a request, or for an object."""

_TEXTS: tuple[tuple[Verdict, tuple[str, ...]], ...] = (
    # Vectors go into the index one by one: this concerns the object that it names, and no other.
    (Verdict(Meaning.UNINDEXED, "out_of_memory"), (f"add batch of 1 vectors: {NO_MEMORY}",)),
    # Weaviate 1.39.0 and older report these on the first object of a shard only, and the others as written.
    (Verdict(_TAINTED, "read_only"), ("store is read-only", 'read only "', "resource pressure")),
    (Verdict(_TAINTED, "out_of_memory"), (NO_MEMORY,)),
    (Verdict(_TAINTED, "no_space"), ("no space left on device", "flushing WAL")),
    (
        Verdict(_TAINTED, "shutting_down"),
        ("already shut or dropped", "shard shutdown in progress", "node is shutting down"),
    ),
    (
        Verdict(_TAINTED, "server_error"),
        (
            "failed to push record to queue",
            "queue not found for target vector",
            "could not find index for class",
        ),
    ),
    (Verdict(_POISON, "invalid_vector"), ("inconsistent vector lengths",)),
    (Verdict(_POISON, "server_error"), ("panic occurred", "an unexpected error occurred")),
    (Verdict(_REFUSED, "usage_limit"), ("usage limit", "count limit of")),
    # Google calls its rates a quota, too.
    (Verdict(_THROTTLED, "rate_limited"), ("ai.google.dev/gemini-api/docs/rate-limits", "Please retry in ")),
    (Verdict(Meaning.NO_ACCESS, "usage_limit"), ("exceeded your current quota",)),
    (Verdict(_REFUSED, "invalid_uuid"), ("invalid UUID",)),
    (
        Verdict(_REFUSED, "unknown_property"),
        (
            "no such prop with name",
            "unknown property '",
            "reference property is not",
            "does not exist for class",
            "' not found in schema",
        ),
    ),
    # Of references. A source that is on its way would be a race: the objects are written first.
    (Verdict(_REFUSED, "source_not_found"), ("ref batch: object with id", "source: object")),
    (Verdict(_REFUSED, "target_not_found"), ("target: object",)),
    (
        Verdict(_REFUSED, "invalid_property"),
        (
            "' on class '",  # every "invalid <type> property 'p' on class 'C'", and what auto-schema cannot guess
            "invalid text array value",
            "could not recognize object's properties",
            "mismatched data type",
            "unrecognized data type of value",
            "unsupported value: NaN",
            "object has an empty class",
        ),
    ),
    (
        Verdict(_REFUSED, "unknown_vector"),
        (
            "does not have configuration for vector",
            "configuration does not have single vector index",
            "is configured without multiple named vectors",
            "was dropped; writes targeting it are rejected",
        ),
    ),
    (
        Verdict(_REFUSED, "invalid_vector"),
        (
            "has to be a float32 array",
            "dimension cannot be 0",
            "vector dimensions do not match the index dimensions",
            "new node has a vector with length",
            "new node has a multi vector with length",
            "consists of vectors with varying dimensions",
            "insert called with a vector of the wrong size",
            "cannot insert vector of dimension 0",
            "vector lengths don't match",
            "pq segments must be a divisor",
            "max length exceeded",
        ),
    ),
    (
        Verdict(_REFUSED, "invalid_tenant"),
        (
            "multi-tenancy enabled, but request was without tenant",
            "multi-tenancy disabled, but request was with tenant",
            "is not a valid tenant name",
            "empty tenant name",
        ),
    ),
    (Verdict(_REFUSED, "tenant_not_found"), ("tenant not found",)),
    (Verdict(_REFUSED, "tenant_not_active"), ("tenant not active",)),
    (
        Verdict(_REFUSED, "collection_not_found"),
        (
            "not present in schema",
            "is not a valid class name",
            'alias "',
            "failed to find class",
            "could not find class",
            'source class "',
        ),
    ),
    (Verdict(_REFUSED, "permission_denied"), ("insufficient permissions",)),
    (
        Verdict(_REFUSED, "invalid_reference"),
        (
            "target is a multi-target reference",
            "target is a single-target reference",
            "multi-target references require",
            "cannot reference a multi-tenant enabled class",
            'target class "',
        ),
    ),
    (
        Verdict(Meaning.NO_ACCESS, "vectorizer_refused"),
        (
            "no api key found",
            "found in request header",  # access keys, tokens and addresses, each provider in its own words
            "no access key found",
            "no secret found",
            "no Databricks token found",
            *_answers(401, 402, 403, 404),
            "UnrecognizedClientException",
            "failed with error code: PERMISSION_DENIED",
            "baseURL must use HTTPS",
            "baseURL cannot target internal addresses",
            "refusing to dial internal address",
        ),
    ),
    (
        Verdict(Meaning.BLAMED, "vectorizer_refused"),
        (
            *_answers(400, 413, 422),
            "Request too large for",  # more tokens than OpenAI takes in a minute: no waiting helps
            "connection to Ollama API failed with error: ",
            "failed with error code: BAD_REQUEST",
            "failed with error code: INVALID_PARAMETER_VALUE",
        ),
    ),
    (
        Verdict(_UNCLEAR, "not_indexed"),
        ("insert to vector index", "insert to multi vector index", "update prop-specific indices"),
    ),
    # The target may be on its way in another request.
    (Verdict(_UNCLEAR, "invalid_reference"), ("no object with id",)),
    # Replicas quote the reasons of others, of which some would mean another try: here one may have stored it.
    (
        Verdict(_IN_DOUBT, "replicas_unavailable"),
        ("cannot reach enough replicas", "cannot achieve consistency level", "broadcast: "),
    ),
    (
        Verdict(_THROTTLED, "rate_limited"),
        (
            "rate limit",
            "Rate limit reached",
            "tokens per min",
            *_answers(429),
            "ThrottlingException",
            "failed with error code: REQUEST_LIMIT_EXCEEDED",
            "429 Too many",
        ),
    ),
    (
        Verdict(_PROVIDER_DOWN, "vectorizer_failed"),
        (
            "failed with status: 408",
            "failed with status: 5",
            "vectorization response (status 5",
            "embed API error: 5",
            "StatusCode: 5",
            "no data returned from",
            "empty embeddings response",
            "send POST request",
            "vectorization aborted after an internal error",
            "vectorizer returned fewer vectors",
        ),
    ),
    (Verdict(_RETRY, "collection_changing"), ("auto-schema: create collection", "wait for schema version")),
    (
        Verdict(_RETRY, "cluster_unavailable"),
        (
            "local schema to catch up",
            "deadline exceeded for waiting for update",
            "leader not found",
            "node is not the leader",
            "leadership lost",
            "maintenance mode",
            "read-only mode",
            "scale-out mode",
            "local index not ready",
            "shard not found",
            "class not found",
            "Node not ready",
            "resolve node name",
            "has no physical shard",
            "ensure tenant active",
        ),
    ),
    (
        Verdict(_IN_DOUBT, "server_unavailable"),
        (
            "connect: ",
            "connection refused",
            "broken pipe",
            ": EOF",
            "unexpected EOF",
            "i/o timeout",
            "error: request not found",
            "the client connection is closing",
            "context deadline exceeded",
            "context canceled",
            "begin batch",
            "end store object",
        ),
    ),
    # Last: the check whether the target of a reference exists may fail for any of the reasons above.
    (Verdict(_REFUSED, "invalid_reference"), ("invalid cref",)),
)

_UNEXPLAINED = Verdict(_UNCLEAR, "server_error")


def object_verdict(text: str) -> Verdict:
    """What the text that the server gave for one object means. Unknown texts are tried a few times.

    >>> object_verdict("invalid text property 'title' on class 'Article': not a string, but float64").reason
    'invalid_property'
    """
    for verdict, patterns in _TEXTS:
        if any(pattern in text for pattern in patterns):
            return verdict
    return _UNEXPLAINED


_UNREACHED = ("failed to connect to all addresses", "Connection refused", "DNS resolution failed")
"""Texts of UNAVAILABLE that show that the request never left this machine."""

_CALLS: dict[grpc.StatusCode, Verdict] = {
    grpc.StatusCode.UNAVAILABLE: Verdict(_IN_DOUBT, "server_unavailable"),
    grpc.StatusCode.DEADLINE_EXCEEDED: Verdict(_IN_DOUBT, "deadline_exceeded"),
    grpc.StatusCode.CANCELLED: Verdict(_IN_DOUBT, "server_unavailable"),
    grpc.StatusCode.ABORTED: Verdict(_IN_DOUBT, "server_unavailable"),
    grpc.StatusCode.INTERNAL: Verdict(_IN_DOUBT, "server_error"),
    grpc.StatusCode.RESOURCE_EXHAUSTED: Verdict(_RETRY, "overloaded"),
    grpc.StatusCode.UNAUTHENTICATED: Verdict(_FATAL, "unauthenticated"),
    grpc.StatusCode.UNIMPLEMENTED: Verdict(_FATAL, "unimplemented"),
    grpc.StatusCode.PERMISSION_DENIED: Verdict(_REFUSED, "permission_denied"),
    grpc.StatusCode.FAILED_PRECONDITION: Verdict(_REFUSED, "restricted"),
}

PUSH_BACK = (
    _CALLS[grpc.StatusCode.RESOURCE_EXHAUSTED],
    _CALLS[grpc.StatusCode.DEADLINE_EXCEEDED],
    _CALLS[grpc.StatusCode.UNAVAILABLE],
)
"""What failed calls mean where the server has no room for so much at once. One that never left is not among them."""

_CALL_TEXTS: tuple[tuple[Verdict, tuple[str, ...]], ...] = (
    # One object with such a name, whatever words are in it, fails the whole call before anything is stored.
    (Verdict(_POISON, "invalid_tenant"), ("empty tenant name", "is not a valid tenant name")),
    (Verdict(_POISON, "server_error"), ("panic occurred", "error unmarshalling request")),
    (Verdict(Meaning.TOO_LARGE, "too_large"), ("larger than max",)),
    (Verdict(_FATAL, "unauthenticated"), ("extract auth", "unauthorized: ")),
    (Verdict(_REFUSED, "usage_limit"), ("usage limit", "count limit of")),
    (Verdict(_RETRY, "out_of_memory"), (NO_MEMORY,)),
    (Verdict(_IN_DOUBT, "server_unavailable"), ("Stream removed", "RST_STREAM", "Socket closed")),
)


def call_verdict(code: grpc.StatusCode, details: str, status_details: bytes = b"") -> Verdict:
    """What a failed call means for the objects of its request.

    ``status_details`` is the trailing metadata ``grpc-status-details-bin``, which tells a usage limit from
    an overloaded server.

    >>> call_verdict(grpc.StatusCode.RESOURCE_EXHAUSTED, "grpc: received message larger than max (9 vs. 5)").reason
    'too_large'
    """
    for verdict, patterns in _CALL_TEXTS:
        if any(pattern in details for pattern in patterns):
            return verdict
    if b"weaviate.usagelimits" in status_details:
        return Verdict(_REFUSED, "usage_limit")
    if code is grpc.StatusCode.UNAVAILABLE:
        if any(text in details for text in _UNREACHED):
            return Verdict(_RETRY, "server_unavailable")
        known = object_verdict(details)
        if known.meaning in (_RETRY, _THROTTLED, _PROVIDER_DOWN):
            return known
    if code is grpc.StatusCode.UNKNOWN:
        known = object_verdict(details)
        # What would refuse an object may be meant for one of many.
        for_one = known is _UNEXPLAINED or known.meaning in (_REFUSED, Meaning.NO_ACCESS, Meaning.BLAMED)
        return known._replace(meaning=_POISON) if for_one else known
    return _CALLS.get(code, Verdict(_POISON, "server_error"))
