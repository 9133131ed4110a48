"""The package as it is installed: what is in it, what it needs, what it imports."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
_LEFT_OUT = shutil.ignore_patterns(".*", "build", "dist", "*.egg-info", "__pycache__", "tests", "benchmarks")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist and the wheel; building leaves nothing in the checkout."""
    folder = tmp_path_factory.mktemp("built")
    source = folder / "source"
    shutil.copytree(ROOT, source, ignore=_LEFT_OUT)
    subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, source],
        check=True,
        capture_output=True,
    )
    return folder


@pytest.fixture(scope="module")
def wheel(built: Path) -> zipfile.ZipFile:
    (path,) = built.glob("*.whl")
    return zipfile.ZipFile(path)


@pytest.fixture(scope="module")
def installed(built: Path, wheel: zipfile.ZipFile) -> Path:
    """A folder with the installed package, without what it needs."""
    target = built / "installed"
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", target, wheel.filename],
        check=True,
        capture_output=True,
    )
    return target


def run(installed: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command with the installed package, away from the checkout."""
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    return subprocess.run(words, cwd=installed.parent, env=environment, capture_output=True, text=True)


def test_the_wheel_holds_one_top_level_package(wheel: zipfile.ZipFile) -> None:
    top = {name.partition("/")[0] for name in wheel.namelist()}
    assert {name for name in top if not name.endswith(".dist-info")} == {"weaviate_io"}


def test_the_wheel_holds_every_module_and_what_modules_read(wheel: zipfile.ZipFile) -> None:
    expected = {str(path.relative_to(ROOT)) for path in (ROOT / "weaviate_io").rglob("*.py")}
    expected |= {f"weaviate_io/{path.relative_to(ROOT)}" for path in (ROOT / "pipelines").glob("*.py")}
    read = ("py.typed", "proto/weaviate.proto", "proto/weaviate.binpb", "yaml/providers.yaml")
    expected |= {f"weaviate_io/{name}" for name in read}
    assert expected <= set(wheel.namelist())


def test_the_licence_goes_with_it(wheel: zipfile.ZipFile) -> None:
    assert any(name.endswith("/licenses/LICENSE") for name in wheel.namelist())


def test_the_sdist_holds_the_jobs_and_no_caches(built: Path) -> None:
    (path,) = built.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        names = [name.partition("/")[2] for name in archive.getnames()]
    assert "pipelines/import_files.py" in names
    assert not [name for name in names if "__pycache__" in name or name.endswith(".pyc")]


def test_no_file_names_a_path_of_a_machine(wheel: zipfile.ZipFile) -> None:
    paths = [str(ROOT), str(Path.home()), "/home/", "/root/", "/Users/"]
    texts = {name: wheel.read(name).decode("utf-8", "replace") for name in wheel.namelist()}
    assert [(name, path) for name, text in texts.items() for path in paths if path in text] == []


def test_the_console_script_runs(installed: Path) -> None:
    script = installed / "bin" / "weaviate-io"
    ran = run(installed, sys.executable, str(script), "import", "--help")
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.startswith("usage: weaviate-io import ")
    assert "  weaviate-io import --input questions.json " in ran.stdout
    assert "pipelines." not in ran.stdout


def test_the_console_script_prints_no_warnings(installed: Path) -> None:
    ran = run(installed, sys.executable, str(installed / "bin" / "weaviate-io"), "--version")
    assert ran.returncode == 0
    assert ran.stderr == ""


def test_importing_is_quiet_and_pulls_in_no_other_client(installed: Path) -> None:
    program = """
import sys, warnings
import apache_beam
import apache_beam.io.fileio
before = set(sys.modules)
warnings.simplefilter("error")
import weaviate_io
added = {name.partition(".")[0] for name in set(sys.modules) - before}
print(weaviate_io.__file__, *sorted(added))
"""
    ran = run(installed, sys.executable, "-c", program)
    assert ran.returncode == 0, ran.stderr
    file, *added = ran.stdout.split()
    assert Path(file).is_relative_to(installed)
    assert not {"weaviate", "ijson", "pandas", "pytest", "hypothesis", "tqdm"} & set(added)


def test_the_testing_tools_import_without_test_packages(installed: Path) -> None:
    program = """
import sys
import weaviate_io.testing
print(*{name.partition(".")[0] for name in sys.modules} & {"pytest", "hypothesis", "weaviate"})
"""
    ran = run(installed, sys.executable, "-c", program)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.split() == []
