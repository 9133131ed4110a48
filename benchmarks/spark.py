"""One load by the Spark connector, run as a process of its own, on as many cores as there are.

``python -m benchmarks.spark JAR DATA_SET COLLECTION OBJECTS URL GRPC_URL``
"""

from __future__ import annotations

import importlib.util
import os
import sys

from benchmarks.datasets import BLOCK, DATA_SETS
from benchmarks.processes import print_cost

BATCH_SIZE = 1000


def check(jar: str) -> None:
    """End with a word where Spark cannot run."""
    if not os.path.exists(jar):
        raise SystemExit(f"--spark-jar={jar} is not there")
    if importlib.util.find_spec("pyspark") is None:
        raise SystemExit("--spark-jar needs pyspark: pip install pyspark==3.5.5")


def main() -> None:
    """Make a data frame, write it once, and print the cost of this process without Spark's own."""
    jar, data_set, collection, objects, url, grpc_url = sys.argv[1:]
    from pyspark.sql import SparkSession  # only where it is asked for

    session = SparkSession.builder.master("local[*]").config("spark.jars", jar).getOrCreate()
    blocks = max(1, int(objects) // BLOCK)
    rows = [row for block in range(blocks) for row in DATA_SETS[data_set].list_rows(block)]
    frame = session.createDataFrame(rows).cache()
    frame.count()
    scheme, host = url.split("://")
    grpc_host, grpc_port = grpc_url.split(":")
    write = (
        frame.write.format("io.weaviate.spark.Weaviate")
        .option("batchSize", BATCH_SIZE)
        .option("scheme", scheme)
        .option("host", host)
        .option("grpc:host", grpc_host)
        .option("grpc:port", grpc_port)
        .option("className", collection)
        .option("id", "id")
        .option("vector", "embedding")
        .mode("append")
    )
    print_cost(blocks * BLOCK, write.save)
    session.stop()


if __name__ == "__main__":
    main()
