"""Creation and activation of tenants: how few calls they take, what they remember, and what they do on trouble."""

from __future__ import annotations

import threading
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest

from tests.write.running import FN_API
from weaviate_io import WeaviateConnection, WeaviateObject, WriteToWeaviate, client
from weaviate_io.errors import WeaviateError
from weaviate_io.outcome import Failure
from weaviate_io.schema import CollectionSchema
from weaviate_io.tenants import Seen, Tenants, seen_by
from weaviate_io.testing import FakeWeaviate

BATCHINGS = pytest.mark.parametrize("batching", ["bundle", "group_into_batches"])
NOTE = {
    "class": "Note",
    "multiTenancyConfig": {"enabled": True},
    "properties": [{"name": "n", "dataType": ["int"]}],
}
SCHEMA = CollectionSchema.from_rest(NOTE)


class Call(NamedTuple):
    method: str
    names: list[str]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[Call]:
    """The calls that create or change tenants, in order."""
    made: list[Call] = []
    rest = client.Client.rest

    def keep(self: Any, method: str, path: str, json: Any = None, **more: Any) -> Any:
        if path.endswith("/tenants"):
            made.append(Call(method, [one["name"] for one in json]))
        return rest(self, method, path, json=json, **more)

    monkeypatch.setattr(client.Client, "rest", keep)
    return made


@pytest.fixture
def opened(fake: FakeWeaviate) -> Iterator[client.Client]:
    connection = WeaviateConnection(url=fake.url, grpc_url=fake.grpc_url)
    yield client.acquire(connection)
    client.release(connection)


@pytest.fixture
def tenants(opened: client.Client, fake: FakeWeaviate) -> Callable[..., Tenants]:
    fake.create_collection(NOTE)

    def make(create: bool = False, activate: bool = False, write: str = "one") -> Tenants:
        return Tenants(opened, write, create, activate, pause=lambda tries: 0.0)

    return make


class Answers:
    """Answers that a server gives to calls about tenants, one after the other; then the last one again."""

    class Response(NamedTuple):
        status_code: int
        text: str

        def json(self) -> Any:
            return {"error": [{"message": self.text}]} if self.status_code != 200 else []

    def __init__(self, *answers: tuple[int, str]) -> None:
        self.left = [self.Response(*answer) for answer in answers]
        self.calls = 0

    def rest(self, method: str, path: str, json: Any = None, accept: tuple[int, ...] = (200,)) -> Any:
        self.calls += 1
        answer = self.left.pop(0) if len(self.left) > 1 else self.left[0]
        if answer.status_code not in accept:
            raise WeaviateError(f"{method} {path}: {answer.text}")
        return answer


def test_a_tenant_costs_one_call_however_many_batches_and_threads_use_it(tenants, calls):
    ready = tenants(create=True, activate=True)
    names = [f"t{i}" for i in range(250)]
    ready.prepare(SCHEMA, [*names, *names, None])
    assert [(call.method, len(call.names)) for call in calls] == [
        ("POST", 250),
        ("PUT", 100),
        ("PUT", 100),
        ("PUT", 50),
    ]
    calls.clear()
    ready.prepare(SCHEMA, reversed(names))
    tenants(create=True).prepare(SCHEMA, names)  # as in another thread: the memory is the connection's
    assert calls == []
    tenants(create=True, write="another").prepare(SCHEMA, names[:1])
    assert calls == [Call("POST", ["t0"])]


@pytest.mark.parametrize(
    "schema", [SCHEMA, CollectionSchema.from_rest({"class": "Plain"})], ids=["off", "none"]
)
def test_nothing_is_asked_where_the_options_are_off_or_there_are_no_tenants(schema, tenants, calls):
    tenants(create=schema is not SCHEMA, activate=schema is not SCHEMA).prepare(schema, ["a", None])
    assert calls == []


def test_what_was_used_last_is_remembered():
    seen = Seen(limit=3)
    seen.add("abc")
    assert seen.missing("a") == []
    seen.add("d")
    assert len(seen) == 3 and seen.missing("abcd") == ["b"]


def test_the_memory_ends_with_the_connection(fake):
    connection = WeaviateConnection(url=fake.url, grpc_url=fake.grpc_url)
    first = client.acquire(connection)
    seen_by(first).add(["a"])
    assert client.acquire(connection) is first and not seen_by(first).missing(["a"])
    client.release(connection)
    client.release(connection)
    assert seen_by(client.acquire(connection)).missing(["a"]) == ["a"]
    client.release(connection)


def test_threads_may_ask_at_once(tenants, fake):
    names = [f"t{i}" for i in range(300)]
    start = threading.Barrier(8)
    errors: list[BaseException] = []

    def work() -> None:
        try:
            start.wait()
            tenants(create=True).prepare(SCHEMA, names)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors and set(fake.tenants["Note"]) == set(names)


@pytest.mark.parametrize("answer", [(503, "busy"), (422, "leader not found")], ids=["503", "no leader"])
def test_a_passing_trouble_is_tried_again(answer):
    server = Answers(answer, answer, (200, ""))
    Tenants(server, "one", True, False, pause=lambda tries: 0.0).prepare(SCHEMA, ["a"])
    assert server.calls == 3


def test_a_tenant_that_cannot_be_activated_is_left_to_the_server_at_once():
    server = Answers((422, "updating schema: TYPE_UPDATE_TENANT: shard not found: a"))
    Tenants(server, "one", False, True, pause=lambda tries: 0.0).prepare(SCHEMA, ["a", "b"])
    assert server.calls == 3  # both, then each


@pytest.mark.parametrize(
    ("answer", "calls", "activate"),
    [
        ((422, "multi-tenancy is not enabled"), 1, False),
        ((503, "busy"), 6, False),
        ((503, "busy"), 6, True),
        ((422, "leader not found"), 6, True),
        ((403, "may not create tenants"), 1, False),
        ((403, "may not update tenants"), 1, True),
    ],
)
def test_what_does_not_pass_fails_with_one_line(answer, calls, activate):
    server = Answers(answer)
    with pytest.raises(WeaviateError) as caught:
        Tenants(server, "one", not activate, activate, pause=lambda tries: 0.0).prepare(SCHEMA, ["a", "b"])
    assert answer[1] in str(caught.value) and "\n" not in str(caught.value) and server.calls == calls


@pytest.mark.parametrize(
    ("reason", "create", "activate", "error"),
    [
        ("tenant_not_found", False, True, "words; create_tenants=True creates it"),
        ("tenant_not_found", True, False, "words"),
        ("tenant_not_active", True, False, "words; activate_tenants=True activates it"),
        ("tenant_not_active", False, True, "words"),
        ("invalid_vector", False, False, "words"),
    ],
)
def test_a_failure_says_which_option_helps(tenants, reason, create, activate, error):
    assert tenants(create, activate).judge("Note", "a", Failure(reason, "words", 1)) == (reason, error, 1)


def test_a_tenant_that_went_to_sleep_again_is_looked_after_at_its_next_batch(tenants, calls, fake):
    ready = tenants(activate=True)
    fake.tenants["Note"] = {"a": "COLD"}
    ready.prepare(SCHEMA, ["a"])
    assert fake.tenants["Note"] == {"a": "HOT"}
    fake.tenants["Note"] = {"a": "COLD"}
    ready.judge("Note", "a", Failure("tenant_not_active", "tenant not active: 'a'", 1))
    ready.prepare(SCHEMA, ["a"])
    assert fake.tenants["Note"] == {"a": "HOT"} and len(calls) == 2


@BATCHINGS
def test_inactive_and_missing_tenants_fail_with_what_would_help(write, fake, calls, batching):
    fake.create_collection(NOTE)
    fake.tenants["Note"] = {"awake": "HOT", "asleep": "COLD"}
    rows = [{"n": i, "who": who} for i, who in enumerate(["awake", "asleep", "nobody"])]
    options = {"url": fake.url, "grpc_url": fake.grpc_url, "batching": batching, "tenant_field": "who"}
    done = write(rows, WriteToWeaviate("Note", **options))
    assert [one.tenant for one in done.written] == ["awake"]
    assert {one.tenant: (one.reason, one.error) for one in done.failed} == {
        "asleep": ("tenant_not_active", "tenant not active: 'asleep'; activate_tenants=True activates it"),
        "nobody": ("tenant_not_found", 'tenant not found: "nobody"; create_tenants=True creates it'),
    }
    assert calls == []
    again = write(done.failed, WriteToWeaviate("Note", create_tenants=True, activate_tenants=True, **options))
    assert len(again.written) == 2 and not again.failed
    assert fake.tenants["Note"] == {"awake": "HOT", "asleep": "HOT", "nobody": "HOT"}


def _who(row: dict[str, int]) -> str:
    return f"t{row['n'] % 10_000}"


@BATCHINGS
def test_ten_thousand_tenants_take_few_calls(write, fake, calls, batching):
    """Every tenant comes twice, far apart, and is created once."""
    fake.create_collection(NOTE)
    at = {"url": fake.url, "grpc_url": fake.grpc_url, "batching": batching}
    rows = [{"n": i} for i in range(20_000)]
    transform = WriteToWeaviate("Note", tenant_field=_who, create_tenants=True, **at)
    done = write(rows, transform, FN_API)
    assert len(done.written) == 20_000 and not done.failed
    assert len(fake.tenants["Note"]) == 10_000
    asked = [name for call in calls for name in call.names]
    assert len(asked) == len(set(asked)) == 10_000
    assert len(calls) <= 40, len(calls)
    assert len(fake.requests) <= 200


def test_memory_is_bounded_whatever_the_number_of_tenants():
    seen = Seen()
    tracemalloc.start()
    try:
        for start in range(0, 250_000, 1000):
            seen.add(("4f1c" * 8, "Note", f"tenant-{i}") for i in range(start, start + 1000))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(seen) == 100_000
    assert peak < 60e6, peak


def test_an_object_without_tenant_is_not_one(write, fake, calls):
    fake.create_collection({**NOTE, "class": "Plain", "multiTenancyConfig": {"enabled": False}})
    rows = [{"n": 1}, WeaviateObject({"n": 2}, tenant="a")]
    done = write(rows, WriteToWeaviate("Plain", url=fake.url, grpc_url=fake.grpc_url, create_tenants=True))
    assert len(done.written) == 1 and [one.reason for one in done.failed] == ["invalid_tenant"]
    assert calls == []
