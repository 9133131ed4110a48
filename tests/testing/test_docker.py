"""The commands given to Docker, with a stand-in for it: the fake server plays the container."""

from __future__ import annotations

import pytest

from weaviate_io.testing import FakeWeaviate, ServerUnavailable, WeaviateServer

DOCKER = """#!/bin/sh
echo "$@" >> "$DOCKER_CALLS"
case "$1" in
inspect) echo "true 0" ;;
logs) echo "hello from the container" ;;
run) test -z "$DOCKER_REFUSES" || { echo "$DOCKER_REFUSES"; exit 125; } ;;
esac
"""


@pytest.fixture
def calls(monkeypatch, tmp_path):
    """Only the stand-in is on PATH; what it was called with."""
    for name in ("WEAVIATE_TEST_URL", "WEAVIATE_BINARY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WEAVIATE_IO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("DOCKER_CALLS", str(tmp_path / "calls"))
    (tmp_path / "bin").mkdir()
    docker = tmp_path / "bin" / "docker"
    docker.write_text(DOCKER)
    docker.chmod(0o755)
    monkeypatch.setenv("PATH", str(docker.parent))
    return lambda: (tmp_path / "calls").read_text().splitlines()


def ports_of(fake):
    rest, grpc = (int(address.rsplit(":", 1)[1]) for address in (fake.url, fake.grpc_url))
    return {"port": rest, "grpc_port": grpc}


def test_a_container_is_run_on_loopback_hurt_and_removed(calls):
    with FakeWeaviate(version="1.39.0") as fake:
        options = {"version": "1.39.0", "environment": {"ASYNC_INDEXING": "true"}, **ports_of(fake)}
        with WeaviateServer(**options) as server:
            assert (server.url, server.grpc_url, server.version) == (fake.url, fake.grpc_url, "1.39.0")
            assert server.logs() == "hello from the container\n"
            server.kill()
            server.pause()
            server.restart()
            folder = server.data_path.parent
        run = next(call for call in calls() if call.startswith("run "))
        assert f"--publish 127.0.0.1:{options['port']}:8080" in run
        assert f"--publish 127.0.0.1:{options['grpc_port']}:50051" in run
        assert "--env ASYNC_INDEXING=true" in run
        assert "weaviate:1.39.0 --host 0.0.0.0 --port 8080 --scheme http" in run
        words = [call.split()[0] for call in calls() if call.split()[0] not in ("info", "inspect", "logs")]
        assert words == ["run", "kill", "wait", "pause", "unpause", "stop", "start", "rm"]
        assert not folder.exists()


def test_a_container_that_cannot_be_run_says_why_and_is_removed(calls, monkeypatch):
    monkeypatch.setenv("DOCKER_REFUSES", "no such image")
    with pytest.raises(ServerUnavailable, match="docker run: no such image"):
        WeaviateServer().start()
    assert calls()[-1].startswith("rm --force")
