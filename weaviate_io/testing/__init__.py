"""Test your pipelines that write to Weaviate: with a fake inside the test, or with a real server.

**The fake** starts in milliseconds, needs nothing, and fails on script::

    import grpc
    from weaviate_io.testing import FakeWeaviate, Fail

    def test_my_pipeline_survives_a_restart():
        with FakeWeaviate() as fake:
            title = {"name": "title", "dataType": ["text"]}
            fake.create_collection({"class": "Article", "properties": [title]})
            fake.script(Fail(grpc.StatusCode.UNAVAILABLE, "restarting"))
            run_my_pipeline(url=fake.url, grpc_url=fake.grpc_url)
            assert len(fake.objects) == 100
            assert not fake.unindexed  # stored, and in the vector index

``fake.requests`` is the log of what was sent; ``fake.script(...)`` and ``fake.behave(...)`` take the actions
of :mod:`weaviate_io.testing.faults`.

**A real server** starts in seconds, and is killed, paused and restarted by the test::

    from weaviate_io.testing import WeaviateServer

    with WeaviateServer() as server:
        run_my_pipeline(url=server.url, grpc_url=server.grpc_url)
        server.kill()
        server.restart()

It is taken from ``WEAVIATE_TEST_URL`` (a server that runs), ``WEAVIATE_BINARY``, PATH, the cache, Docker, the
release archive or ``go install``, whichever comes first. In a shell: ``python -m weaviate_io.testing start``,
and ``python -m weaviate_io.testing install`` to get the binary beforehand.

**A bad network** lies between your pipeline and either of them::

    from weaviate_io.testing import FaultProxy

    with FaultProxy(server.grpc_url) as proxy:
        proxy.latency = 0.2
        run_my_pipeline(url=server.url, grpc_url=proxy.address)

**A model provider** for collections whose vectors the server makes: :class:`FakeEmbeddings` speaks the embeddings
API of OpenAI, counts what it is asked, and refuses or keeps silent on script.

Nothing is started by importing this package.
"""

from __future__ import annotations

from weaviate_io.testing.binary import ServerUnavailable as ServerUnavailable
from weaviate_io.testing.embeddings import FakeEmbeddings as FakeEmbeddings
from weaviate_io.testing.embeddings import Hold as Hold
from weaviate_io.testing.embeddings import Refuse as Refuse
from weaviate_io.testing.embeddings import Vectors as Vectors
from weaviate_io.testing.fake import FakeWeaviate as FakeWeaviate
from weaviate_io.testing.fake import Request as Request
from weaviate_io.testing.faults import Action as Action
from weaviate_io.testing.faults import Delay as Delay
from weaviate_io.testing.faults import Disconnect as Disconnect
from weaviate_io.testing.faults import Errors as Errors
from weaviate_io.testing.faults import ErrorsWhere as ErrorsWhere
from weaviate_io.testing.faults import Fail as Fail
from weaviate_io.testing.faults import Malformed as Malformed
from weaviate_io.testing.faults import Ok as Ok
from weaviate_io.testing.faults import StoreThenFail as StoreThenFail
from weaviate_io.testing.faults import StoreThenHang as StoreThenHang
from weaviate_io.testing.proxy import FaultProxy as FaultProxy
from weaviate_io.testing.server import WeaviateServer as WeaviateServer
