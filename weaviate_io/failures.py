"""The dead letter as JSON Lines, and back.

One line holds one :class:`FailedObject` or :class:`FailedReference`, whole: feeding what ``ReadFailuresFromJson``
reads into ``WriteToWeaviate`` or ``WriteReferencesToWeaviate`` replays it. JSON has no dates, bytes or vectors, so a
value of such a type is an object with the key ``$type``; the format carries a version.
"""

from __future__ import annotations

import base64
import json
import math
import os
import re
import reprlib
import time
import uuid
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from datetime import time as time_of_day
from decimal import Decimal
from functools import partial
from typing import Any, Union

import apache_beam as beam
import numpy as np
from apache_beam.io.filesystems import FileSystems

from weaviate_io import wire
from weaviate_io.counters import process_totals
from weaviate_io.dead_letter import is_codable
from weaviate_io.files.read import match
from weaviate_io.files.streams import open_file
from weaviate_io.files.unreadable import MAX_ROW_BYTES
from weaviate_io.objects import (
    Failed,
    FailedObject,
    FailedReference,
    SourceRow,
    WeaviateObject,
    WeaviateReference,
)

FORMAT = 1
"""Version of the format, in every line."""

# What a line holds is told by its fields: the one for what was understood of the row, and the classes.
_OBJECT: tuple[str, type[Any], type[Any]] = ("object", WeaviateObject, FailedObject)
_REFERENCE: tuple[str, type[Any], type[Any]] = ("reference", WeaviateReference, FailedReference)
_EXPLICIT: dict[str, type[Any]] = {"object": WeaviateObject, "reference": WeaviateReference}

# Bits. Python refuses to write or read an integer of more than 4,300 decimal digits.
_LONG_INTEGER = 14_000
# Bytes. What is in no row of a file can be in no line of its dead letter, of which bytes as text take a third more.
_LONGEST_LINE = 4 * MAX_ROW_BYTES
_SUFFIX = ".jsonl"
_PATTERN = f"*{_SUFFIX}"


class WriteFailuresToJson(beam.PTransform):
    """Writes failures as JSON Lines into a folder, in files that no later run overwrites.

    Args:
      folder: local folder, or one on any of Beam's filesystems.

    No file is written where nothing failed. Gives the names of the files. Bounded input of any windowing goes
    into files of the whole run. Unbounded input needs windows: one file a window is written, named by the
    window, when the watermark passes its end, and what comes later than that is lost; ``WriteToText`` of Beam
    refuses unbounded input in the global window, and windows that merge (sessions) are not supported.

    >>> import tempfile
    >>> _ = WriteFailuresToJson(tempfile.gettempdir())
    """

    def __init__(self, folder: str) -> None:
        super().__init__()
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        self._prefix = FileSystems.join(folder, f"failures-{stamp}-{uuid.uuid4().hex[:6]}")

    @property
    def pattern(self) -> str:
        """The pattern of the files that this transform writes."""
        return f"{self._prefix}{_PATTERN}"

    def expand(self, failed: beam.PCollection) -> beam.PCollection:
        return (
            failed
            | "ToJson" >> beam.Map(failure_to_json).with_output_types(str)
            | "Write" >> beam.io.WriteToText(self._prefix, file_name_suffix=_SUFFIX, skip_if_empty=True)
        )


class ReadFailuresFromJson(beam.PTransform):
    """Reads failures that ``WriteFailuresToJson`` wrote; feed them into the write they come from to replay them.

    Args:
      pattern: a file, a local folder or a pattern, or several of them; looked up when the pipeline runs.
      kind: what the lines hold: :class:`FailedObject`, or :class:`FailedReference` of ``WriteReferencesToWeaviate``.

    Raises:
      FileNotFoundError: when the pipeline runs, where a pattern names no file.
      ValueError: likewise, at a line that is no failure, of another kind, or of a format that a later version wrote.

    >>> failures = ReadFailuresFromJson("failed/*.jsonl")
    >>> references = ReadFailuresFromJson("failed-references/*.jsonl", FailedReference)
    """

    def __init__(self, pattern: Union[str, Sequence[str]], kind: type[Failed] = FailedObject) -> None:
        super().__init__()
        if kind not in (FailedObject, FailedReference):
            raise ValueError(f"kind={kind!r} is neither FailedObject nor FailedReference")
        self._patterns = [pattern] if isinstance(pattern, str) else list(pattern)
        self._kind = kind

    def expand(self, begin: Any) -> beam.PCollection:
        return (
            begin
            | "Patterns" >> beam.Create([self._patterns])
            | "Match" >> beam.FlatMap(_match).with_output_types(str)
            | "Shuffle" >> beam.Reshuffle()
            | "Read" >> beam.FlatMap(_read_file, self._kind).with_output_types(self._kind)
        )


def _match(patterns: Sequence[str]) -> list[str]:
    return [file.path for file in match([_in_folder(pattern) for pattern in patterns])]


def _in_folder(pattern: str) -> str:
    local = FileSystems.get_scheme(pattern) is None and os.path.isdir(pattern)
    return FileSystems.join(pattern, _PATTERN) if local else pattern


def _read_file(path: str, kind: type[Failed]) -> Iterator[Failed]:
    with open_file(path) as file:
        for number, line in enumerate(iter(partial(file.readline, _LONGEST_LINE), b""), 1):
            process_totals.go_on()
            if len(line) == _LONGEST_LINE:
                raise ValueError(f"{path}: line {number} is longer than {_LONGEST_LINE:,} bytes")
            if line.strip():
                failure = failure_from_json(line, f"{path}: line {number}")
                if not isinstance(failure, kind):
                    raise ValueError(
                        f"{path}: line {number} holds a {type(failure).__name__}; "
                        f"read it with ReadFailuresFromJson(pattern, {type(failure).__name__})"
                    )
                yield _carried(failure, f"{path}: line {number}")


def _carried(failure: Failed, where: str) -> Failed:
    """The failure in a form that the coder of its kind takes, as what was not written here may lack."""
    coder = beam.coders.registry.get_coder(type(failure))
    for form in (failure, failure._replace(row=SourceRow(failure.row, failure.position or ""))):
        if is_codable(form, coder):
            return form
    raise ValueError(f"{where} holds no failure that WriteFailuresToJson wrote")


def failure_to_json(failure: Failed) -> str:
    """One line of JSON that holds the whole failure.

    >>> line = failure_to_json(FailedObject("r", "e", 0, "A", None, None, None, {"n": b"x"}, None))
    >>> failure_from_json(line).row
    {'n': b'x'}
    """
    try:
        return _dump(failure, _encode)
    except RecursionError:  # nested too deeply, or a part of itself
        return _dump(failure, _shorten)


def _dump(failure: Failed, encode: Callable[[Any], Any]) -> str:
    fields = failure._asdict()
    understood = "reference" if "reference" in fields else "object"
    given = fields[understood]
    fields[understood] = given and {k: encode(v) for k, v in given._asdict().items()}
    fields["row"] = encode(failure.row)
    line = {"weaviate_io": FORMAT, **fields}
    text = json.dumps(line, ensure_ascii=False, allow_nan=False)
    try:
        text.encode()
    except UnicodeEncodeError:  # half of a surrogate pair, which only JSON's own escapes can carry
        return json.dumps(line, allow_nan=False)
    return text


def failure_from_json(line: str | bytes, where: str = "the line") -> Failed:
    """The failure in a line; raises ``ValueError`` naming the place where it is none."""
    try:
        fields = json.loads(line)
        version = fields.pop("weaviate_io")
        if version == FORMAT:
            understood, made, failed = _REFERENCE if "reference" in fields else _OBJECT
            given = fields[understood]
            fields[understood] = made(**{k: _decode(v) for k, v in given.items()}) if given else None
            fields["row"] = _decode(fields["row"])
            _check_types({name: fields[name] for name in fields.keys() - {understood, "row"}})
            return failed(**fields)
    except Exception:  # of the many classes that parsers raise
        raise ValueError(f"{where} holds no failure that WriteFailuresToJson wrote") from None
    raise ValueError(f"{where} has format {version!r:.60}, this version reads {FORMAT}; update weaviate-io")


def _check_types(fields: dict[str, Any]) -> None:
    """Raise where a field is not of its type, at which a coder may not look."""
    for name, value in fields.items():
        required = name in ("reason", "error", "attempts")
        if type(value) is not (int if name == "attempts" else str) and (required or value is not None):
            raise TypeError(name)


def _encode(value: Any) -> Any:
    """A value as JSON, types that JSON lacks as objects with ``$type``."""
    try:
        return _encode_known(value)
    except RecursionError:
        raise
    except Exception:  # whatever the class of the value raises
        return _typed("repr", wire.representation(value))


def _encode_known(value: Any) -> Any:
    if wire.is_null(value):
        return None
    if isinstance(value, (bool, str)):
        return value
    if isinstance(value, int):
        return int(value) if value.bit_length() < _LONG_INTEGER else _typed("int", hex(value))
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else _typed("float", repr(float(value)))
    if isinstance(value, SourceRow):
        return _typed("text_row" if value.text else "row", _encode(value.row), position=value.position)
    for kind, made in _EXPLICIT.items():
        if isinstance(value, made):
            return _typed(kind, {name: _encode(item) for name, item in value._asdict().items()})
    if isinstance(value, Mapping):
        return _encode_mapping(value)
    for kind, classes, encode, _ in _TYPES:
        if isinstance(value, classes):
            return _typed(kind, encode(value))
    if isinstance(value, (np.ndarray, np.longdouble)) and value.dtype.kind in "fiub":
        data = base64.b64encode(np.ascontiguousarray(value).tobytes()).decode()
        return _typed("array", data, dtype=value.dtype.str, shape=list(value.shape))
    if isinstance(value, np.generic) and not isinstance(value.item(), np.generic):
        return _encode(value.item())
    fields = wire.as_fields(value)
    if fields is not None:
        return _encode_mapping(fields)
    if isinstance(value, np.ndarray):
        return _encode(value.tolist())
    if isinstance(value, (list, tuple, array)):
        return [_encode(item) for item in value]
    # Nothing else has a property type: it is kept for the reader's eyes, and fails again when replayed.
    return _typed("repr", wire.representation(value))


def _encode_mapping(value: Mapping[Any, Any]) -> Any:
    if "$type" not in value and all(isinstance(key, str) for key in value):
        return {key: _encode_item(item) for key, item in value.items()}
    return _typed("mapping", [[_encode(key), _encode_item(item)] for key, item in value.items()])


def _encode_item(value: Any) -> Any:
    try:
        return _encode(value)
    except RecursionError:  # the others are kept as they are
        return _typed("repr", reprlib.repr(value))


def _typed(kind: str, value: Any, **more: Any) -> dict[str, Any]:
    return {"$type": kind, "value": value, **more}


def _shorten(value: Any) -> Any:
    return value if value is None or isinstance(value, str) else _typed("repr", reprlib.repr(value))


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
        return {_hashable(_decode(key)): _decode(item) for key, item in content}
    if kind in ("row", "text_row"):
        return SourceRow(_decode(content), value["position"], kind == "text_row")
    if kind in _EXPLICIT:
        return _EXPLICIT[kind](**{name: _decode(item) for name, item in content.items()})
    if kind == "array":
        data = np.frombuffer(_text_to_bytes(content), dtype=np.dtype(value["dtype"]))
        return data.reshape(value["shape"])[()]
    if kind == "int":
        return int(content, 16)
    if kind == "float":
        return float(content)
    for name, _, _, decode in _TYPES:
        if name == kind:
            return decode(content)
    return Unreadable(content)


def _hashable(key: Any) -> Any:
    if isinstance(key, dict):
        key = list(key.items())
    return tuple(_hashable(part) for part in key) if isinstance(key, (list, tuple)) else key


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


def _text_to_bytes(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


# A datetime is a date, so it comes first.
_TYPES: tuple[tuple[str, Any, Any, Any], ...] = (
    ("bytes", (bytes, bytearray, memoryview), _bytes_to_text, _text_to_bytes),
    ("uuid", uuid.UUID, str, uuid.UUID),
    ("datetime", datetime, lambda moment: moment.isoformat(), _text_to_moment),
    ("date", date, date.isoformat, date.fromisoformat),
    ("time", time_of_day, time_of_day.isoformat, time_of_day.fromisoformat),
    ("timedelta", timedelta, lambda t: [t.days, t.seconds, t.microseconds], lambda parts: timedelta(*parts)),
    ("decimal", Decimal, str, Decimal),
    ("datetime64", np.datetime64, str, np.datetime64),
)
