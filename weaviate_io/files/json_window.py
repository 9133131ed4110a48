"""A window that slides over a JSON text of any size and decodes the values in it one by one.

Values are decoded by the standard library. Against ijson's C parser this keeps what follows a bad item
readable: there an integer beyond 64 bits, ``NaN``, ``1e400`` or one invalid byte of UTF-8 in a text ends the
whole file, and errors have no byte offset.
"""

from __future__ import annotations

import codecs
import io
import json
from typing import Any

from weaviate_io.files.unreadable import (
    MAX_ROW_BYTES,
    MAX_ROW_VALUES,
    SNIPPET,
    TOO_DEEP,
    TOO_MANY_VALUES,
    BrokenFile,
    has_too_many_values,
)

# Must be more than the longest token that is no string ("-Infinity"): see ``next_value``.
_CHUNK = 1 << 20
_SPACE = " \t\r\n"


class TooManyDigits:
    """Stands for a value that has an integer which Python does not read."""


class JsonWindow:
    """The part of a text that is being decoded, and where in the file it lies.

    Bytes that are not UTF-8 become lone surrogates, so that the item that has them can fail alone.
    """

    def __init__(self, stream: io.BufferedIOBase):
        self._stream = stream
        self._decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
        self._raw_decode = json.JSONDecoder().raw_decode
        self._decode_but_integers = json.JSONDecoder(parse_int=bool).raw_decode
        self._text = ""
        self._bytes_before = 0
        self._ended = False
        self._failure: BrokenFile | None = None
        self.position = 0
        self._grow()
        if self._text.startswith("\ufeff"):
            self.position = 1

    def next_char(self) -> str:
        """The next character that is no space, not consumed; empty at the end of the file."""
        while True:
            text, position, size = self._text, self.position, len(self._text)
            while position < size and text[position] in _SPACE:
                position += 1
            self.position = position
            if position < size:
                return text[position]
            if not self._grow():
                return ""

    def next_value(self, number: int) -> tuple[Any, str]:
        """The next JSON value and its text."""
        self.next_char()
        failure: tuple[int, str] | None = None
        decode = self._raw_decode
        while True:
            start = self.position
            try:
                value, end = decode(self._text, start)
            except json.JSONDecodeError as error:
                found = (error.pos - start, error.msg)
                # The same error with more text behind it is real; else the window ended within the value.
                # A string without an end looks the same however much is read.
                real = found == failure and not error.msg.startswith("Unterminated string")
                failure = found
                if real or not self._grow():
                    at_end = found[0] + self.position >= len(self._text) or error.msg.startswith("Unterminated")
                    text = "the file ends within this item" if self._ended and at_end else error.msg
                    raise self.broken(text, number, found[0]) from error
                if len(self._text) - self.position > MAX_ROW_BYTES:
                    raise self.broken(f"the item is longer than {MAX_ROW_BYTES:,} bytes", number) from error
                known = self._text[self.position :] if len(self._text) > MAX_ROW_VALUES else ""
                if has_too_many_values(known):
                    raise self.broken(f"the item {TOO_MANY_VALUES}", number) from error
            except RecursionError as error:
                raise self.broken(f"the item {TOO_DEEP}", number) from error
            except ValueError:  # more than 4,300 digits
                decode = self._decode_but_integers
            else:
                # A number at the end of the window may go on behind it.
                if end == len(self._text) and isinstance(value, (int, float)) and self._grow():
                    continue
                self.position = end
                return value if decode == self._raw_decode else TooManyDigits, self._text[start:end]

    def broken(self, error: str, number: int | None, ahead: int = 0) -> BrokenFile:
        """The failure at ``ahead`` characters behind the current place."""
        before = self._text[: self.position + ahead].encode("utf-8", "surrogateescape")
        offset = self._bytes_before + len(before)
        place = f"byte {offset}" if number is None else f"item {number}, byte {offset}"
        snippet = self._text[self.position : self.position + SNIPPET]
        return BrokenFile(error, place, snippet.encode("utf-8", "surrogateescape").decode(errors="replace"))

    def _grow(self) -> bool:
        """Drops what is consumed and reads as much again as is left; false at the end of the file."""
        if self._failure is not None:
            raise self._failure
        if self._ended:
            return False
        left = self._text[self.position :]
        if self.position:
            self._bytes_before += len(self._text[: self.position].encode("utf-8", "surrogateescape"))
        wanted = max(_CHUNK, len(left))
        parts = [left]
        while wanted > 0:
            try:
                data = self._stream.read1(wanted)
            except BrokenFile as failure:  # first what came before it
                self._failure = failure
                break
            self._ended = not data
            parts.append(self._decoder.decode(data, self._ended))
            if self._ended:
                break
            wanted -= len(data)
        self._text = "".join(parts)
        self.position = 0
        return len(self._text) > len(left)
