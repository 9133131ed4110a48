"""Model providers: the keys and rates with which the server asks others for the vectors that it makes itself.

The server reads them from the headers of each request; nothing of them is kept in a collection. Which provider
and model make the vectors of a collection is part of its schema, and not of this module.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Optional, Union
from urllib.parse import urlsplit

from weaviate_io.secret import Secret

_RATES = ("requests_per_minute", "tokens_per_minute")
_NEED_BOTH_RATES = ("azure", "databricks", "openai")
_UNLIMITED = 10_000_000  # what the server itself takes for the limit of providers that have none
_SECRETS = ("api_key", "access_key", "secret_key", "session_token", "studio_api_key", "token", "vertex_api_key")
_ADDRESSES = ("base_url", "cluster_url", "endpoint")


def _settings(name: str, *settings: str, **others: str) -> dict[str, str]:
    """Headers by setting: of those that every provider calls alike, and of ``others``."""
    alike = {
        "api_key": f"X-{name}-Api-Key",
        "base_url": f"X-{name}-Baseurl",
        "requests_per_minute": f"X-{name}-Ratelimit-RequestPM-Embedding",
        "tokens_per_minute": f"X-{name}-Ratelimit-TokenPM-Embedding",
    }
    return {setting: alike[setting] for setting in settings} | others


_KEY_AND_URL = ("api_key", "base_url")

HEADERS: Mapping[str, Mapping[str, str]] = {
    # Providers of vectors.
    "aws": {
        "access_key": "X-Aws-Access-Key",
        "secret_key": "X-Aws-Secret-Key",
        "session_token": "X-Aws-Session-Token",
    },
    "azure": _settings(
        "Azure",
        "api_key",
        *_RATES,
        base_url="X-Openai-Baseurl",  # one module serves both; so does the next
        organization="X-Openai-Organization",
        resource_name="X-Azure-Resource-Name",
        deployment_id="X-Azure-Deployment-Id",
    ),
    "cohere": _settings("Cohere", *_KEY_AND_URL, "requests_per_minute"),
    "databricks": _settings(
        "Databricks",
        *_RATES,
        token="X-Databricks-Token",
        endpoint="X-Databricks-Endpoint",
        user_agent="X-Databricks-User-Agent",
    ),
    "digitalocean": _settings("Digitalocean", *_KEY_AND_URL, *_RATES),
    "google": {
        "api_key": "X-Goog-Api-Key",
        "vertex_api_key": "X-Goog-Vertex-Api-Key",
        "studio_api_key": "X-Goog-Studio-Api-Key",
    },
    "huggingface": _settings(
        "Huggingface",
        "api_key",
        # Not a slip of ours: the module text2vec-huggingface asks for Cohere's header.
        requests_per_minute="X-Cohere-Ratelimit-RequestPM-Embedding",
    ),
    "jinaai": _settings("Jinaai", "api_key", "requests_per_minute"),
    "mistral": _settings("Mistral", *_KEY_AND_URL, *_RATES),  # base_url: for texts only, not for vectors
    "nvidia": _settings("Nvidia", *_KEY_AND_URL),
    "openai": _settings("Openai", *_KEY_AND_URL, *_RATES, organization="X-Openai-Organization"),
    "twelvelabs": _settings("Twelvelabs", *_KEY_AND_URL),
    "voyageai": _settings("Voyageai", *_KEY_AND_URL, *_RATES),
    "weaviate": _settings("Weaviate", *_RATES, cluster_url="X-Weaviate-Cluster-Url"),
    # Providers of texts alone: a write does not need them, a search that generates does.
    "anthropic": _settings("Anthropic", *_KEY_AND_URL),
    "anyscale": _settings("Anyscale", *_KEY_AND_URL),
    "contextualai": _settings("ContextualAI", *_KEY_AND_URL),
    "deepseek": _settings("Deepseek", *_KEY_AND_URL),
    "friendli": _settings("Friendli", "base_url", token="X-Friendli-Token"),
    "meta": _settings("Meta", *_KEY_AND_URL),
    "ollama": _settings("Ollama", "base_url"),
    "xai": _settings("Xai", *_KEY_AND_URL),
}
"""Header by provider and setting, as the modules of Weaviate 1.39.3 read them. What is not here is not read."""


@dataclass(frozen=True, init=False, repr=False)
class ModelProvider:
    """Key and rates of one model provider, for collections whose vectors the server makes.

    Args:
      provider: such as ``"openai"``; they are listed below.
      api_key: reference to the key: ``"env:NAME"``, a function, or a ``beam.Secret``. A literal key is accepted
        with a warning. Without it the server takes the key of its own environment, if it has one.
      requests_per_minute: most requests that the server should make; it learns the true limit from those
        providers that report it.
      tokens_per_minute: most tokens, likewise.
      base_url: where to reach the provider in place of its usual address. A server with
        ``MODULES_VALIDATE_BASE_URL`` takes only public https addresses.
      settings: what else the provider has, such as ``organization`` (OpenAI), ``resource_name`` and
        ``deployment_id`` (Azure), ``access_key``, ``secret_key`` and ``session_token`` (AWS), ``token`` and
        ``endpoint`` (Databricks), ``vertex_api_key`` (Google), ``cluster_url`` (Weaviate Embeddings, whose
        key is the ``api_key`` of the connection). Values are references like ``api_key``, or plain text where
        they are no secrets.

    The server takes the rates from the first request with a key that it has not seen since its start; later
    ones change nothing. Without rates it learns them from OpenAI's answers. Servers that only speak OpenAI's
    API seldom report any: give rates for them, or each vector is asked for in a call of its own. Where the
    server has no default for a rate that is not given beside the other, it is sent as 10,000,000.

    Raises ``ValueError`` for an unknown provider, and for a setting that the provider does not have.

    >>> provider = ModelProvider("openai", api_key="env:OPENAI_APIKEY", requests_per_minute=3000)
    >>> provider
    ModelProvider('openai', api_key=Secret('env:OPENAI_APIKEY'), requests_per_minute=3000)
    >>> from weaviate_io import WriteToWeaviate
    >>> write = WriteToWeaviate("Article", url="http://localhost:8080", model_providers=provider)

    Providers of vectors are aws, azure, cohere, databricks, digitalocean, google, huggingface, jinaai, mistral,
    nvidia, openai, twelvelabs, voyageai and weaviate. Providers of texts alone, which a write does not need, are
    anthropic, anyscale, contextualai, deepseek, friendli, meta, ollama and xai. Ollama makes vectors too; its
    address is part of the schema.
    """

    provider: str
    settings: Mapping[str, Union[Secret, str, int]]

    def __init__(
        self,
        provider: str,
        *,
        api_key: Any = None,
        requests_per_minute: Optional[int] = None,
        tokens_per_minute: Optional[int] = None,
        base_url: Any = None,
        **settings: Any,
    ) -> None:
        if not isinstance(provider, str) or provider not in HEADERS:
            raise ValueError(f"there is no model provider {provider!r:.80}; there are {_names(HEADERS)}")
        given = {
            "api_key": api_key,
            "requests_per_minute": requests_per_minute,
            "tokens_per_minute": tokens_per_minute,
            "base_url": base_url,
            **settings,
        }
        checked: dict[str, Union[Secret, str, int]] = {}
        for name, value in given.items():
            if value is None:
                continue
            if name not in HEADERS[provider]:
                raise ValueError(
                    f"the model provider {provider!r} has no setting {name!r}; it has {_names(HEADERS[provider])}"
                )
            checked[name] = _checked(provider, name, value)
        object.__setattr__(self, "provider", provider)
        object.__setattr__(self, "settings", checked)

    def __hash__(self) -> int:
        return hash((self.provider, *sorted(self.settings)))

    def __repr__(self) -> str:
        shown = (f"{name}={value!r}" for name, value in self.settings.items())
        return f"ModelProvider({', '.join([repr(self.provider), *shown])})"

    def headers(self) -> dict[str, Secret]:
        """What :class:`~weaviate_io.connection.WeaviateConnection` takes as ``headers``; references stay such.

        >>> ModelProvider("cohere", api_key="env:COHERE_APIKEY").headers()
        {'X-Cohere-Api-Key': Secret('env:COHERE_APIKEY')}
        """
        settings = dict(self.settings)
        given = [rate for rate in _RATES if rate in settings]
        if self.provider in _NEED_BOTH_RATES and len(given) == 1:
            # The server would take the other for zero: it then asks for each vector in a call of its own, or
            # asks and throws the vectors away ("request rate limit exceeded and will not refresh in time").
            settings |= dict.fromkeys(set(_RATES) - set(given), _UNLIMITED)
        names = HEADERS[self.provider]
        return {
            names[setting]: value if isinstance(value, Secret) else Secret(str(value), warn=False)
            for setting, value in settings.items()
        }


Providers = Union[ModelProvider, Sequence[ModelProvider]]
"""One model provider, or several."""


def joined_headers(providers: Providers, headers: Mapping[str, Any]) -> dict[str, Any]:
    """The headers with those of the providers; ``ValueError`` where a provider or a header is there twice.

    >>> joined_headers(ModelProvider("cohere", api_key="env:COHERE_APIKEY"), {"X-Team": "search"})
    {'X-Team': 'search', 'X-Cohere-Api-Key': Secret('env:COHERE_APIKEY')}
    """
    given = list(providers) if isinstance(providers, (list, tuple)) else [providers]
    joined = dict(headers)
    taken = {name.lower(): "headers=" for name in headers}
    for provider in given:
        if not isinstance(provider, ModelProvider):
            raise ValueError(
                f"model_providers= takes ModelProvider('openai', ...), not a {type(provider).__name__}"
            )
        if sum(provider.provider == other.provider for other in given if isinstance(other, ModelProvider)) > 1:
            raise ValueError(f"model_providers= names {provider.provider!r} twice")
        for name, value in provider.headers().items():
            if name.lower() in taken:
                raise ValueError(
                    f"the header {name} of the model provider {provider.provider!r} is given by "
                    f"{taken[name.lower()]} too"
                )
            taken[name.lower()] = f"the model provider {provider.provider!r}"
            joined[name] = value
    return joined


def remedy(text: str) -> str:
    """What to do about an error of a model provider; names the setting where the server names the header.

    >>> remedy("no api key found neither in request header: X-Cohere-Api-Key nor in environment variable")
    "give the api_key of 'cohere' in model_providers="
    """
    if "found in request header: Authorization" in text:
        return "give the connection its api_key="
    for provider, names in HEADERS.items():
        for setting, header in names.items():
            if re.search(rf"header: {header}\b", text, re.IGNORECASE):
                return f"give the {setting} of {provider!r} in model_providers="
    return "see to the model provider, or to its key and rates in model_providers=, and run the job again"


def _names(names: Mapping[str, Any]) -> str:
    return ", ".join(sorted(names))


def _checked(provider: str, name: str, value: Any) -> Union[Secret, str, int]:
    """The value of a setting as it is kept. Errors do not show it: it may be a secret in the wrong place."""
    if name in _RATES:
        if type(value) is not int or value < 1:
            raise ValueError(f"{name}= of the model provider {provider!r} is a whole number above 0")
        return value
    if isinstance(value, Secret):
        return value
    secret = name in _SECRETS
    if isinstance(value, str) and not value.strip():
        raise ValueError(f"{name}= of the model provider {provider!r} is empty")
    if secret or not isinstance(value, str) or value.startswith("env:"):
        return Secret(value, warn=secret)
    if name in _ADDRESSES:
        _check_address(provider, name, value)
    return value


def _check_address(provider: str, name: str, value: str) -> None:
    try:
        parts = urlsplit(value)
        sound = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        sound = False
    if not sound or "@" in parts.netloc or parts.query:
        raise ValueError(
            f"{name}= of the model provider {provider!r} is no address; use https://host, without password or query"
        )
