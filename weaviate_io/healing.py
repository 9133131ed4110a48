"""Puts a stored object into every index again, without anybody missing it meanwhile.

The server looks at an index only where a vector changes. So the object is patched with vectors that differ by one
unit in the last place, and then with its own. Each patch gives it a new place in all indexes, the inverted one
included; its properties, references and time of creation stay.

Other writers may be at work. Before each patch the object is read again, and one whose vectors are neither its own nor
the moved ones is left alone: whoever changed them has had it indexed. The server has no patch with a condition, so
between reading and patching some milliseconds remain. Who writes an object in these will most likely change its
properties too, which a patch leaves alone: by them it is noticed in the end, and told.

A patch without an answer may have been interrupted like the write that did the damage; then the object takes both
steps again.
"""

from __future__ import annotations

import enum
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Optional
from urllib.parse import urlencode

from weaviate_io.client import Client
from weaviate_io.errors import WeaviateError
from weaviate_io.pace import Pace
from weaviate_io.request import pause_after
from weaviate_io.schema import DEFAULT_VECTOR
from weaviate_io.sender import BUDGET
from weaviate_io.vectors import EncodedVector, decode_vector, encode_vector, nudge

_DONE, _GONE = (200, 204), (404,)
_REFUSED = (400, 403, 422)
_PASSING = (429, 500, 502, 503, 504)


class Healed(enum.Enum):
    """What became of an object."""

    DONE = "it took both steps, or somebody else wrote it"
    RACED = (
        "somebody else wrote it at the same moment: if they changed its vectors, it has the former ones; "
        "write it again"
    )
    GONE = "it was deleted meanwhile"
    WITHOUT_VECTOR = "it has no vector, so only to delete and insert it again helps"
    REFUSED = "the server refused to patch it"


class _State(NamedTuple):
    """What an object is made of."""

    vectors: dict[str, EncodedVector]
    properties: Any


class Healer:
    """Repairs objects of a collection, one by one. Any thread may ask.

    Args:
      client: the open connection.
      collection: name of the collection.
      pace: how fast to go.
      budget: seconds of failing after which an object is given up, and the job with it.
      pause: seconds to wait before the next try, of the number of failed ones.
    """

    def __init__(
        self,
        client: Client,
        collection: str,
        pace: Pace,
        budget: float = BUDGET,
        pause: Callable[[int], float] = pause_after,
    ) -> None:
        self._client = client
        self._collection = collection
        self._pace = pace
        self._budget = budget
        self._pause = pause

    def exists(self, tenant: Optional[str], uuid: str) -> bool:
        """Whether there is such an object; no index is asked."""
        return self._get(tenant, uuid) is not None

    def heal(self, tenant: Optional[str], uuid: str) -> tuple[Healed, str]:
        """Have an object indexed anew; gives what became of it, and the words of the server where it refused.

        Raises:
          WeaviateError: the server stays away.
        """
        first = now = self._read(tenant, uuid)
        if first is None:
            return Healed.GONE, ""
        exact = first.vectors
        if not exact:
            return Healed.WITHOUT_VECTOR, ""
        moved = {name: vector._replace(data=nudge(vector.data, vector.multi)) for name, vector in exact.items()}
        tries, give_up_at = 0, time.monotonic() + self._budget
        is_done = False
        while now is not None and not is_done and now.vectors in (exact, moved):
            is_last = now.vectors == moved
            status, text = self._patch(tenant, uuid, exact if is_last else moved)
            if status in _REFUSED:
                return Healed.REFUSED, text
            if status not in (*_DONE, *_GONE):
                seconds = self._pause(tries)
                if time.monotonic() + seconds > give_up_at:
                    raise WeaviateError(
                        f"{uuid} of {self._collection} cannot be repaired: {text}; its vectors may differ in "
                        "the last place, so write it again when the server is well"
                    )
                time.sleep(seconds)
                tries += 1
            is_done = is_last and status in _DONE
            now = self._read(tenant, uuid)
        if now is None:
            return Healed.GONE, ""
        raced = now.vectors == exact and now.properties != first.properties
        return (Healed.RACED if raced else Healed.DONE), ""

    def _read(self, tenant: Optional[str], uuid: str) -> Optional[_State]:
        """The object as it is, None where there is no such object."""
        found = self._get(tenant, uuid, include="vector")
        if found is None:
            return None
        vectors = {**(found.get("vectors") or {}), DEFAULT_VECTOR: found.get("vector")}
        encoded = {name: encode_vector(vector) for name, vector in vectors.items() if vector}
        return _State(encoded, found.get("properties"))

    def _get(self, tenant: Optional[str], uuid: str, **query: str) -> Any:
        if tenant:
            query["tenant"] = tenant
        self._pace.wait()
        answer = self._client.rest(
            "GET", f"/v1/objects/{self._collection}/{uuid}?{urlencode(query)}", accept=(*_DONE, *_GONE)
        )
        return None if answer.status_code in _GONE else answer.json()

    def _patch(self, tenant: Optional[str], uuid: str, vectors: Mapping[str, EncodedVector]) -> tuple[int, str]:
        """The status, 0 where none came, and the words of the server."""
        body: dict[str, Any] = {"class": self._collection, "id": uuid}
        if tenant:
            body["tenant"] = tenant
        named = {name: decode_vector(vector.data, vector.multi).tolist() for name, vector in vectors.items()}
        if DEFAULT_VECTOR in named:
            body["vector"] = named.pop(DEFAULT_VECTOR)
        if named:
            body["vectors"] = named
        accept = (*_DONE, *_GONE, *_REFUSED, *_PASSING)
        self._pace.wait()
        try:
            answer = self._client.rest(
                "PATCH", f"/v1/objects/{self._collection}/{uuid}", json=body, accept=accept
            )
        except WeaviateError as error:
            return 0, str(error)
        return answer.status_code, self._client.redact(answer.text[:500])
