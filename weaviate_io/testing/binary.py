"""Where the binary of a Weaviate server is: named in the environment, on PATH, or in the cache.

Nothing here runs a server (``process.py``) or fetches one (``install.py``, called when nothing is found).
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import NamedTuple

DEFAULT_VERSION = "1.39.3"


class ServerUnavailable(RuntimeError):
    """No Weaviate server could be had or started; the message says why and what to install."""


class Binary(NamedTuple):
    """A server binary: its path, who named it, and the version it must have (``None``: any will do)."""

    path: Path
    origin: str
    version: str | None


def cache_folder() -> Path:
    """The folder of installed servers: ``WEAVIATE_IO_CACHE``, else ``~/.cache/weaviate-io``."""
    return Path(os.environ.get("WEAVIATE_IO_CACHE") or Path.home() / ".cache" / "weaviate-io")


def cached_path(version: str) -> Path:
    """Where the binary of a version is, or will be once it is installed.

    >>> cached_path("1.39.3").parts[-3:]
    ('servers', '1.39.3', 'weaviate-server')
    """
    return cache_folder() / "servers" / version / "weaviate-server"


def find_binary(version: str | None = None) -> Binary | None:
    """Look for a server that is on this machine already; installs and starts nothing.

    Args:
      version: the version asked for, such as ``"1.39.3"``; ``None`` takes what is found. A binary named by
        ``WEAVIATE_BINARY`` is taken whatever its version.

    Returns:
      The binary, or ``None``.

    Raises:
      ServerUnavailable: ``WEAVIATE_BINARY`` names something that cannot be executed.

    >>> found = find_binary()
    >>> found is None or found.path.exists()
    True
    """
    named = os.environ.get("WEAVIATE_BINARY")
    if named:
        path = shutil.which(named)
        if path is None:
            raise ServerUnavailable(
                f"WEAVIATE_BINARY is {named!r}, not an executable file: correct or unset it"
            )
        return Binary(Path(path).resolve(), "WEAVIATE_BINARY", None)
    for name in ("weaviate-server", "weaviate"):
        path = shutil.which(name)
        if path is not None:
            return Binary(Path(path).resolve(), "PATH", version)
    cached = cached_path(version or DEFAULT_VERSION)
    if os.access(cached, os.X_OK):
        return Binary(cached, "the cache", version or DEFAULT_VERSION)
    return None
