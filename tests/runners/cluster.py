"""A small real Flink cluster: one job manager, two task managers, and workers that have nothing but the built package.

    with Cluster(folder) as cluster:
        cluster.submit("--count=1000", ...)

All listen on loopback. Processes can be killed; what they log is in the folder.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import requests
from apache_beam.utils.subprocess_server import pick_port

from tests.runners import job, provision

ROOT = Path(__file__).parents[2]
_OPENED = ("java.lang", "java.util", "java.util.concurrent", "java.nio", "java.net", "java.io", "java.time")
_SECONDS = 240
_WORKER = """
import argparse

import grpc
from apache_beam.portability.api import beam_provision_api_pb2, beam_provision_api_pb2_grpc
from apache_beam.runners.worker.sdk_worker import SdkHarness

parser = argparse.ArgumentParser()
parser.add_argument("--id")
parser.add_argument("--provision_endpoint")
given, _ = parser.parse_known_args()
service = beam_provision_api_pb2_grpc.ProvisionServiceStub(grpc.insecure_channel(given.provision_endpoint))
asked = service.GetProvisionInfo(
    beam_provision_api_pb2.GetProvisionInfoRequest(),
    metadata=[("worker_id", given.id)],
    wait_for_ready=True,
    timeout=60,
)
SdkHarness(asked.info.control_endpoint.url, worker_id=given.id).run()
"""
"""What a container's boot program does, less the fetching of packages."""
_FLINK = """
jobmanager.rpc.address: 127.0.0.1
jobmanager.rpc.port: {rpc}
jobmanager.bind-host: 127.0.0.1
jobmanager.memory.process.size: 1000m
rest.address: 127.0.0.1
rest.bind-address: 127.0.0.1
rest.port: {rest}
taskmanager.host: 127.0.0.1
taskmanager.bind-host: 127.0.0.1
taskmanager.numberOfTaskSlots: 2
taskmanager.cpu.cores: 1
taskmanager.memory.framework.heap.size: 128m
taskmanager.memory.framework.off-heap.size: 128m
taskmanager.memory.jvm-metaspace.size: 256m
taskmanager.memory.jvm-overhead.min: 192m
taskmanager.memory.jvm-overhead.max: 192m
taskmanager.memory.task.heap.size: 300m
taskmanager.memory.task.off-heap.size: 64m
taskmanager.memory.managed.size: 128m
taskmanager.memory.network.min: 128m
taskmanager.memory.network.max: 128m
taskmanager.load-balance.mode: SLOTS
classloader.resolve-order: parent-first
classloader.check-leaked-classloader: false
heartbeat.interval: 1000
heartbeat.timeout: 50000
restart-strategy.type: fixed-delay
restart-strategy.fixed-delay.attempts: 20
restart-strategy.fixed-delay.delay: 1 s
state.checkpoints.dir: file://{folder}/checkpoints
state.savepoints.dir: file://{folder}/savepoints
io.tmp.dirs: {folder}/tmp
blob.storage.directory: {folder}/tmp
"""


class Cluster:
    """Starts it all when entered, and ends it when left.

    Args:
      folder: where its files and logs go.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Cluster:
        self._folder.mkdir(parents=True, exist_ok=True)
        (self._folder / "tmp").mkdir(exist_ok=True)
        flink = provision.flink()
        opened = (f"--add-opens=java.base/{one}=ALL-UNNAMED" for one in _OPENED)
        self._java = [provision.java(), *provision.BRIEF, *opened]
        self._classpath = os.pathsep.join(map(str, flink.classpath))
        rpc, rest, jobs = pick_port(None, None, None)
        self.url = f"http://127.0.0.1:{rest}"
        (self._folder / "flink-conf.yaml").write_text(_FLINK.format(rpc=rpc, rest=rest, folder=self._folder))
        try:
            boot = self._install()
            self._start_java("manager", "entrypoint.StandaloneSessionClusterEntrypoint")
            for number in (1, 2):
                self.start_task_manager(number)
            endpoint = ["--job-port", str(jobs), "--artifact-port", "0", "--expansion-port", "0"]
            server = [*self._java, "-jar", str(flink.jar), "--flink-master", f"127.0.0.1:{rest}", *endpoint]
            self._start("jobs", [*server, "--artifacts-dir", str(self._folder / "artifacts")])
            self._flags = [
                *("--runner=FlinkRunner", f"--job_endpoint=localhost:{jobs}", "--parallelism=2"),
                # Not a pool of workers: two task managers give their workers the same names, and one ends the other's.
                *("--environment_type=PROCESS", f"--environment_config={json.dumps({'command': str(boot)})}"),
                # Its own jars are on the cluster; without this the job server would send them with each job.
                f"--files_to_stage={flink.jar}",
            ]
            self.wait_until(lambda: self.slots() == 4, "has four slots")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for process in reversed(self._processes.values()):
            process.terminate()
        for process in self._processes.values():
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def submit(self, *options: str) -> subprocess.Popen[bytes]:
        """Start the job program with more options, away from the checkout; it ends with the job."""
        command = [sys.executable, str(self._folder / "job.py"), *self._flags, *options]
        return self._start(f"job-{len(self._processes)}", command, self._environment)

    def said(self, process: subprocess.Popen[bytes]) -> str:
        """The last that a process logged."""
        names = [name for name, one in self._processes.items() if one is process]
        return (self._folder / f"{names[0]}.log").read_text()[-3000:]

    def start_task_manager(self, number: int) -> None:
        """Start one of the two, as a supervisor would do after it died."""
        self._start_java(f"tasks-{number}", "taskexecutor.TaskManagerRunner")

    def kill_task_manager(self, number: int) -> None:
        """Kill one (-9), and its workers, as when the machine is lost that they share."""
        process = self._processes[f"tasks-{number}"]
        workers = _children(process.pid)
        process.kill()
        process.wait()
        _kill(workers)

    def workers(self) -> list[int]:
        """The ids of the processes that run Python code of jobs."""
        managers = [one for name, one in self._processes.items() if name.startswith("tasks-")]
        return [pid for one in managers for pid in _children(one.pid)]

    def kill_workers(self) -> None:
        """Kill them (-9)."""
        _kill(self.workers())

    def slots(self) -> int:
        """How many slots the task managers offer."""
        try:
            return self.get("overview").get("slots-total", 0)
        except requests.RequestException:
            return 0

    def get(self, path: str) -> Any:
        """Ask the job manager."""
        return requests.get(f"{self.url}/{path}", timeout=10).json()

    def post(self, path: str, body: Any) -> Any:
        """Tell the job manager."""
        return requests.post(f"{self.url}/{path}", json=body, timeout=10).json()

    def running_job(self) -> str:
        """The id of the job that runs; waits until all its tasks do."""
        found: list[str] = []

        def is_running() -> bool:
            for one in self.get("jobs/overview")["jobs"]:
                if (
                    one["state"] == "RUNNING"
                    and one["tasks"]["running"] + one["tasks"]["finished"] == one["tasks"]["total"]
                ):
                    found.append(one["jid"])
            return bool(found)

        self.wait_until(is_running, "runs the job")
        return found[0]

    def savepoint(self, job_id: str, drain: bool) -> str:
        """Stop a job with a savepoint, and give the savepoint's path; ``drain`` lets its input end first."""
        target = {"targetDirectory": f"file://{self._folder}/savepoints", "drain": drain}
        asked = self.post(f"jobs/{job_id}/stop", target)
        done: dict[str, Any] = {}

        def is_done() -> bool:
            done.update(self.get(f"jobs/{job_id}/savepoints/{asked['request-id']}"))
            return done["status"]["id"] == "COMPLETED"

        self.wait_until(is_done, "has stopped with a savepoint")
        if "location" not in done["operation"]:
            raise RuntimeError(str(done["operation"])[:2000])
        return done["operation"]["location"]

    def wait_until(self, condition: Callable[[], bool], what: str, seconds: float = _SECONDS) -> None:
        """Ask again until something is so."""
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                raise TimeoutError(
                    f"{seconds} s passed before the cluster {what}; its logs are in {self._folder}"
                )
            time.sleep(0.1)

    def _start_java(self, name: str, main: str) -> None:
        runtime = f"org.apache.flink.runtime.{main}"
        command = [*self._java, "-Xmx700m", "-cp", self._classpath, runtime, "--configDir", str(self._folder)]
        self._start(name, command)

    def _install(self) -> Path:
        """The built wheel, unpacked where only the workers and the job look, and the program that starts a worker."""
        source, site = self._folder / "source", self._folder / "site"
        shutil.copytree(
            ROOT, source, ignore=shutil.ignore_patterns(".*", "build", "dist", "*.egg-info", "tests")
        )
        build = [sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", str(site), str(source)]
        subprocess.run(build, check=True, capture_output=True)
        for wheel in site.glob("*.whl"):
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(site)
        shutil.copy(job.__file__, self._folder / "job.py")
        self._environment = {**os.environ, "PYTHONPATH": str(site)}
        (self._folder / "worker.py").write_text(_WORKER)
        boot = self._folder / "boot"
        worker = f'"{sys.executable}" "{self._folder}/worker.py" "$@" 2>>"{self._folder}/workers.log"'
        boot.write_text(f'#!/bin/sh\nPYTHONPATH="{site}" exec {worker}\n')
        boot.chmod(0o755)
        return boot

    def _start(
        self, name: str, command: list[str], environment: dict[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        with open(self._folder / f"{name}.log", "ab") as log:
            self._processes[name] = subprocess.Popen(
                command, cwd=self._folder, env=environment, stdout=log, stderr=subprocess.STDOUT
            )
        return self._processes[name]


def _children(pid: int) -> list[int]:
    """The processes that a process has started, by whatever thread."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # a thread that has ended meanwhile
            found += map(int, (task / "children").read_text().split())
    return found


def _kill(pids: list[int]) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
