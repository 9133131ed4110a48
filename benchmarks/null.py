"""A server in Go that takes everything and keeps nothing, so that only the client costs: built once, then run."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import time
from pathlib import Path
from types import TracebackType

import requests

from benchmarks.processes import cpu_seconds
from weaviate_io.testing.binary import cache_folder
from weaviate_io.testing.install import go_environment
from weaviate_io.testing.process import LOOPBACK, free_ports

_SOURCE = Path(__file__).parent / "null_server"
_READY_SECONDS = 20


def binary() -> Path:
    """The built server, kept in the cache under the hash of its source."""
    source = b"".join((_SOURCE / name).read_bytes() for name in ("main.go", "go.mod", "go.sum"))
    built = cache_folder() / f"null-server-{hashlib.sha256(source).hexdigest()[:12]}"
    if not built.exists():
        go = shutil.which("go")
        if go is None:
            raise SystemExit("the null server is written in Go: no go on PATH")
        built.parent.mkdir(parents=True, exist_ok=True)
        command = [go, "build", "-ldflags", "-s -w", "-o", str(built), "."]
        subprocess.run(command, cwd=_SOURCE, env=go_environment(), check=True)
    return built


class NullServer:
    """The server as a process: ``with NullServer() as server: ...``.

    Args:
      delay_ms: milliseconds that every answer takes, 0 for none.
    """

    def __init__(self, delay_ms: int = 0) -> None:
        ports = free_ports()
        self.url = f"http://{LOOPBACK}:{ports.rest}"
        self.grpc_url = f"{LOOPBACK}:{ports.grpc}"
        command = [str(binary()), "-rest", str(ports.rest), "-grpc", str(ports.grpc), "-delay", f"{delay_ms}ms"]
        self._process = subprocess.Popen(command)

    def __enter__(self) -> NullServer:
        give_up = time.monotonic() + _READY_SECONDS
        while True:
            try:
                requests.get(f"{self.url}/v1/.well-known/ready", timeout=1)
                return self
            except requests.ConnectionError:
                if time.monotonic() > give_up:
                    self._process.kill()
                    raise SystemExit(f"the null server is not ready after {_READY_SECONDS} s") from None
            time.sleep(0.05)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        self._process.wait(10)

    def cpu_seconds(self) -> float:
        """CPU that it has used so far."""
        return cpu_seconds(self._process.pid)

    def taken(self) -> dict[str, int]:
        """``requests`` of BatchObjects and their ``bytes``, ``searches``, ``checks`` of health, and of REST ``meta``
        and ``descriptions`` of collections."""
        return requests.get(f"{self.url}/count", timeout=10).json()
