"""Getting the runners that are no part of Beam's Python SDK: Prism, and the job servers of Flink and Spark.

All lies in the cache, outside of any checkout. Prism is built by Go. The job servers' ready-made jars are not to be had
everywhere, so their parts are resolved by Maven, and a jar that holds nothing but a manifest names them. They are of
an older release than the SDK: pipelines are portable between releases.

    python -m tests.runners.provision    gets all of them, and says where they are
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import apache_beam as beam

from weaviate_io.testing.binary import cache_folder

JOB_SERVERS = "2.62.0"
"""The newest release whose job servers' parts are on Maven Central as a set that resolves."""
FLINK = "1.19"
SPARK = "3.5.0"
BRIEF = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")
"""What makes a Java process start fast that lives for a minute."""
_SECONDS = 1800


class NotToBeHad(RuntimeError):
    """A runner cannot be had here; one line says what is missing."""


class JobServer(NamedTuple):
    """A jar to start with ``java -jar``, and all that it loads."""

    jar: Path
    classpath: tuple[Path, ...]


def prism() -> Path:
    """The Prism binary of the release of the SDK, built once."""
    folder = _folder(f"prism-{beam.__version__}")
    binary = folder / "prism"
    with _locked(folder):
        if not os.access(binary, os.X_OK):
            go = _needed("go", "Prism is built by Go 1.26 or newer")
            module = f"github.com/apache/beam/sdks/v2/go/cmd/prism@v{beam.__version__}"
            environment = {**os.environ, "GOBIN": str(folder), "GOTOOLCHAIN": "local", "CGO_ENABLED": "0"}
            _run("building Prism, about 4 minutes once", [go, "install", module], folder, environment)
    return binary


def flink() -> JobServer:
    """The job server of Flink; its class path is a whole Flink, too."""
    return _job_server(
        f"flink-{FLINK}-{JOB_SERVERS}",
        "org.apache.beam.runners.flink.FlinkJobServerDriver",
        f"org.apache.beam:beam-runners-flink-{FLINK}:{JOB_SERVERS}",
        "org.slf4j:slf4j-simple:1.7.30",  # or the cluster logs nothing
    )


def spark() -> JobServer:
    """The job server of Spark, with a whole Spark."""
    return _job_server(
        f"spark-{SPARK}-{JOB_SERVERS}",
        "org.apache.beam.runners.spark.SparkJobServerDriver",
        f"org.apache.beam:beam-runners-spark-3:{JOB_SERVERS}",
        *(f"org.apache.spark:spark-{part}_2.12:{SPARK}" for part in ("core", "streaming", "sql")),
    )


def java() -> str:
    """The Java that runs Flink and Spark."""
    return _needed("java", "Flink and Spark run on Java 11 or 17")


def _job_server(name: str, main: str, *artifacts: str) -> JobServer:
    java()
    folder = _folder(name)
    jar, listed = folder / "job-server.jar", folder / "classpath"
    with _locked(folder):
        pom, asked = folder / "pom.xml", _pom(artifacts)
        is_same = listed.exists() and pom.exists() and pom.read_text() == asked
        paths = listed.read_text().split(os.pathsep) if is_same else []
        if not paths or not jar.exists() or not all(map(os.path.exists, paths)):
            maven = _needed("mvn", "the job servers of Flink and Spark are resolved by Maven")
            pom.write_text(asked)
            listed.unlink(missing_ok=True)
            command = [maven, "-q", "-B", f"-Dmaven.repo.local={cache_folder() / 'maven'}"]
            command += ["dependency:build-classpath", f"-Dmdep.outputFile={listed}.new"]
            _run(f"resolving {name}, a few minutes once", command, folder, dict(os.environ))
            paths = Path(f"{listed}.new").read_text().strip().split(os.pathsep)
            _write_jar(jar, main, paths)
            listed.write_text(os.pathsep.join(paths))
    return JobServer(jar, tuple(map(Path, paths)))


def _pom(artifacts: tuple[str, ...]) -> str:
    parts = ""
    for artifact in artifacts:
        group, name, version = artifact.split(":")
        parts += f"<dependency><groupId>{group}</groupId><artifactId>{name}</artifactId>"
        parts += f"<version>{version}</version></dependency>"
    return (
        '<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>'
        "<groupId>weaviate-io</groupId><artifactId>job-server</artifactId><version>1</version>"
        f"<packaging>pom</packaging><dependencies>{parts}</dependencies></project>"
    )


def _write_jar(jar: Path, main: str, paths: list[str]) -> None:
    """A jar with a manifest only, whose lines may have 72 bytes and go on after a space."""
    whole = "Class-Path: " + " ".join(Path(path).as_uri() for path in paths)
    lines = re.findall(".{1,70}", whole)
    manifest = f"Manifest-Version: 1.0\r\nMain-Class: {main}\r\n" + "\r\n ".join(lines) + "\r\n\r\n"
    with zipfile.ZipFile(jar, "w") as archive:
        archive.writestr("META-INF/MANIFEST.MF", manifest)


def _folder(name: str) -> Path:
    folder = cache_folder() / "runners" / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Whoever comes second waits, and finds all there."""
    with open(folder / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _needed(program: str, why: str) -> str:
    found = shutil.which(program)
    if found is None:
        raise NotToBeHad(f"{why}: there is no {program} on PATH")
    return found


def _run(what: str, command: list[str], folder: Path, environment: dict[str, str]) -> None:
    print(what, file=sys.stderr, flush=True)
    try:
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, timeout=_SECONDS
        )
    except subprocess.TimeoutExpired:
        raise NotToBeHad(f"{what}: not done after {_SECONDS} s") from None
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip() or "nothing").splitlines()
        raise NotToBeHad(f"{what}: exit code {done.returncode}: {said[-1] if command[0] != 'mvn' else said[0]}")


def main() -> None:
    """Get all, and say where they are."""
    for name, get in (("prism", prism), ("flink", flink), ("spark", spark)):
        found = get()
        print(f"{name}: {found.jar if isinstance(found, JobServer) else found}")


if __name__ == "__main__":
    try:
        main()
    except NotToBeHad as error:
        sys.exit(str(error))
