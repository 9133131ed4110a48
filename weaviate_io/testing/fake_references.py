"""References that the fake server is sent: which it accepts, in the words of a real one (1.39)."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from weaviate_io.testing.fake_rules import BEACON, canonical_uuid, capitalized
from weaviate_io.testing.fake_store import FakeStore, Key


def add_references(store: FakeStore, messages: Iterable[Any], skip: Collection[int] = ()) -> dict[int, str]:
    """Append references to what objects have; gives errors by index.

    Args:
      store: the state of the server.
      messages: ``BatchReference`` messages.
      skip: indices of references that are not stored.
    """
    errors: dict[int, str] = {}
    with store.lock:
        for index, message in enumerate(messages):
            try:
                key, beacon, unique = _check(store, message)
            except ValueError as error:
                errors[index] = str(error)
                continue
            beacons = store.references.setdefault(key, {}).setdefault(message.name, [])
            if index not in skip and not (unique and beacon in beacons):
                beacons.append(beacon)
            if message.name[:1].isupper():
                # Found regardless of case, stored as it was sent, and then not found.
                errors[index] = f"ref batch: property '{message.name}' not found in schema"
    return errors


def _check(store: FakeStore, message: Any) -> tuple[Key, str, bool]:
    collection = message.from_collection
    _check_beacons(message)
    schema = store.schemas.get(collection)
    if schema is None:
        raise ValueError(f'source class "{collection}" not found in schema')
    properties = {given["name"]: given for given in schema["properties"]}
    known = properties.get(message.name[:1].lower() + message.name[1:])
    if known is None:
        raise ValueError(f"property {message.name} does not exist for class {collection}")
    targets = known["dataType"]
    target = message.to_collection or (targets[0] if len(targets) == 1 else "")
    if target and target not in store.schemas:
        raise ValueError(f'target class "{collection}" not found in schema')
    key = (collection, message.tenant, canonical_uuid(message.from_uuid))
    _check_objects(store, key, message, target)
    beacon = f"{BEACON}{target}/{message.to_uuid}" if target else f"{BEACON}{message.to_uuid}"
    return key, beacon, bool(known.get("disableDuplicatedReferences"))


def _check_beacons(message: Any) -> None:
    """What the server refuses while it makes the two addresses."""
    for name, given in (("className", message.from_collection), ("property", message.name)):
        if not given:
            raise ValueError(f"{name} cannot be empty")
    if message.from_collection != capitalized(message.from_collection):
        raise ValueError(f"className must start with an uppercase letter, but got {message.from_collection}")
    try:
        canonical_uuid(message.from_uuid)
    except ValueError:
        text = f"invalid cref URI: 2nd path segment must be uuid, but got '{message.name}'"
        raise ValueError(text) from None
    try:
        canonical_uuid(message.to_uuid)
    except ValueError:
        place = "2nd" if message.to_collection else "1nd"
        text = f"invalid cref URI: {place} path segment must be uuid, but got '{message.to_uuid}'"
        raise ValueError(text) from None


def _check_objects(store: FakeStore, key: Key, message: Any, target: str) -> None:
    """Whether source and target are there; the target counts only where the source has a tenant."""
    collection, tenant, uuid = key
    here, there = store.has_tenants(collection), bool(target) and store.has_tenants(target)
    if there and not here:
        raise ValueError(
            "invalid reference: cannot reference a multi-tenant enabled class from a non multi-tenant enabled class"
        )
    try:
        store.check_tenant(collection, tenant)
    except ValueError as error:
        if not here:
            raise
        text = f"source: get object {collection}/{uuid}: determine shard: {error}"
        raise ValueError(text) from None
    if not here:
        # Ids are looked up as they were sent.
        if key not in store.objects or message.from_uuid != uuid:
            raise ValueError(f"ref batch: object with id {uuid} not found")
        return
    if key not in store.objects:
        raise ValueError(f'source: object {collection}/{uuid} not found for tenant "{tenant}"')
    pointed_at = tenant if there else ""
    if (target, pointed_at, message.to_uuid) not in store.objects:
        raise ValueError(f'target: object {target}/{message.to_uuid} not found for tenant "{pointed_at}"')
