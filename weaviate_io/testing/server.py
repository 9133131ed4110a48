"""A real Weaviate server for tests, demos and notebooks: had from somewhere, started, hurt, started again.

Where it comes from, the first of: a server that runs already (``WEAVIATE_TEST_URL``), a binary
(``WEAVIATE_BINARY``, PATH, the cache), Docker, the release archive, ``go install``.
"""

from __future__ import annotations

import atexit
import ipaddress
import os
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests

from weaviate_io.testing import docker, process
from weaviate_io.testing.binary import DEFAULT_VERSION, Binary, ServerUnavailable, find_binary
from weaviate_io.testing.install import install_binary

_PORT_TRIES = 4


class WeaviateServer:
    """A Weaviate server of one or three nodes on loopback, as a context manager.

    Args:
      version: such as ``"1.39.0"``; the default takes what is found, or gets 1.39.3.
      data_path: folder of the data, kept; the default is a temporary folder, removed at the end.
      environment: settings of the server, such as ``{"ASYNC_INDEXING": "true"}``.
      nodes: 1 or 3.
      port: REST port of the first node (the others follow); the default is a free one.
      grpc_port: gRPC port of the first node, likewise.
      ready_seconds: how long a start may take.

    Attributes ``url`` and ``grpc_url`` are those of the first node, ``urls`` and ``grpc_urls`` those of all;
    ``version`` is what the server says it is, ``data_path`` where its data lie.

    Raises:
      ServerUnavailable: at the start, when no server can be had or it does not get ready.

    Example::

        with WeaviateServer() as server:
            rows | WriteToWeaviate("Article", url=server.url, grpc_url=server.grpc_url)
    """

    def __init__(
        self,
        *,
        version: str | None = None,
        data_path: str | os.PathLike[str] | None = None,
        environment: Mapping[str, str] | None = None,
        nodes: int = 1,
        port: int | None = None,
        grpc_port: int | None = None,
        ready_seconds: float = 120.0,
    ) -> None:
        if nodes not in (1, 3):
            raise ValueError(f"a test server has 1 or 3 nodes, not {nodes}")
        self.version = version
        self.data_path = Path(data_path).absolute() if data_path is not None else None
        self.urls: tuple[str, ...] = ()
        self.grpc_urls: tuple[str, ...] = ()
        self._asked_version = version
        self._keep_data = data_path is not None
        self._environment = dict(environment or {})
        self._count = nodes
        self._port = port
        self._grpc_port = grpc_port
        self._ready_seconds = ready_seconds
        self._nodes: Sequence[Any] = ()
        self._folder: Path | None = None
        self._owner = os.getpid()

    @property
    def url(self) -> str:
        """REST address of the first node, such as ``http://127.0.0.1:8080``."""
        return self._started(self.urls)[0]

    @property
    def grpc_url(self) -> str:
        """gRPC address of the first node, such as ``127.0.0.1:50051``."""
        return self._started(self.grpc_urls)[0]

    def _started(self, values: Sequence[str]) -> Sequence[str]:
        if not values:
            raise ServerUnavailable("the server is not running: use `with WeaviateServer()` or call start()")
        return values

    def __enter__(self) -> WeaviateServer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> None:
        """Find or get a server and start it; returns when it answers."""
        if self.urls:
            raise ServerUnavailable(f"the server runs already at {self.url}")
        self._owner = os.getpid()
        if self._use_running_server():
            return
        make_node, origin, expected = self._way_to_run()
        self._folder = Path(tempfile.mkdtemp(prefix="weaviate-io-"))
        if not self._keep_data:
            self.data_path = self._folder / "data"
        atexit.register(self.close)
        try:
            self._start_nodes(make_node, origin)
            self._read_version(expected, origin)
        except BaseException:
            self.close()
            raise

    def _use_running_server(self) -> bool:
        url = os.environ.get("WEAVIATE_TEST_URL")
        special = self._keep_data or self._environment or self._count > 1 or self._port or self._grpc_port
        if not url or special:
            return False
        host = urlsplit(url).hostname
        if not host:
            raise ServerUnavailable(f"WEAVIATE_TEST_URL is {url!r}, which is not like http://localhost:8080")
        if not _is_loopback(host) and os.environ.get("WEAVIATE_TEST_ALLOW_REMOTE") != "1":
            raise ServerUnavailable(
                f"WEAVIATE_TEST_URL is {url}, not on this machine: tests write and drop collections there; "
                "set WEAVIATE_TEST_ALLOW_REMOTE=1 if that is wanted"
            )
        bracketed = f"[{host}]" if ":" in host else host
        self.urls = (url.rstrip("/"),)
        self.grpc_urls = (os.environ.get("WEAVIATE_TEST_GRPC_URL") or f"{bracketed}:50051",)
        try:
            self._read_version(self._asked_version, "WEAVIATE_TEST_URL")
        except BaseException:
            self.close()
            raise
        return True

    def _way_to_run(self) -> tuple[Callable[[int, Sequence[process.Ports]], Any], str, str | None]:
        """How to make a node, where it comes from, and the version that it must have."""
        found = find_binary(self._asked_version)
        version = self._asked_version or DEFAULT_VERSION
        if found is None:
            no_docker = "three nodes need a binary" if self._count > 1 else docker.missing_docker()
            if no_docker is None:
                return self._docker_node, docker.IMAGE, version
            try:
                found = Binary(install_binary(version), "the cache", version)
            except ServerUnavailable as error:
                raise ServerUnavailable(
                    f"no Weaviate {version} server to run: install Docker, or Go 1.26 or later, or set "
                    "WEAVIATE_BINARY (a server binary) or WEAVIATE_TEST_URL (a server that runs). "
                    f"Tried: no binary on PATH or in the cache; Docker: {no_docker}; {error}"
                ) from None
        binary = found.path

        def process_node(index: int, ports: Sequence[process.Ports]) -> process.ProcessNode:
            environment = process.node_environment(index, ports, self._node_data(index), self._environment)
            assert self._folder is not None  # made by start()
            log_path = self._folder / f"node{index + 1}.log"
            return process.ProcessNode(binary, ports[index], environment, log_path)

        return process_node, f"{binary}, from {found.origin}", found.version

    def _docker_node(self, index: int, ports: Sequence[process.Ports]) -> docker.DockerNode:
        version = self._asked_version or DEFAULT_VERSION
        return docker.DockerNode(version, ports[index], self._environment, self._node_data(index))

    def _node_data(self, index: int) -> Path:
        assert self.data_path is not None  # made by start()
        return self.data_path if self._count == 1 else self.data_path / f"node{index + 1}"

    def _choose_ports(self) -> list[process.Ports]:
        chosen: list[process.Ports] = []
        while len(chosen) < self._count:
            number = len(chosen)
            rest = self._port + number if self._port else None
            grpc = self._grpc_port + number if self._grpc_port else None
            ports = process.free_ports(rest, grpc)
            if all(ports.gossip != other.gossip for other in chosen):
                chosen.append(ports)
        return chosen

    def _start_nodes(self, make_node: Callable[[int, Sequence[process.Ports]], Any], origin: str) -> None:
        for tries_left in reversed(range(_PORT_TRIES)):
            ports = self._choose_ports()
            self._nodes = [make_node(index, ports) for index in range(self._count)]
            try:
                for node in self._nodes:
                    node.start()
                self._await_ready(self._nodes, origin)
            except process.PortTaken as error:
                for node in self._nodes:
                    node.remove()
                if not tries_left:
                    raise ServerUnavailable(f"Weaviate ({origin}) did not start: {error}") from None
                continue
            self.urls = tuple(node.url for node in self._nodes)
            self.grpc_urls = tuple(node.grpc_url for node in self._nodes)
            return

    def _await_ready(self, nodes: Sequence[Any], origin: str) -> None:
        give_up = time.monotonic() + self._ready_seconds
        waiting = list(nodes)
        while waiting:
            for node in list(waiting):
                code, late = node.exit_code(), time.monotonic() > give_up
                output = node.output()
                if process.PORT_TAKEN in output:
                    raise process.PortTaken(process.telling_lines(output))
                if code is not None or late:
                    how = (
                        f"ended with exit code {code}"
                        if code is not None
                        else f"not ready after {self._ready_seconds:.0f} s"
                    )
                    raise ServerUnavailable(
                        f"Weaviate ({origin}) did not start: {how}: {process.telling_lines(output)}"
                    )
                if _is_ready(node.url, node.grpc_url):
                    waiting.remove(node)
            if waiting:
                time.sleep(0.1)

    def _read_version(self, expected: str | None, origin: str) -> None:
        try:
            response = _get(f"{self.url}/v1/meta", seconds=10)
        except requests.RequestException as error:
            raise ServerUnavailable(
                f"no Weaviate answers at {self.url} ({origin}): {type(error).__name__}"
            ) from None
        if response.status_code == 401:  # the caller's settings ask for a key
            return
        try:
            self.version = str(response.json()["version"])
        except (ValueError, KeyError, TypeError):
            raise ServerUnavailable(f"what answers at {self.url} ({origin}) is not Weaviate") from None
        if expected and self.version != expected:
            raise ServerUnavailable(
                f"{origin} is Weaviate {self.version}, {expected} was asked for: take it away there, "
                "or name the right one with WEAVIATE_BINARY"
            )

    def _node(self, index: int) -> Any:
        self._started(self.urls)
        if not self._nodes:
            raise ServerUnavailable(
                f"the server at {self.url} was not started here and is left alone: "
                "unset WEAVIATE_TEST_URL for this test"
            )
        if not 0 <= index < len(self._nodes):
            raise IndexError(f"the server has {len(self._nodes)} node(s), there is no node {index}")
        return self._nodes[index]

    def pid(self, node: int = 0) -> int | None:
        """The process of a node; None where it runs in Docker."""
        return getattr(self._node(node), "pid", None)

    def kill(self, node: int = 0) -> None:
        """End a node at once, as ``kill -9`` does."""
        self._node(node).kill()

    def stop(self, node: int = 0) -> None:
        """End a node in good order (SIGTERM) and wait for its end."""
        self._node(node).stop()

    def restart(self, node: int = 0) -> None:
        """Start a node again with its data and ports, ending it first if it runs; wait until it is ready."""
        target = self._node(node)
        target.stop()
        try:
            target.start()
            self._await_ready([target], "again")
        except process.PortTaken as error:
            raise ServerUnavailable(f"node {node} did not start again: {error}") from None

    def pause(self, node: int = 0) -> None:
        """Freeze a node (SIGSTOP): it holds its connections and answers nothing."""
        self._node(node).pause()

    def resume(self, node: int = 0) -> None:
        """Let a node go on after :meth:`pause`."""
        self._node(node).resume()

    def logs(self, node: int = 0) -> str:
        """The end of a node's output since its last start."""
        return self._node(node).output()

    def close(self) -> None:
        """End all nodes and remove temporary data; harmless when it is closed already."""
        if os.getpid() != self._owner:  # a forked copy of this object
            return
        atexit.unregister(self.close)
        for node in self._nodes:
            if self._keep_data:
                node.stop()
            node.remove()
        self._nodes, self.urls, self.grpc_urls = (), (), ()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _get(url: str, seconds: float) -> requests.Response:
    with requests.Session() as session:
        session.trust_env = False  # a proxy of the environment knows no server of this machine
        return session.get(url, timeout=seconds)


def _is_ready(url: str, grpc_url: str) -> bool:
    host, port = grpc_url.rsplit(":", 1)
    try:
        if _get(f"{url}/v1/.well-known/ready", seconds=2).status_code != 200:
            return False
        socket.create_connection((host, int(port)), timeout=2).close()
    except (requests.RequestException, OSError):
        return False
    return True
