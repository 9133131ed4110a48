"""The transform on the fake server: outputs, metrics, batchings, runners, and rows that are none."""

from __future__ import annotations

import math
import uuid
from decimal import Decimal

import apache_beam as beam
import pyarrow as pa
import pytest
from apache_beam.transforms.window import FixedWindows, TimestampedValue

from tests.references.harness import author, fill, paper, reference, stored, transform
from tests.write.running import THROUGH
from weaviate_io import (
    FailedObject,
    FailedReference,
    ReadFailuresFromJson,
    WeaviateObject,
    WeaviateReference,
    WriteFailuresToJson,
    WriteReferencesToWeaviate,
    WriteToWeaviate,
    WrittenObject,
)
from weaviate_io.failures import failure_from_json, failure_to_json
from weaviate_io.objects import SourceRow
from weaviate_io.testing import faults

BATCHINGS = ("bundle", "group_into_batches")
ROWS = [{"author": f"author {n}", "papers": [f"paper {n}", f"paper {(n + 1) % 10}"]} for n in range(10)]


def check_all_stored(fake, name="writesFor"):
    for n in range(10):
        assert sorted(stored(fake, n, name)) == sorted([paper(n), paper((n + 1) % 10)])


@pytest.mark.parametrize("batching", BATCHINGS)
def test_references_are_written_on_every_runner_into_every_consumer(fake, write, runner, batching):
    fill(fake)
    rows = [*ROWS, {"author": "nobody", "papers": "paper 1"}, {"author": None, "papers": "paper 1"}]
    ways = THROUGH if runner.name != "loopback" else "nothing"
    done = write(rows, transform(fake, batching=batching), runner, through=ways, bundles=3)
    check_all_stored(fake)
    assert len(done.written) == 20
    assert {tuple(one) for one in done.written} == {
        (author(n), "writesFor", paper(p % 10), "Paper", None, "Author") for n in range(10) for p in (n, n + 1)
    }
    assert sorted(failed.reason for failed in done.failed) == ["missing_id", "source_not_found"]


def test_the_counters_of_references_are_their_own(fake, write):
    fill(fake)
    rows = [*ROWS, ROWS[0], {"author": "nobody", "papers": "paper 1"}, 17]
    done = write(rows, transform(fake))
    counted = {name: count for name, count in done.counters.items() if not name.startswith("bytes")}
    assert counted["references_written"] == 22
    assert counted["references_failed"] == 2
    assert counted["references_failed_source_not_found"] == counted["references_failed_invalid_row"] == 1
    assert counted["references_duplicates"] == 2
    assert counted["requests"] == 1
    assert not {"written", "failed", "duplicates"} & set(counted)


def test_every_form_of_input_may_be_mixed(fake, write):
    fill(fake)
    table = pa.table({"author": ["author 2", "author 3"], "papers": [["paper 2", None], None]})
    failed = FailedReference(
        "r", "e", 1, "Author", None, None, None, None, None, reference(5, 5, "writesFor"), None, None
    )
    of_a_row = failed._replace(reference=None, row={"author": "author 6", "papers": "paper 6"})
    rows = [
        {"author": "author 0", "papers": "paper 0"},
        beam.Row(author="author 1", papers=["paper 1"]),
        table,
        WeaviateReference(uuid.UUID(author(4)), "writesFor", paper(4)),
        failed,
        of_a_row,
        {"author": "author 7", "papers": None},
    ]
    done = write(rows, transform(fake))
    assert done.failed == []
    assert {n for n in range(10) if stored(fake, n, "writesFor") == [paper(n)]} == {0, 1, 2, 4, 5, 6}


@pytest.mark.parametrize("batching", BATCHINGS)
def test_windows_and_timestamps_are_kept(fake, write, batching):
    fill(fake)
    rows = [
        TimestampedValue({"author": f"author {n}", "papers": ["paper 1", "paper 99" if n else None]}, 10 * n)
        for n in range(4)
    ]
    bad = [
        TimestampedValue({"author": "nobody", "papers": "paper 1"}, 35),
        TimestampedValue({"papers": "x"}, 5),
    ]
    source = beam.Create([*rows, *bad]) | beam.Map(lambda x: x) | beam.WindowInto(FixedWindows(20))
    done = write(source, transform(fake, batching=batching, check_targets=True))
    assert sorted((one.timestamp, one.window) for one in done.seen_written) == [
        (0.0, (0.0, 20.0)),
        (10.0, (0.0, 20.0)),
        (20.0, (20.0, 40.0)),
        (30.0, (20.0, 40.0)),
    ]
    assert sorted((one.value.reason, one.timestamp, one.window) for one in done.seen_failed) == [
        ("missing_id", 5.0, (0.0, 20.0)),
        ("source_not_found", 35.0, (20.0, 40.0)),
        ("target_not_found", 10.0, (0.0, 20.0)),
        ("target_not_found", 20.0, (20.0, 40.0)),
        ("target_not_found", 30.0, (20.0, 40.0)),
    ]


def test_each_reference_of_a_row_fails_alone(fake, write):
    fill(fake)
    rows = [{"author": "author 1", "papers": ["paper 1", 1.5, "", {"a": 1}, "paper 2"]}]
    done = write(rows, transform(fake))
    assert stored(fake, 1, "writesFor") == [paper(1), paper(2)]
    assert [failed.reason for failed in done.failed] == ["invalid_uuid"] * 3
    first = done.failed[0]
    assert first.reference == WeaviateReference(author(1), "writesFor", 1.5, None, None, "Author")
    assert first[3:9] == ("Author", None, author(1), "writesFor", "1.5", None)
    assert first.row is None


@pytest.mark.parametrize("batching", BATCHINGS)
def test_a_failed_reference_tells_all_and_is_written_by_its_replay(fake, write, batching, tmp_path):
    fill(fake, authors=1)
    rows = [
        {"author": "author 0", "papers": "paper 0"},
        {"author": "author 1", "papers": "paper 1"},
        {"writer": "x"},
    ]
    keep = tmp_path / "failed"
    done = write(
        rows, transform(fake, batching=batching), also=lambda r: r.failed | WriteFailuresToJson(str(keep))
    )
    gone, row = sorted(done.failed, key=lambda failed: failed.reason, reverse=True)
    assert gone == FailedReference(
        "source_not_found",
        f"ref batch: object with id {author(1)} not found",
        1,
        "Author",
        None,
        author(1),
        "writesFor",
        paper(1),
        "Paper",
        WeaviateReference(author(1), "writesFor", paper(1), "Paper", None, "Author"),
        None,
        None,
    )
    assert (row.reason, row.row, row.reference) == ("missing_reference", {"writer": "x"}, None)
    fake.reset()
    fill(fake)
    again = write(ReadFailuresFromJson(str(keep), FailedReference), transform(fake, batching=batching))
    assert stored(fake, 1, "writesFor") == [paper(1)]
    assert [failed.reason for failed in again.failed] == ["missing_reference"]


def test_failures_of_one_kind_are_not_read_as_the_other(fake, tmp_path):
    lines = {
        FailedObject: FailedObject("r", "e", 0, None, None, None, None, {"a": 1}, None),
        FailedReference: FailedReference("r", "e", 0, *[None] * 7, {"a": 1}, None),
    }
    for kind, other in ((FailedObject, FailedReference), (FailedReference, FailedObject)):
        path = tmp_path / f"{kind.__name__}.jsonl"
        path.write_text(failure_to_json(lines[kind]))
        with (
            pytest.raises(Exception, match=f"holds a {kind.__name__}; read it with"),
            beam.Pipeline() as pipeline,
        ):
            pipeline | ReadFailuresFromJson(str(path), other)
    with pytest.raises(ValueError, match="neither FailedObject nor FailedReference"):
        ReadFailuresFromJson("x", WrittenObject)


@pytest.mark.parametrize(
    "given", [reference(1, 2), WeaviateReference(1.5, "x", b"\xff", None, "t", None), None]
)
def test_a_failed_reference_survives_json(given):
    failure = FailedReference(
        "r", "é", 3, "A", None, "u", "p", "t", "B", given, None if given else {"n": {1: 2}}, "f: 3"
    )
    assert failure_from_json(failure_to_json(failure)) == failure


@pytest.mark.parametrize("options", [{}, {"to_collection": "Paper"}, {"to_collection": lambda row: "paper"}])
def test_the_collection_pointed_at_may_be_said_or_is_the_only_one(fake, write, options):
    fill(fake)
    done = write(ROWS, transform(fake, **options))
    assert done.failed == []
    check_all_stored(fake)


def test_a_property_with_several_targets_wants_to_know_which(fake, write):
    fill(fake)
    rows = [{"author": "author 1", "papers": {"Paper": "paper 1", "author": "author 2", "Member": "author 0"}}]
    done = write([*rows, *ROWS[2:3]], transform(fake, from_property="likes"))
    assert set(stored(fake, 1, "likes")) == {paper(1), author(2)}
    assert sorted(failed.error for failed in done.failed) == [
        "property 'likes' of Author points into 'Paper', 'Author', not 'Member'",
        *[
            "property 'likes' of Author points into 'Paper', 'Author'; say which is meant with to_collection=, or with "
            "a mapping of collection to ids"
        ]
        * 2,
    ]


def test_tenants_of_rows_and_of_the_write(fake, write):
    fill(fake)
    rows = [
        {"author": "author 0", "papers": "paper 0", "of": "acme"},
        {"author": "author 0", "papers": "paper 1", "of": None},
        {"author": "author 0", "papers": "paper 2", "of": "asleep"},
        {"author": "author 0", "papers": "paper 3", "of": "unknown"},
        {"author": "author 0", "papers": "paper 4", "of": "b d"},
        {"author": "author 0", "papers": "paper 99", "of": "acme"},
        {"author": "author 1", "papers": "paper 5", "of": "acme"},
    ]
    done = write(rows, transform(fake, "Member", from_property="reads", tenant_field="of", tenant="acme"))
    assert {tuple(one) for one in done.written} == {
        (author(0), "reads", paper(n), "Paper", "acme", "Member") for n in (0, 1)
    }
    assert {(failed.reason, failed.to_uuid) for failed in done.failed} == {
        ("tenant_not_active", paper(2)),
        ("tenant_not_found", paper(3)),
        ("invalid_tenant", paper(4)),
        ("target_not_found", paper(99)),
        ("source_not_found", paper(5)),
    }


def test_collections_chosen_by_a_function_fail_alone(fake, write):
    fill(fake)
    rows = [{**row, "into": "Author" if n else "Nowhere"} for n, row in enumerate(ROWS[:3])]
    rows.append({**ROWS[3], "into": "b d"})
    done = write(rows, transform(fake, lambda row: row["into"]))
    assert len(done.written) == 4
    assert {(failed.reason, failed.error[:41]) for failed in done.failed} == {
        ("collection_not_found", "collection Nowhere does not exist; write "),
        ("invalid_collection", "'b d' is not a collection name: use a cap"),
    }


def test_a_named_collection_that_is_missing_fails_the_job(fake, write):
    with pytest.raises(Exception, match="collection Author does not exist; write its objects first"):
        write(ROWS, transform(fake))


@pytest.mark.parametrize("batching", BATCHINGS)
def test_a_property_that_takes_duplicates_fails_the_job_and_names_the_ways_out(fake, write, batching):
    fill(fake)
    with pytest.raises(
        Exception, match="property 'kept' of Author has no disableDuplicatedReferences"
    ) as error:
        write(ROWS, transform(fake, from_property="kept", batching=batching))
    assert "skip_existing=True" in str(error.value)
    assert "allow_duplicates=True" in str(error.value)
    assert [one for one in fake.requests if one.method == "BatchReferences"] == []


@pytest.mark.parametrize("batching", BATCHINGS)
def test_with_skip_existing_a_rerun_adds_nothing(fake, write, batching):
    fill(fake)
    for _ in range(2):
        done = write(
            ROWS, transform(fake, from_property="kept", skip_existing=True, batching=batching), bundles=1
        )
        assert len(done.written) == 20
        check_all_stored(fake, "kept")


@pytest.mark.parametrize("batching", BATCHINGS)
def test_allow_duplicates_reads_before_it_sends_again_in_doubt(fake, write, batching):
    fill(fake)
    fake.script(faults.Disconnect(stored=True))
    done = write(ROWS, transform(fake, from_property="kept", allow_duplicates=True, batching=batching))
    assert len(done.written) == 20
    assert done.counters["unknown_outcomes"] == 1
    check_all_stored(fake, "kept")
    write(ROWS, transform(fake, from_property="kept", allow_duplicates=True, batching=batching))
    assert len(stored(fake, 1, "kept")) == 4


def test_a_dry_run_sends_nothing(fake, write):
    fill(fake)
    done = write([*ROWS, 17], transform(fake, dry_run=True))
    assert (len(done.written), len(done.failed)) == (20, 1)
    assert fake.requests == []


def test_a_rename_of_a_property_in_between_is_seen(fake, write):
    fill(fake)
    done = write([{"author": "author 1", "papers": "paper 1"}], transform(fake, from_property="writesfor"))
    (failed,) = done.failed
    assert failed.reason == "unknown_property"
    assert "its references are 'writesFor', 'kept', 'likes'" in failed.error


def test_failures_above_the_limit_fail_the_job(fake, write):
    fill(fake)
    bad = [{"author": f"nobody {n}", "papers": "paper 1"} for n in range(5)]
    with pytest.raises(Exception, match="4 references failed, max_errors=3 is allowed") as error:
        write(bad, transform(fake, max_errors=3))
    assert "\n  writesFor of " in str(error.value)
    with pytest.raises(Exception, match="a reference failed"):
        write(bad, transform(fake, on_failure="raise"))
    assert len(write(bad, transform(fake, max_errors=5)).failed) == 5


def test_an_error_handler_takes_the_failures(fake, write):
    fill(fake)
    with pytest.raises(Exception, match="a reference failed"):
        write([17], transform(fake).with_error_handler(None))


class Odd:
    def __repr__(self):
        return "odd"


def _nested(depth):
    value = "x"
    for _ in range(depth):
        value = [value]
    return value


NONSENSE = [
    None,
    "",
    "\ud800",
    b"\xff",
    1.5,
    math.nan,
    math.inf,
    True,
    Decimal("1.5"),
    2**70000,
    [],
    [[]],
    ["\ud800"],
    {},
    {"Paper": {}},
    {"Paper": {"Paper": "x"}},
    {None: "x"},
    {1: ["x"]},
    {"\ud800": "paper 1"},
    {"b d": "paper 1"},
    (),
    object,
    Odd(),
    _nested(200),
    uuid.UUID(int=0),
    WeaviateObject({"a": 1}),
    WrittenObject("Author", "x", None),
]


@pytest.mark.parametrize("batching", BATCHINGS)
def test_nonsense_fails_alone_and_never_the_job(fake, write, batching):
    fill(fake)
    rows = list(NONSENSE)
    rows += [{"author": "author 1", "papers": value} for value in NONSENSE]
    rows += [{"author": value, "papers": "paper 1"} for value in NONSENSE]
    rows += [
        {"author": "author 1", "papers": "paper 1", "into": value} for value in NONSENSE if value is not None
    ]
    rows += [WeaviateReference(value, "writesFor", paper(1)) for value in NONSENSE]
    rows += [WeaviateReference(author(1), "writesFor", value) for value in NONSENSE]
    rows += [[*WeaviateReference(author(1), "writesFor", paper(1), "Paper", "acme")]]
    rows.append({"author": "author 1", "papers": "paper 1"})
    # Some of the values no coder of Beam takes by themselves.
    wanted = transform(
        fake, batching=batching, to_collection=lambda row: row.get("into", "Paper"), check_targets=True
    )
    done = write([SourceRow(row, f"row {n}") for n, row in enumerate(rows)], wanted)
    assert {tuple(one)[:4] for one in done.written} <= {(author(1), "writesFor", paper(1), "Paper")}
    assert all(failed.reason and failed.error and failed.position for failed in done.failed)
    for failed in done.failed:
        failure_from_json(failure_to_json(failed))
    assert stored(fake, 1, "writesFor") == [paper(1)]


@pytest.mark.parametrize(
    ("field", "value"),
    [("from_property", 5), ("to_collection", 5), ("tenant", 5), ("collection", 5), ("to_collection", "\ud800")],
)
@pytest.mark.parametrize("batching", BATCHINGS)
def test_a_reference_with_fields_of_wrong_types_fails_alone(fake, write, batching, field, value):
    fill(fake)
    bad = WeaviateReference(author(1), "writesFor", paper(1))._replace(**{field: value})
    rows = [SourceRow(one, "here") for one in (bad, reference(2, 2, "writesFor"))]
    done = write(rows, transform(fake, lambda row: "Author", batching=batching))
    assert len(done.failed) == len(done.written) == 1
    assert done.failed[0].error


def test_what_belongs_into_the_other_write_is_refused_there(fake, write):
    fill(fake)
    objects = WriteToWeaviate("Author", url=fake.url, grpc_url=fake.grpc_url)
    of_a_row = FailedReference("r", "e", 0, *[None] * 7, {"name": "x"}, None)
    done = write([reference(1, 1), of_a_row], objects)
    assert [(one.reason, one.error) for one in done.failed] == [
        ("invalid_row", "a WeaviateReference is no object; give it to WriteReferencesToWeaviate"),
        ("invalid_row", "a FailedReference is no object; give it to WriteReferencesToWeaviate"),
    ]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"from_property": "x"}, "references from rows need from_field, to_field= too"),
        ({"to_field": "x", "from_field": "y"}, "references from rows need from_property= too"),
        ({"skip_existing": True, "allow_duplicates": True}, "contradict each other"),
        ({"batching": "x"}, "batching='x' is none of"),
        ({"batch_size": 0}, "batch_size=0 is not between"),
        ({"max_errors": -1}, "max_errors=-1 is below 0"),
        ({"max_buffering_duration_secs": 0}, "max_buffering_duration_secs=0 is not above 0"),
        ({"on_failure": "x"}, "on_failure='x' is none of"),
        ({"consistency_level": "x"}, "consistency_level='x' is none of"),
        ({"tenant": "b d"}, "tenant='b d' is not a tenant name"),
        ({"to_collection": "b d"}, "'b d' is not a collection name"),
    ],
)
def test_options_that_cannot_be_meant_are_refused_at_construction(options, words):
    with pytest.raises(ValueError, match=words):
        WriteReferencesToWeaviate("Author", url="http://localhost:1", **options)
    with pytest.raises(ValueError, match="say where Weaviate is"):
        WriteReferencesToWeaviate("Author")
    with pytest.raises(ValueError, match="is not a collection name"):
        WriteReferencesToWeaviate("b d", url="http://localhost:1")


def test_the_job_graph_shows_no_secret():
    write = WriteReferencesToWeaviate(
        "author",
        url="http://localhost:1",
        api_key="env:KEY",
        from_property="kept",
        from_field="a",
        to_field="b",
    )
    assert write.display_data() == {
        "collection": "Author",
        "url": "http://localhost:1",
        "grpc_target": "localhost:50051",
        "batching": "auto",
        "from_property": "kept",
    }


def test_rows_need_to_be_described(fake, write):
    fill(fake)
    options = {"from_property": None, "from_field": None, "to_field": None}
    done = write([reference(1, 1, "writesFor"), {"a": 1}], transform(fake, **options))
    assert len(done.written) == 1
    assert "say from_property=, from_field= and to_field=" in done.failed[0].error
