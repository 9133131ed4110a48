"""Secrets by reference: resolved where they are used, never part of a job graph, a log or a repr."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from typing import Any
from uuid import uuid4

from weaviate_io.errors import WeaviateError

_ENVIRONMENT = "env:"


class Secret:
    """A secret that is known by where to find it.

    Args:
      source: ``"env:NAME"`` for an environment variable of the worker, a function without arguments, an object
        with ``get_secret_bytes()`` such as ``beam.Secret``, or the secret itself, which is accepted with a
        warning, since it becomes part of the job.
      warn: whether to warn; headers that hold no key need none.

    >>> Secret("env:WEAVIATE_API_KEY")
    Secret('env:WEAVIATE_API_KEY')
    """

    def __init__(self, source: Any, warn: bool = True) -> None:
        if not (isinstance(source, str) or callable(source) or hasattr(source, "get_secret_bytes")):
            raise TypeError(
                f"a secret is 'env:NAME', a function or a beam.Secret, not a {type(source).__name__}"
            )
        if warn and isinstance(source, str) and not source.startswith(_ENVIRONMENT):
            warnings.warn(
                "a literal secret becomes part of the job; give 'env:NAME', a function or a beam.Secret instead",
                stacklevel=4,
            )
        if source == _ENVIRONMENT:
            raise ValueError("'env:' names no variable; write it as 'env:NAME'")
        self._source: str | Callable[[], Any] | Any = source
        # Copies of one function or beam.Secret, which each unpickling makes, are equal by this.
        self._identity = uuid4().hex

    def resolve(self) -> str:
        """The secret itself, without white space around it; on the worker only."""
        source = self._source
        if isinstance(source, str):
            return (_from_environment(source) if source.startswith(_ENVIRONMENT) else source).strip()
        value = source.get_secret_bytes() if hasattr(source, "get_secret_bytes") else source()
        text = value.decode() if isinstance(value, bytes) else value
        if not isinstance(text, str) or not text.strip():
            found = "nothing" if not text else f"a {type(text).__name__}"
            raise WeaviateError(f"the source of a secret gave {found}; it has to give text or bytes")
        return text.strip()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return self._identity == other._identity or bool(self._source == other._source)

    def __hash__(self) -> int:
        return hash(self._source) if isinstance(self._source, str) else hash(Secret)

    def __repr__(self) -> str:
        source = self._source
        shown = source if isinstance(source, str) and source.startswith(_ENVIRONMENT) else "***"
        return f"Secret({shown!r})"


def _from_environment(source: str) -> str:
    name = source.removeprefix(_ENVIRONMENT)
    value = os.environ.get(name)
    if not value:
        raise WeaviateError(
            f"{name} is not set on this worker; on Dataflow use beam.Secret or a custom container"
        )
    return value
