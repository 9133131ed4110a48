"""The runners of the matrix: how each is started, and what it is asked with."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.flink_runner import FlinkJarJobServer
from apache_beam.runners.portability.job_server import JavaJarJobServer, StopOnExitJobServer
from apache_beam.runners.portability.spark_runner import SparkJarJobServer
from apache_beam.utils.subprocess_server import pick_port

from tests.runners import provision
from tests.write import running

OPENED = "--job_server_jvm_properties=--add-opens=java.base/{}=ALL-UNNAMED"
"""What the serializers of Flink reach into, on Java 17."""


@dataclass(frozen=True)
class Place:
    """A runner of the matrix.

    Args:
      name: as the tests show it.
      flags: gives the options that choose it; a runner that has to be got is got then.
      runs_on: the class of the result of a pipeline, to see that no other runner took its place.
    """

    name: str
    flags: Callable[[], tuple[str, ...]]
    runs_on: str

    def runner(self) -> running.Runner:
        """The runner, ready to be used."""
        return running.Runner(self.name, self.flags())


def _started(server: type[JavaJarJobServer], *options: str) -> str:
    """The option that names a job server, which runs until this process ends."""
    (port,) = pick_port(None)
    brief = [f"--job_server_jvm_properties={one}" for one in provision.BRIEF]
    StopOnExitJobServer(server(PipelineOptions([*options, *brief, f"--job_port={port}"]))).start()
    return f"--job_endpoint=localhost:{port}"


@functools.cache
def _prism() -> tuple[str, ...]:
    return "--runner=PrismRunner", f"--prism_location={provision.prism()}"


@functools.cache
def _flink() -> tuple[str, ...]:
    """One job server for all tests of a process; a Flink of its own for each job."""
    opened = [OPENED.format(package) for package in ("java.util", "java.lang")]
    endpoint = _started(FlinkJarJobServer, f"--flink_job_server_jar={provision.flink().jar}", *opened)
    return "--runner=FlinkRunner", endpoint, "--parallelism=2"


@functools.cache
def _spark() -> tuple[str, ...]:
    master = "--spark_master_url=local[2]"
    endpoint = _started(SparkJarJobServer, f"--spark_job_server_jar={provision.spark().jar}", master)
    return "--runner=SparkRunner", master, endpoint


def _direct_on_prism() -> tuple[str, ...]:
    return "--runner=DirectRunner", f"--prism_location={provision.prism()}"


def _direct_without_prism() -> tuple[str, ...]:
    """A Prism that another test started would be used, too, if it was not forbidden."""
    alone = "--experiments=disable_prism_server_singleton"
    return "--runner=DirectRunner", "--prism_location=/there is none", alone


LOCAL, PORTABLE = "RunnerResult", "PipelineResult"
PRISM = Place("prism", _prism, PORTABLE)
FLINK = Place("flink", _flink, PORTABLE)
SPARK = Place("spark", _spark, PORTABLE)
PLACES = (
    Place("fn_api", lambda: running.FN_API.flags, LOCAL),
    Place("direct_with_prism", _direct_on_prism, PORTABLE),
    Place("direct_without_prism", _direct_without_prism, LOCAL),
    Place("two_processes", lambda: running.TWO_PROCESSES.flags, LOCAL),
    Place("loopback", lambda: running.LOOPBACK.flags, PORTABLE),
    PRISM,
    FLINK,
    SPARK,
)
