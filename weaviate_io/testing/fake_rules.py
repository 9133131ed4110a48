"""What the fake server accepts and how it words a refusal: names, ids, property values, defaults of a schema.

The texts are those of a real server (1.39). Plain functions; the state is in ``fake_store.py``.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
from typing import Any

_NOT_A_TENANT = (
    " '{}' is not a valid tenant name. should only contain alphanumeric characters (a-z, A-Z, 0-9), "
    "underscore (_), and hyphen (-), with a length between 1 and 64 characters"
)


def capitalized(collection: str) -> str:
    """The name as the server keeps it."""
    return collection[:1].upper() + collection[1:]


def canonical_uuid(text: str) -> str:
    """The uuid in lower case with hyphens.

    Raises:
      ValueError: it is none, in the words of the server.

    >>> canonical_uuid("{6CB8E707-0FC5-5F55-88D4-D4FED43E64A8}")
    '6cb8e707-0fc5-5f55-88d4-d4fed43e64a8'
    """
    size = len(text.encode())
    if size not in (32, 36, 38, 45):
        raise ValueError(f"invalid UUID length: {size}")
    if size == 45 and text[:9].lower() != "urn:uuid:":
        raise ValueError(f'invalid urn prefix: "{text[:9]}"')
    inner = {45: text[9:], 38: text[1:37]}.get(size, text)
    if size != 32 and [inner[at] for at in (8, 13, 18, 23) if at < len(inner)] != ["-"] * 4:
        raise ValueError("invalid UUID format")
    digits = inner.replace("-", "") if size != 32 else inner
    if not re.fullmatch("[0-9a-fA-F]{32}", digits):
        raise ValueError("invalid UUID format")
    digits = digits.lower()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def check_tenant_name(name: str) -> None:
    """Raise ``ValueError`` in the words of the server when the name cannot be a tenant's."""
    if not name:
        raise ValueError("empty tenant name")
    if not re.fullmatch("[A-Za-z0-9_-]{1,64}", name):
        raise ValueError(_NOT_A_TENANT.format(name))


def with_defaults(description: Mapping[str, Any]) -> dict[str, Any]:
    """A collection's JSON as the server gives it back, as far as a client reads it."""
    filled: dict[str, Any] = {**description, "class": capitalized(description["class"])}
    if not filled.get("vectorConfig"):
        filled.setdefault("vectorizer", "none")
        filled.setdefault("vectorIndexType", "hnsw")
        filled.setdefault("vectorIndexConfig", {"distance": "cosine"})
    else:
        filled["vectorConfig"] = {
            name: {
                "vectorizer": {"none": {}},
                "vectorIndexType": "hnsw",
                "vectorIndexConfig": {"distance": "cosine"},
                **config,
            }
            for name, config in filled["vectorConfig"].items()
        }
    filled["multiTenancyConfig"] = {
        "enabled": False,
        "autoTenantCreation": False,
        "autoTenantActivation": False,
        **(filled.get("multiTenancyConfig") or {}),
    }
    filled["replicationConfig"] = {
        "factor": 1,
        "asyncEnabled": False,
        **(filled.get("replicationConfig") or {}),
    }
    filled["properties"] = [_property_with_defaults(given) for given in filled.get("properties") or ()]
    return filled


def _property_with_defaults(given: Mapping[str, Any]) -> dict[str, Any]:
    kind = given["dataType"][0]
    is_text = kind in ("text", "text[]")
    defaults: dict[str, Any] = (
        {} if kind[:1].isupper() else {"indexFilterable": True, "indexSearchable": is_text}
    )
    if is_text:
        defaults["tokenization"] = "word"
    return {**defaults, **given, "name": given["name"][:1].lower() + given["name"][1:]}


def vectors_of(message: Any, schema: Mapping[str, Any]) -> dict[str, tuple[int, bytes]]:
    """Vectors by the name of their index ("" for the unnamed one), as (type, bytes)."""
    named = list(schema.get("vectorConfig") or ())
    vectors = {entry.name: (entry.type, entry.vector_bytes) for entry in message.vectors if entry.vector_bytes}
    if not named and "default" in vectors:
        vectors[""] = vectors.pop("default")
    if message.vector_bytes:
        vectors[named[0] if len(named) == 1 else ""] = (0, message.vector_bytes)
    return vectors


def vector_length(kind: int, data: bytes) -> int:
    """The number of dimensions, of each vector in a multi-vector."""
    return struct.unpack_from("<H", data)[0] if kind == 2 else len(data) // 4


def value_error(value: Any, kind: str, where: str) -> str | None:
    """The server's words about a value of a Struct, for the plain types."""
    given = value.WhichOneof("kind")
    go_type = {
        "number_value": "float64",
        "string_value": "string",
        "bool_value": "bool",
        "struct_value": "map[string]interface {}",
        "list_value": "[]interface {}",
    }[given]
    shown = f"{value.number_value:g}" if given == "number_value" else getattr(value, given)
    if kind == "text" and given != "string_value":
        return f"invalid text property {where}: not a string, but {go_type}"
    if kind == "boolean" and given != "bool_value":
        return f"invalid boolean property {where}: not a bool, but {go_type}"
    if kind == "number" and given != "number_value":
        return f"invalid number property {where}: requires a float, the given value is '{shown}'"
    if kind == "int" and not (given == "number_value" and value.number_value.is_integer()):
        return f"invalid integer property {where}: requires an integer, the given value is '{shown}'"
    return None


BEACON = "weaviate://localhost/"


def inline_references(message: Any, schema: Mapping[str, Any]) -> dict[str, list[str]]:
    """The beacons that an object was written with, by property."""
    found: dict[str, list[str]] = {}
    targets = {given["name"]: given["dataType"] for given in schema.get("properties") or ()}
    for one in message.properties.single_target_ref_props:
        beacons = [f"{BEACON}{targets[one.prop_name][0]}/{uuid}" for uuid in one.uuids]
        found.setdefault(one.prop_name, []).extend(beacons)
    for one in message.properties.multi_target_ref_props:
        beacons = [f"{BEACON}{one.target_collection}/{uuid}" for uuid in one.uuids]
        found.setdefault(one.prop_name, []).extend(beacons)
    return found
