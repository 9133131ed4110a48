"""What the sender calls for references, and how it keeps them from being there twice.

The server *appends* a reference, each time it is sent, unless the property has ``disableDuplicatedReferences``.
Where it has not, what the sources have is read before a request whose outcome was open is sent again, and only
what is absent goes out. The official search leaves out references to objects that do not exist, so they are read
one source at a time from the REST interface.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Optional

from weaviate_io import proto
from weaviate_io.client import Client
from weaviate_io.outcome import Failure, Outcome, Tally, outcome_of
from weaviate_io.repair import Found
from weaviate_io.request import Entry, Request
from weaviate_io.together import at_once
from weaviate_io.verification import Search, by_ids

_BEACON = "weaviate://localhost/"
_SOURCES_AT_ONCE = 8  # of a request, each by a connection


class BatchReferences:
    """References, each of one property of one object.

    Args:
      client: reads what is there.
      check_targets: refuse references to objects that do not exist.
      skip_existing: look before every request, not only where the outcome of an earlier one is open.
    """

    def __init__(self, client: Client, *, check_targets: bool = False, skip_existing: bool = False) -> None:
        self._client = client
        self._check_targets = check_targets
        self._skip_existing = skip_existing

    def call(self, client: Client, payload: bytes, timeout: float) -> Any:
        return client.batch_references(payload, timeout)

    def asks_before(self, request: Request) -> bool:
        return self._looks_for_targets(request) or self._looks_for_existing(request)

    def questions(self, request: Request) -> Sequence[Any]:
        return ()

    def prepare(self, search: Search, request: Request, tally: Tally) -> list[Outcome]:
        outcomes: list[Outcome] = []
        if self._looks_for_targets(request):
            outcomes += _take_out(request, self._without_target(search, request))
        if self._looks_for_existing(request):
            outcomes += _take_out(request, dict.fromkeys(self._existing(request)))
        return outcomes

    def doubt(self, request: Request) -> int:
        request.in_doubt = True
        return 0

    def check(self, search: Search, request: Request, entries: Sequence[Entry]) -> Found:
        return Found([], list(entries), [])

    def _looks_for_targets(self, request: Request) -> bool:
        # The server itself looks for the targets of an object that has a tenant.
        return self._check_targets and not request.tries and not request.schema.multi_tenant

    def _looks_for_existing(self, request: Request) -> bool:
        return self._skip_existing or request.in_doubt

    def _without_target(self, search: Search, request: Request) -> dict[int, Optional[Failure]]:
        """The entries whose target does not exist, by their place in the request."""
        targets = [_message(entry) for entry in request.entries]
        wanted: dict[str, dict[str, None]] = {}
        for target in targets:
            wanted.setdefault(target.to_collection, {})[target.to_uuid] = None
        found: set[tuple[str, str]] = set()
        for collection, ids in wanted.items():
            if self._client.schema(collection) is None:
                continue
            query = by_ids(collection, None, list(ids))
            query.consistency_level = proto.CONSISTENCY_LEVELS["QUORUM"]
            found.update((collection, result.metadata.id) for result in search(query).results)
        return {
            place: Failure("target_not_found", f"{target.to_collection} has no object {target.to_uuid}", 0)
            for place, target in enumerate(targets)
            if (target.to_collection, target.to_uuid) not in found
        }

    def _existing(self, request: Request) -> Iterable[int]:
        """The places in the request of what is there already, where the server would add it again."""
        properties = request.schema.properties
        appended = [
            (place, message)
            for place, message in enumerate(map(_message, request.entries))
            if not (message.name in properties and properties[message.name].unique_references)
        ]
        sources = list(dict.fromkeys((message.from_uuid, message.tenant) for _, message in appended))
        read = at_once(lambda source: self._stored(request.schema.name, *source), sources, _SOURCES_AT_ONCE)
        known = dict(zip(sources, read, strict=True))
        for place, message in appended:
            beacons = (f"{message.to_collection}/{message.to_uuid}", message.to_uuid)
            stored = known[message.from_uuid, message.tenant].get(message.name)
            if any(
                one.get("beacon", "").removeprefix(_BEACON) in beacons
                for one in (stored if isinstance(stored, list) else ())
            ):
                yield place

    def _stored(self, collection: str, uuid: str, tenant: str) -> Mapping[str, Any]:
        """The properties of an object; none where it cannot be read, of which the server then tells why."""
        path = f"/v1/objects/{collection}/{uuid}?consistency_level=QUORUM"
        response = self._client.rest(
            "GET", f"{path}&tenant={tenant}" if tenant else path, accept=(200, 404, 422)
        )
        return response.json().get("properties") or {} if response.status_code == 200 else {}


def _message(entry: Entry) -> Any:
    return proto.BatchReference.FromString(entry.now)


def _take_out(request: Request, places: Mapping[int, Optional[Failure]]) -> list[Outcome]:
    """Take entries out of a request, and give their outcomes."""
    outcomes = [
        outcome_of(request.schema, [request.entries[place]], failure) for place, failure in places.items()
    ]
    request.entries = [entry for place, entry in enumerate(request.entries) if place not in places]
    return outcomes
