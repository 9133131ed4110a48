"""The dead letter as JSON Lines, and back.

One line holds one :class:`FailedObject`, whole: feeding what ``ReadFailuresFromJson`` reads into
``WriteToWeaviate`` replays it. JSON has no dates, bytes or vectors, so a value of such a type is an object with
the key ``$type``; the format carries a version.
"""

from __future__ import annotations

import base64
import json
import math
import re
import time
import uuid
from array import array
from collections.abc import Mapping
from datetime import date, datetime, timedelta
from datetime import time as time_of_day
from decimal import Decimal
from typing import Any

import apache_beam as beam
import numpy as np
from apache_beam.io.fileio import MatchFiles, ReadMatches
from apache_beam.io.filesystems import FileSystems

from weaviate_io import wire
from weaviate_io.objects import FailedObject, SourceRow, WeaviateObject

FORMAT = 1
"""Version of the format, in every line."""


class WriteFailuresToJson(beam.PTransform):
    """Writes failures as JSON Lines into a folder, in files that no later run overwrites.

    Args:
      folder: local folder, or one on any of Beam's filesystems.

    No file is written where nothing failed. Gives the names of the files.

    >>> import tempfile
    >>> _ = WriteFailuresToJson(tempfile.gettempdir())
    """

    def __init__(self, folder: str) -> None:
        super().__init__()
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        self._prefix = FileSystems.join(folder, f"failures-{stamp}-{uuid.uuid4().hex[:6]}")

    def expand(self, failed: beam.PCollection) -> beam.PCollection:
        return (
            failed
            | "ToJson" >> beam.Map(failure_to_json).with_output_types(str)
            | "Write" >> beam.io.WriteToText(self._prefix, file_name_suffix=".jsonl", skip_if_empty=True)
        )


class ReadFailuresFromJson(beam.PTransform):
    """Reads failures that ``WriteFailuresToJson`` wrote; feed them into ``WriteToWeaviate`` to replay them.

    Args:
      pattern: a file, a folder or a pattern.
    """

    def __init__(self, pattern: str) -> None:
        super().__init__()
        self._pattern = pattern

    def expand(self, begin: Any) -> beam.PCollection:
        return (
            begin
            | "Match" >> MatchFiles(self._pattern)
            | "Open" >> ReadMatches()
            | "Shuffle" >> beam.Reshuffle()
            | "Read" >> beam.FlatMap(_read_file).with_output_types(FailedObject)
        )


def _read_file(file: Any) -> Any:
    path = file.metadata.path
    with file.open() as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                yield failure_from_json(line, f"{path}: line {number}")


def failure_to_json(failure: FailedObject) -> str:
    """One line of JSON that holds the whole failure.

    >>> line = failure_to_json(FailedObject("r", "e", 0, "A", None, None, None, {"n": b"x"}, None))
    >>> failure_from_json(line).row
    {'n': b'x'}
    """
    fields = failure._asdict()
    fields["object"] = failure.object and {k: _encode(v) for k, v in failure.object._asdict().items()}
    fields["row"] = _encode(failure.row)
    line = {"weaviate_io": FORMAT, **fields}
    text = json.dumps(line, ensure_ascii=False, allow_nan=False)
    try:
        text.encode()
    except UnicodeEncodeError:  # half of a surrogate pair, which only JSON's own escapes can carry
        return json.dumps(line, allow_nan=False)
    return text


def failure_from_json(line: str | bytes, where: str = "the line") -> FailedObject:
    """The failure in a line; raises ``ValueError`` naming the place where it is none."""
    try:
        fields = json.loads(line)
        version = fields.pop("weaviate_io")
    except (ValueError, KeyError, AttributeError, TypeError):
        raise ValueError(f"{where} holds no failure that WriteFailuresToJson wrote") from None
    if version != FORMAT:
        raise ValueError(f"{where} has format {version}, this version reads {FORMAT}; update weaviate-io")
    given = fields["object"]
    fields["object"] = WeaviateObject(**{k: _decode(v) for k, v in given.items()}) if given else None
    fields["row"] = _decode(fields["row"])
    return FailedObject(**fields)


def _encode(value: Any) -> Any:
    """A value as JSON, types that JSON lacks as objects with ``$type``."""
    if wire.is_null(value):
        return None
    if isinstance(value, (bool, str)) or type(value) is int:
        return value
    if type(value) is float:
        return value if math.isfinite(value) else _typed("float", repr(value))
    if isinstance(value, SourceRow):
        return _typed("text_row" if value.text else "row", _encode(value.row), position=value.position)
    if isinstance(value, Mapping):
        return _encode_mapping(value)
    for kind, classes, encode, _ in _TYPES:
        if isinstance(value, classes):
            return _typed(kind, encode(value))
    if isinstance(value, np.ndarray) and value.dtype.kind in "fiub":
        data = base64.b64encode(np.ascontiguousarray(value).tobytes()).decode()
        return _typed("array", data, dtype=value.dtype.str, shape=list(value.shape))
    if isinstance(value, np.generic):
        return _encode(value.item())
    fields = wire.as_fields(value)
    if fields is not None:
        return _encode_mapping(fields)
    if isinstance(value, (list, tuple, np.ndarray, array)):
        return [_encode(item) for item in value]
    # Nothing else has a property type: it is kept for the reader's eyes, and fails again when replayed.
    return _typed("repr", repr(value))


def _encode_mapping(value: Mapping[Any, Any]) -> Any:
    if "$type" not in value and all(isinstance(key, str) for key in value):
        return {key: _encode(item) for key, item in value.items()}
    return _typed("mapping", [[_encode(key), _encode(item)] for key, item in value.items()])


def _typed(kind: str, value: Any, **more: Any) -> dict[str, Any]:
    return {"$type": kind, "value": value, **more}


def _decode(value: Any) -> Any:
    if isinstance(value, list):
        return [_decode(item) for item in value]
    if not isinstance(value, dict):
        return value
    kind = value.get("$type")
    if kind is None:
        return {key: _decode(item) for key, item in value.items()}
    content = value["value"]
    if kind == "mapping":
        return {_decode(key): _decode(item) for key, item in content}
    if kind in ("row", "text_row"):
        return SourceRow(_decode(content), value["position"], kind == "text_row")
    if kind == "array":
        data = np.frombuffer(base64.b64decode(content), dtype=np.dtype(value["dtype"]))
        return data.reshape(value["shape"])
    if kind == "float":
        return float(content)
    for name, _, _, decode in _TYPES:
        if name == kind:
            return decode(content)
    return Unreadable(content)


class Unreadable:
    """What is left of a value that JSON could not carry: its text, which is no value of any property."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return self._text


_NANOSECONDS = re.compile(r"\.\d{7,}")


def _text_to_moment(text: str) -> datetime | str:
    # pandas has nanoseconds; as text they are a date too, and exact.
    return text if _NANOSECONDS.search(text) else datetime.fromisoformat(text)


def _bytes_to_text(value: Any) -> str:
    return base64.b64encode(bytes(value)).decode()


# A datetime is a date, so it comes first.
_TYPES: tuple[tuple[str, Any, Any, Any], ...] = (
    ("bytes", (bytes, bytearray, memoryview), _bytes_to_text, base64.b64decode),
    ("uuid", uuid.UUID, str, uuid.UUID),
    ("datetime", datetime, lambda moment: moment.isoformat(), _text_to_moment),
    ("date", date, date.isoformat, date.fromisoformat),
    ("time", time_of_day, time_of_day.isoformat, time_of_day.fromisoformat),
    ("seconds", timedelta, timedelta.total_seconds, lambda s: timedelta(seconds=s)),
    ("decimal", Decimal, str, Decimal),
    ("datetime64", np.datetime64, str, np.datetime64),
)
