"""Where the server comes from, in which order, and what is said when it cannot be had."""

from __future__ import annotations

import hashlib
import io
import tarfile
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from weaviate_io.testing import FakeWeaviate, ServerUnavailable, WeaviateServer, install
from weaviate_io.testing.__main__ import main
from weaviate_io.testing.binary import cached_path, find_binary
from weaviate_io.testing.process import telling_lines


@pytest.fixture(autouse=True)
def bare_machine(monkeypatch, tmp_path):
    """No server, Docker or Go anywhere, and no release archive to be reached."""
    for name in ("URL", "GRPC_URL", "ALLOW_REMOTE"):
        monkeypatch.delenv(f"WEAVIATE_TEST_{name}", raising=False)
    monkeypatch.delenv("WEAVIATE_BINARY", raising=False)
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("WEAVIATE_IO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(install, "RELEASES", "http://127.0.0.1:9")


def executable(path: Path, text: str = "exit 1") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def test_nothing_is_found_on_a_bare_machine():
    assert find_binary() is None


def test_the_environment_comes_before_path_before_the_cache(monkeypatch, tmp_path):
    cached = executable(cached_path("1.39.3"))
    assert find_binary("1.39.3")[:2] == (cached, "the cache")
    on_path = executable(tmp_path / "bin" / "weaviate")
    assert find_binary("1.39.3") == (on_path, "PATH", "1.39.3")
    named = executable(tmp_path / "mine")
    monkeypatch.setenv("WEAVIATE_BINARY", str(named))
    assert find_binary("1.39.3") == (named, "WEAVIATE_BINARY", None)


def test_the_cache_is_kept_by_version():
    executable(cached_path("1.39.0"))
    assert find_binary("1.39.3") is None
    assert find_binary("1.39.0").version == "1.39.0"


def test_a_named_binary_that_cannot_run_is_an_error(monkeypatch):
    monkeypatch.setenv("WEAVIATE_BINARY", "/nowhere/weaviate")
    with pytest.raises(ServerUnavailable, match="WEAVIATE_BINARY is '/nowhere/weaviate', not an executable"):
        WeaviateServer().start()


def test_when_nothing_can_be_had_one_line_says_what_to_install_and_why():
    with pytest.raises(ServerUnavailable) as caught:
        WeaviateServer().start()
    text = str(caught.value)
    assert "\n" not in text
    for part in (
        "install Docker, or Go 1.26 or later, or set WEAVIATE_BINARY",
        "WEAVIATE_TEST_URL",
        "no docker on PATH",
        "release archive: 127.0.0.1:9 cannot be reached",
        "go install: no go on PATH",
    ):
        assert part in text


def test_an_old_go_and_a_docker_without_engine_are_named(tmp_path):
    executable(tmp_path / "bin" / "go", "echo go1.22.1")
    executable(tmp_path / "bin" / "docker")
    with pytest.raises(
        ServerUnavailable, match=r"no Docker engine runs.* is go1.22.1, 1.26 or later is needed"
    ):
        WeaviateServer().start()


def test_a_failed_build_says_its_last_line(tmp_path):
    script = 'if [ "$1" = env ]; then echo go1.26.0; else echo "go: no such version" >&2; exit 1; fi'
    executable(tmp_path / "bin" / "go", script)
    with pytest.raises(ServerUnavailable, match="go install: exit code 1: go: no such version"):
        install.install_binary("1.39.3")
    assert [path.name for path in cached_path("1.39.3").parent.iterdir()] == [".lock"]


def test_a_build_that_stalls_is_begun_again_once(monkeypatch, tmp_path):
    monkeypatch.setattr(install, "STALL_SECONDS", 0.5)
    script = (
        'if [ "$1" = env ]; then echo go1.26.0; exit; fi\n'
        f"PATH=/usr/bin:/bin; echo begun >> {tmp_path}/begun; echo 'go: downloading x' >&2\n"
        f'if [ "$(wc -l < {tmp_path}/begun)" -lt "$TRIES" ]; then exec sleep 600; fi\n'
        'echo built > "$GOBIN/weaviate-server"'
    )
    executable(tmp_path / "bin" / "go", script)
    monkeypatch.setenv("TRIES", "2")
    assert install.install_binary("1.39.3").read_text() == "built\n"
    monkeypatch.setenv("TRIES", "9")
    with pytest.raises(ServerUnavailable, match=r"nothing new for 0\.5 s after go: downloading x"):
        install.install_binary("1.39.2")
    assert (tmp_path / "begun").read_text().count("begun") == 4


def test_a_build_lands_in_the_cache(tmp_path, capsys):
    script = (
        'if [ "$1" = env ]; then echo go1.26.0; exit; fi\n'
        'for last; do :; done; echo "$GOTOOLCHAIN $CGO_ENABLED $last" > "$GOBIN/weaviate-server"'
    )
    executable(tmp_path / "bin" / "go", script)
    assert main(["install", "--version", "1.39.3"]) == 0
    path = cached_path("1.39.3")
    assert capsys.readouterr().out.strip() == str(path)
    assert path.read_text() == "local 0 github.com/weaviate/weaviate/cmd/weaviate-server@v1.39.3\n"
    assert find_binary("1.39.3").path == path


def test_only_one_process_installs_and_the_other_takes_its_result(monkeypatch, tmp_path):
    built = []
    started, go_on = threading.Event(), threading.Event()

    def build(version, folder, progress):
        built.append(version)
        started.set()
        assert go_on.wait(30)
        return executable(folder / "built")

    monkeypatch.setattr(install, "_from_archive", build)
    threads = [threading.Thread(target=install.install_binary, args=("1.39.3",)) for _ in range(2)]
    for thread in threads:
        thread.start()
    assert started.wait(30)
    go_on.set()
    for thread in threads:
        thread.join(30)
    assert built == ["1.39.3"]


class _Files(BaseHTTPRequestHandler):
    files: ClassVar[dict[str, bytes]] = {}

    def do_GET(self):
        data = self.files.get(self.path.rsplit("/", 1)[1])
        self.send_response(404 if data is None else 200)
        self.end_headers()
        self.wfile.write(data or b"")

    def log_message(self, *_):
        pass


@pytest.fixture
def releases(monkeypatch):
    """A web server with release files, filled by the test."""
    monkeypatch.setattr(install.platform, "system", lambda: "Linux")
    monkeypatch.setattr(install.platform, "machine", lambda: "x86_64")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    server = HTTPServer(("127.0.0.1", 0), _Files)
    monkeypatch.setattr(install, "RELEASES", f"http://127.0.0.1:{server.server_address[1]}")
    monkeypatch.setattr(_Files, "files", {})
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield _Files.files
    server.shutdown()
    thread.join()
    server.server_close()


def archive(name: str) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tarred:
        entry = tarfile.TarInfo(name)
        entry.size = 6
        tarred.addfile(entry, io.BytesIO(b"server"))
    return out.getvalue()


@pytest.mark.parametrize("checked", [True, False])
def test_a_release_archive_lands_in_the_cache(releases, checked):
    data = archive("./weaviate")
    releases["weaviate-v1.39.3-linux-amd64.tar.gz"] = data
    if checked:
        releases["weaviate-v1.39.3-linux-amd64.tar.gz.sha256"] = hashlib.sha256(data).hexdigest().encode()
    assert install.install_binary("1.39.3").read_bytes() == b"server"


def test_an_archive_that_is_not_what_its_checksum_says_is_refused(releases):
    releases["weaviate-v1.39.3-linux-amd64.tar.gz"] = archive("weaviate")
    releases["weaviate-v1.39.3-linux-amd64.tar.gz.sha256"] = b"0" * 64
    with pytest.raises(ServerUnavailable, match="its checksum file says otherwise"):
        install.install_binary("1.39.3")


def test_an_archive_without_server_is_refused(releases):
    releases["weaviate-v1.39.3-linux-amd64.tar.gz"] = archive("README.md")
    with pytest.raises(ServerUnavailable, match="has no server in it"):
        install.install_binary("1.39.3")


@pytest.mark.parametrize("version", ["latest", "../../1.39.3", "1.39"])
def test_what_is_no_version_is_refused(version):
    with pytest.raises(ServerUnavailable, match="is not the version of a Weaviate server"):
        install.install_binary(version)


def test_a_server_that_runs_is_used_and_left_alone(monkeypatch):
    with FakeWeaviate() as fake:
        monkeypatch.setenv("WEAVIATE_TEST_URL", fake.url)
        monkeypatch.setenv("WEAVIATE_TEST_GRPC_URL", fake.grpc_url)
        with WeaviateServer() as server:
            assert (server.url, server.grpc_url, server.version) == (fake.url, fake.grpc_url, fake.version)
            with pytest.raises(ServerUnavailable, match="was not started here and is left alone"):
                server.kill()


def test_a_server_that_runs_must_have_the_version_asked_for(monkeypatch):
    with FakeWeaviate(version="1.38.11") as fake:
        monkeypatch.setenv("WEAVIATE_TEST_URL", fake.url)
        with pytest.raises(ServerUnavailable, match=r"is Weaviate 1.38.11, 1.39.3 was asked for"):
            WeaviateServer(version="1.39.3").start()


@pytest.mark.parametrize(
    "special", [{"environment": {"A": "b"}}, {"nodes": 3}, {"data_path": "d"}, {"port": 1}, {"grpc_port": 1}]
)
def test_a_server_that_runs_is_not_used_when_special_things_are_asked_for(monkeypatch, special):
    monkeypatch.setenv("WEAVIATE_TEST_URL", "http://127.0.0.1:9")
    with pytest.raises(ServerUnavailable, match=r"no Weaviate 1.39.3 server to run"):
        WeaviateServer(**special).start()


@pytest.mark.parametrize("host", ["weaviate.example.com", "10.0.0.7", "localhost.example.com"])
def test_a_server_elsewhere_is_refused(monkeypatch, host):
    monkeypatch.setenv("WEAVIATE_TEST_URL", f"https://{host}")
    with pytest.raises(ServerUnavailable, match=r"not on this machine.*WEAVIATE_TEST_ALLOW_REMOTE=1"):
        WeaviateServer().start()


@pytest.mark.parametrize(
    "url, words", [("localhost:8080", "not like http"), ("http://127.0.0.1:9", "no Weaviate answers")]
)
def test_a_wrong_address_is_an_error(monkeypatch, url, words):
    monkeypatch.setenv("WEAVIATE_TEST_URL", url)
    with pytest.raises(ServerUnavailable, match=words):
        WeaviateServer().start()


def test_two_nodes_are_refused():
    with pytest.raises(ValueError, match="1 or 3 nodes, not 2"):
        WeaviateServer(nodes=2)


def test_a_server_that_was_not_started_has_no_address():
    with pytest.raises(ServerUnavailable, match="is not running"):
        _ = WeaviateServer().url


def test_a_binary_that_ends_at_once_tells_its_last_words(monkeypatch, tmp_path):
    monkeypatch.setenv("WEAVIATE_BINARY", str(executable(tmp_path / "mine", "echo no disk; exit 7")))
    with pytest.raises(ServerUnavailable, match="did not start: ended with exit code 7: no disk"):
        WeaviateServer().start()


def test_the_command_fails_in_one_line(capsys):
    assert main(["start"]) == 1
    assert capsys.readouterr().err.splitlines()[-1].startswith("error: no Weaviate 1.39.3 server to run")


def test_telling_lines_prefer_errors():
    output = '{"level":"error","msg":"bad","error":"why"}\n{"level":"info","msg":"fine"}\npanic: oh\n'
    assert telling_lines(output) == "bad: why | panic: oh"
    assert telling_lines("") == "it said nothing"
