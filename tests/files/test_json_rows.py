from __future__ import annotations

import io
import json
import math
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weaviate_io.files.json_rows import read_json, read_json_array, read_json_lines
from weaviate_io.files.unreadable import BrokenFile
from weaviate_io.objects import FailedObject, SourceRow


def read(data: bytes, reader=read_json):
    return list(reader(io.BytesIO(data), "x.json"))


def read_until_broken(data: bytes, reader=read_json):
    found = []
    with pytest.raises(BrokenFile) as broken:
        for row in reader(io.BytesIO(data), "x.json"):
            found.append(row)
    return found, broken.value


def rows(found) -> list:
    return [row.row for row in found if isinstance(row, SourceRow)]


def failures(found) -> list[FailedObject]:
    return [row for row in found if isinstance(row, FailedObject)]


@pytest.mark.parametrize("data", [b"", b"  \n", b"[]", b" [ ] \n", b"\xef\xbb\xbf", b"\xef\xbb\xbf[]"])
def test_nothing_in_the_file_is_no_rows(data):
    assert read(data) == []


def test_the_first_byte_decides_between_array_and_lines():
    assert read(b' \n[{"a": 1},\n{"a": 2}]') == [
        SourceRow({"a": 1}, "x.json: item 1"),
        SourceRow({"a": 2}, "x.json: item 2"),
    ]
    assert read(b'{"a": 1}\n{"a": 2}\n') == [
        SourceRow({"a": 1}, "x.json: line 1"),
        SourceRow({"a": 2}, "x.json: line 2"),
    ]


def test_objects_over_several_lines_are_read_one_after_the_other():
    data = json.dumps({"a": 1}, indent=2) + "\n" + json.dumps({"a": [{"b": 2}]}, indent=2)
    assert read(data.encode()) == [
        SourceRow({"a": 1}, "x.json: item 1"),
        SourceRow({"a": [{"b": 2}]}, "x.json: item 2"),
    ]


def test_a_byte_order_mark_is_passed_over():
    assert rows(read(b'\xef\xbb\xbf[{"a": 1}]')) == [{"a": 1}]
    assert rows(read(b'\xef\xbb\xbf{"a": 1}\r\n')) == [{"a": 1}]
    assert rows(read(b'\xef\xbb\xbf{"a": 1}', read_json_lines)) == [{"a": 1}]
    assert rows(read(b'\xef\xbb\xbf{\n"a": 1}')) == [{"a": 1}]


def test_utf_16_is_named():
    _, broken = read_until_broken('[{"a": 1}]'.encode("utf-16"))
    assert "UTF-16" in str(broken)


def test_lines_with_crlf_and_empty_lines_keep_their_physical_numbers():
    found = read(b'{"a": 1}\r\n\r\n\n{"a": 2}\r\n')
    assert [row.position for row in found] == ["x.json: line 1", "x.json: line 4"]


def test_a_bad_line_fails_alone():
    found = read(b'{"a": 1}\n{"a": \n{"a": 3}\n')
    assert rows(found) == [{"a": 1}, {"a": 3}]
    (failed,) = failures(found)
    assert (failed.position, failed.row, failed.reason) == ("x.json: line 2", '{"a": \n', "unreadable")


def test_a_bad_first_line_fails_alone():
    found = read(b'{"a": 1,\n{"a": 2}\n')
    assert rows(found) == [{"a": 2}]
    assert failures(found)[0].position == "x.json: line 1"


def test_a_line_that_is_not_utf8_fails_alone_as_bytes():
    found = read(b'{"a": 1}\n{"a": "\xff"}\n{"a": 3}')
    assert rows(found) == [{"a": 1}, {"a": 3}]
    assert failures(found)[0].row == b'{"a": "\xff"}\n'


def test_a_line_beyond_the_limit_fails_alone(monkeypatch):
    monkeypatch.setattr("weaviate_io.files.json_rows.MAX_ROW_BYTES", 20)
    found = read(b'{"a": 1}\n{"a": "' + b"x" * 50 + b'"}\n{"a": 3}', read_json_lines)
    assert rows(found) == [{"a": 1}, {"a": 3}]
    assert [row.position for row in found] == [f"x.json: line {n}" for n in (1, 2, 3)]


@pytest.mark.parametrize("text", ["1", "null", '"x"', "[1, 2]", "true", "1.5", "NaN"])
def test_valid_json_that_is_no_object_fails_alone(text):
    for data in (f'{{"a": 1}}\n{text}\n{{"a": 3}}', f'[{{"a": 1}}, {text}, {{"a": 3}}]'):
        found = read(data.encode())
        assert rows(found) == [{"a": 1}, {"a": 3}]
        assert failures(found)[0].row.strip() == text


def test_an_item_that_is_not_utf8_fails_alone_as_bytes():
    found = read(b'[{"a": "\xc3\xa9"}, {"a": "\xff"}, {"a": 3}]')
    assert rows(found) == [{"a": "é"}, {"a": 3}]
    assert failures(found)[0].row == b'{"a": "\xff"}'


@pytest.mark.parametrize("data", [b'[{"a": "\\ud800"}, {"a": 2}]', b'{"a": "\\uD800"}\n{"a": 2}'])
def test_half_a_surrogate_pair_fails_alone(data):
    found = read(data)
    assert rows(found) == [{"a": 2}]
    assert "surrogate" in failures(found)[0].error


def test_an_escaped_emoji_is_text():
    assert rows(read(b'{"a": "\\ud83d\\ude00"}')) == [{"a": "\U0001f600"}]


def test_numbers_keep_their_type_and_value():
    (row,) = rows(
        read(b'[{"i": 123456789012345678901234567890, "f": 1.0, "n": NaN, "m": -Infinity, "e": 1e400}]')
    )
    assert row["i"] == 123456789012345678901234567890
    assert type(row["f"]) is float
    assert math.isnan(row["n"]) and row["m"] == -math.inf and row["e"] == math.inf


@pytest.mark.parametrize(
    "tail, item, byte, words",
    [
        (b'{"a": x}]', 2, 16, "Expecting value"),
        (b'{"a": 2} {"a": 3}]', 2, 19, "expected ',' or ']'"),
        (b'{"a": 2', 2, 17, "ends within"),
        (b'{"a": "2', 2, 16, "ends within"),
        (b'{"a": 2}', 2, 18, "ends before"),
        (b'{"a": 2},', 3, 19, "ends within"),
        (b"]", 2, 10, "Expecting value"),
    ],
)
def test_a_broken_array_gives_its_items_and_then_the_place(tail, item, byte, words):
    found, broken = read_until_broken(b'[{"a": 1},' + tail)
    assert rows(found)[0] == {"a": 1}
    assert len(found) == item - 1 or words == "expected ',' or ']'" or words == "ends before"
    assert broken.place == f"item {item}, byte {byte}"
    assert words in str(broken)


def test_byte_offsets_count_bytes_and_not_characters():
    _, broken = read_until_broken('[{"é": "😀"}, x]'.encode())
    assert broken.place == "item 2, byte 17"


def test_text_after_the_array_is_said():
    found, broken = read_until_broken(b'[{"a": 1}] [{"a": 2}]')
    assert rows(found) == [{"a": 1}]
    assert "after the end" in str(broken)


def test_too_deep_nesting_is_no_crash():
    deep = b'{"a": ' + b"[" * 200_000 + b"]" * 200_000 + b"}"
    assert len(failures(read(deep + b"\n"))) == 1
    read_until_broken(b"[" + deep + b"]")


class Trickle(io.BytesIO):
    """Gives a few bytes per read, so that every boundary falls somewhere."""

    def __init__(self, data: bytes, step: int):
        super().__init__(data)
        self.step = step

    def read1(self, size: int = -1) -> bytes:
        return super().read1(self.step)


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=12,
)
objects = st.lists(
    st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=5), json_values, max_size=4), max_size=6
)


@given(objects, st.booleans(), st.sampled_from([None, 2]), st.integers(1, 9), st.integers(64, 100))
def test_arrays_read_back_whatever_the_boundaries(items, ascii_only, indent, step, chunk):
    data = json.dumps(items, ensure_ascii=ascii_only, indent=indent).encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("weaviate_io.files.json_window._CHUNK", chunk)
        assert rows(read_json_array(Trickle(data, step), "x")) == items


@given(objects, st.booleans(), st.sampled_from(["\n", "\r\n", "\n\n"]))
def test_lines_read_back(items, ascii_only, end):
    data = "".join(json.dumps(item, ensure_ascii=ascii_only) + end for item in items).encode()
    assert rows(read(data)) == items


@given(objects, st.data())
def test_a_cut_array_gives_a_prefix_and_says_so(items, draw):
    data = json.dumps(items).encode()
    cut = draw.draw(st.integers(1, len(data) - 1))
    found, _ = read_until_broken(data[:cut])
    assert rows(found) == items[: len(found)]


class GeneratedArray(io.RawIOBase):
    """A JSON array of about 40 MB that is never in memory as a whole."""

    def __init__(self, items: int):
        self.parts = self._parts(items)
        self.rest = b""

    def _parts(self, items):
        yield b"["
        for number in range(items):
            yield json.dumps({"n": number, "text": "x" * 3_900}).encode() + (
                b"," if number < items - 1 else b"]"
            )

    def readable(self):
        return True

    def readinto(self, buffer):
        self.rest = self.rest or next(self.parts, b"")
        data, self.rest = self.rest[: len(buffer)], self.rest[len(buffer) :]
        buffer[: len(data)] = data
        return len(data)


def test_a_large_array_is_read_in_little_memory():
    stream = io.BufferedReader(GeneratedArray(10_000), 1 << 20)
    tracemalloc.start()
    try:
        count = sum(1 for _ in read_json(stream, "x.json"))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert count == 10_000
    assert peak < 20_000_000
