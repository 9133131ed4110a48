"""Import files into Weaviate: JSON, JSON Lines, CSV, TSV, Parquet and Avro, plain or compressed.

    python -m pipelines.import_files --input 'articles-*.json' --collection Article --id-field doi

Every option of Beam works beside those that ``--help`` lists: ``--runner``, ``--project`` and so on. The exit
code is 0 when everything was written, 1 when some rows failed, 2 when the job could not run.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import apache_beam as beam

from weaviate_io import WriteFailuresToJson
from weaviate_io.files import ReadRows, match

from . import job

VECTOR_COLUMN = "_vector"
"""Name that rows give the vectors of ``--vectors`` where ``--vector-field`` names none."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the job with the words of a command line; returns the exit code."""
    return job.run(_main, argv)


def _main(argv: Sequence[str]) -> int:
    parser = job.Parser(prog="weaviate-io import", description=(__doc__ or "").partition("\n")[0])
    files = parser.add_argument_group("input")
    files.add_argument(
        "--input",
        required=True,
        nargs="+",
        metavar="FILE",
        help="files or patterns, local or on any Beam filesystem",
    )
    files.add_argument(
        "--format", choices=("json", "jsonl", "csv", "tsv", "parquet", "avro"), help="(default: by the name)"
    )
    files.add_argument(
        "--vectors", metavar="NPY", help="numpy file whose row i is the vector of row i of the one input file"
    )
    parser.add_argument("--collection", required=True, help="name of the collection")
    job.add_write_options(parser)
    options, pipeline_args = parser.parse_known_args(argv)
    total_bytes = sum(file.size_in_bytes for file in match(options.input))
    column = _vector_column(options) if options.vectors else None
    write = job.write_transform(options, options.collection)

    def build(pipeline: beam.Pipeline) -> None:
        read = pipeline | "Read" >> ReadRows(
            options.input, format=options.format, vectors=options.vectors, vector_column=column
        )
        result = read.rows | "Write" >> write
        if not options.dry_run:
            failed = (read.failed, result.failed) | "AllFailures" >> beam.Flatten()
            failed | "DeadLetter" >> WriteFailuresToJson(options.dead_letter)

    totals, seconds = job.run_pipeline(build, pipeline_args, total_bytes)
    print(f"{totals.get('rows_read', 0) + totals.get('rows_unreadable', 0):,} rows read")
    return job.summarize(totals, seconds, options)


def _vector_column(options: argparse.Namespace) -> str:
    if len(options.vector_field) > 1:
        raise job.Usage("--vectors fills one --vector-field, not several")
    if not options.vector_field:
        options.vector_field = [VECTOR_COLUMN]
    return str(options.vector_field[0].rpartition("=")[2])


if __name__ == "__main__":
    sys.exit(main())
