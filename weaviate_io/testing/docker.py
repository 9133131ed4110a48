"""One node of a Weaviate server as a Docker container, through the ``docker`` command.

For machines with Docker and no server binary. A container makes a server of a single node.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from weaviate_io.testing.binary import ServerUnavailable
from weaviate_io.testing.process import ALONE, COMMON_ENVIRONMENT, LOOPBACK, STOP_SECONDS, Ports

IMAGE = "cr.weaviate.io/semitechnologies/weaviate"
_DATA = "/var/lib/weaviate"
_PULL_SECONDS = 900


def missing_docker() -> str | None:
    """Why no Docker engine can be used here, or ``None`` when one answers within 10 s."""
    docker = shutil.which("docker")
    if docker is None:
        return "no docker on PATH"
    try:
        shown = subprocess.run([docker, "info"], stdin=subprocess.DEVNULL, capture_output=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"docker info: {type(error).__name__}"
    return "no Docker engine runs" if shown.returncode else None


def _docker(*arguments: str, seconds: float = STOP_SECONDS) -> str:
    try:
        done = subprocess.run(
            ["docker", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=seconds,
        )
    except subprocess.TimeoutExpired:
        raise ServerUnavailable(f"docker {arguments[0]} did not end within {seconds:.0f} s") from None
    if done.returncode:
        last = done.stdout.strip().splitlines()[-1:] or ["no output"]
        raise ServerUnavailable(f"docker {arguments[0]}: {last[0]}")
    return done.stdout


class DockerNode:
    """A node that runs the official image.

    Args:
      version: the image's tag.
      ports: the loopback ports that REST and gRPC are published on.
      environment: settings of the caller, on top of those of every test server.
      data_path: the folder mounted as the server's data.
    """

    def __init__(self, version: str, ports: Ports, environment: Mapping[str, str], data_path: Path) -> None:
        self.url = f"http://{LOOPBACK}:{ports.rest}"
        self.grpc_url = f"{LOOPBACK}:{ports.grpc}"
        self._image = f"{IMAGE}:{version}"
        self._ports = ports
        self._data_path = data_path
        self._name = f"weaviate-io-{os.getpid()}-{ports.rest}"
        self._environment = {
            **COMMON_ENVIRONMENT,
            **ALONE,
            "PERSISTENCE_DATA_PATH": _DATA,
            "CLUSTER_HOSTNAME": "node1",
            "RAFT_BOOTSTRAP_EXPECT": "1",
            "RAFT_JOIN": "node1",
            **environment,
        }
        self._created = False
        self._paused = False

    def start(self) -> None:
        """Create the container, or start it again with the same data and ports."""
        if self._created:
            _docker("start", self._name)
            return
        self._data_path.mkdir(parents=True, exist_ok=True)
        settings = [word for key, value in self._environment.items() for word in ("--env", f"{key}={value}")]
        self._created = True
        _docker(
            *("run", "--detach", "--name", self._name),
            *("--user", f"{os.getuid()}:{os.getgid()}"),
            *("--publish", f"{LOOPBACK}:{self._ports.rest}:8080"),
            *("--publish", f"{LOOPBACK}:{self._ports.grpc}:50051"),
            *("--volume", f"{self._data_path.resolve()}:{_DATA}"),
            *settings,
            self._image,
            *("--host", "0.0.0.0", "--port", "8080", "--scheme", "http"),
            seconds=_PULL_SECONDS,
        )

    def exit_code(self) -> int | None:
        """The exit code, ``None`` while it runs."""
        shown = _docker("inspect", "--format", "{{.State.Running}} {{.State.ExitCode}}", self._name).split()
        return None if shown[0] == "true" else int(shown[1])

    def kill(self) -> None:
        """End it at once (SIGKILL)."""
        if self.exit_code() is None:
            _docker("kill", self._name)
            _docker("wait", self._name)

    def stop(self) -> None:
        """End it in good order (SIGTERM), by SIGKILL when it has not ended after 90 s."""
        if self._paused:
            self.resume()
        _docker("stop", "--time", str(STOP_SECONDS), self._name, seconds=STOP_SECONDS + 30)

    def pause(self) -> None:
        """Freeze it; its connections stay open."""
        _docker("pause", self._name)
        self._paused = True

    def resume(self) -> None:
        """Let it go on after :meth:`pause`."""
        _docker("unpause", self._name)
        self._paused = False

    def remove(self) -> None:
        """Remove the container, running or not."""
        if self._created:
            _docker("rm", "--force", "--volumes", self._name)
            self._created = False

    def output(self) -> str:
        """The end of the container's output."""
        return _docker("logs", "--tail", "200", self._name) if self._created else ""
