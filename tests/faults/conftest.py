"""What the tests of faults share: a sender that does not wait, and patience that ends soon."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.faults.trial import Trial
from weaviate_io import client
from weaviate_io.flow import Flow
from weaviate_io.sender import Sender
from weaviate_io.testing import FakeWeaviate, WeaviateServer


@pytest.fixture
def sending(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Change what every sender of this process does unless told otherwise: ``sending(budget=1.0)``."""

    def change(**options: Any) -> None:
        for name, value in options.items():
            assert name in Sender.__init__.__kwdefaults__
            monkeypatch.setitem(Sender.__init__.__kwdefaults__, name, value)

    return change


@pytest.fixture
def no_pause(sending: Callable[..., None]) -> None:
    sending(pause=lambda tries: 0.0)


class Hurried:
    """A method of a channel whose calls have so many seconds, whatever is asked for."""

    def __init__(self, method: Any, seconds: float) -> None:
        self._method = method
        self._seconds = seconds

    def __call__(self, payload: bytes, timeout: float, metadata: Any) -> Any:
        return self._method(payload, timeout=self._seconds, metadata=metadata)

    def future(self, payload: bytes, timeout: float, metadata: Any) -> Any:
        return self._method.future(payload, timeout=self._seconds, metadata=metadata)


@pytest.fixture
def shortest_deadline(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Let requests have deadlines that no user can ask for, so that a test need not wait for them."""

    def change(seconds: float) -> None:
        original = client.Client.__init__

        def init(self: client.Client, connection: Any) -> None:
            original(self, connection)
            self.flow = Flow(seconds)
            self._search = Hurried(self._search, seconds)

        monkeypatch.setattr(client.Client, "__init__", init)

    return change


@pytest.fixture
def trial(write: Any, fake: FakeWeaviate) -> Callable[..., Trial]:
    """Makes a write through the whole pipeline into the fake: ``trial("named", batching="bundle")``."""
    return lambda *args, **options: Trial(write, fake, *args, **options)


@pytest.fixture
def before_batch(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[int], None]], None]:
    """Have a function called right before each batch leaves, with its number from 0."""

    def watch(act: Callable[[int], None]) -> None:
        numbers = itertools.count()
        original = client.Client.batch_objects

        def batch_objects(self: client.Client, request: bytes, timeout: float) -> Any:
            act(next(numbers))
            return original(self, request, timeout)

        monkeypatch.setattr(client.Client, "batch_objects", batch_objects)

    return watch


@pytest.fixture(scope="module")
def own_server() -> Iterator[WeaviateServer]:
    """A server of the module alone, to be killed and frozen."""
    # An environment of its own keeps it apart from a server that runs already.
    with WeaviateServer(version="1.39.3", environment={"AUTOSCHEMA_ENABLED": "false"}) as running:
        yield running
