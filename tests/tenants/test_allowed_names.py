"""Tenants that are not allowed cost the row, with a line that helps; options that cannot be meant are refused."""

from __future__ import annotations

import pickle
import re
from typing import Any

import pytest

from weaviate_io import WeaviateObject, WriteToWeaviate
from weaviate_io.errors import RowError
from weaviate_io.tenants import AllowedTenants

URL = "http://weaviate.invalid:8080"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"allowed_tenants": "["}, "allowed_tenants='[' is no regular expression: "),
        ({"allowed_tenants": re.compile(b"a")}, "is a regular expression for bytes"),
        ({"allowed_tenants": 7}, "allowed_tenants=7 is neither names nor a regular expression"),
        ({"allowed_tenants": []}, "allowed_tenants= is empty"),
        ({"allowed_tenants": ["a b"]}, "allowed_tenants= has 'a b', which is not a tenant name"),
        ({"allowed_tenants": [3]}, "allowed_tenants= has 3, which is not a tenant name"),
        ({"allowed_tenants": ["ann"], "tenant": "bob"}, "tenant='bob' is not in allowed_tenants="),
    ],
)
def test_options_that_cannot_be_meant_are_refused_at_construction(options, message):
    with pytest.raises(ValueError) as caught:
        WriteToWeaviate("Note", url=URL, **options)
    assert message in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("given", "allowed", "refused"),
    [
        (["ann", "bob"], ["ann", "bob"], ["Ann", "an", "carl"]),
        ({"ann": 1}, ["ann"], ["bob"]),
        (frozenset({"ann"}), ["ann"], ["bob"]),
        ("customer-[0-9]+", ["customer-7"], ["customer-7b", "xcustomer-7", "Customer-7"]),
        (re.compile("customer", re.IGNORECASE), ["Customer"], ["customers"]),
        ("ann", ["ann"], ["anna"]),
    ],
    ids=str,
)
def test_names_and_expressions(given: Any, allowed: list[str], refused: list[str]):
    names = pickle.loads(pickle.dumps(AllowedTenants.of(given)))
    for tenant in allowed:
        names.check(tenant, "Note")
    for tenant in refused:
        with pytest.raises(RowError) as caught:
            names.check(tenant, "Note")
        assert caught.value.reason == "tenant_not_allowed"
        assert repr(tenant) in str(caught.value) and "\n" not in str(caught.value)
    names.check(None, "Note")


@pytest.mark.parametrize(
    ("typo", "close"),
    [
        ("tenantOne", "(close: 'TenantOne')"),
        ("TENANTONE", "(close: 'TenantOne')"),
        ("TenntOne", "(close: 'TenantOne')"),
        ("xyz", "(close: none)"),
    ],
)
def test_a_typo_is_answered_with_the_names_that_are_close(typo: str, close: str):
    names = AllowedTenants.of(["TenantOne", "globex", *(f"n{i}" for i in range(100))])
    with pytest.raises(RowError) as caught:
        names.check(typo, "Note")
    assert str(caught.value).endswith(close)


@pytest.mark.parametrize("batching", ["bundle", "group_into_batches"])
def test_typos_do_not_become_tenants(write, fake, batching):
    tenants = {"enabled": True, "autoTenantCreation": True}
    fake.create_collection(
        {
            "class": "Note",
            "multiTenancyConfig": tenants,
            "properties": [{"name": "n", "dataType": ["int"]}],
        }
    )
    rows = [{"n": i, "who": who} for i, who in enumerate(["ann", "bob", "Ann", "anm", "ann"])]
    rows.append(WeaviateObject({"n": 9}, tenant="bobb"))
    options = {"url": fake.url, "grpc_url": fake.grpc_url, "batching": batching, "tenant_field": "who"}
    done = write(rows, WriteToWeaviate("Note", allowed_tenants=["ann", "bob"], **options))
    assert sorted(one.tenant for one in done.written) == ["ann", "ann", "bob"]
    assert sorted((one.tenant, one.reason, one.object.properties["n"]) for one in done.failed) == [
        ("Ann", "tenant_not_allowed", 2),
        ("anm", "tenant_not_allowed", 3),
        ("bobb", "tenant_not_allowed", 9),
    ]
    assert set(fake.tenants["Note"]) == {"ann", "bob"}
    assert done.counters["failed_tenant_not_allowed"] == 3

    again = write(done.failed, WriteToWeaviate("Note", allowed_tenants="[aA]n.|bobb", **options))
    assert len(again.written) == 3 and not again.failed


def test_a_dry_run_finds_names_that_are_not_allowed(write, fake):
    fake.create_collection({"class": "Note", "multiTenancyConfig": {"enabled": True}})
    rows = [
        WeaviateObject({}, uuid=str(i) * 8 + "-0000-4000-8000-000000000000", tenant=f"t{i}") for i in range(3)
    ]
    write_options = {
        "dry_run": True,
        "create_tenants": True,
        "activate_tenants": True,
        "allowed_tenants": "t[01]",
    }
    done = write(rows, WriteToWeaviate("Note", url=fake.url, grpc_url=fake.grpc_url, **write_options))
    assert sorted(one.tenant for one in done.written) == ["t0", "t1"]
    assert [one.reason for one in done.failed] == ["tenant_not_allowed"]
    assert not fake.tenants.get("Note")
