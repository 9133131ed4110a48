from __future__ import annotations

import dataclasses
import pickle
import re

import pytest
from apache_beam.internal.cloudpickle import cloudpickle

from weaviate_io.connection import WeaviateConnection
from weaviate_io.providers import HEADERS, ModelProvider, joined_headers, remedy
from weaviate_io.secret import Secret

KEY = "sk-do-not-show-me"

# As Weaviate 1.39.3 reads them: usecases/modulecomponents and modules/*/clients of its source.
READ_BY_THE_SERVER = {
    "anthropic": {"api_key": "x-anthropic-api-key", "base_url": "x-anthropic-baseurl"},
    "anyscale": {"api_key": "x-anyscale-api-key", "base_url": "x-anyscale-baseurl"},
    "aws": {
        "access_key": "x-aws-access-key",
        "secret_key": "x-aws-secret-key",
        "session_token": "x-aws-session-token",
    },
    "azure": {
        "api_key": "x-azure-api-key",
        "base_url": "x-openai-baseurl",
        "deployment_id": "x-azure-deployment-id",
        "organization": "x-openai-organization",
        "requests_per_minute": "x-azure-ratelimit-requestpm-embedding",
        "resource_name": "x-azure-resource-name",
        "tokens_per_minute": "x-azure-ratelimit-tokenpm-embedding",
    },
    "cohere": {
        "api_key": "x-cohere-api-key",
        "base_url": "x-cohere-baseurl",
        "requests_per_minute": "x-cohere-ratelimit-requestpm-embedding",
    },
    "contextualai": {"api_key": "x-contextualai-api-key", "base_url": "x-contextualai-baseurl"},
    "databricks": {
        "endpoint": "x-databricks-endpoint",
        "requests_per_minute": "x-databricks-ratelimit-requestpm-embedding",
        "token": "x-databricks-token",
        "tokens_per_minute": "x-databricks-ratelimit-tokenpm-embedding",
        "user_agent": "x-databricks-user-agent",
    },
    "deepseek": {"api_key": "x-deepseek-api-key", "base_url": "x-deepseek-baseurl"},
    "digitalocean": {
        "api_key": "x-digitalocean-api-key",
        "base_url": "x-digitalocean-baseurl",
        "requests_per_minute": "x-digitalocean-ratelimit-requestpm-embedding",
        "tokens_per_minute": "x-digitalocean-ratelimit-tokenpm-embedding",
    },
    "friendli": {"base_url": "x-friendli-baseurl", "token": "x-friendli-token"},
    "google": {
        "api_key": "x-goog-api-key",
        "studio_api_key": "x-goog-studio-api-key",
        "vertex_api_key": "x-goog-vertex-api-key",
    },
    "huggingface": {
        "api_key": "x-huggingface-api-key",
        "requests_per_minute": "x-cohere-ratelimit-requestpm-embedding",
    },
    "jinaai": {
        "api_key": "x-jinaai-api-key",
        "requests_per_minute": "x-jinaai-ratelimit-requestpm-embedding",
    },
    "meta": {"api_key": "x-meta-api-key", "base_url": "x-meta-baseurl"},
    "mistral": {
        "api_key": "x-mistral-api-key",
        "base_url": "x-mistral-baseurl",
        "requests_per_minute": "x-mistral-ratelimit-requestpm-embedding",
        "tokens_per_minute": "x-mistral-ratelimit-tokenpm-embedding",
    },
    "nvidia": {"api_key": "x-nvidia-api-key", "base_url": "x-nvidia-baseurl"},
    "ollama": {"base_url": "x-ollama-baseurl"},
    "openai": {
        "api_key": "x-openai-api-key",
        "base_url": "x-openai-baseurl",
        "organization": "x-openai-organization",
        "requests_per_minute": "x-openai-ratelimit-requestpm-embedding",
        "tokens_per_minute": "x-openai-ratelimit-tokenpm-embedding",
    },
    "twelvelabs": {"api_key": "x-twelvelabs-api-key", "base_url": "x-twelvelabs-baseurl"},
    "voyageai": {
        "api_key": "x-voyageai-api-key",
        "base_url": "x-voyageai-baseurl",
        "requests_per_minute": "x-voyageai-ratelimit-requestpm-embedding",
        "tokens_per_minute": "x-voyageai-ratelimit-tokenpm-embedding",
    },
    "weaviate": {
        "cluster_url": "x-weaviate-cluster-url",
        "requests_per_minute": "x-weaviate-ratelimit-requestpm-embedding",
        "tokens_per_minute": "x-weaviate-ratelimit-tokenpm-embedding",
    },
    "xai": {"api_key": "x-xai-api-key", "base_url": "x-xai-baseurl"},
}
SECRETS = ("api_key", "access_key", "secret_key", "session_token", "studio_api_key", "token", "vertex_api_key")
EVERY_SETTING = [(provider, setting) for provider, names in READ_BY_THE_SERVER.items() for setting in names]


def given(setting):
    """A value that the setting takes, and what the server is to read."""
    if setting.endswith("per_minute"):
        return 120, "120"
    if setting in ("base_url", "cluster_url", "endpoint"):
        return "https://model.example.com/v1", "https://model.example.com/v1"
    return (lambda: KEY, KEY) if setting in SECRETS else ("mine", "mine")


def resolved(*providers):
    headers = {name: value for provider in providers for name, value in provider.headers().items()}
    return WeaviateConnection("http://localhost:8080", headers=headers).resolve_headers()


def test_the_table_is_that_of_the_server():
    found = {
        provider: {setting: header.lower() for setting, header in names.items()}
        for provider, names in HEADERS.items()
    }
    assert found == READ_BY_THE_SERVER


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("provider", READ_BY_THE_SERVER)
def test_all_settings_of_a_provider_arrive_under_the_names_that_the_server_reads(provider):
    values = {setting: given(setting) for setting in READ_BY_THE_SERVER[provider]}
    made = ModelProvider(provider, **{setting: value for setting, (value, _) in values.items()})
    assert resolved(made) == {
        header: values[setting][1] for setting, header in READ_BY_THE_SERVER[provider].items()
    }


def test_several_providers_are_joined():
    openai = ModelProvider("openai", api_key=lambda: "one")
    cohere = ModelProvider("cohere", api_key=lambda: "two", requests_per_minute=100)
    assert resolved(openai, cohere) == {
        "x-openai-api-key": "one",
        "x-cohere-api-key": "two",
        "x-cohere-ratelimit-requestpm-embedding": "100",
    }


def test_all_providers_are_listed_where_they_are_explained():
    listed = ModelProvider.__doc__.partition("Providers of vectors are")[2]
    assert set(re.findall(r"\w+", listed)) >= set(HEADERS)


def test_headers_of_providers_go_beside_others():
    given = {"X-Team": "search"}
    joined = joined_headers([ModelProvider("cohere", api_key="env:A"), ModelProvider("openai")], given)
    assert joined == {"X-Team": "search", "X-Cohere-Api-Key": Secret("env:A")}
    assert given == {"X-Team": "search"} and joined_headers([], given) == given


@pytest.mark.parametrize(
    ("providers", "headers", "message"),
    [
        (
            [ModelProvider("openai", api_key="env:A"), ModelProvider("openai", tokens_per_minute=5)],
            {},
            "model_providers= names 'openai' twice",
        ),
        (
            ModelProvider("openai", api_key="env:A"),
            {"x-openai-api-key": "env:B"},
            "the header X-Openai-Api-Key of the model provider 'openai' is given by headers= too",
        ),
        (
            [
                ModelProvider("cohere", requests_per_minute=1),
                ModelProvider("huggingface", requests_per_minute=2),
            ],
            {},
            "the header X-Cohere-Ratelimit-RequestPM-Embedding of the model provider 'huggingface' is given by "
            "the model provider 'cohere' too",
        ),
        ("openai", {}, "model_providers= takes ModelProvider('openai', ...), not a str"),
        ([{"openai": KEY}], {}, "model_providers= takes ModelProvider('openai', ...), not a dict"),
        (7, {}, "model_providers= takes ModelProvider('openai', ...), not a int"),
    ],
)
def test_providers_that_contradict_each_other_are_refused(providers, headers, message):
    with pytest.raises(ValueError) as refused:
        joined_headers(providers, headers)
    assert str(refused.value) == message


@pytest.mark.parametrize(
    ("text", "cure"),
    [
        (
            "API Key: no api key found neither in request header: X-Openai-Api-Key nor in environment variable under",
            "give the api_key of 'openai' in model_providers=",
        ),
        (
            "no access key found neither in request header: X-AWS-Access-Key nor in environment variable under",
            "give the access_key of 'aws' in model_providers=",
        ),
        ("no authentication token found in request header: Authorization", "give the connection its api_key="),
        (
            "failed with status: 401",
            "see to the model provider, or to its key and rates in model_providers=, and run the job again",
        ),
    ],
)
def test_errors_of_providers_say_what_to_do(text, cure):
    assert remedy(text) == cure


@pytest.mark.parametrize("provider", ["openai", "azure", "databricks"])
@pytest.mark.parametrize(("rate", "other"), [("request", "token"), ("token", "request")])
def test_a_rate_that_is_not_given_is_no_limit_where_the_server_would_take_it_for_zero(provider, rate, other):
    made = ModelProvider(provider, **{f"{rate}s_per_minute": 50})
    assert resolved(made) == {
        f"x-{provider}-ratelimit-{rate}pm-embedding": "50",
        f"x-{provider}-ratelimit-{other}pm-embedding": "10000000",
    }


def test_a_rate_that_is_not_given_is_left_to_a_server_that_has_a_default():
    assert list(resolved(ModelProvider("voyageai", requests_per_minute=50))) == [
        "x-voyageai-ratelimit-requestpm-embedding"
    ]


def test_nothing_given_is_nothing_sent():
    assert ModelProvider("openai").headers() == {}


@pytest.mark.parametrize(
    ("provider", "settings", "message"),
    [
        (
            "opnai",
            {},
            "there is no model provider 'opnai'; there are anthropic, anyscale, aws, azure, cohere, ",
        ),
        (None, {}, "there is no model provider None; there are "),
        ([], {}, "there is no model provider []; there are "),
        (
            "cohere",
            {"tokens_per_minute": 10},
            "the model provider 'cohere' has no setting 'tokens_per_minute'; "
            "it has api_key, base_url, requests_per_minute",
        ),
        (
            "weaviate",
            {"api_key": "env:K"},
            "has no setting 'api_key'; it has cluster_url, requests_per_minute, ",
        ),
        (
            "openai",
            {"organisation": "x"},
            "has no setting 'organisation'; it has api_key, base_url, organization,",
        ),
        ("aws", {"api_key": "env:K"}, "it has access_key, secret_key, session_token"),
        (
            "openai",
            {"requests_per_minute": 0},
            "requests_per_minute= of the model provider 'openai' is a whole",
        ),
        ("openai", {"requests_per_minute": True}, "is a whole number above 0"),
        ("openai", {"tokens_per_minute": "100"}, "is a whole number above 0"),
        ("openai", {"tokens_per_minute": 1.5}, "is a whole number above 0"),
        ("openai", {"api_key": ""}, "api_key= of the model provider 'openai' is empty"),
        ("openai", {"organization": " "}, "organization= of the model provider 'openai' is empty"),
        ("openai", {"base_url": "api.example.com"}, "base_url= of the model provider 'openai' is no address"),
        ("openai", {"base_url": "http://[::1"}, "is no address"),
        ("weaviate", {"cluster_url": "ftp://h"}, "cluster_url= of the model provider 'weaviate' is no address"),
        (
            "databricks",
            {"endpoint": "https://h:0"},
            "endpoint= of the model provider 'databricks' is no address",
        ),
    ],
)
def test_what_cannot_work_is_refused_when_it_is_written(provider, settings, message):
    with pytest.raises(ValueError) as refused:
        ModelProvider(provider, **settings)
    assert message in str(refused.value)


def test_a_secret_is_no_number():
    with pytest.raises(TypeError, match="a secret is 'env:NAME', a function"):
        ModelProvider("openai", api_key=5)


@pytest.mark.parametrize(
    "settings",
    [
        {"base_url": f"https://user:{KEY}@h"},
        {"base_url": f"https://h?key={KEY}"},
        {"base_url": KEY},
        {"requests_per_minute": KEY},
    ],
)
def test_errors_do_not_show_a_secret_in_the_wrong_place(settings):
    with pytest.raises(ValueError) as refused:
        ModelProvider("openai", **settings)
    assert KEY not in str(refused.value)


@pytest.mark.parametrize(("provider", "setting"), [pair for pair in EVERY_SETTING if pair[1] in SECRETS])
def test_a_literal_secret_is_warned_of_where_it_is_written_and_never_shown(provider, setting):
    with pytest.warns(UserWarning, match="a literal secret becomes part of the job") as caught:
        made = ModelProvider(provider, **{setting: KEY})
    assert [warning.filename for warning in caught] == [__file__]
    for shown in (repr(made), repr(vars(made)), repr(dataclasses.asdict(made)), repr(made.headers())):
        assert KEY not in shown


@pytest.mark.filterwarnings("error")
def test_what_is_no_secret_is_shown_without_a_warning():
    made = ModelProvider("azure", resource_name="mine", api_key="env:AZURE_APIKEY", requests_per_minute=5)
    assert repr(made) == (
        "ModelProvider('azure', api_key=Secret('env:AZURE_APIKEY'), requests_per_minute=5, resource_name='mine')"
    )
    WeaviateConnection("http://localhost:8080", headers=made.headers())


@pytest.mark.parametrize("setting", ["api_key", "organization", "base_url"])
def test_every_text_may_be_a_reference_to_the_environment_of_the_worker(setting, monkeypatch):
    made = ModelProvider("openai", **{setting: "env:SOME_SETTING"})
    assert repr(made) == f"ModelProvider('openai', {setting}=Secret('env:SOME_SETTING'))"
    monkeypatch.setenv("SOME_SETTING", "on the worker")
    assert list(resolved(made).values()) == ["on the worker"]


def test_a_secret_object_is_taken_as_it_is():
    secret = Secret("env:OPENAI_APIKEY")
    assert ModelProvider("openai", api_key=secret).headers() == {"X-Openai-Api-Key": secret}


@pytest.mark.parametrize("dumps", [pickle.dumps, cloudpickle.dumps])
def test_copies_are_equal(dumps):
    made = ModelProvider("openai", api_key="env:OPENAI_APIKEY", tokens_per_minute=10)
    copy = pickle.loads(dumps(made))
    assert copy == made
    assert len({copy, made}) == 1
    assert copy.headers() == made.headers()


def test_a_provider_is_frozen():
    made = ModelProvider("openai", api_key="env:OPENAI_APIKEY")
    with pytest.raises(dataclasses.FrozenInstanceError):
        made.provider = "cohere"


def test_providers_that_differ_are_not_equal():
    assert ModelProvider("openai", api_key="env:A") != ModelProvider("openai", api_key="env:B")
    assert ModelProvider("meta", api_key="env:A") != ModelProvider("xai", api_key="env:A")
