"""How long the sender tries: the pauses between tries, when it gives up, and what lasts so long that the job fails.

Where the server asks a model provider for vectors, the same answer may mean one object or all of them: a rate
limit, a key that is not taken, a provider that is down. What tells them apart is whether other objects of the
collection get through in the meantime. If none does, the cause is no object's, and the job fails with the words
of the provider, before millions of objects are given up one by one.
"""

from __future__ import annotations

import contextlib
import random
import re
import time
from collections.abc import Callable
from typing import Optional

from weaviate_io.client import Client
from weaviate_io.errors import OF_PROVIDER, Meaning, WeaviateError
from weaviate_io.outcome import Fault
from weaviate_io.providers import remedy
from weaviate_io.request import Request

_NO_ACCESS_TRIES = 4  # after a model provider took the key of others
_REFUSED_BEFORE_ANY = 10  # objects that a model provider may refuse, one by one, before it made any vector
_LONGEST_TEXT = 300  # characters of a provider's words in the error of a job
_FIRST_WAIT, _LONGEST_WAIT = 2.0, 60.0  # seconds to wait at a rate limit that does not say how long
_HINT = re.compile(r"(?:try again|retry) (?:in|after) ((?:[\d.]+ ?(?:ms|[smh])[a-z]* ?)+)", re.IGNORECASE)
_HINT_PART = re.compile(r"([\d.]+) ?(ms|[smh])", re.IGNORECASE)
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def wait_after(waited: float, text: str) -> float:
    """Seconds to wait at a rate limit after ``waited`` of them: about doubling, at least what its text asks for."""
    growing = min(_LONGEST_WAIT, max(_FIRST_WAIT, waited)) * random.uniform(0.5, 1.0)
    return max(growing, hinted_seconds(text) * random.uniform(1.0, 1.25))


def hinted_seconds(text: str) -> float:
    """How long the text of a rate limit says to wait; 0 where it does not.

    >>> hinted_seconds("Rate limit reached for requests. Please try again in 1m30s.")
    90.0
    """
    hint = _HINT.search(text)
    if hint:
        with contextlib.suppress(ValueError):  # such as 1.2.3
            return sum(float(number) * _SECONDS[unit.lower()] for number, unit in _HINT_PART.findall(hint[1]))
    return 0.0


class Patience:
    """Decides on further tries of requests that failed.

    Args:
      client: the open connection.
      budget: seconds of failing after which no new try is made.
      longest_wait: seconds that an object may wait for rate limits, or while others get the memory that it waits for;
        they do not count as failing.
      pause: seconds to wait before the next try, of the number of failed ones.
      wait: seconds to wait at a rate limit, of those waited before and of its text.
    """

    def __init__(
        self,
        client: Client,
        budget: float,
        longest_wait: float,
        pause: Callable[[int], float],
        wait: Callable[[float, str], float],
    ) -> None:
        self._client = client
        self._flow = client.flow
        self._budget = budget
        self._longest_wait = longest_wait
        self._pause = pause
        self._wait = wait

    def begin(self, request: Request) -> None:
        """Let the budget begin with the first try that failed, as one call for vectors may take as long as it."""
        if not request.failing_since:
            request.failing_since = request.sent_at
            request.give_up_at = time.monotonic() + self._budget

    def give_way(self, request: Request) -> None:
        """Begin the budget anew, as others had meanwhile what this one waits for: it is not for good.

        Not where it had to wait so long for that that it is rather up to the request.
        """
        request.given_way += request.sent_at - request.failing_since
        if request.given_way < self._longest_wait:
            request.failing_since, request.give_up_at = request.sent_at, time.monotonic() + self._budget

    def pause(self, request: Request, at_least: float = 0.0) -> Optional[float]:
        """Seconds to wait before the next try, None when the budget is spent."""
        pause = max(self._pause(request.tries), at_least)
        return None if time.monotonic() + pause >= request.give_up_at else pause

    def pause_for(self, request: Request, fault: Fault) -> Optional[float]:
        """Seconds to wait before objects with this fault are sent again, None to give them up."""
        if fault.verdict.meaning is Meaning.THROTTLED:
            wait = self._wait(request.throttled, fault.text)
            return None if request.throttled + _since_sent(request, wait) >= self._longest_wait else wait
        if fault.verdict.meaning is Meaning.NO_ACCESS and self._is_locked_out(request):
            return None
        return self.pause(request)

    @staticmethod
    def count(request: Request, fault: Fault, pause: float) -> None:
        """Count a try that failed. What a rate limit takes is neither a try nor part of the budget."""
        if fault.verdict.meaning is Meaning.THROTTLED:
            waited = _since_sent(request, pause)
            request.throttled += waited
            request.give_up_at += waited
        else:
            request.tries += 1

    def check_given_up(self, request: Request, fault: Fault) -> None:
        """Fail the job where an object was given up for what befalls all of its collection."""
        name = request.schema.name
        if fault.verdict.meaning in OF_PROVIDER and not self._flow.has_got_through(name, request.failing_since):
            raise WeaviateError(f"no object of {name} gets through: {_advice(fault)}")

    def check_refused(self, request: Request, fault: Fault) -> None:
        """Fail the job where a model provider refuses one object after the other and never took any."""
        name = request.schema.name
        if self._flow.refused_before_any(name) > _REFUSED_BEFORE_ANY:
            raise WeaviateError(
                f"no object of {name} gets through, {_REFUSED_BEFORE_ANY} were refused one by one: {_advice(fault)}"
            )

    def _is_locked_out(self, request: Request) -> bool:
        """Whether a key that was not taken is the one to use, and is not just refused in passing."""
        if self._client.renew_secrets(request.sent_at):
            return False
        return request.tries + 1 >= _NO_ACCESS_TRIES or not self._flow.has_got_through(request.schema.name)


def _since_sent(request: Request, pause: float) -> float:
    return time.monotonic() + pause - request.sent_at


def _advice(fault: Fault) -> str:
    return f"{fault.text[:_LONGEST_TEXT]} ({fault.verdict.reason}); {remedy(fault.text)}"
