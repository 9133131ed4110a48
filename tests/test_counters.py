"""The line of progress: drawn and cleared on a terminal, absent elsewhere."""

from __future__ import annotations

import io
import os
import pty
import select
import sys
from collections.abc import Iterator
from typing import TextIO

import pytest

from weaviate_io.counters import JobStopped, ProcessTotals, TerminalProgress, process_totals

SECONDS = 60
"""Until a text that does not come is a failure."""


@pytest.fixture
def terminal() -> Iterator[tuple[TextIO, int]]:
    """A stream into a terminal, and the file descriptor where its characters come out."""
    outside, inside = pty.openpty()
    with os.fdopen(inside, "w") as stream:
        yield stream, outside
    os.close(outside)


def read_until(descriptor: int, text: bytes) -> bytes:
    """What comes out of a terminal, up to and with a text."""
    found = b""
    while text not in found:
        assert select.select([descriptor], [], [], SECONDS)[0], found
        found += os.read(descriptor, 1000)
    return found


def test_a_terminal_shows_the_line_and_clears_it(terminal: tuple[TextIO, int]) -> None:
    stream, outside = terminal
    with TerminalProgress(total_bytes=100, stream=stream):
        process_totals.written += 7
        process_totals.bytes_read += 50
        shown = read_until(outside, b"of the input read")
    assert b"\r7 written, 0 failed, " in shown
    assert b", 50% of the input read" in shown
    assert read_until(outside, b"\r\x1b[K").endswith(b"\r\x1b[K")


def test_the_line_is_cut_to_the_width_of_the_terminal(
    terminal: tuple[TextIO, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    stream, outside = terminal
    with TerminalProgress(total_bytes=100, stream=stream):
        shown = read_until(outside, b"\x1b[K")
    assert len(shown.removeprefix(b"\r").removesuffix(b"\x1b[K")) == 19


def test_a_pipe_shows_nothing() -> None:
    stream = io.StringIO()
    with TerminalProgress(total_bytes=100, stream=stream) as progress:
        assert not progress._thread.is_alive()
    assert stream.getvalue() == ""


def test_the_standard_error_of_the_moment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    assert TerminalProgress(None)._stream is stream


def test_input_of_unknown_size_has_no_share(terminal: tuple[TextIO, int]) -> None:
    stream, outside = terminal
    with TerminalProgress(total_bytes=None, stream=stream):
        shown = read_until(outside, b"/s\x1b[K")
    assert b"%" not in shown


def test_a_stopped_job_does_not_go_on() -> None:
    totals = ProcessTotals()
    totals.go_on()
    totals.stopped = True
    with pytest.raises(JobStopped):
        totals.go_on()
