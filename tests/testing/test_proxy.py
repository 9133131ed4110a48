"""The proxy passes bytes, and breaks connections as its switches say."""

from __future__ import annotations

import contextlib
import socket
import threading

import pytest

from tests.ports import silent_port
from weaviate_io.testing import FaultProxy

SECONDS = 30.0


class EchoServer:
    """Sends every byte back; ``received`` is what came in."""

    def __init__(self) -> None:
        self.received = bytearray()
        self.arrived = threading.Condition()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._echo, args=(connection,), daemon=True).start()

    def _echo(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            while data := connection.recv(65536):
                with self.arrived:
                    self.received += data
                    self.arrived.notify_all()
                connection.sendall(data)

    def wait_for(self, size: int) -> None:
        with self.arrived:
            assert self.arrived.wait_for(lambda: len(self.received) >= size, SECONDS)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


@pytest.fixture
def server():
    server = EchoServer()
    yield server
    server.close()


@pytest.fixture
def proxy(server):
    with FaultProxy(server.address) as proxy:
        yield proxy


def connect(proxy):
    host, port = proxy.address.split(":")
    return socket.create_connection((host, int(port)), timeout=SECONDS)


def read(client, size):
    data = b""
    while len(data) < size and (more := client.recv(65536)):
        data += more
    return data


def test_bytes_pass_both_ways_and_are_counted(proxy):
    data = bytes(range(256)) * 4000
    with connect(proxy) as client:
        sender = threading.Thread(target=client.sendall, args=(data,))
        sender.start()
        assert read(client, len(data)) == data
        sender.join()
    assert (proxy.connections, proxy.bytes_up, proxy.bytes_down) == (1, len(data), len(data))


def test_the_end_of_one_direction_is_passed_on(proxy):
    with connect(proxy) as client:
        client.sendall(b"last")
        client.shutdown(socket.SHUT_WR)
        assert read(client, 5) == b"last"


def test_slow_networks_lose_nothing(proxy):
    proxy.latency, proxy.bandwidth = 0.01, 1_000_000
    with connect(proxy) as client:
        client.sendall(b"x" * 10_000)
        assert read(client, 10_000) == b"x" * 10_000


def test_a_black_hole_swallows_everything_and_stays_open(proxy, server):
    with connect(proxy) as client:
        proxy.mode = "blackhole"
        client.sendall(b"lost")
        client.settimeout(0.1)
        with pytest.raises(TimeoutError):
            client.recv(1)
        client.sendall(b"lost too")
    assert server.received == b""


def test_replies_can_vanish_after_the_server_got_the_request(proxy, server):
    proxy.swallow_replies = True
    with connect(proxy) as client:
        client.sendall(b"hello")
        server.wait_for(5)
        client.settimeout(0.1)
        with pytest.raises(TimeoutError):
            client.recv(1)


def test_a_reset_can_take_the_place_of_the_reply(proxy, server):
    proxy.reset_replies = True
    with connect(proxy) as client:
        client.sendall(b"hello")
        with pytest.raises(ConnectionResetError):
            client.recv(1)
    assert server.received == b"hello"


def test_a_connection_is_reset_after_so_many_bytes(proxy, server):
    proxy.reset_after = 1000
    with connect(proxy) as client:
        client.sendall(b"x" * 600)
        assert read(client, 600) == b"x" * 600
        client.sendall(b"y" * 600)
        with pytest.raises(ConnectionResetError):
            while client.recv(65536):
                pass
    assert len(server.received) <= 1000


def test_reset_all_cuts_open_connections_and_new_ones_work(proxy):
    with connect(proxy) as first, connect(proxy) as second:
        for client in (first, second):
            client.sendall(b"a")
            assert read(client, 1) == b"a"
        proxy.reset_all()
        for client in (first, second):
            with pytest.raises(ConnectionResetError):
                client.recv(1)
    with connect(proxy) as client:
        client.sendall(b"again")
        assert read(client, 5) == b"again"


def test_a_server_that_is_not_there_is_a_reset():
    with (
        FaultProxy(f"127.0.0.1:{silent_port()}") as proxy,
        connect(proxy) as client,
        pytest.raises(ConnectionResetError),
    ):
        client.recv(1)


def test_closing_ends_every_thread_even_if_nobody_reads(server):
    before = set(threading.enumerate())
    with FaultProxy(server.address) as proxy:
        stuck, idle = connect(proxy), connect(proxy)
        stuck.settimeout(0.1)
        with pytest.raises(TimeoutError):  # the echo comes back until all buffers are full
            while True:
                stuck.send(b"x" * 65536)
    names = {thread.name for thread in set(threading.enumerate()) - before}
    assert "fault-proxy" not in names
    stuck.close()
    idle.close()


def test_a_target_without_port_is_refused():
    with pytest.raises(ValueError, match="host:port, not 'localhost'"):
        FaultProxy("localhost")
