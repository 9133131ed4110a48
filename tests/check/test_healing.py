"""Repairing one object while other writers and faults are at work, on a server of a few lines."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from weaviate_io.errors import WeaviateError
from weaviate_io.healing import Healed, Healer
from weaviate_io.pace import Pace

EXACT = {"vector": [0.25, 0.5], "vectors": {"tokens": [[0.1, 0.2], [0.3, 0.4]]}}
OTHER = {"vector": [7.0, 8.0]}


class Server:
    """One object, and whether it is indexed: as it is after a patch that changed a vector, unless that was cut off.

    ``before`` is called with the number of each patch; what it gives is what becomes of it: a status, or None.
    """

    def __init__(self, **vectors: Any) -> None:
        self.object: dict[str, Any] | None = _float32(vectors)
        self.indexed = False
        self.patches: list[dict[str, Any]] = []
        self.before: Callable[[int], Any] = lambda number: None
        self.redact = str

    def rest(self, method: str, path: str, json: Any = None, accept: Any = ()) -> Any:
        if method == "GET":
            return _answer(404 if self.object is None else 200, self.object)
        fault = self.before(len(self.patches))
        self.patches.append(json)
        if fault is not None and fault != "cut off":
            return _answer(fault)
        if self.object is None:
            return _answer(404)
        new = _float32({name: json[name] for name in ("vector", "vectors") if name in json})
        if any(new[name] != self.object.get(name) for name in new):
            self.object, self.indexed = {**self.object, **new}, fault is None
        if fault:
            raise WeaviateError("connection lost")
        return _answer(204)


def _answer(status: int, body: Any = None) -> Any:
    return SimpleNamespace(status_code=status, text="in the words of the server", json=lambda: body)


def _float32(vectors: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if "vector" in vectors:
        found["vector"] = np.asarray(vectors["vector"], np.float32).tolist()
    if "vectors" in vectors:
        found["vectors"] = {
            name: np.asarray(one, np.float32).tolist() for name, one in vectors["vectors"].items()
        }
    return found


def healed(server: Any, tenant: str | None = None, budget: float = 60.0) -> tuple[Healed, str]:
    return Healer(server, "Article", Pace(None), budget, pause=lambda tries: 0.0).heal(tenant, "an-id")


def test_every_vector_is_moved_and_moved_back() -> None:
    server = Server(**EXACT)
    assert healed(server, "ann") == (Healed.DONE, "")
    first, last = server.patches
    assert (first["tenant"], first["id"], first["class"]) == ("ann", "an-id", "Article")
    assert first["vector"] != EXACT["vector"] and first["vectors"]["tokens"] != EXACT["vectors"]["tokens"]
    assert np.allclose(first["vectors"]["tokens"], EXACT["vectors"]["tokens"], rtol=1e-6)
    assert server.indexed and server.object == _float32(EXACT)
    assert "properties" not in first and "properties" not in last


@pytest.mark.parametrize("cut_off", [{0}, {1}, {0, 1}, {0, 1, 2, 3}], ids=str)
def test_a_patch_that_is_cut_off_is_followed_by_both_steps(cut_off: set[int]) -> None:
    server = Server(**EXACT)
    server.before = lambda number: "cut off" if number in cut_off else None
    assert healed(server) == (Healed.DONE, "")
    assert server.indexed and server.object == _float32(EXACT)


def test_what_somebody_else_writes_meanwhile_is_left_to_them() -> None:
    server = Server(**EXACT)

    def written_by_another(number: int) -> Any:
        server.object = _float32(OTHER)
        return 503

    server.before = written_by_another
    assert healed(server) == (Healed.DONE, "")
    assert server.object == _float32(OTHER) and len(server.patches) == 1


@pytest.mark.parametrize("step", [0, 1])
def test_what_somebody_else_writes_in_the_moment_before_a_patch_is_told(step: int) -> None:
    server = Server(**EXACT)

    def written_by_another(number: int) -> None:
        if number == step:
            server.object = {**_float32({**EXACT, **OTHER}), "properties": {"title": "theirs"}}

    server.before = written_by_another
    assert healed(server) == (Healed.RACED, "")
    assert server.object == {**_float32(EXACT), "properties": {"title": "theirs"}}


def test_an_object_that_is_deleted_meanwhile_stays_deleted() -> None:
    server = Server(**EXACT)

    def deleted(number: int) -> None:
        server.object = None

    server.before = deleted
    assert healed(server)[0] is Healed.GONE
    assert healed(server)[0] is Healed.GONE
    assert server.object is None


def test_without_a_vector_nothing_is_sent() -> None:
    server = Server()
    assert healed(server)[0] is Healed.WITHOUT_VECTOR
    assert not server.patches


def test_a_refusal_is_told_in_the_words_of_the_server() -> None:
    server = Server(**EXACT)
    server.before = lambda number: 403
    assert healed(server) == (Healed.REFUSED, "in the words of the server")
    assert len(server.patches) == 1


def test_a_server_that_stays_away_fails_the_job_once_the_budget_is_spent() -> None:
    server = Server(**EXACT)
    server.before = lambda number: 500
    with pytest.raises(WeaviateError, match="an-id of Article cannot be repaired: in the words of the server"):
        Healer(server, "Article", Pace(None), budget=1.0, pause=lambda tries: float(tries)).heal(None, "an-id")  # type: ignore[arg-type]
    assert server.object == _float32(EXACT)
