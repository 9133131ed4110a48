"""A pipeline in a fresh environment that has only what was built, from the wheel and from the sdist: ``make fresh``.

Two worker processes run it away from the checkout, so a module or a requirement that is missing shows.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).parents[1]
_PIPELINE = """
import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from weaviate_io import WriteToWeaviate, progress
from weaviate_io.plain import WriteRowsToWeaviate
from weaviate_io.testing import FakeWeaviate
from weaviate_io.yaml import PROVIDERS

assert PROVIDERS.exists()
if __name__ == "__main__":
    with FakeWeaviate() as fake:
        fake.create_collection({"class": "Article", "properties": [{"name": "title", "dataType": ["text"]}]})
        flags = ["--runner=FnApiRunner", "--direct_running_mode=multi_processing", "--direct_num_workers=2"]
        with beam.Pipeline(options=PipelineOptions(flags)) as pipeline:
            rows = pipeline | beam.Create([{"title": f"t{i}"} for i in range(100)])
            rows | WriteToWeaviate("Article", url=fake.url, grpc_url=fake.grpc_url)
        print(len(fake.objects), "objects written by", WriteToWeaviate.__module__)
"""


def main() -> int:
    """Build, install and run both; returns 0 where all is well."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        shutil.copytree(
            ROOT, folder / "source", ignore=shutil.ignore_patterns(".*", "build", "dist", "*.egg-info")
        )
        build = [
            sys.executable,
            "-m",
            "build",
            "--no-isolation",
            "--outdir",
            folder / "dist",
            folder / "source",
        ]
        subprocess.run(build, check=True, stdout=subprocess.DEVNULL)
        (folder / "job.py").write_text(_PIPELINE)
        outcomes = [
            runs(folder, built) for pattern in ("*.whl", "*.tar.gz") for built in folder.glob(f"dist/{pattern}")
        ]
    return 0 if outcomes == [True, True] else 1


def runs(folder: Path, built: Path) -> bool:
    environment = folder / built.suffix.strip(".")
    venv.create(environment, with_pip=True)
    python = environment / "bin" / "python"
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    subprocess.run([python, "-m", "pip", "install", "--quiet", built], check=True, env=clean, cwd=folder)
    done = subprocess.run([python, "job.py"], cwd=folder, env=clean, capture_output=True, text=True)
    print(f"{built.name}: {done.stdout.strip() or done.stderr}")
    return done.returncode == 0 and done.stdout.startswith("100 objects")


if __name__ == "__main__":
    sys.exit(main())
