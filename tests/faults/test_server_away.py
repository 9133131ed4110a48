"""A server that goes away and comes back, or does not, under a whole pipeline."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import pytest

from tests.sender.harness import Rig
from tests.write.running import Runner
from weaviate_io.testing import Disconnect, Fail

Code = grpc.StatusCode
COUNT = 60
BUNDLE_BASED = Runner(
    "bundle_based", ("--runner=apache_beam.runners.direct.direct_runner.BundleBasedDirectRunner",)
)
AWAY = Fail(Code.UNAVAILABLE, "failed to connect to all addresses; last error: Connection refused")
READ_ONLY = Fail(Code.UNAVAILABLE, "read-only mode is enabled temporally")


def test_each_time_it_is_away_costs_one_try_and_a_growing_pause(trial: Any, fake: Any, sending: Any) -> None:
    asked: list[int] = []

    def pause(tries: int) -> float:
        asked.append(tries)
        return 0.4

    sending(pause=pause)
    fake.script(AWAY, AWAY, AWAY)
    one = trial(batch_size=COUNT)
    done = one.run(range(COUNT))
    one.check(most_sends=4)
    assert asked == [0, 1, 2]
    assert (done.counters["retries"], done.counters["requests"]) == (3, 4)
    assert not done.counters.get("unknown_outcomes")  # these never left the machine
    assert done.counters["cumulativeThrottlingSeconds"] >= 1


@pytest.mark.parametrize("fault", [AWAY, READ_ONLY, Disconnect(stored=True)], ids=repr)
@pytest.mark.parametrize("batching", ["bundle", "group_into_batches"])
def test_away_for_longer_than_the_budget_fails_the_bundle_and_nothing_else(
    trial: Any, fake: Any, sending: Any, tmp_path: Path, fault: Any, batching: str
) -> None:
    sending(budget=0.05, pause=lambda tries: 0.02)
    one = trial(batching=batching, batch_size=7)
    fake.behave(lambda request, number: fault if number >= 3 else None)
    words = getattr(fault, "details", "Socket closed")
    with pytest.raises(Exception, match=f"writing to .* failed for .* last with UNAVAILABLE: {words[:20]}"):
        one.run(range(COUNT))
    assert not list(tmp_path.glob("*/failed/*/*")), "a transport fault is nobody's fault: no dead letter"
    fake.behave(None)
    one.run(range(COUNT))
    one.check(most_sends=60)


def test_a_runner_that_tries_the_bundle_again_writes_it(trial: Any, fake: Any, sending: Any) -> None:
    sending(budget=0.0, pause=lambda tries: 0.0)
    fake.script(Disconnect(stored=True), AWAY)  # one for each of the first two attempts
    one = trial(batch_size=COUNT)
    one.run(range(COUNT), runner=BUNDLE_BASED)
    one.check()
    assert sum(request.method == "BatchObjects" for request in fake.requests) >= 3


@pytest.mark.parametrize("jump", [-86_400.0, 86_400.0])
def test_a_clock_that_jumps_changes_nothing(fake: Any, monkeypatch: Any, jump: float) -> None:
    """Budgets and pauses are measured by a clock that nobody sets."""
    jumps = [0.0]

    def set_clock(request: Any, number: int) -> Any:
        jumps.append(jump)
        return AWAY if number < 4 else None

    # Of the package alone: gRPC itself stands still when the clock of its process is set back.
    clock = SimpleNamespace(time=lambda: time.time() + sum(jumps), monotonic=time.monotonic, sleep=time.sleep)
    for name, module in list(sys.modules.items()):
        if name.startswith("weaviate_io.") and "testing" not in name and hasattr(module, "time"):
            monkeypatch.setattr(module, "time", clock)
    fake.behave(set_clock)
    with Rig(fake, budget=60.0) as rig:
        rig.write(*range(9))
        rig.check_all_written(*range(9))
        assert rig.sender.tally.retries == 4
        assert 0 <= rig.sender.tally.throttled_seconds < 60
