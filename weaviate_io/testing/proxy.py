"""A TCP proxy that behaves like a bad network: slow, silent, or cut at a chosen place.

It knows no protocol. For faults that a server itself answers with, see ``faults.py``.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading

_CHUNK = 65536
_SEND_SECONDS = 0.5  # how late a thread that cannot send notices that its connection was cut
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class FaultProxy:
    """Forward the connections of a loopback port to a server, with faults, as a context manager.

    Args:
      target: ``host:port`` of the server, such as a ``grpc_url``.

    Attributes, the switches of which may be changed at any time:
      address: ``127.0.0.1:port`` to connect to.
      mode: ``"pass"``, or ``"blackhole"``: bytes of both directions vanish and connections stay open.
      latency: seconds that every piece of at most 64 KiB waits, in each direction.
      bandwidth: bytes a second in each direction of a connection; ``None`` is unlimited.
      reset_after: reset a connection (RST) once it has carried this many bytes to the server; ``None`` never.
      swallow_replies: the server's bytes vanish.
      reset_replies: reset the connection in place of the server's next bytes.
      connections: how many were accepted.
      bytes_up, bytes_down: bytes received from clients, and from the server.

    >>> from weaviate_io.testing import FakeWeaviate
    >>> with FakeWeaviate() as fake, FaultProxy(fake.grpc_url) as proxy:
    ...     proxy.latency = 0.05  # give proxy.address to the client in place of fake.grpc_url
    """

    def __init__(self, target: str) -> None:
        host, _, port = target.rpartition(":")
        if not host or not port.isdigit():
            raise ValueError(f"the target of a proxy is host:port, not {target!r}")
        self.mode = "pass"
        self.latency = 0.0
        self.bandwidth: float | None = None
        self.reset_after: int | None = None
        self.swallow_replies = False
        self.reset_replies = False
        self.connections = 0
        self.bytes_up = 0
        self.bytes_down = 0
        self.address = ""
        self._target = (host.strip("[]"), int(port))
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._links: set[_Link] = set()
        self._threads: set[threading.Thread] = set()

    def __enter__(self) -> FaultProxy:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> None:
        """Listen."""
        self._closed.clear()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._spawn(self._accept)

    def close(self) -> None:
        """Close all connections and end all threads."""
        self._closed.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for link in self._current_links():
            link.cut()
        while True:
            with self._lock:
                left = next(iter(self._threads), None)
            if left is None:
                return
            left.join()

    def reset_all(self) -> None:
        """Reset (RST) every open connection, on both sides."""
        for link in self._current_links():
            link.cut(reset=True)

    def _current_links(self) -> list[_Link]:
        with self._lock:
            return list(self._links)

    def _spawn(self, target: object, *arguments: object) -> None:
        def run() -> None:
            try:
                target(*arguments)  # type: ignore[operator]
            finally:
                with self._lock:
                    self._threads.discard(thread)

        thread = threading.Thread(target=run, name="fault-proxy", daemon=True)
        with self._lock:
            self._threads.add(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._closed.is_set():
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._spawn(self._connect, client)

    def _connect(self, client: socket.socket) -> None:
        try:
            server = socket.create_connection(self._target, timeout=10)
        except OSError:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            client.close()
            return
        link = _Link(client, server)
        with self._lock:
            self._links.add(link)
        if self._closed.is_set():
            link.cut()
        self._spawn(self._pump, link, True)
        self._pump(link, False)

    def _pump(self, link: _Link, up: bool) -> None:
        source, sink = (link.client, link.server) if up else (link.server, link.client)
        try:
            while not link.gone.is_set():
                try:
                    data = source.recv(_CHUNK)
                except TimeoutError:
                    continue
                if data:
                    self._forward(link, up, data, sink)
                elif not link.gone.is_set():
                    sink.shutdown(socket.SHUT_WR)
                    break
        except OSError:
            link.cut()
        finally:
            if link.leave():
                with self._lock:
                    self._links.discard(link)

    def _forward(self, link: _Link, up: bool, data: bytes, sink: socket.socket) -> None:
        """Pass one piece on, as the switches say."""
        with self._lock:
            if up:
                self.bytes_up += len(data)
                link.up += len(data)
            else:
                self.bytes_down += len(data)
        if self.mode == "blackhole" or (not up and self.swallow_replies):
            return
        if not up and self.reset_replies:
            link.cut(reset=True)
            return
        limit = self.reset_after if up else None
        reset = limit is not None and link.up > limit
        if limit is not None and reset:
            data = data[: max(0, len(data) - (link.up - limit))]
        delay = self.latency + (len(data) / self.bandwidth if self.bandwidth else 0)
        if delay:
            link.gone.wait(delay)
        link.send(sink, data)
        if reset:
            link.cut(reset=True)


class _Link:
    """The two sockets of one connection. They are closed once both directions have ended."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.client = client
        self.server = server
        self.up = 0
        self.gone = threading.Event()
        self._lock = threading.Lock()
        self._directions = 2
        client.settimeout(_SEND_SECONDS)
        server.settimeout(_SEND_SECONDS)

    def send(self, sink: socket.socket, data: bytes) -> None:
        """Send all of it, unless the connection is cut in the meantime."""
        left = memoryview(data)
        while left and not self.gone.is_set():
            with contextlib.suppress(TimeoutError):
                left = left[sink.send(left) :]

    def cut(self, reset: bool = False) -> None:
        """End both directions now; their threads wake up."""
        self.gone.set()
        with self._lock:
            for end in (self.client, self.server):
                with contextlib.suppress(OSError):
                    if reset:
                        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
                    end.shutdown(socket.SHUT_RD if reset else socket.SHUT_RDWR)

    def leave(self) -> bool:
        """One direction has ended; whether it was the last."""
        with self._lock:
            self._directions -= 1
            if self._directions:
                return False
            self.client.close()
            self.server.close()
            return True
