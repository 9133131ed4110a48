"""What a collection expects of its objects, read from the server's REST description of it.

Only what encoding needs is kept: the types of the properties, the names and kinds of the vectors, and
whether there are tenants. Vector lengths are not in the description: the first vector of a shard fixes them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

DEFAULT_VECTOR = ""
"""Key of the one unnamed vector of a collection that has no named vectors."""

TENANT_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
"""What the server accepts as the name of a tenant."""

_COLLECTION_NAME = re.compile(r"[A-Za-z][_0-9A-Za-z]{0,254}")


def collection_name(name: Any) -> str:
    """The name as the server keeps it (first letter in upper case), or ``ValueError``.

    >>> collection_name("article")
    'Article'
    """
    if not isinstance(name, str) or not _COLLECTION_NAME.fullmatch(name):
        raise ValueError(
            f"{name!r:.80} is not a collection name: use a capital letter, then letters, digits or '_', "
            "255 at most"
        )
    return name[:1].upper() + name[1:]


def property_name(name: str) -> str:
    """The name as the server keeps it: first letter in lower case."""
    first = name[:1]
    return first.lower() + name[1:] if first.isascii() else name


def has_tenants(description: Mapping[str, Any]) -> bool:
    """Whether the collection that a REST description is of has tenants."""
    return bool((description.get("multiTenancyConfig") or {}).get("enabled"))


@dataclass(frozen=True)
class Property:
    """One property: its name, data type, nested properties, and the collections a reference may point at.

    ``unique_references`` says that the server adds no reference a second time (``disableDuplicatedReferences``).
    """

    name: str
    data_type: str
    nested: Mapping[str, Property] = field(default_factory=dict)
    targets: tuple[str, ...] = ()
    unique_references: bool = False

    @classmethod
    def from_rest(cls, description: Mapping[str, Any]) -> Property:
        types = tuple(description["dataType"])
        nested = {p["name"]: cls.from_rest(p) for p in description.get("nestedProperties") or ()}
        if types[0][:1].isupper():
            unique = bool(description.get("disableDuplicatedReferences"))
            return cls(description["name"], "reference", targets=types, unique_references=unique)
        return cls(description["name"], types[0], nested)


@dataclass(frozen=True)
class VectorIndex:
    """One vector of a collection: whether it is a multi-vector, who makes it, and how it is indexed.

    A search whose filter lets through fewer objects than ``flat_search_cutoff`` scans them all.
    """

    name: str
    multi: bool = False
    vectorizer: str = "none"
    index_type: str = "hnsw"
    muvera: bool = False
    compressed: bool = False
    flat_search_cutoff: int = 40_000

    @property
    def tells_members(self) -> bool:
        """Whether a search filtered by ids finds those that the index knows, and no others."""
        return not self.multi or self.muvera


@dataclass(frozen=True)
class CollectionSchema:
    """What one collection expects.

    ``properties`` and ``vectors`` are keyed by name; the unnamed vector has the key ``DEFAULT_VECTOR``.
    ``open_ended`` says that the server adds unknown properties by its own guess (auto-schema), ``replicated`` that
    several nodes have each object.

    >>> schema = CollectionSchema.from_rest({"class": "Article", "vectorizer": "none",
    ...     "properties": [{"name": "title", "dataType": ["text"]}]})
    >>> schema.properties["title"].data_type, list(schema.vectors)
    ('text', [''])
    """

    name: str
    properties: Mapping[str, Property]
    vectors: Mapping[str, VectorIndex]
    multi_tenant: bool = False
    open_ended: bool = False
    replicated: bool = False

    @classmethod
    def from_rest(cls, description: Mapping[str, Any], open_ended: bool = False) -> CollectionSchema:
        """Read the JSON of ``GET /v1/schema/{collection}``."""
        properties = (Property.from_rest(p) for p in description.get("properties") or ())
        return cls(
            name=description["class"],
            properties={p.name: p for p in properties},
            vectors=_vectors(description),
            multi_tenant=has_tenants(description),
            open_ended=open_ended,
            replicated=int((description.get("replicationConfig") or {}).get("factor") or 1) > 1,
        )

    @classmethod
    def unknown(cls, name: str) -> CollectionSchema:
        """A collection that the server's auto-schema is still to create."""
        return cls(name, {}, {DEFAULT_VECTOR: VectorIndex(DEFAULT_VECTOR)}, open_ended=True)

    @cached_property
    def makes_vectors(self) -> bool:
        """Whether the server itself makes vectors for objects that bring none."""
        return bool(self.made_vectors)

    @cached_property
    def made_vectors(self) -> frozenset[str]:
        """Names of the vectors that the server itself makes for objects that bring none."""
        return frozenset(v.name for v in self.vectors.values() if v.vectorizer != "none")

    @property
    def indexes_vectors(self) -> bool:
        """Whether there is a vector index at all, which an interrupted write can leave incomplete."""
        return any(v.index_type != "none" for v in self.vectors.values())


def _vectors(description: Mapping[str, Any]) -> dict[str, VectorIndex]:
    named = description.get("vectorConfig")
    if not named:
        return {DEFAULT_VECTOR: _vector(DEFAULT_VECTOR, description, description.get("vectorizer") or "none")}
    return {
        name: _vector(name, config, next(iter(config.get("vectorizer") or {}), "none"))
        for name, config in named.items()
    }


def _vector(name: str, config: Mapping[str, Any], vectorizer: str) -> VectorIndex:
    index = config.get("vectorIndexConfig") or {}
    graph = index.get("hnsw") or index  # an index of the type dynamic has a part for each of its two types
    multivector = graph.get("multivector") or {}
    return VectorIndex(
        name,
        multi=bool(multivector.get("enabled")),
        vectorizer=vectorizer,
        index_type="none" if index.get("skip") else config.get("vectorIndexType") or "hnsw",
        muvera=bool((multivector.get("muvera") or {}).get("enabled")),
        compressed=any((graph.get(way) or {}).get("enabled") for way in ("pq", "bq", "sq", "rq")),
        flat_search_cutoff=int(graph.get("flatSearchCutoff", 40_000)),
    )
