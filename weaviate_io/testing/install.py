"""Getting a Weaviate server that is not on this machine: the release archive, else ``go install``.

The result lies in the cache (see ``binary.py``), outside of any checkout. Two processes never install the
same version at the same time: the second waits for the first.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import requests

from weaviate_io.testing.binary import ServerUnavailable, cached_path

RELEASES = "https://github.com/weaviate/weaviate/releases/download"
MODULE = "github.com/weaviate/weaviate/cmd/weaviate-server"
GO_VERSION = (1, 26)
INSTALL_SECONDS = 1800
STALL_SECONDS = 600
"""Without a new line from Go, which writes one for each module that it downloads and each package that it compiles."""

_CONNECT_SECONDS = 5


class _NotThisWay(Exception):
    """One way to get the binary does not work here; the text says why."""


class _Stalled(_NotThisWay):
    """It may go better when it is begun again."""


class Progress:
    """Lines on stderr about something that takes minutes: in place on a terminal, every 5 s elsewhere."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._start = time.monotonic()
        self._terminal = sys.stderr.isatty()
        self._last = 0.0

    def show(self, what: str) -> None:
        """Say what is going on; calls that come too soon after the last line are skipped."""
        now = time.monotonic()
        if now - self._last < (0.5 if self._terminal else 5):
            return
        self._last = now
        line = f"{self._title}: {now - self._start:.0f} s, {what}"[:110]
        end = "\x1b[K\r" if self._terminal else "\n"
        print(line, end=end, file=sys.stderr, flush=True)

    def done(self, what: str) -> None:
        """Say how it ended."""
        end = "\x1b[K\n" if self._terminal else "\n"
        line = f"{self._title}: {what} after {time.monotonic() - self._start:.0f} s"
        print(line, end=end, file=sys.stderr, flush=True)


def install_binary(version: str) -> Path:
    """Get the server of one version into the cache, unless it is there.

    Args:
      version: such as ``"1.39.3"``.

    Returns:
      The path of the executable.

    Raises:
      ServerUnavailable: neither the archive nor Go gave one; the message has the reason of each.

    Example: ``install_binary("1.39.3")`` gives ``~/.cache/weaviate-io/servers/1.39.3/weaviate-server``.
    """
    if not re.fullmatch(r"\d+\.\d+\.\d+[-.0-9A-Za-z]*", version):
        raise ServerUnavailable(f"{version!r} is not the version of a Weaviate server, such as '1.39.3'")
    path = cached_path(version)
    progress = Progress(f"weaviate-io: installing Weaviate {version}")
    with _locked(path.parent, progress):
        if os.access(path, os.X_OK):
            return path
        reasons = []
        for name, way in (("release archive", _from_archive), ("go install", _from_go)):
            with tempfile.TemporaryDirectory(prefix=".install-", dir=path.parent) as folder:
                try:
                    binary = way(version, Path(folder), progress)
                except _NotThisWay as error:
                    reasons.append(f"{name}: {error}")
                    continue
                binary.chmod(0o755)
                os.replace(binary, path)
                progress.done(f"ready ({name})")
                return path
    raise ServerUnavailable("; ".join(reasons))


@contextlib.contextmanager
def _locked(folder: Path, progress: Progress) -> Iterator[None]:
    """Hold the folder's lock file; a process that dies gives it back."""
    import fcntl  # not on Windows, where the fake must still be importable

    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT)
    except OSError as error:
        raise ServerUnavailable(
            f"{folder}: {error.strerror}; set WEAVIATE_IO_CACHE to a writable folder"
        ) from None
    try:
        give_up = time.monotonic() + INSTALL_SECONDS
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > give_up:
                    raise ServerUnavailable(
                        f"another process has held {folder / '.lock'} for {INSTALL_SECONDS} s: end it"
                    ) from None
                progress.show("waiting for another process that installs it")
                time.sleep(0.5)
        yield
    finally:
        os.close(lock)


def _archive_name(version: str) -> str:
    system, machine = platform.system(), platform.machine().lower()
    if system == "Darwin":
        return f"weaviate-v{version}-darwin-all.zip"
    architecture = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}.get(machine)
    if system != "Linux" or architecture is None:
        raise _NotThisWay(f"there is none for {system} on {machine}")
    return f"weaviate-v{version}-linux-{architecture}.tar.gz"


def _from_archive(version: str, folder: Path, progress: Progress) -> Path:
    name = _archive_name(version)
    url = f"{RELEASES}/v{version}/{name}"
    archive = folder / name
    digest = hashlib.sha256()
    try:
        with requests.get(url, stream=True, timeout=(_CONNECT_SECONDS, 60)) as response:
            if response.status_code != 200:
                raise _NotThisWay(f"{url} answered {response.status_code}")
            total = int(response.headers.get("content-length", 0))
            with archive.open("wb") as out:
                for chunk in response.iter_content(1 << 20):
                    digest.update(chunk)
                    out.write(chunk)
                    progress.show(f"downloading, {out.tell() >> 20} of {total >> 20} MB")
        checksum = requests.get(f"{url}.sha256", timeout=(_CONNECT_SECONDS, 60))
    except requests.RequestException as error:
        raise _NotThisWay(f"{RELEASES.split('/')[2]} cannot be reached ({type(error).__name__})") from None
    if checksum.status_code == 200 and checksum.text.split()[:1] != [digest.hexdigest()]:
        raise _NotThisWay(f"{name} has the SHA-256 {digest.hexdigest()}, its checksum file says otherwise")
    return _extract(archive, folder)


def _extract(archive: Path, folder: Path) -> Path:
    """Only the one file named ``weaviate``, whatever else the archive holds and wherever it wants it."""
    target = folder / "extracted"
    try:
        if archive.suffix == ".zip":
            with zipfile.ZipFile(archive) as zipped:
                names = [name for name in zipped.namelist() if Path(name).name == "weaviate"]
                with zipped.open(names[0]) as source, target.open("wb") as out:
                    shutil.copyfileobj(source, out)
        else:
            with tarfile.open(archive) as tarred:
                members = [m for m in tarred.getmembers() if m.isfile() and Path(m.name).name == "weaviate"]
                member = tarred.extractfile(members[0])
                assert member is not None  # a plain file
                with member, target.open("wb") as out:
                    shutil.copyfileobj(member, out)
    except (IndexError, tarfile.TarError, zipfile.BadZipFile) as error:
        raise _NotThisWay(f"{archive.name} has no server in it ({type(error).__name__})") from None
    return target


def _go() -> str:
    go = shutil.which("go")
    if go is None:
        raise _NotThisWay("no go on PATH")
    try:
        shown = subprocess.run(
            [go, "env", "GOVERSION"], env=go_environment(), capture_output=True, timeout=30, text=True
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise _NotThisWay(f"{go} does not run ({type(error).__name__})") from None
    found = re.match(r"go(\d+)\.(\d+)", shown.stdout)
    if not found or (int(found[1]), int(found[2])) < GO_VERSION:
        needed = ".".join(map(str, GO_VERSION))
        raise _NotThisWay(f"{go} is {shown.stdout.strip() or 'broken'}, {needed} or later is needed")
    return go


def go_environment() -> dict[str, str]:
    """The environment in which Go builds the same everywhere."""
    return {**os.environ, "GOTOOLCHAIN": "local", "CGO_ENABLED": "0"}


def _from_go(version: str, folder: Path, progress: Progress) -> Path:
    go = _go()
    command = [go, "install", "-v", "-ldflags", "-s -w", f"{MODULE}@v{version}"]
    environment = {**go_environment(), "GOBIN": str(folder)}
    give_up = time.monotonic() + INSTALL_SECONDS
    try:
        code, last_line = _run(command, environment, progress, give_up)
    except _Stalled:  # as a download may, for good; what Go has downloaded and compiled is kept
        code, last_line = _run(command, environment, progress, give_up)
    binary = folder / "weaviate-server"
    if code or not binary.exists():
        raise _NotThisWay(f"exit code {code}: {last_line}")
    return binary


def _run(
    command: list[str], environment: dict[str, str], progress: Progress, give_up: float
) -> tuple[int, str]:
    """Run Go to its end; returns its exit code and the last line it wrote."""
    process = subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    lines = ["go: building"]
    reader = threading.Thread(target=_read_lines, args=(process, lines), name="weaviate-io-go", daemon=True)
    reader.start()
    seen, moved_at = 0, time.monotonic()
    try:
        while process.poll() is None:
            now = time.monotonic()
            if len(lines) > seen:
                seen, moved_at = len(lines), now
            latest = lines[-1]
            if now > give_up:
                raise _NotThisWay(f"not done after {INSTALL_SECONDS} s, at {latest}")
            if now > moved_at + STALL_SECONDS:
                raise _Stalled(f"nothing new for {STALL_SECONDS} s after {latest}")
            progress.show(latest if latest.startswith("go: ") else f"compiling {latest}")
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.2)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        reader.join()
    return process.returncode, lines[-1]


def _read_lines(process: subprocess.Popen[str], lines: list[str]) -> None:
    assert process.stderr is not None  # a pipe
    with process.stderr:
        for line in process.stderr:
            if line.strip():
                lines.append(line.strip())
