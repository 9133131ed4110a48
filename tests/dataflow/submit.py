"""Has Beam's own Dataflow runner translate an import as far as it does without an account: ``make dataflow``.

Needs ``apache-beam[gcp]``, which the tests do without. Nothing is sent anywhere: ``--dry_run`` ends with the request
that would create the job.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from weaviate_io import WriteToWeaviate

FLAGS = (
    *("--runner=DataflowRunner", "--project=some-project", "--region=europe-west1", "--job_name=import"),
    *("--temp_location=gs://some-bucket/temp", "--staging_location=gs://some-bucket/staging", "--dry_run=True"),
    *("--sdk_container_image=example.com/weaviate-io:1", "--sdk_location=container", "--no_auth"),
)


def main() -> int:
    """Translate a bounded and an unbounded write; returns 0 where both became a job."""
    for name, streaming in (("batch", False), ("streaming", True)):
        job: Any = translated(streaming).job
        steps = json.loads(str(job))
        print(f"{name}: {steps['type']}, SDK image {job.options.get_all_options()['sdk_container_image']}")
    return 0


def translated(streaming: bool) -> Any:
    pipeline = beam.Pipeline(options=PipelineOptions([*FLAGS, *(["--streaming"] if streaming else [])]))
    if streaming:
        rows = pipeline | beam.io.ReadFromPubSub("projects/some-project/topics/rows").with_output_types(bytes)
        rows = rows | "Parse" >> beam.Map(json.loads)
    else:
        rows = pipeline | beam.Create([{"title": "Dune"}])
    rows | "Write" >> WriteToWeaviate("Article", url="https://x.weaviate.cloud", api_key="env:KEY")
    return pipeline.run()


if __name__ == "__main__":
    sys.exit(main())
