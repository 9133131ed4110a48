"""What the fake server holds: collections, tenants, objects, and which objects its vector index misses.

It knows no protocol (``fake_grpc.py``, ``fake_rest.py``). Not simulated: automatic schemas, objects written with
references to missing ones, the values of types other than text and scalar numbers, replication.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Collection, Iterable, Mapping
from typing import Any, NamedTuple

from weaviate_io.testing.fake_rules import (
    canonical_uuid,
    capitalized,
    check_tenant_name,
    inline_references,
    value_error,
    vector_length,
    vectors_of,
    with_defaults,
)

Key = tuple[str, str, str]

_TENANT_STATUS = {"ACTIVE": "HOT", "INACTIVE": "COLD"}


class RequestRefused(Exception):
    """The server refuses the whole request with this text."""


class WriteOutcome(NamedTuple):
    """What became of a request: errors by index, and the objects that its write left out of the index."""

    errors: dict[int, str]
    unindexed: dict[Key, Any]


class FakeStore:
    """The state of a fake server; every method may be called from any thread."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.schemas: dict[str, dict[str, Any]] = {}
        self.tenants: dict[str, dict[str, str]] = {}
        self.objects: dict[Key, Any] = {}
        self.references: dict[Key, dict[str, list[str]]] = {}
        self.unindexed: set[Key] = set()
        self.unfiltered: set[Key] = set()
        self.deleted: list[Key] = []
        self._lengths: dict[tuple[str, str, str], int] = {}

    def clear(self) -> None:
        """Forget everything."""
        with self.lock:
            for part in (
                self.schemas,
                self.tenants,
                self.objects,
                self.references,
                self.unindexed,
                self.unfiltered,
                self.deleted,
                self._lengths,
            ):
                part.clear()

    def create_collection(self, description: Mapping[str, Any]) -> dict[str, Any]:
        """Create a collection from its REST JSON; gives the JSON with defaults filled in.

        Raises:
          RequestRefused: in the words of the server.
        """
        name = capitalized(str(description.get("class") or ""))
        with self.lock:
            if not re.fullmatch("[A-Z][_0-9A-Za-z]{0,254}", name):
                raise RequestRefused(f"'{name}' is not a valid class name")
            if name in self.schemas:
                raise RequestRefused(f"class name {name} already exists")
            for other in self.schemas:
                if other.lower() == name.lower():
                    raise RequestRefused(f'class already exists: found similar class "{other}"')
            self.schemas[name] = with_defaults(description)
            return self.schemas[name]

    def drop_collection(self, name: str) -> None:
        """Drop a collection with its tenants and objects; a missing one is no error."""
        with self.lock:
            self.schemas.pop(name, None)
            self.tenants.pop(name, None)
            for key in [key for key in self.objects if key[0] == name]:
                self.delete_object(key)
            for place in [place for place in self._lengths if place[0] == name]:
                del self._lengths[place]

    def set_tenants(self, collection: str, given: Iterable[Mapping[str, str]], existing: bool = False) -> None:
        """Create tenants, leaving those there are as they are; or change the status of ``existing`` ones."""
        with self.lock:
            present = self.tenants.get(collection, {})
            if not self._multi_tenancy(collection).get("enabled"):
                raise RequestRefused(f'multi-tenancy is not enabled for class "{collection}"')
            new: dict[str, str] = {}
            for index, tenant in enumerate(given):
                try:
                    check_tenant_name(tenant.get("name", ""))
                except ValueError as error:
                    raise RequestRefused(f"tenant name at index {index}: {error}") from None
                if existing and tenant["name"] not in present:
                    raise RequestRefused(
                        f"updating schema: TYPE_UPDATE_TENANT: shard not found: {tenant['name']}"
                    )
                if existing or tenant["name"] not in present:
                    status = tenant.get("activityStatus", "HOT")
                    new[tenant["name"]] = _TENANT_STATUS.get(status, status)
            self.tenants.setdefault(collection, {}).update(new)

    def delete_object(self, key: Key) -> None:
        """Delete an object; a missing one is no error."""
        with self.lock:
            if self.objects.pop(key, None) is not None:
                self.references.pop(key, None)
                self.unindexed.discard(key)
                self.unfiltered.discard(key)
                self.deleted.append(key)

    def write(
        self,
        messages: Iterable[Any],
        *,
        indexed: bool = True,
        skip: Collection[int] = (),
        without_index: Collection[int] = (),
    ) -> WriteOutcome:
        """Store the objects of a request, each in full in place of what was there.

        Args:
          messages: ``BatchObject`` messages.
          indexed: ``False`` leaves new and changed vectors out of the index.
          skip: indices of objects that are not stored.
          without_index: indices of objects whose vectors are left out of the index.

        Raises:
          RequestRefused: one object spoils the whole request.
        """
        messages = list(messages)
        with self.lock:
            if any(not message.collection for message in messages):
                raise RequestRefused(
                    "panic occurred: runtime error: invalid memory address or nil pointer dereference"
                )
            self._create_missing_tenants(messages)
            errors, accepted = {}, {}
            for index, message in enumerate(messages):
                try:
                    key = self._check(message)
                except ValueError as error:
                    errors[index] = str(error)
                else:
                    if index not in skip:
                        accepted[key] = (index, message)  # the last of several with one id wins
            outcome = WriteOutcome(errors, {})
            for key, (index, message) in accepted.items():
                text = self._put(key, message, indexed and index not in without_index, outcome.unindexed)
                if text:
                    errors[index] = text
            return outcome

    def finish_index(self, unindexed: Mapping[Key, Any]) -> None:
        """Put objects into the index after all, if nobody wrote them again in the meantime."""
        with self.lock:
            self.unindexed -= {key for key, message in unindexed.items() if self.objects.get(key) is message}

    def has_tenants(self, collection: str) -> bool:
        """Whether the collection has tenants."""
        return bool(self._multi_tenancy(collection).get("enabled"))

    def _multi_tenancy(self, collection: str) -> Mapping[str, Any]:
        return self.schemas.get(collection, {}).get("multiTenancyConfig") or {}

    def _create_missing_tenants(self, messages: Iterable[Any]) -> None:
        wanted: dict[str, dict[str, None]] = {}
        for message in messages:
            name = capitalized(message.collection)
            if self._multi_tenancy(name).get("autoTenantCreation"):
                wanted.setdefault(name, {})[message.tenant] = None
        for name, tenants in wanted.items():
            present = self.tenants.get(name, {})
            try:
                self.set_tenants(name, [{"name": tenant} for tenant in tenants if tenant not in present])
            except RequestRefused as error:
                prefix = f'auto create tenants: auto-tenant: add tenants to collection "{name}"'
                raise RequestRefused(f"{prefix}: {error}") from None

    def check_tenant(self, collection: str, tenant: str) -> None:
        """Raise ``ValueError`` in the words of the server unless objects of the tenant can be used."""
        config = self._multi_tenancy(collection)
        if not config.get("enabled"):
            if tenant:
                raise ValueError(f"class {collection} has multi-tenancy disabled, but request was with tenant")
            return
        if not tenant:
            raise ValueError(f"class {collection} has multi-tenancy enabled, but request was without tenant")
        tenants = self.tenants.get(collection, {})
        if tenant not in tenants:
            raise ValueError(f'tenant not found: "{tenant}"')
        if tenants[tenant] != "HOT":
            if not config.get("autoTenantActivation"):
                raise ValueError(f"tenant not active: '{tenant}'")
            tenants[tenant] = "HOT"

    def _check(self, message: Any) -> Key:
        uuid = canonical_uuid(message.uuid)
        collection = capitalized(message.collection)
        schema = self.schemas.get(collection)
        if schema is None:
            raise ValueError(f"class '{collection}' not present in schema")
        self._check_properties(message, schema, collection)
        named = schema.get("vectorConfig") or {}
        vectors = vectors_of(message, schema)
        if named and "" in vectors:
            raise ValueError(f"collection {collection} configuration does not have single vector index")
        for name in vectors:
            if name and name not in named:
                raise ValueError(f"collection {collection} does not have configuration for vector {name}")
        self.check_tenant(collection, message.tenant)
        for name, (kind, data) in vectors.items():
            known, length = self._lengths.get((collection, message.tenant, name)), vector_length(kind, data)
            if known not in (None, length):
                where = f" {name} for target vector {uuid}" if name else f" for {uuid}"
                raise ValueError(
                    f"Validate vector index{where}: new node has a vector with length {length}. Existing "
                    f"nodes have vectors with length {known}: vector dimensions do not match the index "
                    "dimensions"
                )
        return collection, message.tenant, uuid

    def _check_properties(self, message: Any, schema: Mapping[str, Any], collection: str) -> None:
        kinds = {given["name"]: given["dataType"][0] for given in schema.get("properties") or ()}
        properties = message.properties
        values = properties.non_ref_properties.fields
        used = [name for name in values if values[name].WhichOneof("kind") != "null_value"]
        for field, entries in properties.ListFields():
            if field.name == "empty_list_props":
                used += entries
            elif field.name != "non_ref_properties":
                used += [entry.prop_name for entry in entries]
        for name in used:
            lowered = name[:1].lower() + name[1:]
            if lowered not in kinds:
                raise ValueError(
                    f"no such prop with name '{lowered}' found in class '{collection}' in the schema. "
                    "Check your schema files for which properties in this class are available"
                )
            text = name in values and value_error(
                values[name], kinds[lowered], f"'{lowered}' on class '{collection}'"
            )
            if text:
                raise ValueError(text)

    def _put(self, key: Key, message: Any, indexed: bool, unindexed: dict[Key, Any]) -> str | None:
        """Store one object. A vector that is the same as before is not looked at again, indexed or not."""
        schema = self.schemas[key[0]]
        vectors, old, error = vectors_of(message, schema), self.objects.get(key), None
        self.objects[key] = message
        self.references[key] = inline_references(message, schema)
        for name, (kind, data) in vectors.items():
            length = vector_length(kind, data)
            known = self._lengths.setdefault((key[0], key[1], name), length)
            if known != length:
                indexed = False
                error = f"insert to vector index: {known} vs {length}: vector lengths don't match"
        if not vectors:
            self.unindexed.discard(key)
        elif old is None or vectors_of(old, schema) != vectors:
            self.unfiltered.discard(key)
            if indexed:
                self.unindexed.discard(key)
            else:
                self.unindexed.add(key)
                unindexed[key] = message
        return error

    def select(
        self, collection: str, tenant: str, uuids: Iterable[str] | None, limit: int, after: str = ""
    ) -> list[tuple[str, Any]]:
        """Objects by id; or in the order of ids, those behind ``after``, when ``uuids`` is ``None``.

        A real server gives what a filter finds in an order of its own, so this is not that of the ids either.

        Raises:
          RequestRefused: in the words of the server.
        """
        with self.lock:
            collection = capitalized(collection)
            if collection not in self.schemas:
                raise RequestRefused(f"could not find class {collection} in schema")
            try:
                self.check_tenant(collection, tenant)
            except ValueError as error:
                where = f"object search at index {collection.lower()}"
                raise RequestRefused(f"explorer: list class: search: {where}: {error}") from None
            if uuids is None:
                keys = sorted(key for key in self.objects if key[:2] == (collection, tenant) and key[2] > after)
            else:
                asked = sorted({(collection, tenant, uuid) for uuid in uuids}, reverse=True)
                # the server's index of ids holds them as they were sent, upper case and braces included
                keys = [
                    key
                    for key in asked
                    if key in self.objects and self.objects[key].uuid == key[2] and key not in self.unfiltered
                ]
            return [(key[2], self.objects[key]) for key in keys[:limit]]

    def near(
        self, collection: str, tenant: str, near: Any, name: str = "", *, among: list[tuple[str, Any]]
    ) -> list[tuple[str, Any]]:
        """Those of the objects that a vector index knows; one of multi-vectors scores all that are stored.

        Raises:
          RequestRefused: in the words of the server.
        """
        schema = self.schemas[capitalized(collection)]
        with self.lock:
            kind, data = (2, near.vectors[0].vector_bytes) if near.vectors else (1, near.vector_bytes)
            known = self._lengths.get((capitalized(collection), tenant, name))
            if known not in (None, vector_length(kind, data)):
                text = f"{vector_length(kind, data)} vs {known}: vector lengths don't match"
                raise RequestRefused(f"explorer: get class: concurrentTargetVectorSearch): {text}")
            index = (schema.get("vectorConfig") or {}).get(name, schema).get("vectorIndexConfig") or {}
            multi = index.get("multivector") or {}
            scans = bool(multi.get("enabled")) and not (multi.get("muvera") or {}).get("enabled")
            return [
                (uuid, message)
                for uuid, message in among
                if name in self.vectors(message)
                and (scans or (capitalized(collection), tenant, uuid) not in self.unindexed)
            ]

    def vectors(self, message: Any) -> dict[str, tuple[int, bytes]]:
        """The vectors of a stored object by the name of their index, as (type, bytes)."""
        return vectors_of(message, self.schemas.get(capitalized(message.collection), {}))
