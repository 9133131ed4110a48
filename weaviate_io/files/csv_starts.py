"""Where rows of a large CSV file start, so that it can be read in parts.

A line end may lie within a quoted value, so a place in the middle of a file says nothing by itself. Here the
file is looked through from its beginning, which takes a fraction of the time of parsing it: where every quote
opens a value, closes one or is doubled, the quotes before a place tell whether it lies within a value. At the
first quote that does none of this (``5" disk``) the looking ends, and what follows remains one part: what the
parser makes of it takes the parser to tell.
"""

from __future__ import annotations

import codecs
import io
from collections.abc import Iterator, Sequence

from weaviate_io.files.csv_rows import MAX_FIELD_CHARS

BLOCK = 1 << 20


def row_starts(stream: io.BufferedIOBase, delimiter: str = ",", block: int = BLOCK) -> Iterator[int]:
    """Offsets where a row starts, about one of every block; none behind a quote that is out of place.

    Args:
      stream: the uncompressed bytes of the whole file.
      delimiter: the character between two fields.
      block: bytes that are looked at together.

    >>> list(row_starts(io.BytesIO(b'a,b\\n1,"x\\ny"\\n5" disk,2\\n3,4\\n'), block=1))
    [4, 12]
    """
    separators = f"{delimiter}\r\n".encode()
    offset, rest = 0, stream.read(len(codecs.BOM_UTF8))
    if rest == codecs.BOM_UTF8:
        offset, rest = len(rest), b""
    # A field beyond the limit of the parser ends with its line, quoted or not; here no row is that long.
    while len(rest) + block <= MAX_FIELD_CHARS and (data := stream.read(block)):
        text = rest + data
        segments = text.split(b'"')
        # Python 3.10 fails at a NUL, and goes on with the next line.
        if b"\0" in text or not _is_regular(segments, separators):
            return
        end = _end_of_rows(segments, len(text))
        if end:
            offset += end
            yield offset
        rest = text[end:]


def _is_regular(segments: Sequence[bytes], separators: bytes) -> bool:
    """Whether all quotes between the segments, of which the first lies outside of quotes, are in place."""
    opened, closed = segments[:-1:2], segments[2::2]
    return all(not before or before[-1] in separators for before in opened) and all(
        not behind or behind[0] in separators for behind in closed
    )


def _end_of_rows(segments: Sequence[bytes], size: int) -> int:
    """Where the last row ends whose end is among the segments; 0 where there is none."""
    end = size
    for index in range(len(segments) - 1, -1, -1):
        start = end - len(segments[index])
        if index % 2 == 0 and (found := segments[index].rfind(b"\n")) >= 0:
            return start + found + 1
        end = start - 1
    return 0
