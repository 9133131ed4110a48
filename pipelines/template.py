"""The import as a Flex Template of Dataflow: its parameters, and how a launch gives them to the job.

    python -m pipelines.template > deploy/metadata.json

A parameter is named as the option, with ``_`` for ``-``, and has one text as its value: several values are separated by
commas, an option that takes none is ``true`` or ``false``.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from typing import Any

from . import import_files
from .arguments import Usage

_TRUE, _FALSE = "true", "false"
_NUMBER = {int: r"-?\d+", float: r"-?\d+(\.\d+)?"}
_REQUIRED = ("dead_letter", "url")  # whose defaults are of use on one machine only


def metadata() -> dict[str, Any]:
    """The description of the template, as Dataflow wants it in ``metadata.json``."""
    return {
        "name": "Files to Weaviate",
        "description": "Imports JSON, CSV, Parquet and Avro files into a collection of Weaviate; "
        "what fails is kept as JSON Lines, with the reasons.",
        "streaming": False,
        "parameters": [_parameter(option) for option in _options().values()],
    }


def words(argv: Sequence[str]) -> list[str]:
    """The command line of the import that a launch means; options of Beam stay as they are.

    >>> words(["--input=gs://b/a.json,gs://b/c.json", "--auto_schema=true", "--verbose=false", "--runner=X"])
    ['--input', 'gs://b/a.json', 'gs://b/c.json', '--auto-schema', '--runner=X']
    """
    options = _options()
    found: list[str] = []
    for word in argv:
        name, separator, value = word.removeprefix("--").partition("=")
        option = options.get(name)
        if option is None:
            found.append(word)
        elif not separator:
            raise Usage(f"{word} has no value; write it as {word}=VALUE")
        elif value:  # the console sends parameters that are left empty
            found += _words(option, value)
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Launch the import with the parameters of a template; returns its exit code."""
    try:
        return import_files.main(words(sys.argv[1:] if argv is None else argv))
    except Usage as error:
        print(f"weaviate-io: {error}", file=sys.stderr)
        return 2


def _options() -> dict[str, argparse.Action]:
    actions = import_files.parser()._actions
    return {action.dest: action for action in actions if action.dest != "help"}


def _words(option: argparse.Action, value: str) -> list[str]:
    (name,) = option.option_strings
    if option.nargs == "+":
        return [name, *value.split(",")]
    if value == _FALSE and (option.nargs == 0 or option.const is True):
        return []
    if value == _TRUE and (option.nargs == 0 or option.const is True):
        return [name]
    if option.nargs == 0:
        raise Usage(f"{option.dest}={value} is neither true nor false")
    return [f"{name}={value}"]


def _parameter(option: argparse.Action) -> dict[str, Any]:
    (name,) = option.option_strings
    text = (option.help or "").replace("%(default)s", str(option.default))
    required = option.required or option.dest in _REQUIRED
    parameter: dict[str, Any] = {
        "name": option.dest,
        "label": name.removeprefix("--").replace("-", " ").capitalize(),
        "helpText": text + ("; several with commas" if option.nargs == "+" else ""),
    }
    if not required:
        parameter["isOptional"] = True
    if option.nargs == 0:
        parameter |= {"paramType": "BOOLEAN", "defaultValue": _FALSE}
    elif option.choices:
        parameter |= {"paramType": "ENUM", "enumOptions": [{"value": choice} for choice in option.choices]}
        if isinstance(option.default, str):
            parameter["defaultValue"] = option.default
    elif option.dest == "dead_letter":
        parameter |= {"paramType": "GCS_WRITE_FOLDER", "regexes": ["gs://.+"]}
        parameter["helpText"] = "Folder for what failed, such as gs://bucket/failed"
    elif option.type in _NUMBER:
        number = _NUMBER[option.type]
        parameter["regexes"] = [rf"{number}|{_TRUE}|{_FALSE}" if option.const is True else number]
    return parameter


if __name__ == "__main__":
    print(json.dumps(metadata(), indent=2))
