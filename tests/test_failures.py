"""The dead letter as JSON Lines: what goes in comes out, whatever a row holds."""

from __future__ import annotations

import dataclasses
import enum
import json
import math
import uuid
from array import array
from collections import OrderedDict
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import apache_beam as beam
import numpy as np
import pandas as pd
import pytest
from apache_beam.testing import test_stream
from apache_beam.testing.util import assert_that, equal_to
from apache_beam.transforms.window import FixedWindows, TimestampedValue
from hypothesis import given
from hypothesis import strategies as st

from weaviate_io import FailedObject, ReadFailuresFromJson, WeaviateObject, WriteFailuresToJson
from weaviate_io.failures import failure_from_json, failure_to_json
from weaviate_io.objects import SourceRow


def failure(row: Any = None, given: WeaviateObject | None = None, **changes: Any) -> FailedObject:
    fields = FailedObject("invalid_row", "it is wrong", 2, "Article", "ann", "u", given, row, "a.json: item 1")
    return fields._replace(**changes)


def there_and_back(row: Any) -> Any:
    line = failure_to_json(failure(row))
    assert "\n" not in line
    line.encode()
    return failure_from_json(line).row


OFFSETS = st.timedeltas(timedelta(hours=-23), timedelta(hours=23)).map(
    lambda offset: timezone(timedelta(minutes=offset // timedelta(minutes=1)))
)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(st.characters(), max_size=20)
    | st.binary(max_size=20)
    | st.uuids()
    | st.dates()
    | st.times()
    | st.datetimes(timezones=st.none() | OFFSETS)
    | st.timedeltas()
    | st.decimals(allow_nan=False)
)
ROWS = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(), max_size=5) | st.just("$type"), inner, max_size=4)
        | st.dictionaries(st.integers() | st.dates() | st.tuples(st.integers(), st.text()), inner, max_size=2)
    ),
    max_leaves=12,
)


@given(row=ROWS)
def test_every_value_comes_back_as_it_was(row: Any) -> None:
    back = there_and_back(row)
    assert back == row
    assert type(back) is type(row)


@given(
    properties=st.dictionaries(st.text(max_size=5), ROWS, max_size=3),
    vector=st.none() | st.lists(st.floats(width=32, allow_nan=False), max_size=4),
    position=st.none() | st.text(),
    error=st.text(),
)
def test_every_object_comes_back_as_it_was(
    properties: dict[str, Any], vector: Any, position: str | None, error: str
) -> None:
    given_object = WeaviateObject(properties, "id", vector, "ann", "Article", {"of": ["u1"]})
    whole = failure(None, given_object, position=position, error=error)
    assert failure_from_json(failure_to_json(whole)) == whole


@pytest.mark.parametrize(
    "dtype",
    ["f2", "f4", "f8", ">f4", ">f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "?", "longdouble"],
)
@pytest.mark.parametrize("shape", [(0,), (3,), (2, 3), (2, 0)])
def test_arrays_of_numbers_keep_type_and_shape(dtype: str, shape: tuple[int, ...]) -> None:
    values = np.arange(math.prod(shape)).reshape(shape).astype(dtype)
    back = there_and_back({"v": values})["v"]
    assert back.dtype == values.dtype
    assert back.shape == shape
    assert np.array_equal(back, values)


def test_views_of_arrays_are_kept_as_they_look() -> None:
    values = np.arange(12.0).reshape(3, 4)
    assert np.array_equal(there_and_back(values.T), values.T)
    assert np.array_equal(there_and_back(values[::2, ::-1]), values[::2, ::-1])


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.float32(0.1), float(np.float32(0.1))),
        (np.float64(0.1), 0.1),
        (np.int64(7), 7),
        (np.uint64(2**64 - 1), 2**64 - 1),
        (np.bool_(True), True),
        (np.str_("x"), "x"),
        (np.bytes_(b"x"), b"x"),
        (np.longdouble(2), np.longdouble(2)),
        (np.array(5.0), 5.0),
        (np.array("x", dtype=object), "x"),
        (np.array(["x", None, 1], dtype=object), ["x", None, 1]),
        (np.array(["2024-05-01"], dtype="M8[D]"), [date(2024, 5, 1)]),
        (np.datetime64("2024-05-01T00:00:00.000000001"), np.datetime64("2024-05-01T00:00:00.000000001")),
        (np.datetime64("NaT"), None),
        (np.timedelta64(3, "s"), timedelta(seconds=3)),
        (pd.Timestamp("2024-05-01T12:00Z"), datetime(2024, 5, 1, 12, tzinfo=timezone.utc)),
        (pd.Timestamp("2024-05-01T12:00:00.000000001Z"), "2024-05-01T12:00:00.000000001+00:00"),
        (pd.NaT, None),
        (pd.NA, None),
        (pd.Timedelta(1, "s"), timedelta(seconds=1)),
        (array("f", [0.5, 1.5]), [0.5, 1.5]),
        (bytearray(b"ab"), b"ab"),
        (memoryview(b"ab"), b"ab"),
        ((1, "a"), [1, "a"]),
        (OrderedDict(b=1, a=2), {"b": 1, "a": 2}),
        (10**5000, 10**5000),
        (-(10**5000), -(10**5000)),
        (math.inf, math.inf),
        (-math.inf, -math.inf),
        (Decimal("Infinity"), Decimal("Infinity")),
        (enum.IntEnum("Level", "LOW HIGH").HIGH, 2),
        (
            datetime(2024, 7, 1, tzinfo=ZoneInfo("Europe/Berlin")),
            datetime(2024, 6, 30, 22, tzinfo=timezone.utc),
        ),
        ({"$type": "bytes", "value": "x"}, {"$type": "bytes", "value": "x"}),
        ({"\ud800": "\udfff"}, {"\ud800": "\udfff"}),
        ("\ud83d\ude00", "\U0001f600"),
        ("a\nb\u2028c\x00", "a\nb\u2028c\x00"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_values_of_other_types_become_the_like(value: Any, expected: Any) -> None:
    assert there_and_back([value]) == [expected]


def test_nan_comes_back() -> None:
    back = there_and_back([math.nan, np.float32("nan"), Decimal("NaN"), np.array([math.nan])])
    assert all(np.isnan(float(value)) for value in back[:3])
    assert np.isnan(back[3]).all()


class Point(NamedTuple):
    x: int
    y: int


@dataclasses.dataclass
class Book:
    title: str
    at: Point


def test_rows_with_named_fields_become_mappings() -> None:
    assert there_and_back(Book("Dune", Point(1, 2))) == {"title": "Dune", "at": {"x": 1, "y": 2}}
    assert there_and_back(beam.Row(a=1, b=b"x")) == {"a": 1, "b": b"x"}


def test_a_row_that_is_an_object_stays_one() -> None:
    row = WeaviateObject({"a": b"x"}, uuid.UUID(int=7), np.ones(2, np.float32), "ann", "Article", None)
    back = there_and_back(row)
    assert type(back) is WeaviateObject
    assert back._replace(vector=None) == row._replace(vector=None)
    assert np.array_equal(back.vector, row.vector)


@pytest.mark.parametrize("text", [True, False])
def test_a_row_of_a_file_keeps_its_place_and_kind(text: bool) -> None:
    row = SourceRow({"zip": "01234"}, "a.csv: row 1", text)
    back = there_and_back(row)
    assert type(back) is SourceRow
    assert back == row


@pytest.mark.parametrize(
    "value", [object(), {1, 2}, 1j, np.clongdouble(1), print], ids=lambda value: type(value).__name__
)
def test_what_json_cannot_carry_is_shown_and_does_not_pass_for_text(value: Any) -> None:
    back = there_and_back({"a": value})["a"]
    assert not isinstance(back, str)
    assert repr(back) == repr(value)


def test_rows_nested_too_deeply_are_shortened_not_lost() -> None:
    deep: Any = "bottom"
    for _ in range(100_000):
        deep = [deep]
    assert failure_from_json(failure_to_json(failure(deep))).position == "a.json: item 1"
    endless: dict[str, Any] = {"a": 1}
    endless["self"] = endless
    back = failure_from_json(failure_to_json(failure(None, WeaviateObject(endless, "u", collection="Article"))))
    assert back.object is not None
    assert (back.object.uuid, back.object.collection) == ("u", "Article")


def test_a_line_says_its_format() -> None:
    assert json.loads(failure_to_json(failure({"a": 1})))["weaviate_io"] == 1


@pytest.mark.parametrize(
    "line",
    [
        "",
        "null",
        "[]",
        "{}",
        "{",
        "1",
        '{"weaviate_io": 1}',
        '{"weaviate_io": 1, "object": 5, "row": null}',
        b"\xff\xfe",
        "[" * 100_000,
        failure_to_json(failure({"a": 1}))[:-5],
        failure_to_json(failure({"a": 1})).replace("position", "place"),
        failure_to_json(failure(b"abc")).replace('"value": "', '"value": "!'),
        failure_to_json(failure(Decimal(1))).replace('"value": "1"', '"value": "one"'),
    ],
    ids=lambda line: repr(line)[:40],
)
def test_a_broken_line_is_named(line: str | bytes) -> None:
    with pytest.raises(ValueError, match=r"^x\.jsonl: line 3 holds no failure that WriteFailuresToJson wrote$"):
        failure_from_json(line, "x.jsonl: line 3")


def test_a_later_format_is_refused() -> None:
    line = failure_to_json(failure({"a": 1})).replace('"weaviate_io": 1', '"weaviate_io": 2')
    with pytest.raises(ValueError, match="x has format 2, this version reads 1; update weaviate-io"):
        failure_from_json(line, "x")


FAILURES = [failure({"n": n, "v": b"x"}, error=f"error {n}") for n in range(10)]


def written(folder: Path) -> list[FailedObject]:
    return [
        failure_from_json(line)
        for file in sorted(folder.glob("*.jsonl"))
        for line in file.read_text().splitlines()
    ]


def test_a_pipeline_writes_and_another_reads(tmp_path: Path) -> None:
    with beam.Pipeline() as pipeline:
        _ = pipeline | beam.Create(FAILURES) | WriteFailuresToJson(str(tmp_path))
    assert sorted(written(tmp_path), key=lambda f: f.error) == FAILURES
    for pattern in (str(tmp_path), f"{tmp_path}/*.jsonl", [str(file) for file in tmp_path.iterdir()]):
        with beam.Pipeline() as pipeline:
            assert_that(pipeline | ReadFailuresFromJson(pattern), equal_to(FAILURES))


def test_two_runs_into_one_folder_keep_both(tmp_path: Path) -> None:
    for _ in range(2):
        with beam.Pipeline() as pipeline:
            _ = pipeline | beam.Create(FAILURES[:3]) | WriteFailuresToJson(str(tmp_path))
    assert len(written(tmp_path)) == 6


def test_the_pattern_names_the_files_of_the_run(tmp_path: Path) -> None:
    transforms = [WriteFailuresToJson(str(tmp_path)) for _ in range(2)]
    for transform in transforms:
        with beam.Pipeline() as pipeline:
            _ = pipeline | beam.Create(FAILURES[:3]) | transform
    with beam.Pipeline() as pipeline:
        assert_that(pipeline | ReadFailuresFromJson(transforms[0].pattern), equal_to(FAILURES[:3]))


def test_no_file_is_written_where_nothing_failed(tmp_path: Path) -> None:
    with beam.Pipeline() as pipeline:
        _ = (
            pipeline
            | beam.Create([]).with_output_types(FailedObject)
            | WriteFailuresToJson(str(tmp_path / "f"))
        )
    assert written(tmp_path / "f") == []


def test_windows_of_bounded_input_do_not_matter(tmp_path: Path) -> None:
    with beam.Pipeline() as pipeline:
        _ = (
            pipeline
            | beam.Create([TimestampedValue(failed, n * 60) for n, failed in enumerate(FAILURES)])
            | beam.WindowInto(FixedWindows(120))
            | WriteFailuresToJson(str(tmp_path))
        )
    assert sorted(written(tmp_path), key=lambda f: f.error) == FAILURES


def unbounded() -> Any:
    stream = test_stream.TestStream()
    for n, failed in enumerate(FAILURES):
        stream.advance_watermark_to(n * 60).add_elements([TimestampedValue(failed, n * 60)])
    return stream.advance_watermark_to_infinity()


def test_unbounded_input_is_written_by_window(tmp_path: Path) -> None:
    with beam.Pipeline(options=beam.options.pipeline_options.PipelineOptions(streaming=True)) as pipeline:
        _ = pipeline | unbounded() | beam.WindowInto(FixedWindows(300)) | WriteFailuresToJson(str(tmp_path))
    assert sorted(written(tmp_path), key=lambda f: f.error) == FAILURES
    assert len(list(tmp_path.glob("*.jsonl"))) == 2


def test_unbounded_input_without_windows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="GlobalWindow"):
        _ = beam.Pipeline() | unbounded() | WriteFailuresToJson(str(tmp_path))


def test_a_missing_file_is_named() -> None:
    with (
        pytest.raises(FileNotFoundError, match=r"no file matches 'absent-1\.jsonl'"),
        beam.Pipeline() as pipeline,
    ):
        _ = pipeline | ReadFailuresFromJson("absent-1.jsonl")
