"""References on a real server, read back by the official client and by the REST interface."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import apache_beam as beam
import pyarrow as pa
import pytest
import requests
from apache_beam.transforms.util import WaitOn
from weaviate.classes.query import QueryReference

from tests.sender.harness import told
from tests.write.running import Done
from weaviate_io import (
    WeaviateConnection,
    WeaviateObject,
    WeaviateReference,
    WriteReferencesToWeaviate,
    WriteToWeaviate,
    generate_uuid5,
)
from weaviate_io.client import Client
from weaviate_io.flow import Flow
from weaviate_io.references.encoding import ReferenceEncoder
from weaviate_io.references.method import BatchReferences
from weaviate_io.schema import CollectionSchema
from weaviate_io.sender import Sender
from weaviate_io.testing import FaultProxy, WeaviateServer

pytestmark = pytest.mark.server


class Place(NamedTuple):
    """Where the references of a test go."""

    server: WeaviateServer
    author: str
    paper: str
    new_name: Callable[[], str]

    def rest(self, method: str, path: str, body: Any = None) -> requests.Response:
        return requests.request(method, self.server.url + path, json=body, timeout=60)

    def create(
        self, name: str, *properties: tuple[str, Sequence[str], bool], tenants: Sequence[str] = ()
    ) -> str:
        """Create a collection whose references have a name, targets, and whether duplicates are kept out."""
        body: dict[str, Any] = {
            "class": name,
            "properties": [
                {"name": "name", "dataType": ["text"]},
                *(
                    {"name": given, "dataType": list(targets), "disableDuplicatedReferences": unique}
                    for given, targets, unique in properties
                ),
            ],
        }
        if tenants:
            body["multiTenancyConfig"] = {"enabled": True}
        response = self.rest("POST", "/v1/schema", body)
        assert response.status_code == 200, response.text
        if tenants:
            self.rest("POST", f"/v1/schema/{name}/tenants", [{"name": tenant} for tenant in tenants])
        return name

    def put(self, collection: str, *keys: Any, tenant: str | None = None) -> None:
        """Create objects, each with the id of its key."""
        for key in keys:
            body = {"class": collection, "id": generate_uuid5(key), "properties": {"name": str(key)}}
            response = self.rest("POST", "/v1/objects", body | ({"tenant": tenant} if tenant else {}))
            assert response.status_code == 200, response.text

    def references(
        self, collection: str, key: Any, name: str = "writesFor", tenant: str | None = None
    ) -> list[tuple[str, str]]:
        """Collection and id of what an object points at, in order."""
        query = f"?tenant={tenant}" if tenant else ""
        found = self.rest("GET", f"/v1/objects/{collection}/{generate_uuid5(key)}{query}").json()
        beacons = [one["beacon"].split("/") for one in found["properties"].get(name, ())]
        return [(beacon[-2], beacon[-1]) for beacon in beacons]

    def write(self, **options: Any) -> WriteReferencesToWeaviate:
        given = {"from_property": "writesFor", "from_field": "author", "to_field": "papers", **options}
        collection = given.pop("collection", self.author)
        return WriteReferencesToWeaviate(
            collection, url=self.server.url, grpc_url=self.server.grpc_url, **given
        )


@pytest.fixture
def place(server: WeaviateServer, new_name: Callable[[], str]) -> Place:
    """Two collections: authors that write for papers, without duplicates (``kept`` keeps them)."""
    made = Place(server, new_name(), new_name(), new_name)
    made.create(made.paper)
    made.create(made.author, ("writesFor", [made.paper], True), ("kept", [made.paper], False))
    return made


def ids(*keys: Any) -> set[str]:
    return {generate_uuid5(key) for key in keys}


def test_a_row_becomes_references_that_the_official_client_follows(place, witness, write):
    place.put(place.paper, "Daily", "Weekly")
    place.put(place.author, "Ann", "Bob")
    rows = [{"author": "Ann", "papers": ["Daily", "Weekly"]}, {"author": "Bob", "papers": "Daily"}]
    done: Done = write(rows, place.write())
    assert done.failed == []
    assert set(done.written) == {
        WeaviateReference(generate_uuid5(a), "writesFor", generate_uuid5(p), place.paper, None, place.author)
        for a, p in (("Ann", "Daily"), ("Ann", "Weekly"), ("Bob", "Daily"))
    }
    authors = witness.collections.get(place.author).query
    for author, papers in (("Ann", {"Daily", "Weekly"}), ("Bob", {"Daily"})):
        links = [QueryReference(link_on="writesFor", return_properties=["name"])]
        found = authors.fetch_object_by_id(generate_uuid5(author), return_references=links)
        assert {one.properties["name"] for one in found.references["writesFor"].objects} == papers
    assert done.counters["references_written"] == 3
    assert "written" not in done.counters


def test_what_it_says_is_written_is_there_on_every_runner(place, write, runner):
    place.put(place.paper, *range(5))
    place.put(place.author, *range(20))
    rows = [{"author": n, "papers": [n % 5, (n + 1) % 5]} for n in range(20)]
    for batching in ("bundle", "group_into_batches"):
        done = write(rows, place.write(batching=batching), runner, bundles=3)
        assert done.failed == []
        assert len(done.written) == 40
    for n in range(20):
        found = place.references(place.author, n)
        assert sorted(found) == sorted((place.paper, one) for one in ids(n % 5, (n + 1) % 5))


def test_a_property_with_several_targets_points_into_each(place, witness, write):
    other = place.create(place.new_name())
    name = place.create(place.new_name(), ("likes", [place.paper, other], True))
    place.put(place.paper, "Daily")
    place.put(other, "Daily", "Cat")
    place.put(name, "Ann")
    rows = [{"author": "Ann", "papers": {place.paper: "Daily", other: ["Daily", "Cat"]}}]
    assert write(rows, place.write(collection=name, from_property="likes")).failed == []
    assert set(place.references(name, "Ann", "likes")) == {
        (place.paper, generate_uuid5("Daily")),
        (other, generate_uuid5("Daily")),
        (other, generate_uuid5("Cat")),
    }
    link = QueryReference.MultiTarget(link_on="likes", target_collection=other, return_properties=["name"])
    found = witness.collections.get(name).query.fetch_object_by_id(
        generate_uuid5("Ann"), return_references=[link]
    )
    assert {one.properties["name"] for one in found.references["likes"].objects} == {"Daily", "Cat"}


def test_tenants_keep_their_references_apart(place, write):
    tenants = ["acme", "globex"]
    paper = place.create(place.new_name(), tenants=tenants)
    author = place.create(
        place.new_name(), ("writesFor", [paper], True), ("plain", [place.paper], True), tenants=tenants
    )
    place.put(place.paper, "Shared")
    for tenant in tenants:
        place.put(paper, f"Daily of {tenant}", tenant=tenant)
        place.put(author, "Ann", tenant=tenant)
    rows = [{"author": "Ann", "papers": f"Daily of {tenant}", "tenant": tenant} for tenant in tenants]
    rows += [
        {"author": "Ann", "papers": "Daily of acme", "tenant": "globex"},
        {"author": "Bob", "papers": "Daily of acme", "tenant": "acme"},
        {"author": "Ann", "papers": "Daily of acme", "tenant": "nobody"},
        {"author": "Ann", "papers": "Daily of acme", "tenant": None},
    ]
    done = write(rows, place.write(collection=author, tenant_field="tenant", check_targets=True))
    assert sorted(failed.reason for failed in done.failed) == [
        "invalid_tenant",
        "source_not_found",
        "target_not_found",
        "tenant_not_found",
    ]
    for tenant in tenants:
        assert place.references(author, "Ann", tenant=tenant) == [(paper, generate_uuid5(f"Daily of {tenant}"))]
    rows = [{"author": "Ann", "papers": "Shared", "tenant": "acme"}]
    assert (
        write(rows, place.write(collection=author, tenant_field="tenant", from_property="plain")).failed == []
    )
    assert place.references(author, "Ann", "plain", "acme") == [(place.paper, generate_uuid5("Shared"))]


def test_a_target_with_tenants_of_a_source_without_is_refused(place, write):
    paper = place.create(place.new_name(), tenants=["acme"])
    author = place.create(place.new_name(), ("writesFor", [paper], True))
    place.put(author, "Ann")
    done = write([{"author": "Ann", "papers": "Daily"}], place.write(collection=author))
    assert [failed.reason for failed in done.failed] == ["invalid_reference"]


def test_dangling_references_are_written_unless_targets_are_checked(place, write):
    place.put(place.paper, "Daily")
    place.put(place.author, "Ann")
    rows = [{"author": "Ann", "papers": ["Daily", "Nowhere"]}, {"author": "Nobody", "papers": "Daily"}]
    done = write(rows, place.write(check_targets=True))
    assert {failed.reason for failed in done.failed} == {"target_not_found", "source_not_found"}
    assert place.references(place.author, "Ann") == [(place.paper, generate_uuid5("Daily"))]
    done = write(rows, place.write())
    assert [failed.reason for failed in done.failed] == ["source_not_found"]
    assert {one for _, one in place.references(place.author, "Ann")} == ids("Daily", "Nowhere")


@pytest.mark.parametrize(
    "options", [{}, {"from_property": "kept", "skip_existing": True}], ids=["unique", "kept"]
)
def test_a_rerun_adds_nothing(place, write, options):
    place.put(place.author, "Ann", "Bob")
    rows = [{"author": "Ann", "papers": ["Daily", "Nowhere"]}, {"author": "Bob", "papers": "Daily"}]
    for _ in range(3):
        assert write([*rows, *rows], place.write(**options), bundles=1).failed == []
    name = options.get("from_property", "writesFor")
    assert sorted(one for _, one in place.references(place.author, "Ann", name)) == sorted(
        ids("Daily", "Nowhere")
    )
    assert len(place.references(place.author, "Bob", name)) == 1


def test_a_rerun_with_allow_duplicates_doubles_them(place, write):
    place.put(place.author, "Ann")
    for times in (1, 2):
        rows = [{"author": "Ann", "papers": "Daily"}]
        write(rows, place.write(from_property="kept", allow_duplicates=True))
        assert len(place.references(place.author, "Ann", "kept")) == times


@pytest.mark.parametrize("name", ["kept", "writesFor"])
def test_replies_that_are_lost_double_nothing(place, name):
    """The official server, behind a network that swallows replies until the request was given up twice."""
    place.put(place.author, *range(50))
    schema = CollectionSchema.from_rest(place.rest("GET", f"/v1/schema/{place.author}").json())
    encoder = ReferenceEncoder(schema)
    items = [
        encoder.encode(WeaviateReference(generate_uuid5(n), name, generate_uuid5(f"to {m}")))
        for n in range(50)
        for m in range(4)
    ]
    with FaultProxy(place.server.grpc_url) as proxy:
        client = Client(WeaviateConnection(place.server.url, grpc_url=proxy.address))
        client.flow = Flow(1.0)
        proxy.swallow_replies = True
        tries = 0

        def heal(seconds: float) -> float:
            nonlocal tries
            tries += 1
            proxy.swallow_replies = tries < 2
            if tries == 2:
                proxy.reset_all()
            return 0.0

        sender = Sender(client, BatchReferences(client), batch_size=200, pause=heal)
        outcomes = [*sender.submit(schema, items), *sender.drain()]
        client.close()
    assert [one.failure for one in told(outcomes)] == [None] * 200
    for n in range(50):
        found = [one for _, one in place.references(place.author, n, name)]
        assert sorted(found) == sorted(ids(*(f"to {m}" for m in range(4))))
    assert sender.tally.unknown_outcomes > 0


def test_a_deadline_that_passes_in_the_middle_doubles_nothing(place):
    place.put(place.author, *range(100))
    schema = CollectionSchema.from_rest(place.rest("GET", f"/v1/schema/{place.author}").json())
    encoder = ReferenceEncoder(schema)
    items = [
        encoder.encode(WeaviateReference(generate_uuid5(n), "kept", generate_uuid5(f"to {m}")))
        for n in range(100)
        for m in range(10)
    ]
    client = Client(WeaviateConnection(place.server.url, grpc_url=place.server.grpc_url))
    client.flow = Flow(0.01)

    def there() -> list[int]:
        return [len(place.references(place.author, n, "kept")) for n in range(100)]

    def patient(tries: int) -> float:
        """Pause until what was given up, and goes on in the server, has come to its end."""
        client.flow = Flow(30.0)
        before = None
        while before != (before := there()):
            pass
        return 0.0

    sender = Sender(client, BatchReferences(client), batch_size=1000, pause=patient)
    outcomes = [*sender.submit(schema, items), *sender.drain()]
    client.close()
    assert [one.failure for one in told(outcomes)] == [None] * 1000
    for n in range(100):
        found = [one for _, one in place.references(place.author, n, "kept")]
        assert sorted(found) == sorted(ids(*(f"to {m}" for m in range(10))))


@pytest.mark.old_server
def test_a_read_only_shard_loses_and_doubles_nothing(new_name, write):
    """Weaviate 1.39.0 tells of the first reference only that the shard is read-only."""
    with WeaviateServer(version="1.39.0") as old:
        place = Place(old, "Author", "Paper", new_name)
        place.create("Paper")
        place.create("Author", ("kept", ["Paper"], False))
        place.put("Author", *range(10))
        (shard,) = place.rest("GET", "/v1/schema/Author/shards").json()
        path = f"/v1/schema/Author/shards/{shard['name']}"
        schema = CollectionSchema.from_rest(place.rest("GET", "/v1/schema/Author").json())
        encoder = ReferenceEncoder(schema)
        items = [
            encoder.encode(WeaviateReference(generate_uuid5(n), "kept", generate_uuid5("x"))) for n in range(10)
        ]
        client = Client(WeaviateConnection(old.url, grpc_url=old.grpc_url))
        assert place.rest("PUT", path, {"status": "READONLY"}).status_code == 200

        def heal(tries: int) -> float:
            place.rest("PUT", path, {"status": "READY"})
            return 0.0

        sender = Sender(client, BatchReferences(client), pause=heal)
        outcomes = [*sender.submit(schema, items), *sender.drain()]
        client.close()
        assert [one.failure for one in told(outcomes)] == [None] * 10
        assert all(len(place.references("Author", n, "kept")) == 1 for n in range(10))


def test_to_write_an_object_again_removes_references_but_its_own(place, write):
    objects = {"url": place.server.url, "grpc_url": place.server.grpc_url, "id_field": "name"}
    write([{"name": "Daily"}, {"name": "Weekly"}], WriteToWeaviate(place.paper, **objects))
    authors = WriteToWeaviate(place.author, references_field={"writesFor": "papers"}, **objects)
    rows = [{"name": "Ann", "papers": ["Daily"]}]
    assert write(rows, authors).failed == []
    write([{"author": "Ann", "papers": "Weekly"}], place.write())
    assert {one for _, one in place.references(place.author, "Ann")} == ids("Daily", "Weekly")
    assert write(rows, authors).failed == []
    assert {one for _, one in place.references(place.author, "Ann")} == ids("Daily")


def test_objects_bring_references_of_every_form(place, witness, write):
    objects = {"url": place.server.url, "grpc_url": place.server.grpc_url, "id_field": "name"}
    name = place.create(
        place.new_name(), ("writesFor", [place.paper], True), ("likes", [place.paper, place.author], True)
    )
    place.put(place.paper, "Daily", "Weekly")
    place.put(place.author, "Bob")
    table = pa.table({"name": ["Ann", "Eve", "Pia"], "papers": [["Daily", "Weekly"], [], None]})
    rows = [
        table,
        WeaviateObject(
            {"name": "Max"}, generate_uuid5("Max"), references={"writesFor": generate_uuid5("Daily")}
        ),
    ]
    done = write(rows, WriteToWeaviate(name, references_field={"writesFor": "papers"}, **objects))
    assert done.failed == []
    likes = {"references_field": lambda row: {"likes": row["likes"], "writesFor": None}, "properties": ["name"]}
    rows = [
        {"name": "Jo", "likes": {place.paper: "Daily", place.author: ["Bob"]}},
        {"name": "Kim", "likes": {place.paper: "Nowhere"}},
        {"name": "Lea", "likes": {place.paper: 1.5}},
    ]
    done = write(rows, WriteToWeaviate(name, **likes, **objects))
    assert sorted((failed.reason, failed.object.properties["name"]) for failed in done.failed) == [
        ("invalid_reference", "Kim"),
        ("invalid_reference", "Lea"),
    ]
    expected = {"Ann": ids("Daily", "Weekly"), "Eve": set(), "Pia": set(), "Max": ids("Daily")}
    for key, targets in expected.items():
        assert {one for _, one in place.references(name, key)} == targets
    assert set(place.references(name, "Jo", "likes")) == {
        (place.paper, generate_uuid5("Daily")),
        (place.author, generate_uuid5("Bob")),
    }
    link = [QueryReference(link_on="writesFor", return_properties=["name"])]
    found = witness.collections.get(name).query.fetch_object_by_id(
        generate_uuid5("Ann"), return_references=link
    )
    assert {one.properties["name"] for one in found.references["writesFor"].objects} == {"Daily", "Weekly"}


def test_two_collections_that_point_at_each_other_in_one_pipeline(server, new_name, witness, runner):
    where = {"url": server.url, "grpc_url": server.grpc_url}
    author, paper = new_name(), new_name()

    def schema(name: str, link: str, target: str) -> dict[str, Any]:
        reference = {"name": link, "dataType": [target], "disableDuplicatedReferences": True}
        return {"class": name, "properties": [{"name": "name", "dataType": ["text"]}, reference]}

    # A collection cannot point at one that does not exist yet: the second half of the circle comes after.
    place = Place(server, author, paper, new_name)
    place.create(paper)
    response = place.rest("POST", "/v1/schema", schema(author, "writesFor", paper))
    assert response.status_code == 200, response.text
    link = schema(paper, "hasAuthors", author)["properties"][1]
    assert place.rest("POST", f"/v1/schema/{paper}/properties", link).status_code == 200
    rows = [{"author": f"author {n}", "paper": f"paper {n % 3}"} for n in range(30)]
    with runner.pipeline() as pipeline:
        given = pipeline | beam.Create(rows)
        authors = (
            given
            | "Author rows" >> beam.Map(lambda row: {"name": row["author"]})
            | "Authors" >> WriteToWeaviate(author, id_field="name", **where)
        )
        papers = (
            given
            | "Paper rows" >> beam.Map(lambda row: row["paper"])
            | beam.Distinct()
            | "Papers again" >> beam.Map(lambda name: {"name": name})
            | "Papers" >> WriteToWeaviate(paper, id_field="name", **where)
        )
        ready = given | WaitOn(authors.written, papers.written)
        ready | "To papers" >> WriteReferencesToWeaviate(
            author,
            from_property="writesFor",
            from_field="author",
            to_field="paper",
            on_failure="raise",
            **where,
        )
        ready | "To authors" >> WriteReferencesToWeaviate(
            paper,
            from_property="hasAuthors",
            from_field="paper",
            to_field="author",
            on_failure="raise",
            **where,
        )
    links = [QueryReference(link_on="hasAuthors", return_properties=["name"])]
    for n in range(3):
        found = witness.collections.get(paper).query.fetch_object_by_id(
            generate_uuid5(f"paper {n}"), return_references=links
        )
        named = {one.properties["name"] for one in found.references["hasAuthors"].objects}
        assert named == {f"author {m}" for m in range(30) if m % 3 == n}
    assert all(
        place.references(author, f"author {n}") == [(paper, generate_uuid5(f"paper {n % 3}"))]
        for n in range(30)
    )


def test_a_description_of_a_real_server_tells_whether_duplicates_are_kept(place):
    schema = CollectionSchema.from_rest(place.rest("GET", f"/v1/schema/{place.author}").json())
    assert schema.properties["writesFor"].unique_references
    assert not schema.properties["kept"].unique_references
