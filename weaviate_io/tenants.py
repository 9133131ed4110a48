"""Tenants of a write: which names are allowed, and which tenants are created or activated before they are used.

It is done in the worker, for the tenants of a batch that is about to be sent. What is done is remembered, so a
tenant that was seen before costs no call. Tenants that the server creates by itself (``autoTenantCreation``)
need nothing of this.
"""

from __future__ import annotations

import difflib
import logging
import re
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import Any, Optional, Union
from weakref import WeakKeyDictionary

from weaviate_io.client import Client
from weaviate_io.errors import Meaning, RowError, WeaviateError, object_verdict
from weaviate_io.outcome import Failure
from weaviate_io.request import pause_after
from weaviate_io.schema import TENANT_NAME, CollectionSchema

_LOGGER = logging.getLogger(__name__)

AllowedNames = Union[Collection[str], re.Pattern[str], str, None]
"""Names of tenants, or a regular expression that a whole name matches."""

_REMEMBERED = 100_000  # tenants that a process remembers for a connection; about 30 MB
_CREATED_AT_ONCE = 1000  # names in a call; the server has no limit, and takes about 1 ms for each
_ACTIVATED_AT_ONCE = 100  # the server's limit: "maximum number of tenants allowed to be updated simultaneously"
_TRIES = 6
_MISSING = "shard not found"  # of a tenant that does not exist; said of an object it means another try
_READY = ("ACTIVE", "HOT")
_BUSY = (500, 502, 503, 504)
_HINTS = {
    "tenant_not_found": "create_tenants=True creates it",
    "tenant_not_active": "activate_tenants=True activates it",
}


@dataclass(frozen=True)
class AllowedTenants:
    """The tenants that objects may be written to.

    >>> allowed = AllowedTenants.of(["acme", "globex"])
    >>> allowed.check("acme", "Article")
    >>> allowed.check("Acme", "Article")
    Traceback (most recent call last):
    ...
    weaviate_io.errors.RowError: tenant 'Acme' of collection Article is not in allowed_tenants= (close: 'acme')
    >>> AllowedTenants.of("customer-[0-9]+").check("customer-17", "Article")
    """

    names: frozenset[str] = frozenset()
    pattern: Optional[re.Pattern[str]] = None

    @classmethod
    def of(cls, given: AllowedNames) -> AllowedTenants:
        """Take names or a regular expression; raises ``ValueError`` where no tenant could be meant."""
        if isinstance(given, str):
            try:
                given = re.compile(given)
            except re.error as error:
                raise ValueError(f"allowed_tenants={given!r} is no regular expression: {error}") from None
        if isinstance(given, re.Pattern):
            if not isinstance(given.pattern, str):
                raise ValueError("allowed_tenants= is a regular expression for bytes; use one for text")
            return cls(pattern=given)
        if not isinstance(given, Iterable):
            raise ValueError(f"allowed_tenants={given!r} is neither names nor a regular expression")
        names = list(given)
        for name in names:
            if not isinstance(name, str) or not TENANT_NAME.fullmatch(name):
                raise ValueError(
                    f"allowed_tenants= has {name!r:.80}, which is not a tenant name: "
                    "1 to 64 letters, digits, '_' or '-'"
                )
        if not names:
            raise ValueError("allowed_tenants= is empty: no object could be written")
        return cls(frozenset(names))

    def has(self, tenant: str) -> bool:
        """Whether objects may be written to the tenant."""
        return tenant in self.names if self.pattern is None else bool(self.pattern.fullmatch(tenant))

    def check(self, tenant: Optional[str], collection: str) -> None:
        """Raise :class:`RowError` for a tenant that is not allowed. No tenant is not one."""
        if tenant is None or self.has(tenant):
            return
        what = f"tenant {tenant!r} of collection {collection}"
        if self.pattern is not None:
            raise RowError(
                "tenant_not_allowed", f"{what} does not match allowed_tenants={self.pattern.pattern!r:.200}"
            )
        close = ", ".join(map(repr, _close_names(tenant, self.names))) or "none"
        raise RowError("tenant_not_allowed", f"{what} is not in allowed_tenants= (close: {close})")


@lru_cache(maxsize=1000)  # to compare takes 0.1 s with 10,000 names, and a typo comes with many rows
def _close_names(tenant: str, names: frozenset[str]) -> tuple[str, ...]:
    by_folded = {name.casefold(): name for name in names}
    return tuple(by_folded[name] for name in difflib.get_close_matches(tenant.casefold(), sorted(by_folded)))


class Seen:
    """The tenants that need nothing more, the last used of them. Any thread may ask.

    >>> seen = Seen(limit=2)
    >>> seen.add(["a", "b"])
    >>> seen.missing(["a", "c"])
    ['c']
    >>> seen.add(["c"])  # "b" was used longest ago
    >>> seen.missing(["a", "b", "c"])
    ['b']
    """

    def __init__(self, limit: int = _REMEMBERED) -> None:
        self._limit = limit
        self._names: OrderedDict[Any, None] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._names)

    def missing(self, names: Iterable[Any]) -> list[Any]:
        """Those that are not remembered; the others count as used."""
        absent = []
        with self._lock:
            for name in names:
                if name in self._names:
                    self._names.move_to_end(name)
                else:
                    absent.append(name)
        return absent

    def add(self, names: Iterable[Any]) -> None:
        with self._lock:
            for name in names:
                self._names[name] = None
                self._names.move_to_end(name)
            while len(self._names) > self._limit:
                self._names.popitem(last=False)

    def forget(self, name: Any) -> None:
        with self._lock:
            self._names.pop(name, None)


_lock = threading.Lock()
_seen: WeakKeyDictionary[Client, Seen] = WeakKeyDictionary()


def seen_by(client: Client) -> Seen:
    """What this process remembers for a connection; gone when the connection is closed."""
    with _lock:
        return _seen.setdefault(client, Seen())


class Tenants:
    """Makes the tenants of a batch ready for it.

    Args:
      client: the open connection.
      write: names the write, the same on every worker. Another write remembers by itself: the collection may
        have been made anew in between.
      create: create the tenants that do not exist.
      activate: activate those that are inactive.
      pause: seconds to wait before the next try, of the number of failed ones.
    """

    def __init__(
        self,
        client: Client,
        write: str,
        create: bool,
        activate: bool,
        pause: Callable[[int], float] = pause_after,
    ) -> None:
        self._client = client
        self._write = write
        self._create = create
        self._activate = activate
        self._pause = pause
        self._seen = seen_by(client)

    def prepare(self, schema: CollectionSchema, names: Iterable[Optional[str]]) -> None:
        """Create or activate what the batch needs and was not seen yet.

        Raises:
          WeaviateError: when the server refuses, or stays away.
        """
        if not schema.multi_tenant or not (self._create or self._activate):
            return
        new = self._seen.missing(
            (self._write, schema.name, name) for name in dict.fromkeys(names) if name is not None
        )
        if not new:
            return
        tenants = [key[2] for key in new]
        if self._create:
            self._post(schema.name, tenants)
        still_away = self._wake(schema.name, tenants) if self._activate else set()
        self._seen.add(key for key in new if key[2] not in still_away)

    def judge(self, collection: str, tenant: Optional[str], failure: Failure) -> Failure:
        """The failure of an object, with what to do about its tenant where that is the cause."""
        hint = _HINTS.get(failure.reason)
        if hint is None:
            return failure
        if not (self._create if failure.reason == "tenant_not_found" else self._activate):
            return failure._replace(error=f"{failure.error}; {hint}")
        # Someone removed it or put it to sleep again, or it is not back yet: its next batch tries anew.
        self._seen.forget((self._write, collection, tenant))
        return failure

    def _post(self, collection: str, names: Sequence[str]) -> None:
        """Create tenants. Those that exist are no error, and stay as they are."""
        for chunk in _chunks(names, _CREATED_AT_ONCE):
            status, answer = self._call("POST", collection, [{"name": name} for name in chunk])
            if status != 200:
                raise WeaviateError(f"tenants of {collection} cannot be created: {_text(answer)}")

    def _wake(self, collection: str, names: Sequence[str]) -> set[str]:
        """Activate tenants ahead of their first batch; returns those that are not active yet.

        Not after a batch was refused: its objects would travel twice, and go through the sender twice, while
        one call for 100 tenants costs a few milliseconds, active or not.
        """
        waking: set[str] = set()
        for chunk in _chunks(names, _ACTIVATED_AT_ONCE):
            body = [{"name": name, "activityStatus": "ACTIVE"} for name in chunk]
            status, answer = self._call("PUT", collection, body)
            if status != 200 and len(chunk) == 1:
                # It does not exist, or cannot be brought back: the server refuses its objects in its own words.
                _LOGGER.debug("tenant %s of %s is not activated: %s", chunk[0], collection, _text(answer))
                continue
            if status != 200:  # a tenant that does not exist fails the call for all of them
                for name in chunk:
                    waking |= self._wake(collection, [name])
                continue
            away = {one["name"] for one in answer if one.get("activityStatus", "ACTIVE") not in _READY}
            if away:
                _LOGGER.warning("%d tenants of %s are offloaded, and not back yet", len(away), collection)
            waking |= away
        return waking

    def _call(self, method: str, collection: str, body: list[dict[str, str]]) -> tuple[int, Any]:
        """Status and JSON of the first answer that is no call for another try; both methods may be repeated."""
        path = f"/v1/schema/{collection}/tenants"
        for tries in range(_TRIES):
            response = self._client.rest(method, path, json=body, accept=(200, 422, *_BUSY))
            transient = response.status_code in _BUSY or (
                response.status_code == 422
                and _MISSING not in response.text
                and object_verdict(response.text).meaning is Meaning.RETRY
            )
            if not transient:
                return response.status_code, _decoded(response)
            if tries < _TRIES - 1:
                time.sleep(self._pause(tries))
        raise WeaviateError(
            f"{method} {path} failed {_TRIES} times, last with status {response.status_code}: "
            f"{_text(_decoded(response))}"
        )


def _decoded(response: Any) -> Any:
    try:
        return response.json()
    except ValueError:
        return response.text


def _chunks(names: Sequence[str], size: int) -> Iterable[list[str]]:
    rest = iter(names)
    while chunk := list(islice(rest, size)):
        yield chunk


def _text(answer: Any) -> str:
    try:
        return answer["error"][0]["message"][:500]
    except (TypeError, LookupError):
        return str(answer)[:500]
