"""The options of ``weaviate-io check`` and the keywords of ``CheckWeaviate`` go together."""

from __future__ import annotations

import argparse
import inspect
from collections.abc import Callable
from typing import Any

import pytest

from pipelines import arguments, check_collection
from pipelines.terminal import in_options
from weaviate_io import CheckWeaviate
from weaviate_io.testing import FakeWeaviate

KEYWORDS = set(inspect.signature(CheckWeaviate).parameters)
WITHOUT_OPTION = {"collection", "connection"}  # as those of a write: the one is --collection, the other many
WORDS = {
    "url": ("http://x:1",),
    "grpc_url": ("x:2",),
    "api_key": ("env:KEY",),
    "headers": ("X-A=b",),
    "tls_ca": ("ca.pem",),
    "tls_cert": ("client.pem",),
    "tls_key": ("client.key",),
    "tls_server_name": ("db.example",),
    "tenants": ("ann", "bob"),
    "repair": (),
    "exact": (),
    "max_rate": ("50",),
    "wait_for_indexing": ("60",),
}


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    """The keywords that a check is made with for the words of a command line."""

    def given(*words: str) -> dict[str, Any]:
        keywords: dict[str, Any] = {}
        monkeypatch.setattr(arguments, "CheckWeaviate", lambda collection, **more: keywords.update(more))
        parser = argparse.ArgumentParser(allow_abbrev=False)
        arguments.add_check_options(parser)
        arguments.check_transform(parser.parse_args(words), "Article")
        return keywords

    return given


def test_each_keyword_is_an_option() -> None:
    assert WORDS.keys() | WITHOUT_OPTION == KEYWORDS


@pytest.mark.parametrize("keyword", WORDS)
def test_the_option_of_a_keyword_sets_it_alone(given: Callable[..., dict[str, Any]], keyword: str) -> None:
    before, after = given(), given(in_options(f"{keyword}="), *WORDS[keyword])
    assert {name for name in after if after[name] != before[name]} == {keyword}


def test_defaults_are_those_of_the_transform(given: Callable[..., dict[str, Any]]) -> None:
    parameters = inspect.signature(CheckWeaviate).parameters
    differing = {name: value for name, value in given().items() if value != parameters[name].default}
    assert differing == {"url": "http://localhost:8080"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--max-rate 0", "--max-rate 0.0 is not a number of requests a second above 0"),
        ("--collection Missing", "collection Missing does not exist"),
        ("--tenants ann", "--tenants is given, and collection Article has no tenants"),
        ("--collection Note --tenants eve", "collection Note has no tenant 'eve'"),
        ("--collection Note --tenants x.*", "collection Note has no tenant that matches --tenants"),
    ],
)
def test_what_cannot_be_meant_is_told_in_one_line(
    articles: FakeWeaviate, capsys: pytest.CaptureFixture[str], words: str, message: str
) -> None:
    articles.create_collection({"class": "Note", "multiTenancyConfig": {"enabled": True}})
    where = ("--url", articles.url, "--grpc-url", articles.grpc_url, "--wait-for-indexing", "1")
    collection = () if "--collection" in words else ("--collection", "Article")
    assert check_collection.main([*collection, *words.split(), *where]) == 2
    assert capsys.readouterr().err == f"weaviate-io: {message}\n"


def test_where_no_tenant_is_seen_that_is_no_silent_success(
    articles: FakeWeaviate, capsys: pytest.CaptureFixture[str]
) -> None:
    articles.create_collection({"class": "Note", "multiTenancyConfig": {"enabled": True}})
    where = ("--url", articles.url, "--grpc-url", articles.grpc_url)
    assert check_collection.main(["--collection", "Note", *where]) == 0
    assert "no tenants of Note are seen" in capsys.readouterr().err
