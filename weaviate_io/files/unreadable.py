"""What happens to the parts of a file that cannot be read.

A row that cannot be read becomes a ``FailedObject`` alone and the reading goes on. Where nothing after a
place can be trusted, a reader raises ``BrokenFile``; ``read_rows`` turns that into one ``FailedObject``.
"""

from __future__ import annotations

import codecs

import numpy as np

from weaviate_io.objects import FailedObject

# The server's default limit of one request. Nothing longer than this, as text, is worth holding in memory.
MAX_ROW_BYTES = 104_858_000
# A value takes up to 150 bytes when it is read, of three bytes of text. No object that the server takes has as many.
MAX_ROW_VALUES = 5_000_000
TOO_MANY_VALUES = f"has more than {MAX_ROW_VALUES:,} values, more than any object may have"
UTF16 = "is UTF-16; convert it to UTF-8"
TOO_DEEP = "is nested too deeply to be read"
TOO_MANY_DIGITS = "has an integer of more than 4,300 digits"
_STEP = 1 << 20
# How much of a text that is too long, or has no end, goes into the dead letter.
SNIPPET = 1_000


def is_utf16(start: bytes) -> bool:
    """Whether a file that starts so is UTF-16, or UTF-32, and says so."""
    return start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))


def has_too_many_values(text: str) -> bool:
    """Whether a JSON text, or what is known of it so far, has more values than a row may have.

    >>> has_too_many_values('["a,b", {"c": []}]')
    False
    """
    if text.count(",") + text.count("[") + text.count("{") <= MAX_ROW_VALUES:
        return False
    plain = text.encode("utf-8", "surrogateescape").replace(b"\\\\", b"").replace(b'\\"', b"")
    found, within = 0, False
    for start in range(0, len(plain), _STEP):
        data = np.frombuffer(plain, np.uint8, min(_STEP, len(plain) - start), start)
        inside = np.logical_xor.accumulate(data == ord('"')) ^ within  # in a text they are characters
        found += np.count_nonzero(((data == ord(",")) | (data == ord("[")) | (data == ord("{"))) & ~inside)
        within = bool(inside[-1])
    return found > MAX_ROW_VALUES


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
