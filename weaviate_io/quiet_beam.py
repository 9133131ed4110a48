"""Imports Beam without the line it logs, on every machine without Google's libraries, that they are not there."""

import logging


def _wanted(record: logging.LogRecord) -> bool:
    return not record.getMessage().startswith("apitools not found")


_root = logging.getLogger()
_root.addFilter(_wanted)
import apache_beam  # noqa: E402, F401

_root.removeFilter(_wanted)
