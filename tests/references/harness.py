"""What the tests of references share: a collection of authors that write for papers, and a sender for it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from tests.sender.harness import told
from weaviate_io import proto
from weaviate_io.client import Client
from weaviate_io.connection import WeaviateConnection
from weaviate_io.flow import Flow
from weaviate_io.objects import WeaviateReference, generate_uuid5
from weaviate_io.outcome import Outcome
from weaviate_io.references import WriteReferencesToWeaviate
from weaviate_io.references.encoding import ReferenceEncoder
from weaviate_io.references.method import BatchReferences
from weaviate_io.schema import CollectionSchema
from weaviate_io.sender import Sender
from weaviate_io.testing import FakeWeaviate

PAPER = {"class": "Paper", "properties": [{"name": "name", "dataType": ["text"]}]}
AUTHOR: dict[str, Any] = {
    "class": "Author",
    "properties": [
        {"name": "name", "dataType": ["text"]},
        {"name": "writesFor", "dataType": ["Paper"], "disableDuplicatedReferences": True},
        {"name": "kept", "dataType": ["Paper"]},
        {"name": "likes", "dataType": ["Paper", "Author"], "disableDuplicatedReferences": True},
    ],
}
MEMBER = {
    "class": "Member",
    "multiTenancyConfig": {"enabled": True},
    "properties": [{"name": "reads", "dataType": ["Paper"], "disableDuplicatedReferences": True}],
}
SCHEMA = CollectionSchema.from_rest(AUTHOR)


def author(number: int) -> str:
    return generate_uuid5(f"author {number}")


def paper(number: int) -> str:
    return generate_uuid5(f"paper {number}")


def reference(source: int, target: int, name: str = "kept") -> WeaviateReference:
    return WeaviateReference(author(source), name, paper(target), "Paper", None, "Author")


def fill(fake: FakeWeaviate, authors: int = 10, papers: int = 10) -> None:
    """Create the collections, with so many objects each, and one member in the tenant ``acme``."""
    for description in (PAPER, AUTHOR, MEMBER):
        fake.create_collection(description)
    fake.tenants["Member"] = {"acme": "HOT", "asleep": "COLD"}
    store(fake, "Author", *map(author, range(authors)))
    store(fake, "Paper", *map(paper, range(papers)))
    store(fake, "Member", author(0), tenant="acme")


def store(fake: FakeWeaviate, collection: str, *uuids: str, tenant: str = "") -> None:
    """Put objects there, as if they had been written before."""
    for uuid in uuids:
        key = (collection, tenant, uuid)
        fake.objects[key] = proto.BatchObject(uuid=uuid, collection=collection, tenant=tenant)
        fake.references[key] = {}


def stored(fake: FakeWeaviate, source: int, name: str = "kept") -> list[str]:
    """The ids that an author points at, in order."""
    beacons = fake.references["Author", "", author(source)].get(name, [])
    return [beacon.rpartition("/")[2] for beacon in beacons]


def transform(fake: FakeWeaviate, collection: Any = "Author", **options: Any) -> WriteReferencesToWeaviate:
    """A write to the fake, of rows such as ``{"author": key, "papers": [key, ...]}``."""
    given = {"from_property": "writesFor", "from_field": "author", "to_field": "papers", **options}
    return WriteReferencesToWeaviate(collection, url=fake.url, grpc_url=fake.grpc_url, **given)


class Rig:
    """A client and a sender for references of authors, without pauses, and all that came out of it."""

    def __init__(
        self, fake: FakeWeaviate, *, deadline: float = 30.0, through: str | None = None, **options: Any
    ) -> None:
        fill(fake)
        self.fake = fake
        self.client = Client(WeaviateConnection(fake.url, grpc_url=through or fake.grpc_url))
        self.client.flow = Flow(deadline)
        names = ("check_targets", "skip_existing")
        method = BatchReferences(self.client, **{name: options.pop(name) for name in names if name in options})
        self.sender = Sender(self.client, method, **{"pause": lambda tries: 0.0, "max_in_flight": 1, **options})
        self.outcomes: list[Outcome] = []

    def __enter__(self) -> Rig:
        return self

    def __exit__(self, *_: object) -> None:
        self.fake.release()
        self.client.close()

    def write(self, references: Iterable[WeaviateReference]) -> None:
        """Send references and wait for their outcomes; every one has exactly one."""
        encoder = ReferenceEncoder(SCHEMA)
        entries = [encoder.encode(given) for given in references]
        before = len(self.outcomes)
        self.outcomes += self.sender.submit(SCHEMA, entries)
        self.outcomes += self.sender.drain()
        outcomes = told(self.outcomes[before:])
        assert Counter(id(one.entry) for one in outcomes) == Counter(map(id, entries))

    def failures(self) -> list[tuple[str, str]]:
        """Reason and target of what failed."""
        return [
            (failure.reason, entry.reference.to_uuid)  # type: ignore[attr-defined]
            for entry, failure in told(self.outcomes)
            if failure is not None
        ]

    def batches(self) -> list[int]:
        """The sizes of the requests that were sent."""
        return [len(one.uuids) for one in self.fake.requests if one.method == "BatchReferences"]
