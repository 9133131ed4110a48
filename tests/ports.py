"""Ports for tests that run beside others."""

from __future__ import annotations

import socket

_kept: list[socket.socket] = []


def silent_port() -> int:
    """A port of 127.0.0.1 where nobody listens: it stays bound, so that no other process gets it."""
    taken = socket.socket()
    taken.bind(("127.0.0.1", 0))
    _kept.append(taken)
    return taken.getsockname()[1]
