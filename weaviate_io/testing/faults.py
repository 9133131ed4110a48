"""What a :class:`~weaviate_io.testing.FakeWeaviate` is told to do with a batch of objects or references.

Each action is plain data. ``FakeWeaviate.script(...)`` takes one for each coming request, and
``FakeWeaviate.behave(...)`` a function that chooses one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import grpc


@dataclass(frozen=True)
class Ok:
    """Do what a healthy server does.

    Args:
      indexed: ``False`` leaves new or changed vectors out of the index all the same, for good and with nobody
        being told.

    >>> Ok()
    Ok(indexed=True)
    """

    indexed: bool = True


@dataclass(frozen=True)
class Fail:
    """Refuse the whole request; nothing is applied.

    Args:
      code: the gRPC status, such as ``grpc.StatusCode.UNAVAILABLE``.
      details: the server's words.
      trailing_metadata: pairs sent with the status; ``("grpc-status-details-bin", bytes)`` holds a
        serialized ``google.rpc.Status``.

    >>> Fail(grpc.StatusCode.UNAVAILABLE, "server is in maintenance mode").code.name
    'UNAVAILABLE'
    """

    code: grpc.StatusCode
    details: str = ""
    trailing_metadata: tuple[tuple[str, str | bytes], ...] = ()


@dataclass(frozen=True)
class StoreThenFail:
    """Apply the request, then answer with an error: the client cannot know the outcome.

    Args:
      code: the gRPC status.
      details: the server's words.
      indexed: ``False`` leaves objects with new or changed vectors out of the vector index, as a server does
        that was interrupted between the two.

    >>> StoreThenFail(grpc.StatusCode.UNAVAILABLE, "Socket closed").indexed
    False
    """

    code: grpc.StatusCode
    details: str = ""
    indexed: bool = False


@dataclass(frozen=True)
class Disconnect:
    """Answer as a client sees a connection that breaks: UNAVAILABLE, "Socket closed".

    Args:
      stored: whether the request was applied before.
      indexed: whether its vectors got into the index, if it was.

    >>> Disconnect().stored
    False
    """

    stored: bool = False
    indexed: bool = False


@dataclass(frozen=True)
class Errors:
    """Answer with errors for some objects of the request.

    Args:
      errors: mapping of the index in the request to the server's words; an index may be out of range.
      stored: ``True`` stores the failed objects nevertheless, but not in the vector index.
      others_stored: ``False`` stores nothing at all, although the others look like successes: what servers up
        to 1.39.0 do when a shard is read-only.

    >>> Errors({0: "store is read-only"}, others_stored=False).errors[0]
    'store is read-only'
    """

    errors: Mapping[int, str]
    stored: bool = False
    others_stored: bool = True


@dataclass(frozen=True)
class ErrorsWhere:
    """Answer with errors for the objects that a function finds; the others are stored.

    Args:
      error_of: takes a ``BatchObject`` or ``BatchReference`` message, gives the server's words or ``None``.

    >>> ErrorsWhere(lambda o: "no such prop" if o.tenant else None).error_of.__name__
    '<lambda>'
    """

    error_of: Callable[[Any], str | None]


@dataclass(frozen=True)
class Delay:
    """Wait, then do another action; nothing is applied when the client has gone in the meantime.

    Args:
      seconds: how long.
      then: the action that follows.
      late: ``True`` applies it although the client has gone: a write that lands behind a newer one.

    >>> Delay(0.5).then
    Ok(indexed=True)
    """

    seconds: float
    then: Action = Ok()
    late: bool = False


@dataclass(frozen=True)
class StoreThenHang:
    """Apply the request, and answer only after some time: for a deadline that passes after the write.

    The objects with new or changed vectors are out of the vector index meanwhile. If the client is still
    there in the end they get in, and the answer is a success; if it has gone they stay out.

    Args:
      seconds: how long; use a large number to hang until the client gives up or the fake is closed.

    >>> StoreThenHang(60).seconds
    60
    """

    seconds: float


@dataclass(frozen=True)
class Malformed:
    """Answer with these bytes, whatever they are.

    Args:
      reply: the body of the answer.
      stored: whether the request is applied before.

    >>> Malformed(b"\\xff").stored
    True
    """

    reply: bytes
    stored: bool = True


Action = Ok | Fail | StoreThenFail | Disconnect | Errors | ErrorsWhere | Delay | StoreThenHang | Malformed
