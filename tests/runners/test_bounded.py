"""Bounded input on every runner: 20,000 objects, some of which fail, and everything that may consume the outcome."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.runners import whole
from tests.runners.places import PLACES, Place

COUNT = 20_000


@pytest.mark.parametrize("batching", ["bundle", "group_into_batches"])
@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.name)
def test_every_consumer_sees_every_object_once(place: Place, batching: str, fake: Any, tmp_path: Path) -> None:
    done = whole.run(place, fake, tmp_path, COUNT, batching)
    assert done.ran_on == place.runs_on
    whole.check(done, fake, COUNT)
