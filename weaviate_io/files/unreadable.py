"""What happens to the parts of a file that cannot be read.

A row that cannot be read becomes a ``FailedObject`` alone and the reading goes on. Where nothing after a
place can be trusted, a reader raises ``BrokenFile``; ``read_rows`` turns that into one ``FailedObject``.
"""

from __future__ import annotations

from weaviate_io.objects import FailedObject

# The server's default limit of one request. Nothing longer than this, as text, is worth holding in memory.
MAX_ROW_BYTES = 104_858_000
# How much of a text that is too long, or has no end, goes into the dead letter.
SNIPPET = 1_000


class BrokenFile(Exception):
    """Nothing after this place of the file can be read.

    Args:
      error: what is wrong, in one line.
      place: where in the file, such as ``item 17, byte 4711``; ``None`` means after the last row read.
      row: the beginning of the text that could not be read, where known.
    """

    def __init__(self, error: str, place: str | None = None, row: str | bytes | None = None):
        super().__init__(error)
        self.place = place
        self.row = row


def unreadable(position: str, error: str, row: str | bytes) -> FailedObject:
    """The dead letter of a row that could not be understood.

    >>> unreadable("x.csv: row 2", "1 field, the header has 2", "a").reason
    'unreadable'
    """
    return FailedObject(
        reason="unreadable",
        error=error,
        attempts=0,
        collection=None,
        tenant=None,
        uuid=None,
        object=None,
        row=row,
        position=position,
    )
