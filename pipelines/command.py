"""The console script ``weaviate-io``: picks the job by its first word."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from weaviate_io.version import __version__

from . import check_collection, import_files, replay_failures

_JOBS = {"import": import_files.main, "replay": replay_failures.main, "check": check_collection.main}

_HELP = """\
usage: weaviate-io COMMAND [OPTIONS]

  import   read files (JSON, CSV, Parquet, Avro ...) into a collection
  replay   send again what an import could not write
  check    find, and repair, what a collection has stored but cannot find

weaviate-io COMMAND --help tells the options."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a job; returns its exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    first = words[0] if words else ""
    if first in _JOBS:
        return _JOBS[first](words[1:])
    if first in ("-h", "--help"):
        print(_HELP)
        return 0
    if first == "--version":
        print(f"weaviate-io {__version__}")
        return 0
    print(f"weaviate-io: {first!r} is no command\n\n{_HELP}" if first else _HELP, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
