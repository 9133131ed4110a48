"""The options of the jobs and the keywords of ``WriteToWeaviate`` go together."""

from __future__ import annotations

import argparse
import inspect
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests
import weaviate

from pipelines import arguments
from pipelines.terminal import in_options
from tests.jobs.conftest import Ran, Run, dead_letters, write_json
from weaviate_io import OidcClientCredentials, WriteToWeaviate
from weaviate_io.testing import WeaviateServer

KEYWORDS = set(inspect.signature(WriteToWeaviate).parameters)
WITHOUT_OPTION = {
    "collection": "a positional argument: each job has its own --collection, which the replay may do without",
    "connection": "its fields are options",
    "max_buffering_duration_secs": "for unbounded input; files are bounded",
    "on_failure": "failures go to --dead-letter, and --max-errors 0 stops at the first",
}
WORDS = {
    "url": ("http://x:1",),
    "grpc_url": ("x:2",),
    "api_key": ("env:KEY",),
    "headers": ("X-A=b",),
    "tls_ca": ("ca.pem",),
    "model_providers": ("openai=env:KEY",),
    "tls_cert": ("client.pem",),
    "tls_key": ("client.key",),
    "tls_server_name": ("db.example",),
    "properties": ("title=Title",),
    "id_field": ("doi",),
    "vector_field": ("v",),
    "references_field": ("writesFor=papers",),
    "dimensions": ("3",),
    "tenant_field": ("who",),
    "tenant": ("ann",),
    "allowed_tenants": ("ann", "bob"),
    "create_tenants": (),
    "activate_tenants": (),
    "timezone": ("UTC",),
    "unknown_properties": ("drop",),
    "schema": ("s.json",),
    "auto_schema": (),
    "create_disposition": ("CREATE_NEVER",),
    "write_disposition": ("WRITE_EMPTY",),
    "dry_run": (),
    "max_errors": ("7",),
    "max_error_rate": ("0.5",),
    "batch_size": ("9",),
    "max_requests_in_flight": ("4",),
    "batching": ("bundle",),
    "consistency_level": ("ALL",),
    "wait_for_indexing": ("60",),
    "verify": ("all",),
}


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    """The keywords that a write is made with for the words of a command line."""

    def given(*words: str) -> dict[str, Any]:
        keywords: dict[str, Any] = {}
        monkeypatch.setattr(arguments, "WriteToWeaviate", lambda collection, **more: keywords.update(more))
        parser = argparse.ArgumentParser(allow_abbrev=False)
        arguments.add_write_options(parser)
        arguments.write_transform(parser.parse_args(words), "Article")
        return keywords

    return given


def test_each_keyword_is_an_option_or_left_out_for_a_reason() -> None:
    assert WORDS.keys() | WITHOUT_OPTION.keys() == KEYWORDS
    assert not WORDS.keys() & WITHOUT_OPTION.keys()


@pytest.mark.parametrize("keyword", WORDS)
def test_the_option_of_a_keyword_sets_it_alone(given: Callable[..., dict[str, Any]], keyword: str) -> None:
    option = in_options(f"{keyword}=")
    before, after = given(), given(option, *WORDS[keyword])
    assert {name for name in after if after[name] != before[name]} == {keyword}


@pytest.mark.parametrize("keyword", WITHOUT_OPTION)
def test_errors_do_not_speak_of_options_that_are_not_there(keyword: str) -> None:
    assert in_options(f"set {keyword}=x") == f"set {keyword}=x"


def test_defaults_are_those_of_the_transform(given: Callable[..., dict[str, Any]]) -> None:
    parameters = inspect.signature(WriteToWeaviate).parameters
    differing = {
        name: value for name, value in given().items() if (value or None) != (parameters[name].default or None)
    }
    assert differing == {"url": "http://localhost:8080"}


@pytest.mark.parametrize(
    ("words", "value"),
    [
        ("--allowed-tenants ann", ["ann"]),
        ("--allowed-tenants ann bob", ["ann", "bob"]),
        ("--allowed-tenants ann --allowed-tenants bob", ["ann", "bob"]),
        ("--allowed-tenants t[0-9]", "t[0-9]"),
        ("--id-field doi", "doi"),
        ("--id-field country number", ["country", "number"]),
        ("--wait-for-indexing", True),
        ("--wait-for-indexing 90", 90.0),
    ],
)
def test_an_option_takes_all_that_its_keyword_takes(
    given: Callable[..., dict[str, Any]], words: str, value: Any
) -> None:
    keyword = words.split()[0].removeprefix("--").replace("-", "_")
    assert given(*words.split())[keyword] == value


def test_credentials_of_an_issuer_are_options(given: Callable[..., dict[str, Any]]) -> None:
    words = "--oidc-client-secret env:SECRET --oidc-client-id job --oidc-scopes a b"
    assert given(*words.split())["api_key"] == OidcClientCredentials("env:SECRET", "job", ("a", "b"))
    assert given("--oidc-client-secret", "env:S")["api_key"] == OidcClientCredentials("env:S")
    assert (
        in_options("check client_secret= and client_id=") == "check --oidc-client-secret and --oidc-client-id"
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--oidc-client-secret env:S --api-key env:K", "give --api-key or --oidc-client-secret, not both"),
        ("--oidc-scopes a", "need --oidc-client-secret env:NAME"),
        ("--oidc-client-id a --api-key env:K", "need --oidc-client-secret env:NAME"),
    ],
)
def test_credentials_that_cannot_be_meant(
    given: Callable[..., dict[str, Any]], words: str, message: str
) -> None:
    with pytest.raises(arguments.Usage, match=message):
        given(*words.split())


@pytest.fixture
def note(server: WeaviateServer, new_name: Callable[[], str]) -> str:
    """A collection on the real server with the tenants ``ann`` and, asleep, ``bob``."""
    name = new_name()
    properties = [{"name": "title", "dataType": ["text"]}]
    description = {"class": name, "vectorizer": "none", "multiTenancyConfig": {"enabled": True}}
    url = f"{server.url}/v1/schema"
    assert requests.post(url, json={**description, "properties": properties}, timeout=60).ok
    tenants = [{"name": "ann"}, {"name": "bob", "activityStatus": "INACTIVE"}]
    assert requests.post(f"{url}/{name}/tenants", json=tenants, timeout=60).ok
    return name


def test_tenants_are_created_woken_and_checked_when_asked(
    on_server: Run, witness: weaviate.WeaviateClient, note: str
) -> None:
    write_json("a.json", [{"title": f"of {who}", "who": who} for who in ("ann", "bob", "cid", "cdi")])

    def imported(*words: str) -> Ran:
        return on_server("import", "--input", "a.json", "--collection", note, "--tenant-field", "who", *words)

    def reasons() -> list[str]:
        return sorted(letter["reason"] for letter in dead_letters())

    assert imported().code == 1
    assert reasons() == ["tenant_not_active", "tenant_not_found", "tenant_not_found"]
    assert "--create-tenants creates it" in in_options(json.dumps(dead_letters()))
    for file in Path("failed").iterdir():
        file.unlink()
    words = ("--create-tenants", "--activate-tenants", "--allowed-tenants", "ann", "bob", "cid")
    ran = imported(*words, "--wait-for-indexing")
    assert ran.code == 1
    assert reasons() == ["tenant_not_allowed"]
    assert any("cdi" in line and "--allowed-tenants (close: 'cid')" in line for line in ran.out), ran
    tenants = witness.collections.get(note).tenants.get()
    assert sorted(tenants) == ["ann", "bob", "cid"]
    for who in tenants:
        found = witness.collections.get(note).with_tenant(who).iterator()
        assert [item.properties["title"] for item in found] == [f"of {who}"]
