from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weaviate_io.files.csv_rows import read_csv
from weaviate_io.files.unreadable import BrokenFile
from weaviate_io.objects import FailedObject, SourceRow


def read(data: bytes, delimiter: str = ","):
    return list(read_csv(io.BytesIO(data), "x.csv", delimiter))


def shape(found) -> list:
    """Every row with its number; a failure as its text."""
    return [(row.position.removeprefix("x.csv: "), row.row) for row in found]


@pytest.mark.parametrize("data", [b"", b"\n\n", b"a,b", b"a,b\r\n", b"\xef\xbb\xbfa,b\n"])
def test_no_rows(data):
    assert read(data) == []


def test_values_are_text_and_empty_ones_none():
    assert read(b'a,b,c\n01234,,""\n') == [
        SourceRow({"a": "01234", "b": None, "c": None}, "x.csv: row 1", True)
    ]


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_line_ends_and_a_byte_order_mark(end):
    data = b"\xef\xbb\xbf" + end.join([b"a,b", b"1,2", b"3,4"]) + end
    assert shape(read(data)) == [("row 1", {"a": "1", "b": "2"}), ("row 2", {"a": "3", "b": "4"})]


def test_a_byte_order_mark_within_the_table_is_a_character():
    assert shape(read("a,b\n\ufeff1,2\n".encode())) == [("row 1", {"a": "\ufeff1", "b": "2"})]


def test_quoted_line_ends_and_quotes():
    assert shape(read(b'a,b\n"x\r\ny","say ""hi"""\n1,2\n')) == [
        ("row 1", {"a": "x\r\ny", "b": 'say "hi"'}),
        ("row 2", {"a": "1", "b": "2"}),
    ]


def test_rows_with_a_wrong_number_of_fields_fail_alone_and_the_numbers_go_on():
    found = read(b'a,b\n1,2\n3\n\n4,"x\ny"\n5,6,7\n8,9\n')
    assert shape(found) == [
        ("row 1", {"a": "1", "b": "2"}),
        ("row 2", "3"),
        ("row 3", {"a": "4", "b": "x\ny"}),
        ("row 4", "5,6,7"),
        ("row 5", {"a": "8", "b": "9"}),
    ]
    assert found[1].error == "has 1 field, the header has 2"
    assert found[3].error == "has 3 fields, the header has 2"


def test_a_row_that_is_not_utf8_fails_alone_as_bytes():
    found = read(b"a,b\n\xc3\xa9,1\n\xff,2\nx,3\n")
    assert shape(found) == [
        ("row 1", {"a": "é", "b": "1"}),
        ("row 2", b"\xff,2"),
        ("row 3", {"a": "x", "b": "3"}),
    ]


def test_text_behind_a_closing_quote_fails_alone():
    found = read(b'a,b\n"5" disk,1\nx,2\n')
    assert shape(found) == [("row 1", '"5" disk,1'), ("row 2", {"a": "x", "b": "2"})]


def test_a_quote_within_an_unquoted_value_is_a_character():
    assert shape(read(b'a,b\n5" disk,1\n')) == [("row 1", {"a": '5" disk', "b": "1"})]


def test_a_quote_that_is_never_closed_is_no_value():
    found = read(b'a,b\n1,2\n3,"x\n5,6\n')
    assert shape(found) == [("row 1", {"a": "1", "b": "2"}), ("row 2", '3,"x\n5,6')]
    assert "never closed" in found[1].error


def test_a_field_beyond_the_limit_fails_alone():
    limit = csv.field_size_limit()
    found = read(b'a,b\n1,"' + b"x" * (17 << 20) + b'"\n5,6\n')
    assert isinstance(found[0], FailedObject)
    assert shape(found[1:]) == [("row 2", {"a": "5", "b": "6"})]
    csv.field_size_limit(limit)


def test_tabs():
    assert shape(read(b"a\tb\n1,5\t2\n", "\t")) == [("row 1", {"a": "1,5", "b": "2"})]


@pytest.mark.parametrize(
    "header, words",
    [
        (b"a,b,a", "column 3 has the name of another, 'a'"),
        (b",a", "column 1 has no name"),
        (b"a, ", "column 2 has no name"),
        (b"\xff,a", "the header has bytes that are not UTF-8"),
        (b'"a,b', "the header has a quote that is never closed"),
    ],
)
def test_a_bad_header_is_one_error_for_the_file(header, words):
    with pytest.raises(BrokenFile, match=words) as broken:
        read(header + b"\n1,2,3\n")
    assert broken.value.place == "header"


texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=6)


@given(st.data(), st.sampled_from(["\n", "\r\n"]), st.sampled_from([",", "\t", ";"]))
def test_rows_of_the_standard_writer_read_back(draw, end, delimiter):
    names = draw.draw(st.lists(texts.filter(str.strip), min_size=2, max_size=4, unique=True))
    values = draw.draw(st.lists(st.lists(texts, min_size=len(names), max_size=len(names)), max_size=5))
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator=end, delimiter=delimiter, quoting=csv.QUOTE_ALL)
    writer.writerows([names, *values])
    found = read(text.getvalue().encode(), delimiter)
    assert [row.row for row in found] == [
        {name: value or None for name, value in zip(names, row, strict=True)} for row in values
    ]
    assert [row.position for row in found] == [f"x.csv: row {n + 1}" for n in range(len(values))]


@pytest.mark.parametrize(("limit", "name"), [(60, "MAX_ROW_BYTES"), (7, "MAX_ROW_VALUES")])
def test_a_row_of_quoted_line_ends_without_an_end_fails_alone(monkeypatch, limit, name):
    monkeypatch.setattr(f"weaviate_io.files.csv_rows.{name}", limit)
    found = read(b"a,b\n1,2\n" + b'"\n",' * 20 + b'"\n3,4\n5,6\n')
    assert (found[0].row, found[-1].row) == ({"a": "1", "b": "2"}, {"a": "5", "b": "6"})
    assert "is longer than" in found[1].error and isinstance(found[1], FailedObject)
