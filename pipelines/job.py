"""What the jobs share: running a pipeline, turning errors into lines and exit codes, and saying what came of it."""

from __future__ import annotations

import argparse
import contextlib
import shutil
import sys
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import apache_beam as beam
from apache_beam.io.filesystems import FileSystems
from apache_beam.metrics import Metrics
from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions

from weaviate_io import FailedObject, WriteFailuresToJson
from weaviate_io.counters import NAMESPACE, JobStopped, TerminalProgress, counters, texts
from weaviate_io.limits import FailureLimit, Limit, TooManyErrors

from .arguments import Usage, beam_options, check_dead_letter, runs_here, to_type
from .terminal import in_options, lines, quiet, say, shorten, stoppable

ALL_WRITTEN, SOME_FAILED, COULD_NOT_RUN = 0, 1, 2
"""Exit codes of the jobs."""

_EXAMPLE = "example_"
_FIELD = "field_"
_UNREADABLE = "unreadable"


class Done(NamedTuple):
    """What a job's pipeline counted, an example of each reason to fail, and the seconds it took."""

    totals: dict[str, int]
    examples: dict[str, str]
    seconds: float


class Template(Exception):
    """The runner has written the graph of a job, to be launched by somebody else: nothing has run yet."""


def run(job: Callable[[Sequence[str]], int], argv: Sequence[str] | None) -> int:
    """Run a job's body; what it cannot do becomes one line and an exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    verbose = "--verbose" in words
    with quiet(verbose):
        try:
            return job(words)
        except Template:
            say("the graph of the job is written; nothing has run yet")
            return ALL_WRITTEN
        except (Exception, KeyboardInterrupt) as error:
            if _is(error, KeyboardInterrupt) or _is(error, JobStopped):
                say("stopped; run the same command again to go on, nothing is written twice")
                return COULD_NOT_RUN
            if verbose and not isinstance(error, Usage):
                raise
            say("\n".join(lines(error)))
            return SOME_FAILED if _is(error, TooManyErrors) else COULD_NOT_RUN


def _is(error: BaseException, kind: type[BaseException]) -> bool:
    # A runner with other processes gives the traceback as text.
    return isinstance(error, kind) or kind.__name__ in str(error)


def run_pipeline(
    build: Callable[[beam.Pipeline], Any],
    pipeline_args: Sequence[str],
    options: argparse.Namespace,
    total_bytes: int | None = None,
) -> Done:
    """Build and run a pipeline.

    Args:
      build: adds the steps to the pipeline.
      pipeline_args: words of the command line that are Beam's.
      options: the job's own.
      total_bytes: size of the input, for the progress shown.
    """
    chosen = beam_options(pipeline_args, options.verbose)
    if _is_far(chosen) and not options.dry_run and FileSystems.get_scheme(options.dead_letter) is None:
        raise Usage(
            f"--dead-letter {options.dead_letter} would be a folder of the workers, and lost with them; "
            "name one of a filesystem that stays, such as gs://bucket/failed"
        )
    pipeline = beam.Pipeline(options=chosen)
    build(pipeline)
    started = time.monotonic()
    with contextlib.ExitStack() as stack:
        if runs_here(chosen):
            stack.enter_context(stoppable())
            stack.enter_context(TerminalProgress(total_bytes))
        result = pipeline.run()
        if not getattr(result, "has_job", True):  # Dataflow's, which was asked for a template
            raise Template
        result.wait_until_finish()
    seconds = time.monotonic() - started
    examples = {
        name.removeprefix(_EXAMPLE): min(found)
        for name, found in texts(result).items()
        if name.startswith(_EXAMPLE) and found
    }
    return Done(counters(result), examples, seconds)


def _is_far(options: PipelineOptions) -> bool:
    """Whether the job's steps run on machines that are gone afterwards."""
    return "dataflow" in (options.view_as(StandardOptions).runner or "").lower()


class DeadLetter:
    """Where the failures of a job go: a folder, which is left as it was when nothing failed or the job did.

    Args:
      options: of the command line; a dry run writes nothing.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        self._write = None if options.dry_run else WriteFailuresToJson(options.dead_letter)
        self._folder = options.dead_letter
        self._max_errors = options.max_errors

    @property
    def files(self) -> str:
        """The pattern of the files of this run."""
        assert self._write is not None
        return self._write.pattern

    def take(self, *failed: beam.PCollection) -> None:
        """Count the failures, keep an example of each reason, and write them."""
        together = failed | "AllFailures" >> beam.Flatten()
        together | "Watch" >> beam.ParDo(_Watch(self._max_errors))
        if self._write is not None:
            together | "DeadLetter" >> self._write

    @contextlib.contextmanager
    def opened(self) -> Iterator[None]:
        """Check the folder, and remove what a pipeline leaves in it besides files."""
        if self._write is None:
            yield
            return
        check_dead_letter(self._folder)
        local = FileSystems.get_scheme(self._folder) is None
        folder = Path(self._folder)
        created = local and not folder.exists()
        try:
            yield
        finally:
            if local:
                for unfinished in folder.glob(f"beam-temp-{Path(self.files).name.removesuffix('*.jsonl')}*"):
                    shutil.rmtree(unfinished, ignore_errors=True)
            if created:
                with contextlib.suppress(OSError):  # it has files
                    folder.rmdir()


class _Watch(beam.DoFn):
    """Keeps an example of each reason, and stops the job above the limit, rows that cannot be read included."""

    def __init__(self, max_errors: int | None) -> None:
        self._name = uuid.uuid4().hex
        self._max_errors = max_errors
        self._known: set[str] = set()

    def process(self, failure: FailedObject) -> None:
        if failure.reason not in self._known:
            self._known.add(failure.reason)
            where = f"{failure.position}: " if failure.position else ""
            Metrics.string_set(NAMESPACE, _EXAMPLE + failure.reason).add(shorten(f"{where}{failure.error}"))
        if self._max_errors is not None:
            FailureLimit(self._name, Limit(self._max_errors)).failed(failure)


class SeeFields(beam.DoFn):
    """Counts the fields that rows have, of those that the command line names."""

    def __init__(self, fields: Iterable[str]) -> None:
        self._unseen = set(fields)

    def process(self, row: Any) -> None:
        if self._unseen:
            for field in self._unseen & row.row.keys():
                self._unseen.discard(field)
                Metrics.counter(NAMESPACE, _FIELD + field).inc()


def warn_of_fields(done: Done, fields: Iterable[str]) -> None:
    """Say which of the named fields no row has: most likely a typing error."""
    if done.totals.get("rows_read"):
        for field in sorted({field for field in fields if _FIELD + field not in done.totals}):
            say(f"warning: no row has a field {field!r}; look for it in --map and --vector-field")


def summarize(done: Done, dead_letter: DeadLetter, options: argparse.Namespace) -> int:
    """Print what came of a job, and return its exit code."""
    totals = done.totals
    written, failed = totals.get("written", 0), totals.get("failed", 0) + totals.get("rows_unreadable", 0)
    if options.dry_run:
        print(f"{written:,} objects would be written, {failed:,} would fail; nothing was sent")
    else:
        rate = written / max(done.seconds, 0.001)
        print(f"{written:,} objects written, {failed:,} failed, {rate:,.0f} objects/s, {done.seconds:.1f} s")
    if totals.get("duplicates"):
        print(f"  {totals['duplicates']:,} of them have the id of another: the last one of each id is kept")
    if totals.get("unindexed"):
        print(f"  {totals['unindexed']:,} were stored before, but in no vector index; they are repaired")
    reasons = {n.removeprefix("failed_"): c for n, c in totals.items() if n.startswith("failed_")}
    if totals.get("rows_unreadable"):
        reasons[_UNREADABLE] = totals["rows_unreadable"]
    for reason, count in sorted(reasons.items(), key=lambda item: -item[1]):
        print(f"  {count:,} failed: {reason}")
        if reason in done.examples:
            print(f"    {in_options(done.examples[reason])}")
    if failed and not options.dry_run:
        print(f"failures with their reasons: {options.dead_letter}")
        if set(reasons) - {_UNREADABLE}:
            again = to_type("replay_failures", "replay")
            print(f"send them again: {again} --input '{dead_letter.files}', with the same options")
        if _UNREADABLE in reasons:
            print("what could not be read: mend it in its file, and import that again")
    return SOME_FAILED if failed else ALL_WRITTEN
