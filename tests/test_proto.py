from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from importlib import resources
from pathlib import Path

import pytest

import weaviate_io

PROTOBUFS = ["4.25.8", "5.29.5", "6.33.6"]
ROOT = Path(weaviate_io.__file__).parents[1]

ROUND_TRIP = """
import google.protobuf
from weaviate_io import proto
from weaviate_io.encoding import ObjectEncoder, decode_object, join_request
from weaviate_io.objects import WeaviateObject
from weaviate_io.schema import CollectionSchema

schema = CollectionSchema.from_rest({"class": "Article", "vectorizer": "none", "properties": [
    {"name": "title", "dataType": ["text"]}, {"name": "views", "dataType": ["int"]},
    {"name": "tags", "dataType": ["text[]"]},
    {"name": "author", "dataType": ["object"], "nestedProperties": [{"name": "name", "dataType": ["text"]}]},
]})
properties = {"title": "Dune", "views": 412, "tags": ["a", "b"], "author": {"name": "Frank"}}
encoded = ObjectEncoder(schema).encode(WeaviateObject(properties, vector=[0.5, 1.5]))
decoded = decode_object(encoded.payload, schema)
assert decoded.properties == properties, decoded
assert decoded.vector.tolist() == [0.5, 1.5], decoded
request = proto.BatchObjectsRequest.FromString(join_request([encoded], 2))
assert request.objects[0].uuid == encoded.uuid
assert request.consistency_level == proto.CONSISTENCY_LEVELS["QUORUM"]
print(google.protobuf.__version__, encoded.uuid)
"""


def run(code: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def protobuf_folder(version: str) -> Path:
    """A folder with that protobuf alone, installed once."""
    cache = Path(os.environ.get("WEAVIATE_IO_CACHE") or Path.home() / ".cache" / "weaviate-io")
    folder = cache / f"protobuf-{version}"
    if not folder.exists():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as unfinished:
            command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", unfinished]
            subprocess.run([*command, f"protobuf=={version}"], check=True, timeout=300)
            shutil.copytree(unfinished, folder)
    return folder


@pytest.mark.parametrize("version", PROTOBUFS)
def test_objects_are_encoded_and_decoded_by_every_supported_protobuf(version):
    path = os.pathsep.join([str(protobuf_folder(version)), str(ROOT)])
    found, object_id = run(ROUND_TRIP, PYTHONPATH=path).split()
    assert found == version
    assert object_id == "c2b8108e-59af-5b85-84a2-024443f90354"


@pytest.mark.parametrize(
    "imports",
    [("weaviate", "weaviate_io.proto"), ("weaviate_io.proto", "weaviate")],
    ids=["weaviate-client first", "weaviate-client last"],
)
def test_the_messages_live_in_one_process_with_those_of_the_official_client(imports):
    code = "\n".join(f"import {name}" for name in imports)
    code += """
from weaviate.proto.v1 import batch_pb2
from weaviate_io import proto
ours = proto.BatchObject(uuid="1", collection="A", tenant="t", vector_bytes=b"abcd")
ours.properties.non_ref_properties.update({"a": 1})
ours.vectors.add(name="v", vector_bytes=b"abcd", type=proto.VECTOR_MULTI_FP32)
theirs = batch_pb2.BatchObject.FromString(ours.SerializeToString())
assert theirs.uuid == "1" and theirs.collection == "A" and theirs.tenant == "t"
assert theirs.vector_bytes == b"abcd" and theirs.vectors[0].type == 2
assert theirs.properties.non_ref_properties["a"] == 1
assert proto.BatchObject.FromString(theirs.SerializeToString()) == ours
print("fine")
"""
    assert run(code, PYTHONPATH=str(ROOT)).split() == ["fine"]


def test_the_descriptors_are_compiled_from_the_proto_file(tmp_path):
    try:
        import grpc_tools
        from grpc_tools import protoc
    except ImportError:
        pytest.fail("grpc_tools is missing; install the dev extra: pip install -e '.[dev]'")
    package = resources.files("weaviate_io.proto")
    source, committed = Path(str(package / "weaviate.proto")), Path(str(package / "weaviate.binpb"))
    compiled = tmp_path / "weaviate.binpb"
    failed = protoc.main(
        [
            "protoc",
            f"--proto_path={source.parent}",
            f"--proto_path={Path(grpc_tools.__file__).parent / '_proto'}",
            "--include_imports",
            f"--descriptor_set_out={compiled}",
            source.name,
        ]
    )
    assert not failed
    assert compiled.read_bytes() == committed.read_bytes(), "weaviate.binpb is out of date; run make proto"


def test_the_levels_of_consistency_are_those_of_the_server():
    from weaviate_io import proto

    assert proto.CONSISTENCY_LEVELS == {"ONE": 1, "QUORUM": 2, "ALL": 3}
