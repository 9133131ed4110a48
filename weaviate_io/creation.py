"""Collections of a write: what each expects, and how one that does not exist is created.

Creation happens in the worker, at the first element of a collection, so that collections chosen by a function
work too, and no step has to come before.
"""

from __future__ import annotations

import dataclasses
import enum
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Union

from apache_beam.io.filesystems import FileSystems

from weaviate_io.client import Client
from weaviate_io.errors import RowError, WeaviateError
from weaviate_io.schema import CollectionSchema, collection_name, has_tenants

SchemaSource = Union[Mapping[str, Any], str, Path, Callable[[str], Mapping[str, Any]], None]
"""The REST JSON of a collection, a path to it, or a function of the collection's name."""


class CreateDisposition(str, enum.Enum):
    """What to do about a collection that does not exist."""

    CREATE_IF_NEEDED = "CREATE_IF_NEEDED"
    CREATE_NEVER = "CREATE_NEVER"


class WriteDisposition(str, enum.Enum):
    """What to do about objects that a collection already has."""

    WRITE_APPEND = "WRITE_APPEND"
    WRITE_TRUNCATE = "WRITE_TRUNCATE"
    WRITE_EMPTY = "WRITE_EMPTY"


class CollectionNotFound(RowError):
    """The collection of an element does not exist and is not to be created."""


def read_schema(source: SchemaSource) -> SchemaSource:
    """Read a local schema file now, where the pipeline is constructed; a remote one is read on the worker.

    Raises ``ValueError`` where the file is missing or is no collection.
    """
    if isinstance(source, (str, Path)) and "://" not in str(source):
        try:
            return _checked(json.loads(Path(source).read_text()), str(source))
        except OSError as error:
            raise ValueError(f"schema={str(source)!r} cannot be read: {error.strerror}") from None
        except json.JSONDecodeError as error:
            raise ValueError(f"schema={str(source)!r} is no JSON: {error}") from None
    if isinstance(source, Mapping):
        return _checked(source, "schema=")
    return source


class Catalog:
    """The collections of a write: what each expects, created at first use.

    Args:
      client: the open connection.
      schema: what to create an absent collection from.
      create_disposition: whether to create at all.
      auto_schema: let the server create collections and properties by its own guess.
      dry_run: take an absent collection for what it would be, and create nothing.
    """

    def __init__(
        self,
        client: Client,
        schema: SchemaSource = None,
        create_disposition: CreateDisposition = CreateDisposition.CREATE_IF_NEEDED,
        auto_schema: bool = False,
        dry_run: bool = False,
    ) -> None:
        self._client = client
        self._source = schema
        self._create = create_disposition is CreateDisposition.CREATE_IF_NEEDED
        self._auto_schema = auto_schema
        self._dry_run = dry_run

    def get(self, name: str, refresh: bool = False) -> CollectionSchema:
        """What the collection expects; :class:`CollectionNotFound` where there is none to be had."""
        schema = self._client.schema(name, refresh)
        if schema is None and self._create and self._source is not None:
            description = definition(self._source, name)
            if self._dry_run:
                return CollectionSchema.from_rest(description, self._auto_schema)
            create(self._client, description)
            schema = self._client.schema(name)
        if schema is None and not self._auto_schema:
            raise CollectionNotFound("collection_not_found", _missing(name, self._create))
        if schema is None:
            self._client.forget(name)
            return CollectionSchema.unknown(name)
        return dataclasses.replace(schema, open_ended=True) if self._auto_schema else schema


def definition(source: SchemaSource, name: str) -> dict[str, Any]:
    """The REST JSON to create the collection from, under its name."""
    if callable(source):
        source = source(name)
    if isinstance(source, (str, Path)):
        with FileSystems.open(str(source)) as file:
            source = _checked(json.load(file), str(source))
    if not isinstance(source, Mapping):
        raise WeaviateError(f"schema= gave no mapping for collection {name}, but {type(source).__name__}")
    description = {**source, "class": name}
    if has_tenants(description):
        # The server shows this beside tenants, and refuses it beside them.
        description.pop("shardingConfig", None)
    return description


def create(client: Client, description: Mapping[str, Any]) -> None:
    """Create a collection; it is no error when somebody else did so first."""
    response = client.rest("POST", "/v1/schema", json=description, accept=(200, 422))
    if response.status_code == 422 and client.describe(description["class"]) is None:
        raise WeaviateError(
            f"collection {description['class']} cannot be created: {client.redact(response.text)[:500]}"
        )
    client.forget(description["class"])


def _checked(description: Any, source: str) -> dict[str, Any]:
    if not isinstance(description, Mapping) or not isinstance(description.get("properties", []), list):
        raise ValueError(f"{source} is no collection: expected the JSON object of Weaviate's REST API")
    if "class" in description:
        collection_name(description["class"])
    return dict(description)


def _missing(name: str, may_create: bool) -> str:
    if may_create:
        return f"collection {name} does not exist; create it, give schema= to have it created, or set auto_schema=True"
    return f"collection {name} does not exist, and create_disposition is CREATE_NEVER"
