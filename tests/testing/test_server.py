"""A real server is started, hurt and started again, and nothing of it is left."""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest
import requests

from weaviate_io.testing import ServerUnavailable, WeaviateServer, process

pytestmark = pytest.mark.server

UUID = "00000000-0000-4000-8000-000000000001"
SECONDS = 60.0


def rest(method, url, body=None):
    with requests.Session() as session:
        session.trust_env = False
        response = session.request(method, url, json=body, timeout=SECONDS)
    assert response.status_code < 300, response.text
    return response.json() if response.content else None


def write_one(url):
    rest("POST", f"{url}/v1/schema", {"class": "Thing", "properties": [{"name": "name", "dataType": ["text"]}]})
    rest(
        "POST",
        f"{url}/v1/objects",
        {"class": "Thing", "id": UUID, "properties": {"name": "x"}, "vector": [1, 2]},
    )


def read_one(url):
    return rest("GET", f"{url}/v1/objects/Thing/{UUID}")["properties"]


@pytest.fixture(autouse=True)
def own_server(monkeypatch):
    """These tests hurt the server: never one that somebody else runs."""
    monkeypatch.delenv("WEAVIATE_TEST_URL", raising=False)


def test_an_object_survives_a_kill_and_the_end_removes_everything():
    with WeaviateServer(environment={"AUTOSCHEMA_ENABLED": "false"}) as server:
        assert server.version.startswith("1.")
        assert server.urls == (server.url,)
        write_one(server.url)
        folder = server.data_path.parent
        url, grpc_url = server.url, server.grpc_url
        server.kill()
        with pytest.raises(requests.ConnectionError):
            read_one(url)
        server.restart()
        assert (server.url, server.grpc_url) == (url, grpc_url)
        assert read_one(url) == {"name": "x"}
        assert "panic" not in server.logs()
    assert not folder.exists()
    with pytest.raises(ServerUnavailable, match="is not running"):
        _ = server.url


def test_a_paused_server_answers_after_it_is_resumed():
    with WeaviateServer() as server:
        write_one(server.url)
        server.pause()
        answers = []
        reader = threading.Thread(target=lambda: answers.append(read_one(server.url)))
        reader.start()
        reader.join(0.3)
        assert answers == []
        server.resume()
        reader.join(SECONDS)
        assert answers == [{"name": "x"}]
        server.pause()  # and the end does not wait for a paused one


def test_given_data_are_kept_and_read_again_on_other_ports(tmp_path):
    with WeaviateServer(data_path=tmp_path / "data") as server:
        write_one(server.url)
        url = server.url
    with WeaviateServer(data_path=tmp_path / "data") as server:
        assert server.url != url
        assert read_one(server.url) == {"name": "x"}
        server.stop()
        server.restart()
        assert read_one(server.url) == {"name": "x"}


def test_a_port_taken_in_between_is_replaced_by_another(monkeypatch):
    taken = WeaviateServer()
    with taken:
        first = process.free_ports()
        rest_port, grpc_port = (int(url.rsplit(":", 1)[1]) for url in (taken.url, taken.grpc_url))
        choices = [first._replace(rest=rest_port), process.free_ports()._replace(grpc=grpc_port)]
        choose = process.free_ports
        monkeypatch.setattr(process, "free_ports", lambda *given: choices.pop(0) if choices else choose(*given))
        with WeaviateServer() as server:
            assert choices == []
            assert server.url != taken.url and server.grpc_url != taken.grpc_url
            assert rest("GET", f"{server.url}/v1/meta")["hostname"] == server.url


def test_a_given_port_that_is_taken_is_an_error_that_says_so(monkeypatch):
    monkeypatch.setattr(sys.modules[WeaviateServer.__module__], "_PORT_TRIES", 1)
    with WeaviateServer() as taken:
        port = int(taken.url.rsplit(":", 1)[1])
        with pytest.raises(ServerUnavailable, match=f"did not start: .*{port}.*address already in use"):
            WeaviateServer(port=port).start()


def test_settings_that_the_server_refuses_are_in_the_error():
    with pytest.raises(ServerUnavailable, match=r"did not start: .*QUERY_DEFAULTS_LIMIT"):
        WeaviateServer(environment={"QUERY_DEFAULTS_LIMIT": "many"}).start()


def test_three_nodes_share_what_is_written():
    with WeaviateServer(nodes=3) as server:
        assert len(set(server.urls)) == len(set(server.grpc_urls)) == 3
        body = {
            "class": "Thing",
            "properties": [{"name": "name", "dataType": ["text"]}],
            "replicationConfig": {"factor": 3},
        }
        rest("POST", f"{server.url}/v1/schema", body)
        body = {"class": "Thing", "id": UUID, "properties": {"name": "x"}}
        rest("POST", f"{server.url}/v1/objects?consistency_level=ALL", body)
        server.kill(2)
        assert read_one(server.urls[1]) == {"name": "x"}
        server.restart(2)
        assert read_one(server.urls[2]) == {"name": "x"}
        with pytest.raises(IndexError, match="there is no node 3"):
            server.kill(3)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a process with its parent")
def test_a_killed_test_run_leaves_no_server_behind():
    script = (
        "import sys, threading\n"
        "from weaviate_io.testing import WeaviateServer\n"
        "server = WeaviateServer()\n"
        "starter = threading.Thread(target=server.start)\n"
        "starter.start(); starter.join()\n"
        "print(server._nodes[0]._process.pid, server.data_path.parent, flush=True)\n"
        "sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", script]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
        pid, folder = parent.stdout.readline().split()
        server = os.pidfd_open(int(pid))  # it runs, although the thread that started it has ended
        assert select.select([server], [], [], 0)[0] == []
        parent.kill()
    ended, _, _ = select.select([server], [], [], SECONDS)
    os.close(server)
    shutil.rmtree(folder)
    assert ended


@contextlib.contextmanager
def terminated(process: subprocess.Popen[str]) -> Iterator[None]:
    """Ends the process where a test fails, lest the test waits for it for ever."""
    try:
        yield
    finally:
        process.terminate()


def test_the_command_runs_a_server_until_it_is_interrupted():
    command = [sys.executable, "-m", "weaviate_io.testing", "start", "--env", "AUTOSCHEMA_ENABLED=false"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running, terminated(running):
        assert "Ctrl-C ends it" in running.stdout.readline()
        url = running.stdout.readline().split()[0].removeprefix("url=")
        assert "version" in rest("GET", f"{url}/v1/meta")
        running.send_signal(signal.SIGINT)
        assert running.wait(SECONDS) == 0
    with pytest.raises(requests.ConnectionError):
        rest("GET", f"{url}/v1/meta")
