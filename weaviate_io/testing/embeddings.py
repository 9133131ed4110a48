"""A provider of embeddings for tests: speaks OpenAI's API on loopback, costs nothing, and fails on script.

A real Weaviate server with the module text2vec-openai takes it for OpenAI when the requests say so::

    from weaviate_io.providers import ModelProvider
    from weaviate_io.testing import WeaviateServer
    from weaviate_io.testing.embeddings import FakeEmbeddings

    with FakeEmbeddings() as openai, WeaviateServer(environment=openai.environment) as server:
        provider = ModelProvider("openai", api_key="env:OPENAI_APIKEY", base_url=openai.url)
        run_my_pipeline(url=server.url, grpc_url=server.grpc_url, headers=provider.headers())
        assert sorted(openai.texts) == ["one", "two"]

Its vectors depend on the text alone, but say nothing of its meaning. It is no place to test a search.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import re
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple, Union

DEFAULT_DIMENSIONS = 1536
"""Length of a vector where nobody asks for another, as of OpenAI's text-embedding-3-small."""

# The server counts tokens with a vocabulary that it fetches from here at the first object, and keeps in a folder.
# Without it (no way to the internet, say) every object fails with a panic, until the server is started anew.
_VOCABULARY = "https://openaipublic.blob.core.windows.net/encodings/cl100k_base.tiktoken"

_PATH = re.compile(r"/v1/embeddings|/openai/deployments/(?P<deployment>[^/]+)/embeddings\?.*")


class EmbeddingsRequest(NamedTuple):
    """What one call asked for; ``deployment`` is set where it came as to Azure."""

    texts: tuple[str, ...]
    key: str
    model: str
    organization: str
    deployment: str


@dataclass(frozen=True)
class Refuse:
    """Answer with an error.

    Args:
      status: of HTTP: 401, 429, 500.
      message: what the error says; by default what OpenAI says with this status.
      headers: further headers, such as ``{"retry-after": "20"}``.
      body: the whole body instead, such as the page of a gateway that knows no JSON.
    """

    status: int
    message: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str | None = None


@dataclass(frozen=True)
class Hold:
    """Do not answer until :meth:`FakeEmbeddings.release`, then as if nothing had happened."""


@dataclass(frozen=True)
class Vectors:
    """Answer with another number of vectors than was asked for."""

    count: int


Fault = Union[Refuse, Hold, Vectors, None]
"""What may be scripted for a call; None is a good answer."""

_MESSAGES = {
    401: "Incorrect API key provided. You can find your API key at https://platform.openai.com/account/api-keys.",
    404: "Invalid URL",
    429: "Rate limit reached for text-embedding-3-small on requests per min (RPM): Limit 3, Used 3, Requested 1.",
    500: "The server had an error while processing your request. Sorry about that!",
    503: "The engine is currently overloaded, please try again later",
}


def vector_of(text: str, dimensions: int = DEFAULT_DIMENSIONS) -> list[float]:
    """The vector that is given for a text: multiples of 1/128, which float32 and JSON keep exactly.

    >>> vector_of("a text", dimensions=2)
    [-0.8828125, -0.8671875]
    """
    digest = hashlib.shake_256(text.encode()).digest(dimensions)
    return [(byte - 128) / 128 for byte in digest]


class FakeEmbeddings:
    """An HTTP server on loopback that answers ``POST /v1/embeddings``, as a context manager.

    Args:
      api_key: the only key that is let in; None lets in every one, but not none.
      dimensions: length of the vectors, whatever is asked for; None obeys the request.
      limits: requests and tokens a minute that its answers claim as limit, of which nothing is ever used up;
        None sends no such headers, as most other servers that speak this API.

    Attributes:
      url: ``http://127.0.0.1:port``, the base address for ``ModelProvider(base_url=...)``.
      environment: what a ``WeaviateServer`` needs to ask it: the module, and a vocabulary to count tokens with
        (of single bytes, so that it need not fetch OpenAI's).
      requests: :class:`EmbeddingsRequest` of each call, refused ones included, in the order of their arrival.
      calls: how many there were.
      texts: the texts of all calls.

    >>> import requests
    >>> with FakeEmbeddings(dimensions=2) as openai:
    ...     answer = requests.post(
    ...         f"{openai.url}/v1/embeddings",
    ...         json={"input": ["a text"], "model": "text-embedding-3-small"},
    ...         headers={"authorization": "Bearer any"},
    ...     )
    ...     openai.calls, openai.texts, answer.json()["data"][0]["embedding"]
    (1, ['a text'], [-0.8828125, -0.8671875])
    """

    def __init__(
        self,
        *,
        api_key: str | None = None,
        dimensions: int | None = None,
        limits: tuple[int, int] | None = (10_000, 10_000_000),
    ) -> None:
        self.api_key = api_key
        self.dimensions = dimensions
        self.limits = limits
        self.url = ""
        self.environment: dict[str, str] = {}
        self.requests: list[EmbeddingsRequest] = []
        self._script: deque[Fault] = deque()
        self._behaviour: Union[Fault, Callable[[EmbeddingsRequest], Fault]] = None
        self._released = threading.Event()
        self._changed = threading.Condition()
        self._held = 0

    def __enter__(self) -> FakeEmbeddings:
        self._released.clear()
        self._folder = tempfile.TemporaryDirectory(prefix="weaviate-io-")
        _write_vocabulary(Path(self._folder.name))
        self.environment = {
            "ENABLE_MODULES": "text2vec-openai,text2vec-bigram",
            "API_BASED_MODULES_DISABLED": "false",
            "TIKTOKEN_CACHE_DIR": self._folder.name,
        }
        self._server = _Server(self)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.05,), name="fake-embeddings", daemon=True
        )
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._released.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        self._folder.cleanup()

    @property
    def calls(self) -> int:
        return len(self.requests)

    @property
    def texts(self) -> list[str]:
        return [text for request in list(self.requests) for text in request.texts]

    def script(self, *faults: Fault) -> None:
        """Faults of the next calls, one each, in this order; None is a good answer."""
        with self._changed:
            self._script.extend(faults)

    def behave(self, fault: Union[Fault, Callable[[EmbeddingsRequest], Fault]]) -> None:
        """The fault of every call that the script says nothing of, or a function of the call; None ends it."""
        with self._changed:
            self._behaviour = fault

    def wait_held(self, count: int = 1, timeout: float = 60.0) -> None:
        """Wait until so many calls are held; ``TimeoutError`` where they do not come."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._held >= count, timeout):
                raise TimeoutError(f"{self._held} calls are held, not {count}")

    def release(self) -> None:
        """Answer what is held, and hold nothing from now on."""
        self._released.set()

    def _arrived(self, request: EmbeddingsRequest) -> Fault:
        """Note a call and say what is wrong with it."""
        with self._changed:
            self.requests.append(request)
            fault = self._script.popleft() if self._script else self._behaviour
            fault = fault(request) if callable(fault) else fault
        if not request.key or self.api_key not in (None, request.key):
            return Refuse(401)
        return fault

    def _hold(self) -> None:
        with self._changed:
            self._held += 1
            self._changed.notify_all()
        self._released.wait()

    def _good_answer(self, texts: Sequence[str], dimensions: int) -> dict[str, Any]:
        size = self.dimensions or dimensions
        tokens = sum(len(text.split()) for text in texts)
        return {
            "object": "list",
            "data": [
                {"object": "embedding", "index": index, "embedding": vector_of(text, size)}
                for index, text in enumerate(texts)
            ],
            "model": "text-embedding-3-small",
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        }

    def _limit_headers(self, remaining: bool) -> dict[str, str]:
        headers = {}
        for kind, limit in zip(("requests", "tokens"), self.limits or (), strict=False):
            headers[f"x-ratelimit-limit-{kind}"] = str(limit)
            headers[f"x-ratelimit-remaining-{kind}"] = str(limit if remaining else 0)
            headers[f"x-ratelimit-reset-{kind}"] = "0s" if remaining else "20s"
        return headers


def _write_vocabulary(folder: Path) -> None:
    """Put the smallest vocabulary there is where the server keeps the one that it fetched."""
    lines = (f"{base64.b64encode(bytes([value])).decode()} {value}\n" for value in range(256))
    (folder / hashlib.sha1(_VOCABULARY.encode()).hexdigest()).write_text("".join(lines))


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, fake: FakeEmbeddings) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.fake = fake


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        path = _PATH.fullmatch(self.path)
        if path is None:
            self._refuse(Refuse(404, f"Invalid URL (POST {self.path})"))
            return
        try:
            asked = json.loads(body)
            texts = [asked["input"]] if isinstance(asked["input"], str) else list(asked["input"])
        except (ValueError, KeyError, TypeError):
            self._refuse(Refuse(400, "We could not parse the JSON body of your request."))
            return
        bearer = self.headers.get("authorization", "").removeprefix("Bearer ")
        fault = self.server.fake._arrived(
            EmbeddingsRequest(
                tuple(texts),
                self.headers.get("api-key", bearer),
                asked.get("model", ""),
                self.headers.get("openai-organization", ""),
                path["deployment"] or "",
            )
        )
        if isinstance(fault, Refuse):
            self._refuse(fault)
            return
        if isinstance(fault, Hold):
            self.server.fake._hold()
        if isinstance(fault, Vectors):
            texts = [texts[n % len(texts)] for n in range(fault.count)]
        answer = self.server.fake._good_answer(texts, asked.get("dimensions") or DEFAULT_DIMENSIONS)
        self._send(200, json.dumps(answer), self.server.fake._limit_headers(remaining=True))

    def _refuse(self, fault: Refuse) -> None:
        message = fault.message or _MESSAGES.get(fault.status, f"Error {fault.status}")
        error = {"message": message, "type": "requests", "param": None, "code": str(fault.status)}
        body = json.dumps({"error": error}) if fault.body is None else fault.body
        limits = self.server.fake._limit_headers(remaining=False) if fault.status == 429 else {}
        self._send(fault.status, body, limits | dict(fault.headers))

    def _send(self, status: int, body: str, headers: Mapping[str, str]) -> None:
        data = body.encode()
        with contextlib.suppress(ConnectionError):  # whoever asked may have hung up while it was held
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: a test reads ``FakeEmbeddings.requests``, not stderr."""
