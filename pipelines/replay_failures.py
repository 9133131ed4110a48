"""Send again what an import could not write, after the cause is mended.

    python -m pipelines.replay_failures --input 'failed/*.jsonl'

Each object goes to the collection and tenant it was meant for, under the id it had. What could not even be
understood as an object is read again as a row, so give the options of the import (``--id-field`` and so on).
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import apache_beam as beam

from weaviate_io import ReadFailuresFromJson, WriteFailuresToJson
from weaviate_io.files import match

from . import job


def main(argv: Sequence[str] | None = None) -> int:
    """Run the job with the words of a command line; returns the exit code."""
    return job.run(_main, argv)


def _main(argv: Sequence[str]) -> int:
    parser = job.Parser(prog="weaviate-io replay", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--input", required=True, nargs="+", metavar="FILE", help="files or patterns that an import wrote"
    )
    parser.add_argument("--collection", help="where rows go whose collection is not known")
    job.add_write_options(parser)
    options, pipeline_args = parser.parse_known_args(argv)
    files = [file.path for file in match(options.input)]
    write = job.write_transform(options, options.collection or _meant_for)

    def build(pipeline: beam.Pipeline) -> None:
        read = [pipeline | f"Read {path}" >> ReadFailuresFromJson(path) for path in files]
        result = read | beam.Flatten() | "Write" >> write
        if not options.dry_run:
            result.failed | "DeadLetter" >> WriteFailuresToJson(options.dead_letter)

    totals, seconds = job.run_pipeline(build, pipeline_args, None)
    return job.summarize(totals, seconds, options)


def _meant_for(row: Any) -> str:
    raise ValueError("the row's collection is not known; give --collection")


if __name__ == "__main__":
    sys.exit(main())
