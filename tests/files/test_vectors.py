from __future__ import annotations

import io
import pickle
from pathlib import Path

import numpy as np
import pytest

from weaviate_io.files import read_rows
from weaviate_io.files.vectors import open_vectors
from weaviate_io.objects import FailedObject


@pytest.fixture
def lines(tmp_path):
    path = tmp_path / "x.jsonl"
    path.write_text('{"a": 1}\nbad\n\n{"a": 3}\n')
    return str(path)


def save(tmp_path, array) -> str:
    path = str(tmp_path / "v.npy")
    np.save(path, array)
    return path


def test_row_i_gets_vector_i_and_a_bad_row_has_one_too(tmp_path, lines):
    path = save(tmp_path, np.arange(6, dtype=np.float32).reshape(3, 2))
    first, bad, last = read_rows(lines, vectors=path, vector_column="v")
    assert first.row["v"].tolist() == [0, 1]
    assert isinstance(bad, FailedObject)
    assert last.row["v"].tolist() == [4, 5]
    assert type(last.row["v"]) is np.ndarray and last.row["v"].dtype == np.float32
    assert pickle.loads(pickle.dumps(last.row))["v"].tolist() == [4, 5]


@pytest.mark.parametrize(
    "dtype, floats", [("i1", "f4"), ("i4", "f8"), ("f2", "f2"), ("f8", "f8"), (">f4", "f4"), ("u2", "f4")]
)
def test_numbers_become_floats_that_hold_them(tmp_path, lines, dtype, floats):
    path = save(tmp_path, np.array([[1, 2], [3, 4], [5, 6]], dtype))
    first = next(read_rows(lines, vectors=path, vector_column="v"))
    assert first.row["v"].dtype == np.dtype(floats)
    assert first.row["v"].tolist() == [1, 2]


def test_multi_vectors_and_fortran_order(tmp_path, lines):
    path = save(tmp_path, np.asfortranarray(np.arange(12.0).reshape(3, 2, 2)))
    first = next(read_rows(lines, vectors=path, vector_column="v"))
    assert first.row["v"].tolist() == [[0, 1], [2, 3]]


def test_more_rows_than_vectors_names_the_first_row_without(tmp_path, lines):
    path = save(tmp_path, np.ones((2, 2)))
    found = read_rows(lines, vectors=path, vector_column="v")
    next(found), next(found)
    with pytest.raises(ValueError, match=r"x\.jsonl: line 4: .*v\.npy has no vector for it, only 2"):
        next(found)


def test_fewer_rows_than_vectors_is_said_at_the_end(tmp_path, lines):
    path = save(tmp_path, np.ones((5, 2)))
    with pytest.raises(ValueError, match=r"v\.npy: has 5 vectors for 3 rows"):
        list(read_rows(lines, vectors=path, vector_column="v"))


def test_a_broken_file_does_not_complain_of_vectors_left_over(tmp_path):
    source = tmp_path / "x.json"
    source.write_text('[{"a": 1}, {"a"')
    path = save(tmp_path, np.ones((5, 2)))
    first, broken = read_rows(str(source), vectors=path, vector_column="v")
    assert first.row["v"].tolist() == [1, 1]
    assert "was not read" in broken.error


def test_a_column_of_that_name_is_refused(tmp_path, lines):
    path = save(tmp_path, np.ones((3, 2)))
    with pytest.raises(ValueError, match="has a column 'a'"):
        list(read_rows(lines, vectors=path, vector_column="a"))


@pytest.mark.parametrize(
    "array, words",
    [
        (np.ones(3), "has 1 dimensions"),
        (np.ones((3, 2), bool), "of bool"),
        (np.ones((3, 2), complex), "of complex128"),
        (np.array([[{}]], object), r"is no \.npy file of numbers"),
    ],
)
def test_other_arrays_are_refused(tmp_path, array, words):
    path = save(tmp_path, array)
    with pytest.raises(ValueError, match=words), open_vectors(path):
        pass


@pytest.mark.parametrize("content", [b"", b"text", b"\x93NUMPY\x01\x00v\x00"])
def test_other_files_are_refused(tmp_path, content):
    path = tmp_path / "v.npy"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"is no \.npy file of numbers"), open_vectors(str(path)):
        pass


def test_a_cut_file_is_refused(tmp_path):
    path = save(tmp_path, np.ones((100, 8)))
    with open(path, "r+b") as file:
        file.truncate(2_000)
    with pytest.raises(ValueError, match=r"is no \.npy file of numbers"), open_vectors(path):
        pass


def test_vectors_of_another_filesystem_are_copied_for_the_time(tmp_path, monkeypatch):
    content = Path(save(tmp_path, np.ones((3, 2)))).read_bytes()
    monkeypatch.setattr(
        "weaviate_io.files.vectors.FileSystems.open", lambda name, compression_type: io.BytesIO(content)
    )
    with open_vectors("gs://bucket/v.npy") as vectors:
        copy = Path(vectors.filename)
        assert vectors.shape == (3, 2)
        assert copy.exists()
    assert not copy.exists()
