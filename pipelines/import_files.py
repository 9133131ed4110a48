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

from weaviate_io.files import ReadRows, match

from . import arguments, job

VECTOR_COLUMN = "_vector"
"""Name that rows give the vectors of ``--vectors`` where ``--vector-field`` names none."""

_DESCRIPTION = """\
Import files into Weaviate: JSON (an array, or one object per line), CSV, TSV,
Parquet and Avro, plain or compressed (.gz, .zst, .bz2, .xz).

Text of CSV files is read by the types of the collection: a zip code 01234 stays
text, an empty field is null. A row that fails does not stop the others; it goes
to the dead letter, with the reason."""

_EXAMPLES = (
    "--input questions.json --collection Question --auto-schema",
    "--input 'a-*.csv.gz' --collection Article \\\n      --schema article.json --id-field doi --dry-run",
    "--input a.parquet --collection Article \\\n      --map title=Title --vector-field title=tv body=bv",
    "--input rows.json --vectors rows.npy --collection Article \\\n"
    "      --url https://x.weaviate.cloud --api-key env:KEY",
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the job with the words of a command line; returns the exit code."""
    return job.run(_main, argv)


def parser() -> arguments.Parser:
    """The options of the job."""
    parser = arguments.Parser("import_files", "import", _DESCRIPTION, _EXAMPLES)
    files = arguments.add_input(
        parser, "files or patterns, local or on any filesystem of Beam (gs://, s3:// ...)"
    )
    files.add_argument(
        "--format",
        choices=("json", "jsonl", "csv", "tsv", "parquet", "avro"),
        metavar="WORD",
        help="json, jsonl, csv, tsv, parquet or avro (default: what the file's name says)",
    )
    files.add_argument("--vectors", metavar="NPY", help="numpy file: its row i is the vector of row i of FILE")
    files.add_argument("--collection", required=True, metavar="NAME", help="the collection to write to")
    arguments.add_write_options(parser)
    return parser


def _main(argv: Sequence[str]) -> int:
    options, pipeline_args = parser().parse_known_args(argv)
    total_bytes = sum(file.size_in_bytes for file in match(options.input))
    column = _vector_column(options) if options.vectors else None
    write = arguments.write_transform(options, options.collection)
    fields = {*arguments.pairs("--map", options.map).values(), *_vector_fields(options)} - {column}
    dead_letter = job.DeadLetter(options)

    def build(pipeline: beam.Pipeline) -> None:
        read = pipeline | "Read" >> ReadRows(
            options.input, format=options.format, vectors=options.vectors, vector_column=column
        )
        if fields:
            read.rows | "SeeFields" >> beam.ParDo(job.SeeFields(fields))
        result = read.rows | "Write" >> write
        dead_letter.take(read.failed, result.failed)

    with dead_letter.opened():
        done = job.run_pipeline(build, pipeline_args, options, total_bytes)
    rows = done.totals.get("rows_read", 0) + done.totals.get("rows_unreadable", 0)
    print(f"{rows:,} rows read")
    if not rows:
        job.say("warning: the input has no rows; is it the right file, and the right --format?")
    job.warn_of_fields(done, fields)
    return job.summarize(done, dead_letter, options)


def _vector_fields(options: argparse.Namespace) -> set[str]:
    return {field.rpartition("=")[2] for field in options.vector_field}


def _vector_column(options: argparse.Namespace) -> str:
    if len(options.vector_field) > 1:
        raise arguments.Usage("--vectors fills one --vector-field, not several")
    match(options.vectors)
    if not options.vector_field:
        options.vector_field = [VECTOR_COLUMN]
    return str(options.vector_field[0].rpartition("=")[2])


if __name__ == "__main__":
    sys.exit(main())
