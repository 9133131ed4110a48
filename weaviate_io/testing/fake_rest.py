"""The REST side of the fake server: metadata, readiness, collections, tenants, and objects read or deleted."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import parse_qs

from weaviate_io.framing import values_of
from weaviate_io.testing.fake_store import FakeStore, Key, RequestRefused, capitalized, with_defaults

NO_KEY = "anonymous access not enabled. Please authenticate through one of the available methods: [API-keys]"
WRONG_KEY = "unauthorized: invalid api key"


class Answer(NamedTuple):
    """Status and JSON body of an answer."""

    status: int
    body: Any = None


class RestServer(ThreadingHTTPServer):
    """The fake's HTTP server; ``meta`` gives the body of ``/v1/meta`` at each request."""

    daemon_threads = True

    def __init__(self, store: FakeStore, meta: Callable[[], dict[str, Any]], api_key: str | None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.store = store
        self.meta = meta
        self.api_key = api_key


def _refused(error: object) -> Answer:
    return Answer(422, {"error": [{"message": str(error)}]})


class _Routes:
    """One method for each path; each takes the matched names and the decoded body."""

    def __init__(self, server: RestServer) -> None:
        self.server = server
        self.store = server.store

    def get_meta(self, _: Any) -> Answer:
        return Answer(200, self.server.meta())

    def get_schema(self, _: Any) -> Answer:
        return Answer(200, {"classes": list(self.store.schemas.values())})

    def post_schema(self, body: Any) -> Answer:
        try:
            return Answer(200, self.store.create_collection(body))
        except RequestRefused as error:
            return _refused(error)

    def get_collection(self, _: Any, name: str) -> Answer:
        found = self.store.schemas.get(capitalized(name))
        return Answer(404) if found is None else Answer(200, found)

    def put_collection(self, body: Any, name: str) -> Answer:
        name = capitalized(name)
        if name not in self.store.schemas:
            return Answer(404)
        self.store.schemas[name] = with_defaults({**body, "class": name})
        return Answer(200, self.store.schemas[name])

    def delete_collection(self, _: Any, name: str) -> Answer:
        self.store.drop_collection(capitalized(name))
        return Answer(200)

    def get_tenants(self, _: Any, name: str) -> Answer:
        name = capitalized(name)
        schema = self.store.schemas.get(name)
        if schema is None:
            return _refused("failed to execute query: could not get tenants: class not found")
        if not schema.get("multiTenancyConfig", {}).get("enabled"):
            return _refused(f'could not get tenants: multi-tenancy is not enabled for class "{name}"')
        tenants = self.store.tenants.get(name, {})
        return Answer(200, [{"name": tenant, "activityStatus": status} for tenant, status in tenants.items()])

    def post_tenants(self, body: Any, name: str, existing: bool = False) -> Answer:
        try:
            self.store.set_tenants(capitalized(name), body, existing)
        except RequestRefused as error:
            return _refused(error)
        return Answer(200, body)

    def put_tenants(self, body: Any, name: str) -> Answer:
        return self.post_tenants(body, name, existing=True)

    def get_object(self, _: Any, name: str, uuid: str, query: str | None) -> Answer:
        key = _key(name, uuid, query)
        try:
            self.store.check_tenant(key[0], key[1])
        except ValueError as error:
            return _refused(f"repo: object by id: search index {name.lower()}: determine shard: {error}")
        found = self.store.objects.get(key)
        if found is None:
            return Answer(404)
        properties = dict(values_of(found.properties.non_ref_properties))
        for property_name, beacons in self.store.references[key].items():
            properties[property_name] = [{"beacon": beacon} for beacon in beacons]
        return Answer(200, {"class": key[0], "id": key[2], "properties": properties})

    def delete_object(self, _: Any, name: str, uuid: str, query: str | None) -> Answer:
        self.store.delete_object(_key(name, uuid, query))
        return Answer(204)


def _key(name: str, uuid: str, query: str | None) -> Key:
    return capitalized(name), parse_qs(query or "").get("tenant", [""])[0], uuid.lower()


_PATHS = {
    r"/v1/meta": "meta",
    r"/v1/schema": "schema",
    r"/v1/schema/(?P<name>\w+)": "collection",
    r"/v1/schema/(?P<name>\w+)/tenants": "tenants",
    r"/v1/objects/(?P<name>\w+)/(?P<uuid>[-0-9a-fA-F]+)(\?(?P<query>.*))?": "object",
}


class _Handler(BaseHTTPRequestHandler):
    server: RestServer

    def _answer(self) -> Answer:
        if self.path in ("/v1/.well-known/ready", "/v1/.well-known/live"):
            return Answer(200)
        given = self.headers.get("authorization")
        if self.server.api_key is not None and given != f"Bearer {self.server.api_key}":
            return Answer(401, {"code": 401, "message": WRONG_KEY if given else NO_KEY})
        for pattern, place in _PATHS.items():
            matched = re.fullmatch(pattern, self.path)
            route = getattr(_Routes(self.server), f"{self.command.lower()}_{place}", None) if matched else None
            if matched and route:
                return self._call(route, matched.groupdict())
        return Answer(404, {"code": 404, "message": f"path {self.path} was not found"})

    def _call(self, route: Callable[..., Answer], names: dict[str, str]) -> Answer:
        data = self.rfile.read(int(self.headers.get("content-length") or 0))
        try:
            body = json.loads(data) if data else None
        except ValueError as error:
            return Answer(400, {"code": 400, "message": f"parsing body failed: {error}"})
        with self.server.store.lock:
            return route(body, **names)

    def _reply(self) -> None:
        answer = self._answer()
        with self.server.store.lock:
            data = b"" if answer.body is None else json.dumps(answer.body).encode()
        self.send_response(answer.status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_POST = do_PUT = do_DELETE = _reply

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: a test reads ``FakeWeaviate.requests``, not stderr."""
