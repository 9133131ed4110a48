"""What the jobs share: the options of a write, running a pipeline, and saying what came of it."""

from __future__ import annotations

import argparse
import logging
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions

from weaviate_io import WriteToWeaviate
from weaviate_io.accounting import TooManyErrors
from weaviate_io.errors import WeaviateError
from weaviate_io.progress import TerminalProgress, counters

ALL_WRITTEN, SOME_FAILED, COULD_NOT_RUN = 0, 1, 2
"""Exit codes of the jobs."""

LOCAL_RUNNER = "FnApiRunner"
"""Runs in this process, and starts at once: the plain DirectRunner first tries to fetch another runner."""


class Usage(Exception):
    """The command line asks for something that cannot be done; the text says what to do instead."""


class Parser(argparse.ArgumentParser):
    """An argument parser that leaves reporting to the job."""

    def error(self, message: str) -> Any:
        raise Usage(f"{message}; see --help")


def add_write_options(parser: argparse.ArgumentParser) -> None:
    """The options that say where and how to write, named as the keywords of ``WriteToWeaviate``."""
    server = parser.add_argument_group("server")
    server.add_argument("--url", default="http://localhost:8080", help="REST address (default: %(default)s)")
    server.add_argument("--grpc-url", help="gRPC address, host:port (default: derived from --url)")
    server.add_argument("--api-key", metavar="env:NAME", help="environment variable that holds the key")
    server.add_argument(
        "--header", action="append", default=[], metavar="NAME=VALUE", help="request header; env:NAME works"
    )
    server.add_argument("--tls-ca", metavar="PEM", help="certificate authority to trust")
    rows = parser.add_argument_group("rows to objects")
    rows.add_argument(
        "--map",
        action="append",
        default=[],
        metavar="PROPERTY=FIELD",
        help="write this field as this property; without --map all fields are written",
    )
    rows.add_argument(
        "--id-field", help="field with the id, or with a key to make it of (default: of the content)"
    )
    rows.add_argument(
        "--vector-field",
        action="append",
        default=[],
        metavar="[NAME=]FIELD",
        help="field with the vector, or with this named vector",
    )
    rows.add_argument("--tenant-field", help="field with the tenant")
    rows.add_argument("--tenant", help="tenant of all objects")
    rows.add_argument("--timezone", help="zone of dates that carry none, such as UTC")
    rows.add_argument("--dimensions", type=int, help="length that vectors must have")
    rows.add_argument(
        "--unknown-properties",
        choices=("fail", "drop"),
        default="fail",
        help="fields that the collection lacks (default: %(default)s)",
    )
    target = parser.add_argument_group("collection")
    target.add_argument(
        "--schema", metavar="JSON", help="file with the collection's REST JSON, to create it where it is absent"
    )
    target.add_argument(
        "--auto-schema", action="store_true", help="let the server create the collection by its own guess"
    )
    target.add_argument(
        "--create-disposition", default="CREATE_IF_NEEDED", choices=("CREATE_IF_NEEDED", "CREATE_NEVER")
    )
    target.add_argument(
        "--write-disposition", default="WRITE_APPEND", choices=("WRITE_APPEND", "WRITE_TRUNCATE", "WRITE_EMPTY")
    )
    target.add_argument("--yes", action="store_true", help="do delete all objects with WRITE_TRUNCATE")
    sending = parser.add_argument_group("sending")
    sending.add_argument("--batching", default="auto", choices=("auto", "bundle", "group_into_batches"))
    sending.add_argument(
        "--batch-size", type=int, help="most objects in a request (default: adapts up to 1000)"
    )
    sending.add_argument("--consistency-level", choices=("ONE", "QUORUM", "ALL"))
    sending.add_argument("--max-errors", type=int, metavar="N", help="stop when more than N objects failed")
    sending.add_argument(
        "--dead-letter", default="failed", metavar="DIR", help="folder for what failed (default: %(default)s)"
    )
    sending.add_argument(
        "--dry-run", action="store_true", help="do everything but the sending, and tell what would fail"
    )
    parser.add_argument("--verbose", action="store_true", help="show the runner's own log and tracebacks")


def write_transform(options: argparse.Namespace, collection: Any) -> WriteToWeaviate:
    """The write that the options describe; :class:`Usage` where they cannot be meant."""
    if options.write_disposition == "WRITE_TRUNCATE" and not (options.yes or options.dry_run):
        raise Usage(f"WRITE_TRUNCATE deletes all objects of {collection}; add --yes if you mean it")
    vectors = [text.rpartition("=")[::2] for text in options.vector_field]
    if len(vectors) > 1 and not all(name for name, _ in vectors):
        raise Usage("several --vector-field need names: --vector-field title=title_vector")
    named = {name: field for name, field in vectors if name}
    return WriteToWeaviate(
        collection,
        url=options.url,
        grpc_url=options.grpc_url,
        api_key=options.api_key,
        headers=_pairs("--header", options.header) or None,
        tls_ca=options.tls_ca,
        id_field=options.id_field,
        vector_field=named or (vectors[0][1] if vectors else None),
        tenant_field=options.tenant_field,
        tenant=options.tenant,
        properties=_pairs("--map", options.map) or None,
        schema=options.schema,
        create_disposition=options.create_disposition,
        write_disposition=options.write_disposition,
        auto_schema=options.auto_schema,
        dimensions=options.dimensions,
        unknown_properties=options.unknown_properties,
        timezone=options.timezone,
        batching=options.batching,
        batch_size=options.batch_size,
        max_errors=options.max_errors,
        consistency_level=options.consistency_level,
        dry_run=options.dry_run,
    )


def run(job: Callable[[Sequence[str]], int], argv: Sequence[str] | None) -> int:
    """Run a job's body; what it cannot do becomes one line and an exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    verbose = "--verbose" in words
    _quiet(not verbose)
    try:
        return job(words)
    except (Usage, WeaviateError, TooManyErrors, ValueError, TypeError, OSError, RuntimeError) as error:
        if verbose:
            raise
        print(f"weaviate-io: {_one_line(error)}", file=sys.stderr)
        return SOME_FAILED if _is(error, TooManyErrors) else COULD_NOT_RUN
    except KeyboardInterrupt:
        print(
            "weaviate-io: stopped; run the same command again to go on, nothing is written twice",
            file=sys.stderr,
        )
        return COULD_NOT_RUN


def run_pipeline(
    build: Callable[[beam.Pipeline], Any], pipeline_args: Sequence[str], total_bytes: int | None
) -> tuple[dict[str, int], float]:
    """Build and run a pipeline; its counters and how many seconds it took."""
    beam_options = PipelineOptions(list(pipeline_args))
    standard = beam_options.view_as(StandardOptions)
    standard.runner = standard.runner or LOCAL_RUNNER
    unknown = set(beam_options.get_all_options(retain_unknown_options=True)) - set(
        beam_options.get_all_options()
    )
    if unknown:
        raise Usage(f"no option --{min(unknown)}, neither of this job nor of Beam; see --help")
    pipeline = beam.Pipeline(options=beam_options)
    build(pipeline)
    started = time.monotonic()
    with TerminalProgress(total_bytes):
        result = pipeline.run()
        result.wait_until_finish()
    return counters(result), time.monotonic() - started


def summarize(totals: dict[str, int], seconds: float, options: argparse.Namespace) -> int:
    """Print what came of a job, and return its exit code."""
    written, failed = totals.get("written", 0), totals.get("failed", 0) + totals.get("rows_unreadable", 0)
    verb = "would be written" if options.dry_run else "written"
    rate = written / max(seconds, 0.001)
    print(f"{written:,} objects {verb}, {failed:,} failed, {rate:,.0f} objects/s, {seconds:.1f} s")
    if totals.get("duplicates"):
        print(f"  {totals['duplicates']:,} of them have the id of another: the last one of each id is kept")
    reasons = {n.removeprefix("failed_"): c for n, c in totals.items() if n.startswith("failed_")}
    if totals.get("rows_unreadable"):
        reasons["unreadable"] = totals["rows_unreadable"]
    for reason, count in sorted(reasons.items(), key=lambda item: -item[1]):
        print(f"  {count:,} failed: {reason}")
    if failed and not options.dry_run:
        print(f"failures with their reasons: {options.dead_letter}")
        replay = (
            "weaviate-io replay"
            if __name__.startswith("weaviate_io")
            else "python -m pipelines.replay_failures"
        )
        print(f"send them again: {replay} --input '{options.dead_letter}/*.jsonl', with the same options")
    return SOME_FAILED if failed else ALL_WRITTEN


def _pairs(option: str, texts: Sequence[str]) -> dict[str, str]:
    pairs = {}
    for text in texts:
        name, separator, value = text.partition("=")
        if not (separator and name and value):
            raise Usage(f"{option} {text!r} is not of the form NAME=VALUE")
        pairs[name] = value
    return pairs


def _quiet(quiet: bool) -> None:
    logging.basicConfig(level=logging.WARNING, format="%(message)s", force=True)
    if quiet:
        logging.getLogger("apache_beam").setLevel(logging.CRITICAL)
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        warnings.filterwarnings("ignore", category=FutureWarning)


def _is(error: BaseException, kind: type[BaseException]) -> bool:
    return isinstance(error, kind) or kind.__name__ in str(error)


def _one_line(error: BaseException) -> str:
    """The message without the name of the step that the runner adds, or its last line where it is a log."""
    lines = str(error).partition(" [while running")[0].strip().splitlines()
    return lines[-1].strip() if lines else type(error).__name__
