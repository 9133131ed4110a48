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

from weaviate_io import ReadFailuresFromJson
from weaviate_io.files import match

from . import arguments, job

_DESCRIPTION = """\
Send again what an import could not write, after the cause is mended.

Each object goes to the collection and tenant it was meant for, under the id it
had. What could not even be understood as an object is read again as a row, so
give the options of the import: --id-field and so on. What fails again goes to a
new file of the dead letter. A part of a file that could not be read at all has
to be mended there, and the file imported again."""

_EXAMPLES = ("--input 'failed/*.jsonl'", "--input 'failed/*.jsonl' --id-field doi --dry-run")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the job with the words of a command line; returns the exit code."""
    return job.run(_main, argv)


def _main(argv: Sequence[str]) -> int:
    parser = arguments.Parser("replay_failures", "replay", _DESCRIPTION, _EXAMPLES)
    files = arguments.add_input(parser, "files or patterns of the dead letter")
    files.add_argument("--collection", metavar="NAME", help="where rows go whose collection is not known")
    arguments.add_write_options(parser)
    options, pipeline_args = parser.parse_known_args(argv)
    paths = [file.path for file in match(options.input)]
    write = arguments.write_transform(options, options.collection or _meant_for)
    dead_letter = job.DeadLetter(options)

    def build(pipeline: beam.Pipeline) -> None:
        result = pipeline | "Read" >> ReadFailuresFromJson(paths) | "Write" >> write
        dead_letter.take(result.failed)

    with dead_letter.opened():
        done = job.run_pipeline(build, pipeline_args, options)
    code = job.summarize(done, dead_letter, options)
    if code == job.ALL_WRITTEN and not options.dry_run:
        print(f"nothing is left of {', '.join(options.input)}: the files can be deleted")
    return code


def _meant_for(row: Any) -> str:
    raise ValueError("the row's collection is not known; give --collection")


if __name__ == "__main__":
    sys.exit(main())
