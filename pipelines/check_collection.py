"""Find what a collection has stored but cannot find, whoever wrote it, and repair it.

    python -m pipelines.check_collection --collection Article --repair

A server or writer that is killed, or a deadline that passes, leaves objects that are found by their id, but by no
vector search or no filter. The exit code is 0 when everything can be found, 1 when something is left that cannot,
2 when the job could not run.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence

import apache_beam as beam

from weaviate_io import UnfindableObject
from weaviate_io.examining import INVERTED_INDEX, UNLINKED, VECTOR_INDEX

from . import arguments, job

ALL_FOUND, SOME_LEFT = 0, 1
"""Exit codes, besides that of a job that could not run."""

_DESCRIPTION = """\
Find what a collection has stored but cannot find, and repair it.

A server or writer that is killed, or a deadline that passes, leaves objects that
are found by their id, but by no vector search or no filter, with any client. To
write them again does not change that. --repair moves their vectors by one unit in
the last place and back: they are never absent, and keep their references and time
of creation. The collection may be read and written meanwhile."""

_EXAMPLES = (
    "--collection Article",
    "--collection Article --repair --output unfindable.jsonl",
    "--collection Note --tenants 'customer-.*' --repair --max-rate 100",
)
_COUNT = "unfindable_"
_KINDS = {
    INVERTED_INDEX: "found by no filter (inverted index)",
    VECTOR_INDEX: "missing in the vector index",
    UNLINKED: "in the vector index, but no search gets there",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the job with the words of a command line; returns the exit code."""
    return job.run(_main, argv)


def _main(argv: Sequence[str]) -> int:
    codes = "0 all can be found, 1 some are left that cannot, 2 could not run"
    parser = arguments.Parser("check_collection", "check", _DESCRIPTION, _EXAMPLES, codes)
    parser.add_argument("--collection", required=True, metavar="NAME", help="the collection to check")
    arguments.add_check_options(parser)
    options, pipeline_args = parser.parse_known_args(argv)
    check = arguments.check_transform(options, options.collection)

    def build(pipeline: beam.Pipeline) -> None:
        found = pipeline | "Check" >> check
        if options.output:
            lines = found | "ToJson" >> beam.Map(_as_json).with_output_types(str)
            lines | "Write" >> beam.io.WriteToText(options.output, num_shards=1, shard_name_template="")

    return _summarize(job.run_pipeline(build, pipeline_args, options), options)


def _as_json(row: UnfindableObject) -> str:
    return json.dumps(row._asdict())


def _summarize(done: job.Done, options: argparse.Namespace) -> int:
    """Print what came of a check, and return its exit code."""
    totals = done.totals
    checked, unfindable = totals.get("checked", 0), totals.get("unfindable", 0)
    rate = checked / max(done.seconds, 0.001)
    print(
        f"{checked:,} objects checked, {unfindable:,} unfindable, {rate:,.0f} objects/s, {done.seconds:.1f} s"
    )
    for name, count in sorted(totals.items()):
        if name.startswith(_COUNT):
            kind, _, vector = name.removeprefix(_COUNT).partition(" ")
            print(f"  {count:,} {_KINDS[kind]}{f' of {vector!r}' if vector else ''}")
    if totals.get("untold"):
        print(f"  {totals['untold']:,} cannot be told{'' if options.exact else ' without --exact'}")
    if totals.get("tenants_skipped"):
        print(f"  {totals['tenants_skipped']:,} tenants are not active, and were not looked at")
    left = totals.get("left", 0)
    if unfindable:
        print(f"{totals.get('repaired', 0):,} repaired, {left:,} left")
        if totals.get("raced"):
            print(f"  {totals['raced']:,} were written by somebody else at the same moment: write them again")
        if left and not options.repair:
            print("repair them: the same command with --repair")
        if options.output:
            print(f"their ids: {options.output}")
    return SOME_LEFT if left else ALL_FOUND


if __name__ == "__main__":
    sys.exit(main())
