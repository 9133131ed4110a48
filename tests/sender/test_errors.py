"""What each text and status code of the server means."""

from __future__ import annotations

import pickle

import grpc
import pytest

from weaviate_io.errors import Meaning, RowError, call_verdict, object_verdict

Code = grpc.StatusCode
M = Meaning

PLAIN_TYPES = ("text", "uuid", "integer", "number", "boolean", "date", "string")
OTHER_TYPES = ("geoCoordinates", "phoneNumber", "blob", "blobHash", "object", "object[]")
TEXTS: dict[tuple[Meaning, str], tuple[str, ...]] = {
    (M.TAINTED, "read_only"): (
        "put batch: store is read-only due to: resource pressure",
        "store is read-only",
        'read only "shard is read-only"',
    ),
    (M.UNINDEXED, "out_of_memory"): (
        "insert to vector index: insert doc id 9834 to vector index: add batch of 1 vectors: not enough memory",
        "insert to vector index: insert doc id 7 to vector index for target vector small: "
        "add batch of 1 vectors: not enough memory",
    ),
    (M.TAINTED, "out_of_memory"): ("cannot process batch: not enough memory", "not enough memory mappings"),
    (M.TAINTED, "no_space"): ("write /data/x: no space left on device", "flushing WAL: input/output error"),
    (M.TAINTED, "shutting_down"): (
        "shard 'x': already shut or dropped",
        "shard shutdown in progress",
        "node is shutting down",
    ),
    (M.TAINTED, "server_error"): (
        "failed to push record to queue: disk",
        "queue not found for target vector small",
        "could not find index for class Article",
    ),
    (M.POISON, "invalid_vector"): ("inconsistent vector lengths: 3 != 4",),
    (M.POISON, "server_error"): (
        "an unexpected error occurred: runtime error: index out of range",
        "panic occurred: unexpected EOF",
    ),
    (M.REFUSED, "usage_limit"): ("usage limit exceeded", "object count limit of 10 reached"),
    (M.REFUSED, "invalid_uuid"): ("invalid UUID length: 0", "invalid UUID format"),
    (M.REFUSED, "unknown_property"): (
        "no such prop with name 'GEOFENCE' found in class 'Article' in the schema. Check your schema files for which "
        "properties in this class are available",
        "invalid object property 'a' on class 'C': unknown property 'b'",
        "reference property is not an array",
    ),
    (M.REFUSED, "invalid_property"): (
        *(
            f"invalid {kind} property 'p' on class 'C': rate limit, not a string"
            for kind in (*PLAIN_TYPES, *OTHER_TYPES)
        ),
        *(
            f"invalid {kind} array property 'p' on class 'C': invalid integer array value: x"
            for kind in PLAIN_TYPES
        ),
        "auto-schema: property 'p' on class 'C': element [1]: mismatched data type - 'text' expected, got 'number'",
        "invalid text array value: 3",
        "could not recognize object's properties: 3",
        "mismatched data type - list of 'text' expected",
        "unrecognized data type of value '3'",
        "json: unsupported value: NaN",
        "the given object has an empty class",
    ),
    (M.REFUSED, "unknown_vector"): (
        "collection C does not have configuration for vector small",
        "collection C configuration does not have single vector index",
        "collection C is configured without multiple named vectors, but received named vectors: [a]",
        "vector index for a was dropped; writes targeting it are rejected",
    ),
    (M.REFUSED, "invalid_vector"): (
        "vector has to be a float32 array",
        "dimension cannot be 0",
        "Validate vector index for 1: new node has a vector with length 3. Existing nodes have vectors with length 4: "
        "vector dimensions do not match the index dimensions",
        'cannot achieve consistency level "ONE": conflict "Validate vector index a for target vector 1: new node has a '
        'multi vector with length 3": broadcast: shard not found',
        "multi vector array consists of vectors with varying dimensions",
        "insert to vector index: insert called with a vector of the wrong size: 3. Saved length: 4",
        "cannot insert vector of dimension 0",
        "insert to vector index: 3 vs 4: vector lengths don't match",
        "pq segments must be a divisor of the vector dimensions",
        "could not marshal 'vector' max length exceeded (70000/65535)",
    ),
    (M.REFUSED, "invalid_tenant"): (
        "class C has multi-tenancy enabled, but request was without tenant",
        "class C has multi-tenancy disabled, but request was with tenant",
        "'a b' is not a valid tenant name. should only contain",
        "empty tenant name",
    ),
    (M.REFUSED, "tenant_not_found"): ('tenant not found: "t"',),
    (M.REFUSED, "tenant_not_active"): ("tenant not active: 't'",),
    (M.REFUSED, "collection_not_found"): (
        "class 'C' not present in schema",
        "'1' is not a valid class name",
        'alias "X" points to collection "Y" which does not exist',
    ),
    (M.REFUSED, "permission_denied"): (
        "authorization, forbidden action: user 'u' has insufficient permissions to create_data [[Domain: data]]",
    ),
    (M.REFUSED, "invalid_reference"): (
        "target is a multi-target reference, need single target",
        "target is a single-target reference, need multi-target",
        "invalid cref: reference must be an array, but got a map",
    ),
    (M.NO_ACCESS, "vectorizer_refused"): (
        "API Key: no api key found neither in request header: X-Openai-Api-Key",
        "connection to: OpenAI API failed with status: 401 error: Incorrect API key provided",
        "connection to: OpenAI API failed with status: 404 error: the model does not exist",
        "no access key found neither in request header: X-Aws-Access-Key nor in environment variable",
        "failed to parse vectorization response (status 403): invalid character",
        "Weaviate embed API error: 401 token is not valid",
        "operation error Bedrock Runtime: InvokeModel, https response error StatusCode: 403, RequestID: 1",
        "failed with error code: PERMISSION_DENIED error: no access to the endpoint",
        "baseURL must use HTTPS",
        'send POST request: Post "http://10.0.0.1": refusing to dial internal address',
    ),
    (M.NO_ACCESS, "usage_limit"): (
        "connection to: OpenAI API failed with status: 429 error: You exceeded your current quota, please check your "
        "plan and billing details. For more information on this error, read the docs: "
        "https://platform.openai.com/docs/guides/error-codes/api-errors.",
    ),
    (M.BLAMED, "vectorizer_refused"): (
        "connection to: OpenAI API failed with status: 400 error: too many tokens",
        "failed to parse vectorization response (status 413): invalid character",
        "connection to Cohere failed with status: 422 error: no text",
        "connection to: OpenAI API failed with status: 429 error: Request too large for text-embedding-3-small on "
        "tokens per min (TPM): Limit 40000, Requested 50000.",
        "connection to Ollama API failed with error: the input length exceeds the context length",
        "connection to: Databricks Foundation Model API failed with error code: BAD_REQUEST message: odd",
    ),
    (M.UNCLEAR, "not_indexed"): (
        "insert to vector index: context canceled",
        "insert to multi vector index: disk",
        "update prop-specific indices: geo",
    ),
    (M.UNCLEAR, "invalid_reference"): ("invalid cref: 'cref' C:author: no object with id 1 found",),
    (M.THROTTLED, "rate_limited"): (
        "request rate limit exceeded and will not refresh in time",
        "connection to: OpenAI API failed with status: 429 error: Rate limit reached for text-embedding-3-small",
        "on tokens per min (TPM): Limit 1000",
        "429 Too many requests",
        "failed to parse vectorization response (status 429): invalid character",
        "https response error StatusCode: 429, RequestID: 1, ThrottlingException: slow down",
        "Weaviate embed API error: 429 slow down",
        "connection to: Databricks Foundation Model API failed with error code: REQUEST_LIMIT_EXCEEDED message: odd",
        "connection to Google failed with status: 429 error: You exceeded your current quota, please check your plan "
        "and billing details. For more information on this error, head to: "
        "https://ai.google.dev/gemini-api/docs/rate-limits. Please retry in 34.07s.",
    ),
    (M.PROVIDER_DOWN, "vectorizer_failed"): (
        "connection to: OpenAI API failed with status: 408 error: timeout",
        "failed to parse vectorization response (status 502): invalid character",
        "https response error StatusCode: 503, RequestID: 1",
        "no data returned from OpenAI API",
        "empty embeddings response",
        *(f"connection to Cohere failed with status: {status} error" for status in (500, 502, 503, 504, 529)),
        'connection to: OpenAI send POST request: Post "https://x": EOF',
        "vectorization aborted after an internal error",
        "vectorizer returned fewer vectors than requested",
    ),
    (M.RETRY, "collection_changing"): (
        "auto-schema: create collection: class name C already exists",
        "wait for schema version 4",
    ),
    (M.RETRY, "cluster_unavailable"): (
        "error waiting for local schema to catch up to version 4: timeout",
        "deadline exceeded for waiting for update",
        "leader not found",
        "node is not the leader",
        "leadership lost while committing log",
        "server is in maintenance mode",
        'conflict "local index not ready"',
        "shard not found",
        "class not found",
        "Node not ready",
        "resolve node name node2",
        "class C has no physical shard x",
    ),
    (M.IN_DOUBT, "replicas_unavailable"): (
        'cannot achieve consistency level "QUORUM": cannot reach enough replicas: required 2 replicas, got 1: '
        "shard not found",
        "broadcast: cannot reach enough replicas",
        "broadcast: class not found",
    ),
    (M.IN_DOUBT, "server_unavailable"): (
        "connect: no route to host",
        "dial tcp 127.0.0.1:7001: connection refused",
        "write: broken pipe",
        'Post "http://node2/replicas": EOF',
        "unexpected EOF",
        "read tcp: i/o timeout",
        "status code: 404, error: request not found",
        "rpc error: the client connection is closing",
        "context deadline exceeded or cancelled: x",
        "context canceled",
        "begin batch",
        "end store object 3 of batch",
        "invalid cref: connection refused",
    ),
    (M.UNCLEAR, "server_error"): (
        "something nobody has seen",
        "",
        "GEOF lookup table",
        "the broadcaster is late",
        "property 'x' is odd",
        "http status: 4001",
    ),
}
EACH_TEXT = [(text, *expected) for expected, texts in TEXTS.items() for text in texts]


@pytest.mark.parametrize(("text", "meaning", "reason"), EACH_TEXT)
def test_texts_of_objects(text: str, meaning: Meaning, reason: str) -> None:
    assert tuple(object_verdict(text)) == (meaning, reason)


QUOTED = [
    case
    for case in EACH_TEXT
    if case[1] in (M.TAINTED, M.POISON, M.REFUSED, M.NO_ACCESS, M.BLAMED) and case[2] != "invalid_reference"
]


@pytest.mark.parametrize(("text", "meaning", "reason"), QUOTED)
def test_replicas_quote_the_texts_of_others(text: str, meaning: Meaning, reason: str) -> None:
    quoted = (
        f'cannot achieve consistency level "QUORUM": broadcast: conflict "{text}": context deadline exceeded'
    )
    assert tuple(object_verdict(quoted)) == (meaning, reason)


CALLS = [
    (Code.UNAVAILABLE, "Socket closed", M.IN_DOUBT, "server_unavailable"),
    (Code.UNAVAILABLE, "recvmsg:Connection reset by peer", M.IN_DOUBT, "server_unavailable"),
    (Code.UNAVAILABLE, "failed to connect to all addresses; last error: ...", M.RETRY, "server_unavailable"),
    (Code.UNAVAILABLE, "DNS resolution failed for host", M.RETRY, "server_unavailable"),
    (Code.UNAVAILABLE, "read-only mode is enabled temporally", M.RETRY, "cluster_unavailable"),
    (Code.UNAVAILABLE, "scale-out mode is enabled", M.RETRY, "cluster_unavailable"),
    (Code.UNAVAILABLE, "server is in maintenance mode", M.RETRY, "cluster_unavailable"),
    (Code.UNAVAILABLE, "node is shutting down", M.IN_DOUBT, "server_unavailable"),
    (Code.DEADLINE_EXCEEDED, "Deadline Exceeded", M.IN_DOUBT, "deadline_exceeded"),
    (Code.CANCELLED, "Received RST_STREAM with error code 8", M.IN_DOUBT, "server_unavailable"),
    (Code.ABORTED, "", M.IN_DOUBT, "server_unavailable"),
    (Code.INTERNAL, "Received RST_STREAM with error code 0", M.IN_DOUBT, "server_unavailable"),
    (Code.INTERNAL, "odd", M.IN_DOUBT, "server_error"),
    (Code.INTERNAL, "grpc: error unmarshalling request: invalid UTF-8", M.POISON, "server_error"),
    (Code.UNKNOWN, "Stream removed", M.IN_DOUBT, "server_unavailable"),
    (Code.RESOURCE_EXHAUSTED, "grpc: received message larger than max (9 vs. 5)", M.TOO_LARGE, "too_large"),
    (Code.RESOURCE_EXHAUSTED, "CLIENT: Sent message larger than max (9 vs. 5)", M.TOO_LARGE, "too_large"),
    (Code.RESOURCE_EXHAUSTED, "quota", M.RETRY, "overloaded"),
    (Code.RESOURCE_EXHAUSTED, "usage limit: collection count limit of 3", M.REFUSED, "usage_limit"),
    (Code.UNAUTHENTICATED, "", M.FATAL, "unauthenticated"),
    (Code.UNKNOWN, "extract auth: unauthorized: invalid api key", M.FATAL, "unauthenticated"),
    (Code.UNKNOWN, "extract auth: no authentication scheme is configured", M.FATAL, "unauthenticated"),
    (Code.UNIMPLEMENTED, "", M.FATAL, "unimplemented"),
    (Code.PERMISSION_DENIED, "", M.REFUSED, "permission_denied"),
    (Code.FAILED_PRECONDITION, "", M.REFUSED, "restricted"),
    (Code.UNKNOWN, 'batch objects: &fmt.wrapError{msg:"not enough memory"', M.RETRY, "out_of_memory"),
    (
        Code.UNKNOWN,
        "auto create tenants: tenant name at index 1: empty tenant name",
        M.POISON,
        "invalid_tenant",
    ),
    (Code.UNKNOWN, "'unauthorized: x' is not a valid tenant name", M.POISON, "invalid_tenant"),
    (Code.UNKNOWN, "auto create tenants: leader not found", M.RETRY, "cluster_unavailable"),
    (Code.UNKNOWN, "local schema to catch up to version 4: x", M.RETRY, "cluster_unavailable"),
    (Code.UNKNOWN, "panic occurred: EOF", M.POISON, "server_error"),
    (Code.UNKNOWN, "store is read-only", M.TAINTED, "read_only"),
    (Code.UNKNOWN, "class 'C' not present in schema", M.POISON, "collection_not_found"),
    (Code.UNKNOWN, "429 Too many requests", M.THROTTLED, "rate_limited"),
    (Code.UNAVAILABLE, "429 Too many requests", M.THROTTLED, "rate_limited"),
    (Code.UNKNOWN, "connection to Cohere failed with status: 401", M.POISON, "vectorizer_refused"),
    (Code.UNKNOWN, "connection to Cohere failed with status: 400", M.POISON, "vectorizer_refused"),
    (Code.UNKNOWN, "", M.POISON, "server_error"),
    *(
        (code, "odd", M.POISON, "server_error")
        for code in (
            Code.INVALID_ARGUMENT,
            Code.NOT_FOUND,
            Code.ALREADY_EXISTS,
            Code.OUT_OF_RANGE,
            Code.DATA_LOSS,
        )
    ),
]


@pytest.mark.parametrize(("code", "details", "meaning", "reason"), CALLS)
def test_failed_calls(code: Code, details: str, meaning: Meaning, reason: str) -> None:
    assert tuple(call_verdict(code, details)) == (meaning, reason)


def test_every_status_code_has_a_meaning() -> None:
    assert all(call_verdict(code, "odd") for code in Code if code is not Code.OK)


def test_a_usage_limit_is_told_from_an_overloaded_server_by_its_details() -> None:
    details = b"\x08\x08\x12\x04full\x1a\x30type.googleapis.com/google.rpc.ErrorInfo weaviate.usagelimits"
    assert tuple(call_verdict(Code.RESOURCE_EXHAUSTED, "full", details)) == (M.REFUSED, "usage_limit")


def test_a_row_error_survives_pickling() -> None:
    error = pickle.loads(pickle.dumps(RowError("invalid_uuid", "what, where, what to do")))
    assert (error.reason, str(error)) == ("invalid_uuid", "what, where, what to do")
