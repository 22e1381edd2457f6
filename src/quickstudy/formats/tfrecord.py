"""Files of TensorFlow's records, read without TensorFlow: their framing, their checksums, and `tf.train.Example`."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from quickstudy.errors import DataError
from quickstudy.files import require_regular

_POLYNOMIAL = 0x82F63B78  # Castagnoli's, reflected
_MASK = 0xA282EAD8
_REMEDY = "Copy it again from where it was made."


def masked(crc: int) -> int:
    """A checksum as files hold it: turned by 15 bits, with a constant added."""
    return ((crc >> 15 | crc << 17) + _MASK) & 0xFFFFFFFF


@cache
def _table() -> Any:
    import numpy as np

    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, table >> 1 ^ _POLYNOMIAL, table >> 1).astype(np.uint32)
    return table


def crc32c(parts: Sequence[bytes]) -> list[int]:
    """The CRC-32C of each of several texts, all at once.

    A register of ones at the beginning is the same as the first four bytes inverted and a register of zeros, which
    leading zeros do not change: so texts are made equally long by these.

    >>> [hex(one) for one in crc32c([b"123456789", b""])]
    ['0xe3069283', '0x0']
    """
    import numpy as np

    longest = max(4, *map(len, parts), 4) if parts else 4
    rows = np.zeros((len(parts), longest), dtype=np.uint8)
    for row, part in zip(rows, parts, strict=True):
        if part:
            row[-len(part) :] = np.frombuffer(part, dtype=np.uint8)
            row[-len(part) :][:4] ^= 0xFF
    table, state = _table(), np.zeros(len(parts), dtype=np.uint32)
    for column in rows.T.copy():
        state = table[(state ^ column) & 0xFF] ^ state >> 8
    # Of texts of less than four bytes, a part of the register's ones is still to come in.
    early = np.array([0xFFFFFFFF >> 8 * min(4, len(part)) for part in parts], dtype=np.uint32)
    return [int(one) for one in state ^ early ^ np.uint32(0xFFFFFFFF)]


def records(path: Path) -> list[bytes]:
    """The records of a file; DataError, naming file and record, where it is cut short or a checksum is wrong."""
    require_regular(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}. Make it readable.") from error
    heads, bodies, sums, at = list[bytes](), list[bytes](), list[tuple[int, int]](), 0
    while at < len(data):
        end = at + 12
        length = struct.unpack_from("<Q", data, at)[0] if end <= len(data) else 0
        if end > len(data) or length > len(data) - end - 4:
            raise DataError(
                f"{path} is cut short, or is no file of records: record {len(bodies)} says that it has more bytes than "
                f"there are. {_REMEDY}"
            )
        heads.append(data[at : at + 8])
        bodies.append(data[end : end + length])
        sums.append((struct.unpack_from("<I", data, at + 8)[0], struct.unpack_from("<I", data, end + length)[0]))
        at = end + length + 4
    found = zip(crc32c(heads), crc32c(bodies), strict=True)
    for number, (own, wanted) in enumerate(zip(found, sums, strict=True)):
        if (masked(own[0]), masked(own[1])) != wanted:
            raise DataError(f"Record {number} of {path} is damaged: its checksum is another one. {_REMEDY}")
    return bodies


def example(record: bytes, name: str) -> dict[str, list[Any]]:
    """The features of a `tf.train.Example` by name: lists of bytes or of whole numbers. Lists of floats are left out.

    name: of the record, for the DataError where it is none.
    """
    found: dict[str, list[Any]] = {}
    try:
        for features in _of(record, 1):
            for entry in _of(features, 1):
                fields = list(_fields(entry))
                key = next(value for number, value in fields if number == 1).decode()
                feature = next((value for number, value in fields if number == 2), b"")
                for kind, values in _fields(feature):
                    if kind == 1:
                        found[key] = _of(values, 1)
                    elif kind == 3:
                        found[key] = [number for value in _each(values, 1) for number in _whole(value)]
    except (ValueError, IndexError, StopIteration, AttributeError, TypeError) as error:
        raise DataError(f"{name} is no tf.train.Example. {_REMEDY}") from error
    return found


def _fields(data: bytes) -> Iterator[tuple[int, Any]]:
    """The fields of a message of protocol buffers: their numbers, and bytes or whole numbers."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        number, kind = tag >> 3, tag & 7
        if kind == 0:
            value, at = _varint(data, at)
            yield number, value
            continue
        if kind == 2:
            length, at = _varint(data, at)
        elif kind in (1, 5):
            length = 8 if kind == 1 else 4
        else:
            raise ValueError(f"kind {kind}")
        if at + length > len(data):
            raise ValueError("cut short")
        yield number, data[at : at + length]
        at += length


def _each(data: bytes, wanted: int) -> list[Any]:
    return [value for number, value in _fields(data) if number == wanted]


def _of(data: bytes, wanted: int) -> list[bytes]:
    found = _each(data, wanted)
    if not all(isinstance(value, bytes) for value in found):
        raise ValueError("a number where bytes are meant")
    return found


def _whole(value: Any) -> list[int]:
    """One whole number, or several that are packed."""
    if isinstance(value, int):
        return [_signed(value)]
    numbers, at = list[int](), 0
    while at < len(value):
        number, at = _varint(value, at)
        numbers.append(_signed(number))
    return numbers


def _signed(number: int) -> int:
    return number - 2**64 if number >= 2**63 else number


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A whole number of seven bits in each byte, and where it ends."""
    value = shift = 0
    while shift < 70:
        byte = data[at]
        value, shift, at = value | (byte & 0x7F) << shift, shift + 7, at + 1
        if byte < 0x80:
            return value & (2**64 - 1), at
    raise ValueError("a number without an end")
