"""No secret is anywhere: every place that a user or a log collector may look at is searched for all of them."""

from __future__ import annotations

import json
import logging
import os
import pickle
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.internal import pickler
from apache_beam.internal.cloudpickle import cloudpickle
from apache_beam.portability import common_urns
from apache_beam.portability.api import beam_runner_api_pb2
from apache_beam.transforms.display import DisplayData

from pipelines import import_files
from tests.access.certificates import Authority
from tests.access.conftest import Guarded
from tests.access.issuer import Issuer
from tests.write.running import FN_API, TWO_PROCESSES, Runner
from weaviate_io import (
    ModelProvider,
    OidcClientCredentials,
    WeaviateConnection,
    WriteFailuresToJson,
    WriteToWeaviate,
)
from weaviate_io.access import Access
from weaviate_io.client import Client
from weaviate_io.oidc import Token
from weaviate_io.secret import Secret
from weaviate_io.testing import FakeEmbeddings, FakeWeaviate, Refuse, WeaviateServer
from weaviate_io.transport import read_certificates

API_KEY = "hidden-api-key-4711"
PROVIDER_KEY = "sk-hidden-provider-key-0815"
CLIENT_SECRET = "hidden-client-secret-1234"
ACCESS_TOKEN = "hidden-access-token-5678"
SECRETS = {"API_KEY": API_KEY, "PROVIDER_KEY": PROVIDER_KEY, "CLIENT_SECRET": CLIENT_SECRET}
EVERY = (*SECRETS.values(), ACCESS_TOKEN)
MARK = "hidden-"

ARTICLE = {
    "class": "Article",
    "vectorizer": "text2vec-openai",
    "moduleConfig": {"text2vec-openai": {"vectorizeClassName": False}},
    "properties": [{"name": "title", "dataType": ["text"]}],
}
ROWS = [{"title": "one"}, {"title": "two"}, {"title": 5}]


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def openai() -> Iterator[FakeEmbeddings]:
    with FakeEmbeddings(dimensions=4) as running:
        yield running


@pytest.fixture(scope="module")
def keyed(openai: FakeEmbeddings) -> Iterator[WeaviateServer]:
    """A real server that asks for a key, and asks a model provider for vectors."""
    settings = {
        "AUTHENTICATION_ANONYMOUS_ACCESS_ENABLED": "false",
        "AUTHENTICATION_APIKEY_ENABLED": "true",
        "AUTHENTICATION_APIKEY_ALLOWED_KEYS": API_KEY,
        "AUTHENTICATION_APIKEY_USERS": "writer",
    }
    with WeaviateServer(version="1.39.3", environment=openai.environment | settings) as running:
        yield running


@pytest.fixture
def everything(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> Iterator[Callable[[], str]]:
    """All that was logged by anybody at any level, and written to the terminal, so far."""
    names = ["", "apache_beam", "grpc", "requests", "urllib3", "weaviate_io", *logging.root.manager.loggerDict]
    before = {name: logging.getLogger(name).level for name in names}
    for name in names:
        logging.getLogger(name).setLevel(logging.DEBUG)
    texts: list[str] = []

    def so_far() -> str:
        texts.extend(capfd.readouterr())
        return "\n".join([caplog.text, *texts])

    yield so_far
    for name, level in before.items():
        logging.getLogger(name).setLevel(level)


def assert_hidden(text: str | bytes, where: str) -> None:
    for secret in (*EVERY, MARK):
        if isinstance(text, bytes):
            assert secret.encode() not in text, f"a secret is in {where}"
        else:
            assert secret not in text, f"a secret is in {where}: ...{text[: text.index(secret)][-200:]}***"


def graph(pipeline: beam.Pipeline) -> bytes:
    """All of a pipeline that leaves this process, with what is pickled in it unpacked."""
    proto = pipeline.to_runner_api()
    parts = [proto.SerializeToString(), str(proto).encode()]
    for transform in proto.components.transforms.values():
        if transform.spec.urn == common_urns.primitives.PAR_DO.urn:
            payload = beam_runner_api_pb2.ParDoPayload.FromString(transform.spec.payload)
            parts.append(cloudpickle.dumps(pickler.loads(payload.do_fn.payload)))
    return b"\n".join(parts)


def command_line(_: Any) -> str:
    return Path("/proc/self/cmdline").read_text()


def run(runner: Runner, rows: list[Any], transform: WriteToWeaviate) -> str:
    """Run a write with a dead letter; returns all that came out of it, errors and tracebacks included."""
    pipeline = runner.pipeline()
    result = pipeline | beam.Create(rows, reshuffle=False) | transform
    result.failed | "DeadLetter" >> WriteFailuresToJson("failed")
    result.failed | "Failed" >> beam.Map(repr) | "Text" >> beam.io.WriteToText("texts/failed")
    if os.path.exists("/proc/self/cmdline"):
        result.failed | beam.Map(command_line) | "Lines" >> beam.io.WriteToText("texts/command_lines")
    assert_hidden(graph(pipeline), "the graph")
    assert_hidden(str([item.get_dict() for item in DisplayData.create_from(transform).items]), "display data")
    told = []
    try:
        pipeline.run().wait_until_finish()
    except Exception as error:
        told = [str(error), repr(error), "".join(traceback.format_exception(error)), str(pickle.dumps(error))]
    files = [path.read_text() for path in sorted(Path().glob("*/*")) if path.is_file()]
    assert files or told
    return "\n".join([*files, *told])


def write_to(server: Any, **options: Any) -> WriteToWeaviate:
    given = {"url": server.url, "grpc_url": server.grpc_url, "schema": ARTICLE, "api_key": "env:API_KEY"}
    return WriteToWeaviate("Article", **given | options)


def provider(openai: FakeEmbeddings) -> dict[str, Any]:
    return ModelProvider("openai", api_key="env:PROVIDER_KEY", base_url=openai.url).headers()


@pytest.mark.server
@pytest.mark.parametrize("runner", [FN_API, TWO_PROCESSES], ids=lambda runner: runner.name)
def test_a_provider_that_quotes_its_key(
    keyed: WeaviateServer, openai: FakeEmbeddings, everything: Callable[[], str], runner: Runner
) -> None:
    openai.behave(Refuse(401, f"Incorrect API key provided: {PROVIDER_KEY}. Bearer {API_KEY} is none."))
    told = run(runner, ROWS, write_to(keyed, headers=provider(openai)))
    openai.behave(None)
    assert "no object of Article gets through" in told
    assert "Incorrect API key provided: ***. Bearer *** is none." in told
    assert_hidden(told, "what came out")
    assert_hidden(everything(), "logs")


@pytest.mark.server
@pytest.mark.parametrize("runner", [FN_API, TWO_PROCESSES], ids=lambda runner: runner.name)
def test_a_provider_that_quotes_its_key_for_one_object(
    keyed: WeaviateServer, openai: FakeEmbeddings, everything: Callable[[], str], runner: Runner
) -> None:
    refusal = Refuse(400, f"this is no text: {PROVIDER_KEY} {API_KEY}")
    openai.behave(lambda request: refusal if any("quote" in text for text in request.texts) else None)
    told = run(runner, [*ROWS, {"title": "quote"}], write_to(keyed, headers=provider(openai)))
    openai.behave(None)
    assert "this is no text: *** ***" in told
    assert "vectorizer_refused" in told and "invalid_property" in told
    assert_hidden(told, "what came out")
    assert_hidden(everything(), "logs")


@pytest.mark.server
def test_a_write_that_succeeds(
    keyed: WeaviateServer, openai: FakeEmbeddings, everything: Callable[[], str]
) -> None:
    told = run(FN_API, ROWS, write_to(keyed, headers=provider(openai)))
    assert openai.requests[-1].key == PROVIDER_KEY
    assert_hidden(told + everything(), "what came out")


@pytest.mark.server
def test_a_key_that_is_refused(keyed: WeaviateServer, everything: Callable[[], str]) -> None:
    told = run(FN_API, ROWS, write_to(keyed, api_key="env:PROVIDER_KEY"))
    assert "lets nobody in with this api_key=" in told
    assert_hidden(told + everything(), "what came out")


@pytest.mark.server
def test_an_issuer_that_quotes_the_secret(
    guarded_server: Guarded, fresh_issuer: Issuer, everything: Callable[[], str]
) -> None:
    credentials = OidcClientCredentials("env:CLIENT_SECRET")
    told = run(FN_API, ROWS, write_to(guarded_server, api_key=credentials))
    assert "no client with the secret ***" in told and fresh_issuer.asked[-1]["client_secret"] == CLIENT_SECRET
    fresh_issuer.answer = lambda form: (200, {"access_token": ACCESS_TOKEN, "expires_in": 60})
    refused = run(FN_API, ROWS, write_to(guarded_server, api_key=credentials))
    assert "lets nobody in with this api_key=" in refused
    assert_hidden(told + refused + everything(), "what came out")


def test_a_server_that_is_not_there(fake: FakeWeaviate, everything: Callable[[], str]) -> None:
    told = run(FN_API, ROWS, write_to(fake, url="http://127.0.0.1:1", headers={"X-Key": "env:PROVIDER_KEY"}))
    assert "nothing listens there" in told
    assert_hidden(told + everything(), "what came out")


@pytest.mark.server
@pytest.mark.parametrize("key", ["API_KEY", "PROVIDER_KEY"])
def test_the_command_line_with_all_it_has_to_say(
    keyed: WeaviateServer, openai: FakeEmbeddings, everything: Callable[[], str], key: str
) -> None:
    Path("a.jsonl").write_text('{"title": "one"}\n{"title": 5}\n')
    Path("schema.json").write_text(json.dumps(ARTICLE))
    words = ["--input", "a.jsonl", "--collection", "Article", "--schema", "schema.json", "--verbose"]
    words += ["--url", keyed.url, "--grpc-url", keyed.grpc_url, "--api-key", f"env:{key}"]
    words += ["--header", "X-Openai-Api-Key=env:PROVIDER_KEY", f"X-Openai-Baseurl={openai.url}"]
    openai.behave(Refuse(401, f"Incorrect API key provided: {PROVIDER_KEY}"))
    told = ""
    try:
        code = import_files.main(words)
    except Exception as error:
        code, told = 2, "".join(traceback.format_exception(error))
    openai.behave(None)
    assert code == (1 if key == "API_KEY" else 2)
    told += everything() + "".join(path.read_text() for path in Path().glob("failed/*.jsonl"))
    assert "***" in told if key == "API_KEY" else "lets nobody in" in told
    assert_hidden(told, "what the command said")


def test_no_view_of_an_object_shows_a_secret(fake: FakeWeaviate, tmp_path: Path) -> None:
    authority = Authority(tmp_path, "authority")
    certificate, key = authority.issue("client")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        options = {"api_key": API_KEY, "headers": {"X-Openai-Api-Key": PROVIDER_KEY}}
        connection = WeaviateConnection(fake.url, grpc_url=fake.grpc_url, **options)
        objects = [
            connection,
            OidcClientCredentials(CLIENT_SECRET),
            ModelProvider("openai", api_key=PROVIDER_KEY),
            Secret(API_KEY),
            Token(ACCESS_TOKEN, 60),
            Access(connection),
            WriteToWeaviate("Article", connection=connection),
            read_certificates(WeaviateConnection("https://h", tls_cert=certificate, tls_key=key)),
        ]
    assert len(caught) == 5
    objects += [str(warning.message) for warning in caught]
    with closing(Client(connection)) as client:
        for one in [*objects, client, client._access]:
            for shown in (repr(one), str(one), f"{one}", f"{[one]}"):
                assert_hidden(shown, type(one).__name__)
                assert "PRIVATE KEY" not in shown


def test_the_search_finds_what_is_there() -> None:
    """A literal key is in the graph, as the warning says."""
    pipeline = beam.Pipeline()
    with pytest.warns(UserWarning, match="a literal secret becomes part of the job"):
        pipeline | beam.Create(ROWS) | WriteToWeaviate("Article", url="http://h", api_key=API_KEY)
    with pytest.raises(AssertionError, match="a secret is in the graph"):
        assert_hidden(graph(pipeline), "the graph")
