"""The gRPC side of the fake server: methods by their path, requests parsed, bytes out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

import grpc
from google.protobuf.message import DecodeError

from weaviate_io import proto

_HEALTH = "/grpc.health.v1.Health/Check"
_SERVING = b"\x08\x01"
_MESSAGES = {
    "BatchObjects": proto.BatchObjectsRequest,
    "BatchReferences": proto.BatchReferencesRequest,
    "Search": proto.SearchRequest,
}


def batch_reply(errors: Mapping[int, str]) -> bytes:
    """A reply with errors by index, as bytes."""
    reply = proto.BatchObjectsReply()
    for index, text in errors.items():
        reply.errors.add(index=index, error=text)
    return reply.SerializeToString()


class Call:
    """A request with its way to be refused."""

    def __init__(self, method: str, data: bytes, context: grpc.ServicerContext) -> None:
        self.method = method
        self.size = len(data)
        self.context = context
        try:
            self.message = _MESSAGES[method].FromString(data)
        except DecodeError as error:
            self.abort(grpc.StatusCode.INTERNAL, f"grpc: error unmarshalling request: {error}")

    @property
    def batch(self) -> Sequence[Any]:
        """What it asks to be written: its objects or references."""
        return self.message.objects if self.method == "BatchObjects" else self.message.references

    def uuids(self) -> list[str]:
        """The ids of its objects, of the sources of its references, or of its filter."""
        if self.method == "BatchObjects":
            return [message.uuid for message in self.message.objects]
        if self.method == "BatchReferences":
            return [message.from_uuid for message in self.message.references]
        return list(self.message.filters.value_text_array.values)

    def abort(self, code: grpc.StatusCode, text: str, trailing: tuple[tuple[str, Any], ...] = ()) -> NoReturn:
        """End it with a status; raises what grpcio wants raised."""
        if trailing:
            self.context.set_trailing_metadata(trailing)
        self.context.abort(code, text)
        raise AssertionError("context.abort does not return")


class Handlers(grpc.GenericRpcHandler):
    """Routes each method of the service to its function, through one that sees every request.

    Args:
      answers: mapping of method name to a function of the call.
      front: takes the call and the function that answers it.
    """

    def __init__(
        self,
        answers: Mapping[str, Callable[[Call], bytes]],
        front: Callable[[Call, Callable[[Call], bytes]], bytes],
    ) -> None:
        self._front = front
        self._handlers = {
            f"{proto.SERVICE}/{name}": self._unary(name, answer) for name, answer in answers.items()
        }
        self._handlers[_HEALTH] = grpc.unary_unary_rpc_method_handler(lambda request, context: _SERVING)

    def _unary(self, method: str, answer: Callable[[Call], bytes]) -> grpc.RpcMethodHandler:
        def handle(data: bytes, context: grpc.ServicerContext) -> bytes:
            return self._front(Call(method, data, context), answer)

        return grpc.unary_unary_rpc_method_handler(handle)

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        """The handler of a method, ``None`` for an unknown one (UNIMPLEMENTED)."""
        return self._handlers.get(details.method)
