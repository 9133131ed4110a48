"""Tenants as a real server has them: created by it, created by us, asleep, and in numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import requests

from tests.write.running import FN_API, TWO_PROCESSES
from weaviate_io import WriteToWeaviate
from weaviate_io.testing import WeaviateServer

BATCHINGS = pytest.mark.parametrize("batching", ["bundle", "group_into_batches"])


@pytest.fixture
def note(server: WeaviateServer, new_name: Callable[[], str]) -> Callable[..., str]:
    """Creates a collection with tenants and gives its name."""

    def create(*tenants: dict[str, str], **config: bool) -> str:
        name = new_name()
        description = {
            "class": name,
            "vectorizer": "none",
            "multiTenancyConfig": {"enabled": True, **config},
            "properties": [{"name": "n", "dataType": ["int"]}],
        }
        assert requests.post(f"{server.url}/v1/schema", json=description, timeout=60).ok
        if tenants:
            url = f"{server.url}/v1/schema/{name}/tenants"
            assert requests.post(url, json=list(tenants), timeout=60).ok
        return name

    return create


def status(server: WeaviateServer, name: str) -> dict[str, str]:
    found = requests.get(f"{server.url}/v1/schema/{name}/tenants", timeout=60).json()
    return {one["name"]: one["activityStatus"] for one in found}


def options(server: WeaviateServer, batching: str, **more: Any) -> dict[str, Any]:
    at = {"url": server.url, "grpc_url": server.grpc_url, "batching": batching}
    return {**at, "tenant_field": "who", "vector_field": "v", **more}


def rows(*names: str) -> list[dict[str, Any]]:
    return [{"n": i, "who": who, "v": [float(i), 1.0]} for i, who in enumerate(names)]


@pytest.mark.parametrize("runner", [FN_API, TWO_PROCESSES], ids=lambda runner: runner.name)
@BATCHINGS
def test_missing_tenants_are_created_by_racing_workers(write, server, witness, note, runner, batching):
    name = note({"name": "t0"})
    names = [f"t{i % 300}" for i in range(1200)]
    done = write(
        rows(*names), WriteToWeaviate(name, **options(server, batching, create_tenants=True)), runner, bundles=4
    )
    assert len(done.written) == 1200 and not done.failed
    assert status(server, name) == {f"t{i}": "HOT" for i in range(300)}
    for tenant in ("t0", "t7", "t299"):
        stored = witness.collections.get(name).with_tenant(tenant).iterator()
        numbers = sorted(one.properties["n"] for one in stored)
        assert numbers == [i for i, who in enumerate(names) if who == tenant]


@BATCHINGS
def test_the_server_may_create_tenants_by_itself(write, server, note, batching):
    name = note(autoTenantCreation=True)
    given = options(server, batching, allowed_tenants="t[0-9]")
    done = write(rows("t1", "t2", "T2", "t1"), WriteToWeaviate(name, **given))
    assert len(done.written) == 3 and [one.tenant for one in done.failed] == ["T2"]
    assert status(server, name) == {"t1": "HOT", "t2": "HOT"}


@BATCHINGS
def test_sleeping_tenants_are_woken_when_asked(write, server, witness, note, batching):
    asleep = [{"name": f"s{i}", "activityStatus": "INACTIVE"} for i in range(150)]
    name = note({"name": "awake"}, *asleep)
    given = rows("awake", "nobody", *(f"s{i}" for i in range(149)))

    first = write(given, WriteToWeaviate(name, **options(server, batching)))
    assert [one.tenant for one in first.written] == ["awake"]
    reasons = {one.tenant: one.reason for one in first.failed}
    assert reasons.pop("nobody") == "tenant_not_found"
    assert set(reasons.values()) == {"tenant_not_active"} and len(reasons) == 149

    again = write(first.failed, WriteToWeaviate(name, **options(server, batching, activate_tenants=True)))
    assert [(one.tenant, one.reason) for one in again.failed] == [("nobody", "tenant_not_found")]
    assert len(again.written) == 149
    assert status(server, name) == {
        "awake": "HOT",
        "s149": "COLD",
        **{f"s{i}": "HOT" for i in range(149)},
    }
    stored = list(witness.collections.get(name).with_tenant("s3").iterator())
    assert [one.properties["n"] for one in stored] == [5]


def test_created_and_woken_in_one_write(write, server, note):
    name = note({"name": "s", "activityStatus": "INACTIVE"})
    both = {"create_tenants": True, "activate_tenants": True}
    done = write(rows("s", "new", "s"), WriteToWeaviate(name, **options(server, "bundle", **both)))
    assert len(done.written) == 3 and not done.failed
    assert status(server, name) == {"s": "HOT", "new": "HOT"}


def test_creation_leaves_a_sleeping_tenant_asleep(write, server, note):
    name = note({"name": "s", "activityStatus": "INACTIVE"})
    done = write(rows("s"), WriteToWeaviate(name, **options(server, "bundle", create_tenants=True)))
    assert [one.reason for one in done.failed] == ["tenant_not_active"]
    assert done.failed[0].error == "tenant not active: 's'; activate_tenants=True activates it"
