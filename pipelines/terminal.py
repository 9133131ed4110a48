"""How a job speaks on the terminal: in single lines, in the words of its options, without the runner's log."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from typing import Any

from weaviate_io import CheckWeaviate, WriteToWeaviate
from weaviate_io.counters import process_totals

_NO_OPTIONS = ("collection", "connection", "max_buffering_duration_secs", "on_failure", "return")
_OPTIONS = {
    "properties": "--map",
    "headers": "--header",
    "model_providers": "--model-provider",
    "client_secret": "--oidc-client-secret",
    "client_id": "--oidc-client-id",
    "scopes": "--oidc-scopes",
    **{
        name: f"--{name.replace('_', '-')}"
        for name in {**WriteToWeaviate.__init__.__annotations__, **CheckWeaviate.__init__.__annotations__}
        if name not in (*_NO_OPTIONS, "properties", "headers", "model_providers")
    },
}
_KEYWORD = re.compile(rf"(?<![\w-])({'|'.join(_OPTIONS)})=(?:'([^']*)'|(-?\w+))?")
_CLASS = re.compile(r"^[\w.]*(?:Error|Errors|Exception|Interrupt): ")
_ERRNO = re.compile(r"^\[Errno \d+\] ")
_LONGEST = 500  # characters of a line that quotes what somebody else wrote

STOPPING = "stopping once the requests in flight are answered; Ctrl-C again leaves at once"


def say(text: str) -> None:
    """Print a line on standard error, over the line of progress where there is one."""
    print(f"{_over_progress()}weaviate-io: {text}", file=sys.stderr, flush=True)


def in_options(text: str) -> str:
    """A text of the library in the words of the command line.

    >>> in_options("rename with properties=, or set unknown_properties='drop'")
    'rename with --map, or set --unknown-properties drop'
    """
    return _KEYWORD.sub(_option, text)


def lines(error: BaseException) -> list[str]:
    """What an error says, without the class, step and traceback that runners add to it: one line, indented ones after.

    >>> lines(RuntimeError("no file matches 'x' [while running 'Read/Match']"))
    ["no file matches 'x'"]
    """
    text = str(error).partition(" [while running")[0].strip() or type(error).__name__
    found = text.splitlines()
    if "Traceback (most recent call last)" in text:
        found = found[max(number for number, line in enumerate(found) if not line.startswith(" ")) :]
    told = [line for line in found[1:] if line.startswith(" ")]
    if not told:
        found[0] = " ".join(" ".join(found).split())
    found[0] = _ERRNO.sub("", _CLASS.sub("", found[0]))
    return [in_options(shorten(line)) for line in (found[0], *told)]


def shorten(text: str) -> str:
    """The text, or its beginning where it is too long for a line.

    >>> shorten("Dune")
    'Dune'
    """
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


@contextlib.contextmanager
def quiet(verbose: bool) -> Iterator[None]:
    """Keep the runner's log and the warnings of other packages from the terminal, unless they are asked for."""
    runner, failures = logging.getLogger("apache_beam"), logging.getLogger("weaviate_io.limits")
    levels = runner.level, failures.level
    handler = logging.StreamHandler()
    handler.setFormatter(_Formatter("%(message)s"))
    root = logging.getLogger()
    handlers, root.handlers = root.handlers, [handler]
    try:
        with warnings.catch_warnings():
            if not verbose:
                runner.setLevel(logging.CRITICAL)
                failures.setLevel(logging.ERROR)  # the summary has an example of every reason
                warnings.simplefilter("ignore")
                warnings.filterwarnings("always", category=UserWarning, module="weaviate_io|pipelines")
                warnings.showwarning = lambda message, *_: say(f"warning: {in_options(str(message))}")
            yield
    finally:
        root.handlers = handlers
        runner.setLevel(levels[0])
        failures.setLevel(levels[1])


@contextlib.contextmanager
def stoppable() -> Iterator[None]:
    """Ctrl-C while a job runs in this process: the first lets it stop where it reads, the second leaves at once.

    An interrupt raised anywhere could leave a request alone, whose objects would be stored but missing in the
    vector index.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(*_: Any) -> None:
        if process_totals.stopped:
            say("left at once; objects in flight may be missing in the vector index")
            os._exit(2)
        process_totals.stopped = True
        say(STOPPING)

    before = signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        process_totals.stopped = False


class _Formatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return f"{_over_progress()}{in_options(super().format(record))}"


def _option(match: re.Match[str]) -> str:
    value = match[2] or match[3]
    return _OPTIONS[match[1]] + (f" {value}" if value and value != "True" else "")


def _over_progress() -> str:
    return "\r\x1b[K" if sys.stderr.isatty() else ""
