"""What the job program left in its folder, and whether that is as promised."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.oracle.judge import Problem, judge, key_of, places_of
from tests.runners.job import COLLECTION
from tests.runners.whole import fails, sent

TAGS = ("written", "failed")


def kept(folder: Path) -> list[Any]:
    """(element, timestamp, window, time) of all that a ``Keep`` wrote."""
    return [one for path in folder.glob("*.kept") for one in pickle.loads(path.read_bytes())]


def count(folder: Path, tag: str) -> int:
    """How many elements there are so far."""
    return len(kept(folder / tag))


def problems(server: Any, folder: Path, numbers: Sequence[int], collection: str = COLLECTION) -> list[Problem]:
    """What the oracle finds; an outcome that a repeated bundle told again counts once."""
    written, failed = ({key_of(one) for one, *_ in kept(folder / tag)} for tag in TAGS)
    given = (sent(number)._replace(collection=collection) for number in numbers)
    return judge(places_of(server), given, written, failed, "number").problems


def check_repeated(server: Any, folder: Path, numbers: Sequence[int]) -> None:
    """After faults each outcome is told at least once, the right one, with its own timestamp and window."""
    found = problems(server, folder, numbers)
    assert not found, found
    of = {sent(n).uuid: n for n in numbers}
    for tag in TAGS:
        seen = kept(folder / tag)
        told = {of[one.uuid] for one, *_ in seen}
        assert told == {n for n in numbers if fails(n) == (tag == "failed")}
        for one, timestamp, window, _ in seen:
            assert timestamp == of[one.uuid]
            assert window[0] <= timestamp < window[1]


def check_once(server: Any, folder: Path, numbers: Sequence[int]) -> None:
    """Without faults each outcome is told once, and a GroupByKey behind sees all of them."""
    check_repeated(server, folder, numbers)
    for tag in TAGS:
        expected = sum(fails(n) == (tag == "failed") for n in numbers)
        assert count(folder, tag) == expected
        assert sum(size for size, *_ in kept(folder / f"{tag}_sums")) == expected
