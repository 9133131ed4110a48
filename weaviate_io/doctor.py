"""Goes through a collection on a worker: reads the ids, looks for what objects lack, and has it repaired.

An object that is being written lacks something for a moment. So what is missing is looked for again, some seconds
later and, with asynchronous indexing, once the server's queue is empty; only what is still missing then counts.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Optional

from weaviate_io.client import Client
from weaviate_io.counters import process_totals
from weaviate_io.errors import WeaviateError
from weaviate_io.examining import Examiner, Lack
from weaviate_io.healing import Healed, Healer
from weaviate_io.indexing import IndexingWait
from weaviate_io.objects import UnfindableObject
from weaviate_io.pace import Pace
from weaviate_io.scanning import IdRange, divide, pages
from weaviate_io.searching import search_until
from weaviate_io.sender import BUDGET

_LOGGER = logging.getLogger(__name__)

MOST_SUSPECTS = 10_000
"""Objects that may lack something, and are kept until they are looked at again."""

_SETTLED = 10.0  # seconds; a request that is under way takes no longer to be indexed, as a rule
_AT_ONCE = 4  # objects that are repaired at the same time

Suspects = dict[tuple[Optional[str], str], set[Lack]]
"""What objects may lack, by tenant and id."""


class Doctor:
    """One for each step of a job and process.

    Args:
      client: the open connection.
      collection: name of the collection.
      pace: how fast to go.
      repair: whether to repair what is missing.
      exact: whether to search for each object with its own vector.
      wait_seconds: how long to wait for a server that indexes later; None not to wait.
    """

    def __init__(
        self,
        client: Client,
        collection: str,
        pace: Pace,
        *,
        repair: bool = False,
        exact: bool = False,
        wait_seconds: Optional[float] = None,
    ) -> None:
        schema = client.schema(collection)
        if schema is None:
            raise WeaviateError(f"collection {collection} does not exist")
        self.schema = schema
        self._client = client
        self._pace = pace
        self._repair = repair
        self._wait_seconds = wait_seconds
        self._healer = Healer(client, schema.name, pace)
        self._examiner = Examiner(self._search, schema, self._healer.exists, exact)
        self._suspects: Suspects = {}
        self._looked_at = 0.0

    @property
    def suspects(self) -> int:
        """Objects that are kept to be looked at again."""
        return len(self._suspects)

    def divide(self, tenant: Optional[str]) -> list[IdRange]:
        """The ranges of ids of a tenant, or of all objects."""
        return divide(self._search, self.schema.name, tenant)

    def scan(self, ids: IdRange) -> Iterator[tuple[int, int]]:
        """Look at the objects of a range, a page at a time; what may be missing is kept as suspect.

        Gives how many were looked at, and of how many of these an index tells nothing.
        """
        for uuids in pages(self._search, self.schema.name, ids):
            process_totals.go_on()
            findings = self._examiner.look(ids.tenant, uuids)
            self._suspects.update({(ids.tenant, uuid): lacks for uuid, lacks in findings.lacks.items()})
            self._looked_at = time.monotonic()
            yield len(uuids), len(findings.untold)

    def settle(self) -> dict[tuple[Optional[str], str], list[UnfindableObject]]:
        """Look at the suspects again, and repair what is asked for; gives what was missing of each object."""
        if not self._suspects:
            return {}
        time.sleep(max(0.0, self._looked_at + _SETTLED - time.monotonic()))
        suspects, self._suspects = self._suspects, {}
        now = self._look_again(suspects)
        missing = {key: lacks & suspects[key] for key, lacks in now.items() if lacks & suspects[key]}
        left, errors = missing, dict.fromkeys(missing, "")
        if missing and self._repair:
            _LOGGER.info("repairing %d objects of %s", len(missing), self.schema.name)
            with ThreadPoolExecutor(_AT_ONCE, "weaviate-io-repair") as pool:
                errors = dict(zip(missing, pool.map(self._heal, missing), strict=True))
            left = self._look_again(missing)
        return {
            key: [
                self._row(key, lack, errors[key], lack not in left.get(key, ()))
                for lack in sorted(lacks | left.get(key, set()))
            ]
            for key, lacks in missing.items()
        }

    def _look_again(self, suspects: Iterable[tuple[Optional[str], str]]) -> Suspects:
        if self._wait_seconds is not None:
            IndexingWait(self._client, [self.schema.name], self._wait_seconds).run()
        by_tenant: dict[Optional[str], list[str]] = {}
        for tenant, uuid in suspects:
            by_tenant.setdefault(tenant, []).append(uuid)
        return {
            (tenant, uuid): lacks
            for tenant, uuids in by_tenant.items()
            for uuid, lacks in self._examiner.look(tenant, uuids).lacks.items()
        }

    def _heal(self, key: tuple[Optional[str], str]) -> str:
        process_totals.go_on()
        healed, words = self._healer.heal(*key)
        if healed in (Healed.DONE, Healed.RACED, Healed.GONE):
            process_totals.repaired += 1
        if healed in (Healed.DONE, Healed.GONE):
            return ""
        return f"{healed.value}: {words}" if words else healed.value

    def _row(self, key: tuple[Optional[str], str], lack: Lack, error: str, repaired: bool) -> UnfindableObject:
        return UnfindableObject(
            self.schema.name, key[1], key[0], lack.kind, lack.vector, repaired, error or None
        )

    def _search(self, wanted: Any) -> Any:
        self._pace.wait()
        return search_until(self._client, wanted, time.monotonic() + BUDGET)
