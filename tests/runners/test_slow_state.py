"""Prism splits bundles that are slow, and then runs two with one key at a time; that must cost no object."""

from __future__ import annotations

import itertools
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.runners.worker import bundle_processor

from tests.runners import job
from tests.runners.places import PRISM
from tests.runners.whole import SCHEMA, sent
from tests.write.running import Keep, kept
from weaviate_io import WriteToWeaviate

COUNT = 200


@pytest.fixture
def slow_state(monkeypatch: pytest.MonkeyPatch) -> None:
    """State that takes its time, as on a machine with much to do: longer than Prism waits before it splits."""
    calls = itertools.count()
    add = bundle_processor.SynchronousBagRuntimeState.add

    def slow_add(state: Any, value: Any) -> None:
        if next(calls) < 30:
            threading.Event().wait(0.15)
        add(state, value)

    monkeypatch.setattr(bundle_processor.SynchronousBagRuntimeState, "add", slow_add)


@pytest.mark.usefixtures("slow_state")
@pytest.mark.parametrize("is_bounded", [True, False], ids=["bounded", "unbounded"])
def test_a_slow_bundle_loses_nothing_that_waits_in_state(is_bounded: bool, fake: Any, tmp_path: Path) -> None:
    fake.create_collection(SCHEMA)
    pipeline = PRISM.runner().pipeline()
    if is_bounded:
        numbers = pipeline | beam.Create(range(COUNT)) | beam.Reshuffle()
    else:
        numbers = pipeline | job.Numbers(COUNT, 100, 0.0) | beam.Map(lambda given: given[0])
    transform = WriteToWeaviate(
        job.COLLECTION,
        url=fake.url,
        grpc_url=fake.grpc_url,
        id_field="title",
        vector_field="vector",
        batching="group_into_batches",
        max_buffering_duration_secs=None if is_bounded else 30,
    )
    good = numbers | beam.Filter(lambda number: number % 10 != 3) | beam.Map(job.row)
    (good | transform).written | beam.ParDo(Keep(tmp_path))
    pipeline.run().wait_until_finish()
    expected = Counter(sent(n).uuid for n in range(COUNT) if n % 10 != 3)
    assert Counter(one.value.uuid for one in kept(tmp_path)) == expected
