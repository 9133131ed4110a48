"""The stand-in for OpenAI: what it answers, and what it is told to fail with."""

from __future__ import annotations

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from weaviate_io.testing.embeddings import FakeEmbeddings, Hold, Refuse, Vectors, vector_of

KEY = {"authorization": "Bearer some-key"}


def ask(openai, *texts, headers=KEY, path="/v1/embeddings", **more):
    with requests.Session() as session:
        session.trust_env = False
        body = {"input": list(texts), "model": "text-embedding-3-small", **more}
        return session.post(f"{openai.url}{path}", json=body, headers=headers, timeout=60)


def vectors(answer):
    return [entry["embedding"] for entry in answer.json()["data"]]


def test_each_text_gets_its_own_vector_always_the_same(openai):
    first, again = ask(openai, "one", "two"), ask(openai, "two")
    assert first.status_code == 200
    assert vectors(first) == [vector_of("one", 4), vector_of("two", 4)]
    assert vectors(again) == vectors(first)[1:]
    assert [entry["index"] for entry in first.json()["data"]] == [0, 1]


def test_vectors_have_the_length_that_was_asked_for():
    with FakeEmbeddings() as openai:
        assert [len(vector) for vector in vectors(ask(openai, "one", dimensions=256))] == [256]
        assert [len(vector) for vector in vectors(ask(openai, "one"))] == [1536]


def test_calls_and_texts_are_counted(openai):
    ask(openai, "one", "two", headers=KEY | {"openai-organization": "mine"})
    ask(openai, "three")
    assert (openai.calls, openai.texts) == (2, ["one", "two", "three"])
    assert openai.requests[0] == (("one", "two"), "some-key", "text-embedding-3-small", "mine", "")


def test_azure_is_asked_at_another_path_with_another_header(openai):
    path = "/openai/deployments/mine/embeddings?api-version=2024-02-01"
    assert ask(openai, "one", headers={"api-key": "azure-key"}, path=path).status_code == 200
    assert (openai.requests[0].key, openai.requests[0].deployment) == ("azure-key", "mine")


def test_one_text_need_not_be_a_list(openai):
    assert vectors(ask(openai, input="one")) == [vector_of("one", 4)]


@pytest.mark.parametrize("headers", [{}, {"authorization": "Bearer wrong"}])
def test_a_wrong_or_missing_key_is_refused(headers):
    with FakeEmbeddings(api_key="right") as openai:
        answer = ask(openai, "one", headers=headers)
        assert answer.status_code == 401
        assert answer.json()["error"]["message"].startswith("Incorrect API key provided.")
        assert ask(openai, "one", headers={"authorization": "Bearer right"}).status_code == 200


def test_limits_are_told_as_openai_tells_them():
    with FakeEmbeddings(limits=(500, 40_000)) as openai:
        headers = ask(openai, "one").headers
        openai.script(Refuse(429, headers={"retry-after": "20"}))
        refused = ask(openai, "one").headers
    assert {name: headers[f"x-ratelimit-{name}"] for name in ("limit-requests", "remaining-tokens")} == {
        "limit-requests": "500",
        "remaining-tokens": "40000",
    }
    assert {name: refused[f"x-ratelimit-{name}"] for name in ("remaining-requests", "reset-requests")} == {
        "remaining-requests": "0",
        "reset-requests": "20s",
    }
    assert refused["retry-after"] == "20"


def test_limits_are_not_told_where_there_are_none():
    with FakeEmbeddings(limits=None) as openai:
        assert not [name for name in ask(openai, "one").headers if name.lower().startswith("x-ratelimit")]


def test_a_script_is_for_the_next_calls_in_its_order(openai):
    openai.script(Refuse(500), None, Refuse(429, "slow down"))
    answers = [ask(openai, "one") for _ in range(4)]
    assert [answer.status_code for answer in answers] == [500, 200, 429, 200]
    assert answers[2].json()["error"]["message"] == "slow down"


def test_a_behaviour_lasts_until_it_is_ended(openai):
    openai.behave(Refuse(503, body="<html>"))
    openai.script(None)
    answers = [ask(openai, "one") for _ in range(3)]
    openai.behave(None)
    answers.append(ask(openai, "one"))
    assert [answer.status_code for answer in answers] == [200, 503, 503, 200]
    assert answers[1].text == "<html>"


def test_a_behaviour_may_depend_on_the_call(openai):
    openai.behave(lambda request: Refuse(400) if "bad" in request.texts else None)
    assert [ask(openai, *texts).status_code for texts in (["good"], ["good", "bad"], ["good"])] == [
        200,
        400,
        200,
    ]


@pytest.mark.parametrize("count", [0, 1, 3])
def test_the_number_of_vectors_may_be_wrong(openai, count):
    openai.script(Vectors(count))
    assert len(vectors(ask(openai, "one", "two"))) == count


def test_an_answer_is_held_until_it_is_released(openai):
    openai.script(Hold())
    with ThreadPoolExecutor() as pool:
        held = pool.submit(ask, openai, "one")
        openai.wait_held()
        assert ask(openai, "two").status_code == 200
        assert not held.done()
        openai.release()
        assert vectors(held.result()) == [vector_of("one", 4)]


def test_waiting_for_a_call_that_does_not_come_ends(openai):
    with pytest.raises(TimeoutError, match="0 calls are held, not 1"):
        openai.wait_held(timeout=0.01)


def test_what_is_held_does_not_outlive_the_provider():
    with ThreadPoolExecutor() as pool:
        with FakeEmbeddings(dimensions=2) as openai:
            openai.script(Hold())
            held = pool.submit(ask, openai, "one")
            openai.wait_held()
        assert held.result().status_code == 200


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [("/v1/chat", b"{}", 404), ("/v1/embeddings", b"no json", 400), ("/v1/embeddings", b"{}", 400)],
)
def test_what_is_no_request_for_embeddings_is_refused_and_not_counted(openai, path, body, status):
    with requests.Session() as session:
        session.trust_env = False
        answer = session.post(f"{openai.url}{path}", data=body, headers=KEY, timeout=60)
    assert answer.status_code == status
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
    assert openai.calls == 0


def test_the_environment_of_a_server_has_a_vocabulary_that_ends_with_the_provider(openai):
    with FakeEmbeddings() as other:
        folder = Path(other.environment["TIKTOKEN_CACHE_DIR"])
        url = "https://openaipublic.blob.core.windows.net/encodings/cl100k_base.tiktoken"
        lines = (folder / hashlib.sha1(url.encode()).hexdigest()).read_text().splitlines()
        assert [int(line.split()[1]) for line in lines] == list(range(256))
        assert "text2vec-openai" in other.environment["ENABLE_MODULES"]
        json.dumps(other.environment)  # plain text, as an environment is
    assert not folder.exists()
