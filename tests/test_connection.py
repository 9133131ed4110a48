from __future__ import annotations

import dataclasses
import pickle
import warnings

import pytest
from apache_beam.internal.cloudpickle import cloudpickle

from weaviate_io.connection import WeaviateConnection
from weaviate_io.secret import Secret

KEY = "sk-do-not-show-me"


def connection(**given):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return WeaviateConnection(**{"url": "http://localhost:8080", **given})


ADDRESSES = [
    # url, grpc_url, target, secure, rest
    ("http://localhost:8080", None, "localhost:50051", False, "http://localhost:8080"),
    ("http://localhost:8080/", None, "localhost:50051", False, "http://localhost:8080"),
    ("http://localhost:8080/v1", None, "localhost:50051", False, "http://localhost:8080"),
    ("http://localhost:8080/v1/", None, "localhost:50051", False, "http://localhost:8080"),
    ("http://127.0.0.1", None, "127.0.0.1:50051", False, "http://127.0.0.1"),
    ("http://[::1]:8080", None, "[::1]:50051", False, "http://[::1]:8080"),
    ("https://db.example.com", None, "db.example.com:50051", True, "https://db.example.com"),
    ("HTTPS://DB.example.com", None, "db.example.com:50051", True, "HTTPS://DB.example.com"),
    ("https://a.weaviate.cloud", None, "grpc-a.weaviate.cloud:443", True, "https://a.weaviate.cloud"),
    (
        "https://a.c0.eu.weaviate.cloud",
        None,
        "grpc-a.c0.eu.weaviate.cloud:443",
        True,
        "https://a.c0.eu.weaviate.cloud",
    ),
    ("a.weaviate.cloud", None, "grpc-a.weaviate.cloud:443", True, "https://a.weaviate.cloud"),
    ("A.Weaviate.Cloud/", None, "grpc-a.weaviate.cloud:443", True, "https://A.Weaviate.Cloud"),
    ("a.weaviate.network", None, "a.grpc.weaviate.network:443", True, "https://a.weaviate.network"),
    ("a.weaviate.cloud", "g:9000", "g:9000", True, "https://a.weaviate.cloud"),
    ("https://a.weaviate.network", None, "a.grpc.weaviate.network:443", True, "https://a.weaviate.network"),
    (
        "https://weaviate.cloud.evil.com",
        None,
        "weaviate.cloud.evil.com:50051",
        True,
        "https://weaviate.cloud.evil.com",
    ),
    ("http://h:8080", "g:9000", "g:9000", False, "http://h:8080"),
    ("https://h", "g:9000", "g:9000", True, "https://h"),
    ("https://h", "grpc://g:9000", "g:9000", False, "https://h"),
    ("http://h", "grpcs://g:9000", "g:9000", True, "http://h"),
    ("http://h", "GRPCS://g", "g:443", True, "http://h"),
    ("http://h", "grpc://g", "g:50051", False, "http://h"),
    ("http://h", "https://g/", "g:443", True, "http://h"),
    ("http://h", "http://g:1", "g:1", False, "http://h"),
    ("http://h", "[::1]:9000", "[::1]:9000", False, "http://h"),
    ("http://h", "grpcs://[::1]", "[::1]:443", True, "http://h"),
]


@pytest.mark.parametrize(("url", "grpc_url", "target", "secure", "rest"), ADDRESSES)
def test_the_grpc_address_follows_from_what_is_given(url, grpc_url, target, secure, rest):
    made = connection(url=url, grpc_url=grpc_url)
    assert (made.grpc_target, made.grpc_secure, made.rest_url) == (target, secure, rest)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"url": "localhost:8080"}, "url='localhost:8080' is no address; use http://host:port or https://host"),
        ({"url": "h.example.com"}, "url='h.example.com' is no address; use http://host:port or https://host"),
        ({"url": "weaviate.cloud.evil.com"}, "url='weaviate.cloud.evil.com' is no address"),
        ({"url": "me:pw@a.weaviate.cloud"}, "url= holds a user or password"),
        ({"url": "ftp://h"}, "url='ftp://h' is no address"),
        ({"url": "http://"}, "url='http://' is no address"),
        ({"url": ""}, "url='' is no address"),
        ({"url": None}, "url=None is no address"),
        ({"url": "http://h:x"}, "url='http://h:x' has no valid host and port"),
        ({"url": "http://h:99999"}, "url='http://h:99999' has no valid host and port"),
        ({"url": "http://[::1"}, "url='http://[::1' has no valid host and port"),
        ({"url": "http://h?token=x"}, "give the address alone"),
        ({"grpc_url": ""}, "grpc_url='' is no address; use host:port, grpc://host:port or grpcs://host:port"),
        ({"grpc_url": 50051}, "grpc_url=50051 is no address"),
        ({"grpc_url": "dns:///h:1"}, "grpc_url='dns:///h:1' is no address"),
        ({"grpc_url": "h:1/path"}, "grpc_url='h:1/path' is no address"),
        ({"grpc_url": "h:x"}, "grpc_url='h:x' has no valid host and port"),
        ({"grpc_url": "::1:50051"}, "grpc_url='::1:50051' has no valid host and port"),
        ({"timeout": 60}, "timeout=60 is below 90 s"),
        ({"timeout": float("nan")}, "timeout=nan is below 90 s"),
        ({"compression": "zip"}, "compression='zip' is unknown; use 'gzip', or None for none"),
        ({"probe_timeout": 0}, "probe_timeout=0 is no time to wait"),
    ],
)
def test_what_cannot_work_is_refused_when_it_is_written(given, message):
    with pytest.raises(ValueError) as refused:
        connection(**given)
    assert message in str(refused.value)


@pytest.mark.parametrize(
    "given",
    [
        {"url": f"http://user:{KEY}@h"},
        {"url": f"ftp://user:{KEY}@h"},
        {"url": f"http://user:{KEY}@h:x"},
        {"url": f"http://h?apikey={KEY}"},
        {"grpc_url": f"grpc://user:{KEY}@h"},
        {"grpc_url": f"user:{KEY}@h:x"},
    ],
)
def test_an_address_with_a_secret_is_refused_without_showing_it(given):
    with pytest.raises(ValueError) as refused:
        connection(**given)
    assert KEY not in str(refused.value)


@pytest.mark.parametrize("show", [repr, str, lambda c: repr(vars(c)), lambda c: repr(dataclasses.asdict(c))])
def test_no_view_of_a_connection_shows_a_secret(show):
    shown = show(connection(api_key=KEY, headers={"X-OpenAI-Api-Key": KEY, "X-Plain": KEY}))
    assert KEY not in shown
    assert "***" in shown


def test_the_place_of_a_secret_is_shown():
    assert "env:WEAVIATE_API_KEY" in repr(connection(api_key="env:WEAVIATE_API_KEY"))


def test_headers_are_resolved_with_names_as_grpc_wants_them(monkeypatch):
    monkeypatch.setenv("SOME_KEY", KEY)
    made = connection(api_key="env:SOME_KEY", headers={"X-OpenAI-Api-Key": lambda: "other", "X-Azure": "plain"})
    assert made.resolve_headers() == {
        "authorization": f"Bearer {KEY}",
        "x-openai-api-key": "other",
        "x-azure": "plain",
    }


def test_a_cloud_cluster_is_told_whose_key_it_is():
    """Its embedding service needs the address beside the key; nobody else learns of it."""
    headers = {"authorization": f"Bearer {KEY}", "x-weaviate-cluster-url": "https://a.weaviate.cloud"}
    assert connection(url="a.weaviate.cloud", api_key=lambda: KEY).resolve_headers() == headers
    assert connection(url="a.weaviate.cloud").resolve_headers() == {}
    assert set(connection(url="https://weaviate.cloud.evil.com", api_key=lambda: KEY).resolve_headers()) == {
        "authorization"
    }
    own = connection(url="a.weaviate.cloud", api_key=lambda: KEY, headers={"X-Weaviate-Cluster-Url": "other"})
    assert own.resolve_headers()["x-weaviate-cluster-url"] == "other"


def test_without_a_key_nothing_is_authorized():
    assert connection().resolve_headers() == {}


@pytest.mark.parametrize(("header", "warns"), [("X-OpenAI-Api-Key", True), ("X-Azure-Deployment-Id", False)])
def test_only_literals_that_look_like_keys_are_warned_of(header, warns):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        WeaviateConnection("http://h", headers={header: "value"})
    assert bool(caught) == warns


@pytest.mark.parametrize("dumps", [pickle.dumps, cloudpickle.dumps])
@pytest.mark.parametrize("key", [None, "env:SOME_KEY", KEY])
def test_copies_are_equal_so_that_workers_share_one_client(dumps, key):
    made = connection(api_key=key, headers={"X-A": "env:A"}, grpc_url="h:1", tls_ca="/ca.pem")
    copy = pickle.loads(dumps(made))
    assert copy == made
    assert hash(copy) == hash(made)
    assert len({copy, made}) == 1


def test_a_connection_with_a_function_crosses_to_a_worker():
    pickled = cloudpickle.dumps(connection(api_key=lambda: KEY))
    one, two = pickle.loads(pickled), pickle.loads(pickled)
    assert len({one, two}) == 1
    assert one.resolve_headers() == {"authorization": f"Bearer {KEY}"}


@pytest.mark.parametrize(
    "other",
    [
        {"url": "http://other"},
        {"grpc_url": "h:1"},
        {"api_key": "env:B"},
        {"headers": {"x": "env:B"}},
        {"tls_ca": "/other.pem"},
        {"timeout": 120},
        {"compression": "gzip"},
    ],
)
def test_connections_that_differ_are_not_equal(other):
    assert connection(api_key="env:A") != connection(**{"api_key": "env:A", **other})


def test_a_connection_is_frozen_and_apart_from_what_it_was_made_of():
    headers = {"X-A": Secret("env:A")}
    made = connection(headers=headers)
    headers["X-B"] = Secret("env:B")
    assert list(made.headers) == ["X-A"]
    with pytest.raises(dataclasses.FrozenInstanceError):
        made.url = "http://other"
