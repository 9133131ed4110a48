"""Loads by the Spark connector, in a process of their own, on as many cores as there are.

``python -m benchmarks.spark JAR DATA_SET COLLECTION OBJECTS PARTS URL GRPC_URL`` does the next part whenever a line
comes in.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable, Iterator
from itertools import chain

from benchmarks.datasets import BLOCK, DATA_SETS
from benchmarks.processes import print_costs

BATCH_SIZE = 1000


def check(jar: str) -> None:
    """End with a word where Spark cannot run."""
    if not os.path.exists(jar):
        raise SystemExit(f"--spark-jar={jar} is not there")
    if importlib.util.find_spec("pyspark") is None:
        raise SystemExit("--spark-jar needs pyspark: pip install pyspark==3.5.5")


def main() -> None:
    """Write each part when it is asked for, and print the cost of this process without Spark's own."""
    jar, data_set, collection, objects, parts, url, grpc_url = sys.argv[1:]
    from pyspark.sql import SparkSession  # only where it is asked for

    session = SparkSession.builder.master("local[*]").config("spark.jars", jar).getOrCreate()
    blocks = max(1, int(objects) // int(parts) // BLOCK)
    scheme, host = url.split("://")

    def loads() -> Iterator[Callable[[], None]]:
        for first in range(0, int(parts) * blocks, blocks):
            made = map(DATA_SETS[data_set].list_rows, range(first, first + blocks))
            frame = session.createDataFrame(list(chain.from_iterable(made))).cache()
            frame.count()
            write = (
                frame.write.format("io.weaviate.spark.Weaviate")
                .option("batchSize", BATCH_SIZE)
                .option("scheme", scheme)
                .option("host", host)
                .option("grpc:host", grpc_url)
                .option("className", collection)
                .option("id", "id")
                .option("vector", "embedding")
                .mode("append")
            )
            yield write.save

    print_costs(blocks * BLOCK, loads())
    session.stop()


if __name__ == "__main__":
    main()
