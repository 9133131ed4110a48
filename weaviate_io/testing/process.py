"""One node of a Weaviate server as a process of this machine: its ports, its environment, its signals.

Which binary it is, is the matter of ``binary.py``; how nodes make a server, of ``server.py``.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from weaviate_io.testing.binary import ServerUnavailable

STOP_SECONDS = 90
LOOPBACK = "127.0.0.1"

COMMON_ENVIRONMENT = {
    "AUTHENTICATION_ANONYMOUS_ACCESS_ENABLED": "true",
    "DEFAULT_VECTORIZER_MODULE": "none",
    "ENABLE_MODULES": "text2vec-bigram",
    "API_BASED_MODULES_DISABLED": "true",
    "DISABLE_TELEMETRY": "true",
    "GO_PROFILING_DISABLE": "true",
    "DISK_USE_READONLY_PERCENTAGE": "100",
    "DISK_USE_WARNING_PERCENTAGE": "100",
    "LOG_LEVEL": "warning",
}

# A single node need not wait for others to be elected leader: 3 s to be ready instead of 9.
ALONE = {"RAFT_TIMEOUTS_MULTIPLIER": "1"}

# Asks the kernel for SIGKILL when the parent goes, then becomes the server: a killed test run leaves nothing
# behind. Not a preexec_fn: forking a process that has gRPC threads is not safe. The parent is read again
# afterwards, since it may have gone in between.
_DIE_WITH_PARENT = """
import ctypes, os, sys
try:
    ctypes.CDLL(None).prctl(1, 9)
except (OSError, AttributeError):
    pass
if os.getppid() != int(sys.argv[1]):
    sys.exit(1)
os.execv(sys.argv[2], sys.argv[2:])
"""


class Ports(NamedTuple):
    """The ports of one node; cluster data is at ``gossip + 1`` and Raft's calls at ``raft + 1``."""

    rest: int
    grpc: int
    gossip: int
    raft: int


def _is_free(port: int) -> bool:
    """Whether both TCP and UDP (gossip) can be had on all interfaces."""
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with socket.socket(socket.AF_INET, kind) as probe:
            if kind == socket.SOCK_STREAM:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("", port))
            except OSError:
                return False
    return True


def _reserve(first: int) -> bool:
    """Keep other processes from choosing these ports as long as this one lives, also while its server is down."""
    folder = Path(tempfile.gettempdir()) / "weaviate-io-ports"
    folder.mkdir(mode=0o777, exist_ok=True)
    lock = os.open(folder / str(first), os.O_CREAT | os.O_RDWR, 0o666)  # held until the process ends
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        return False
    return True


def free_ports(rest: int | None = None, grpc: int | None = None) -> Ports:
    """Choose the ports of one node, from below the range that systems hand out to outgoing connections.

    Args:
      rest: the REST port when it is given, taken as it is.
      grpc: the gRPC port when it is given, taken as it is.

    Raises:
      ServerUnavailable: no free ports were found.

    >>> free_ports(rest=8080).rest
    8080
    """
    for _ in range(200):
        first = random.randrange(20000, 32000, 6)
        if all(_is_free(port) for port in range(first, first + 6)) and _reserve(first):
            return Ports(rest or first, grpc or first + 1, first + 2, first + 4)
    raise ServerUnavailable("no six free ports in a row between 20000 and 32000 on this machine")


def node_environment(
    index: int, ports: Sequence[Ports], data_path: Path, extra: Mapping[str, str]
) -> dict[str, str]:
    """The whole environment of one node; the caller's own is left out, lest its settings change the server.

    Args:
      index: which node it is, from 0.
      ports: the ports of all nodes.
      data_path: the folder of this node's data.
      extra: settings of the caller, which win.

    >>> node_environment(0, [Ports(1, 2, 3, 5)], Path("data"), {})["RAFT_JOIN"]
    'node1:5'
    """
    mine = ports[index]
    environment = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
    environment |= COMMON_ENVIRONMENT
    environment |= {
        "PERSISTENCE_DATA_PATH": str(data_path),
        "GRPC_PORT": str(mine.grpc),
        "CLUSTER_HOSTNAME": f"node{index + 1}",
        "CLUSTER_IN_LOCALHOST": "true",
        "CLUSTER_ADVERTISE_ADDR": LOOPBACK,
        "CLUSTER_BIND_ADDR": LOOPBACK,
        "CLUSTER_GOSSIP_BIND_PORT": str(mine.gossip),
        "CLUSTER_DATA_BIND_PORT": str(mine.gossip + 1),
        "RAFT_PORT": str(mine.raft),
        "RAFT_INTERNAL_RPC_PORT": str(mine.raft + 1),
        "RAFT_BOOTSTRAP_EXPECT": str(len(ports)),
        "RAFT_JOIN": ",".join(f"node{n + 1}:{other.raft}" for n, other in enumerate(ports)),
    }
    if len(ports) == 1:
        environment |= ALONE
    # The first one too: started again, it would know no other, and take a quorum of itself alone for enough.
    others = [f"{LOOPBACK}:{other.gossip}" for other in ports if other is not mine]
    if others:
        environment["CLUSTER_JOIN"] = ",".join(others)
    return environment | dict(extra)


@functools.lru_cache(maxsize=1)
def _launcher(pid: int) -> ThreadPoolExecutor:
    """A thread that lives as long as this process: children die with the *thread* that started them."""
    return ThreadPoolExecutor(1, thread_name_prefix="weaviate-io-launcher")


PORT_TAKEN = "address already in use"
"""What a server says in its log whose port another process has."""


class PortTaken(Exception):
    """Another process listens where a node should."""


class ProcessNode:
    """A node that runs a binary.

    Args:
      binary: the path of the executable.
      ports: where it listens.
      environment: the whole environment of the process.
      log_path: the file that gets its output; appended to.
    """

    def __init__(self, binary: Path, ports: Ports, environment: Mapping[str, str], log_path: Path) -> None:
        self.url = f"http://{LOOPBACK}:{ports.rest}"
        self.grpc_url = f"{LOOPBACK}:{ports.grpc}"
        self._command = [str(binary), "--host", LOOPBACK, "--port", str(ports.rest), "--scheme", "http"]
        self._environment = dict(environment)
        self._log_path = log_path
        self._log_start = 0
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the process; it is ready some seconds later. Raises :class:`PortTaken`."""
        # What answers there already would be taken for this node, which finds out only later.
        for address in (self.url.removeprefix("http://"), self.grpc_url):
            host, port = address.rsplit(":", 1)
            with contextlib.suppress(OSError):
                socket.create_connection((host, int(port)), timeout=2).close()
                raise PortTaken(f"{address}: {PORT_TAKEN}")
        Path(self._environment["PERSISTENCE_DATA_PATH"]).mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-I", "-S", "-c", _DIE_WITH_PARENT, str(os.getpid()), *self._command]
        with open(self._log_path, "ab") as log:
            self._log_start = log.tell()
            self._process = (
                _launcher(os.getpid())
                .submit(
                    subprocess.Popen,
                    command,
                    env=self._environment,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
                .result()
            )

    @property
    def pid(self) -> int | None:
        """Of the process, ``None`` before the first start."""
        return self._process.pid if self._process is not None else None

    def exit_code(self) -> int | None:
        """The exit code, ``None`` while it runs."""
        return self._process.poll() if self._process is not None else 0

    def _signal(self, number: int) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)

    def kill(self) -> None:
        """End it at once (SIGKILL)."""
        self._signal(signal.SIGKILL)
        if self._process is not None:
            self._process.wait(STOP_SECONDS)

    def stop(self) -> None:
        """End it in good order (SIGTERM), by SIGKILL when it has not ended after 90 s."""
        self.resume()
        self._signal(signal.SIGTERM)
        if self._process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(STOP_SECONDS)
        self.kill()

    def pause(self) -> None:
        """Stop it from answering (SIGSTOP), and wait until it has stopped; its connections stay open."""
        self._signal(signal.SIGSTOP)
        if self._process is None or not hasattr(os, "waitid"):
            return
        give_up = time.monotonic() + STOP_SECONDS  # a signal takes effect some time after
        states = os.WSTOPPED | os.WEXITED | os.WNOWAIT | os.WNOHANG
        while os.waitid(os.P_PID, self._process.pid, states) is None and time.monotonic() < give_up:
            time.sleep(0.01)

    def resume(self) -> None:
        """Let it go on after :meth:`pause`."""
        self._signal(signal.SIGCONT)

    def remove(self) -> None:
        """Nothing is left of a process that has ended."""
        self.kill()

    def output(self, limit: int = 65536) -> str:
        """The output since the last start: its last ``limit`` bytes as text."""
        if not self._log_path.exists():
            return ""
        with open(self._log_path, "rb") as log:
            end = log.seek(0, os.SEEK_END)
            log.seek(max(self._log_start, end - limit))
            return log.read().decode(errors="replace")


def telling_lines(output: str, count: int = 3) -> str:
    """The last lines of a server's output that say what went wrong, in one line of at most 600 characters.

    >>> telling_lines('{"level":"info","msg":"hello"}\\n{"level":"fatal","msg":"no disk","error":"EIO"}')
    'no disk: EIO'
    """
    bad: list[str] = []
    plain: list[str] = []
    for line in output.splitlines():
        try:
            entry = json.loads(line)
            text = ": ".join(str(entry[key]) for key in ("msg", "error") if entry.get(key))
            (bad if entry.get("level") in ("error", "fatal", "panic") else plain).append(text)
        except (ValueError, AttributeError):
            if line.strip():
                bad.append(line.strip())
    return " | ".join((bad or plain)[-count:])[-600:] or "it said nothing"
