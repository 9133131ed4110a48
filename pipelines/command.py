"""The console script ``weaviate-io``: picks the job by its first word."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from . import import_files, replay_failures

_JOBS = {"import": import_files.main, "replay": replay_failures.main}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a job; returns its exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    if words and words[0] in _JOBS:
        return _JOBS[words[0]](words[1:])
    print("usage: weaviate-io import|replay OPTIONS   (weaviate-io import --help tells them)", file=sys.stderr)
    return 0 if words in (["-h"], ["--help"]) else 2


if __name__ == "__main__":
    sys.exit(main())
