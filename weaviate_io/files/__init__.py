"""Rows from files: JSON, JSON Lines, CSV, TSV, Parquet and Avro, plain or compressed, on any Beam filesystem.

``ReadRows`` reads them in a pipeline, ``match`` says before it starts which files there are, and
``read_rows`` reads one file without a pipeline. Each format is a plain function of a stream.
"""

from weaviate_io.files.read import ReadRows as ReadRows
from weaviate_io.files.read import ReadRowsResult as ReadRowsResult
from weaviate_io.files.read import format_of as format_of
from weaviate_io.files.read import match as match
from weaviate_io.files.read import read_rows as read_rows
