"""Protocol buffers' wire format, as Go's generated code reads and writes it.

Only what nested messages of texts, numbers and flags need: no schema, no reflection. Reading is strict where
Go is (the wire type of a field, lengths, group nesting) and bounded: all fields of all nested messages are
taken from one `Budget`. Numbers wrap at 64 bits, as in Go. Every failure is a ValueError.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

Budget = Iterator[int]  # one is taken for each field that is read

_VARINT, _FIXED64, _BYTES, _GROUP, _GROUP_END, _FIXED32 = range(6)
_FIXED_SIZES = {_FIXED64: 8, _FIXED32: 4}
_MAX_SHIFT = 63
_UINT64 = 2**64 - 1
_UINT32 = 2**32 - 1

Value = int | bytes | None  # a number, a text or message, or something that no field here is
Field = tuple[int, Value, bytes]  # its number, value, and all its bytes


def budget(fields: int) -> Budget:
    return iter(range(fields))


def read(message: bytes, remaining: Budget) -> Iterator[Field]:
    """The fields in their order."""
    position, end = 0, len(message)
    while position < end:
        start = position
        if next(remaining, None) is None:
            raise ValueError("too many fields")
        tag, position = _varint(message, position)
        number, kind = _number(tag), tag & 7
        value: Value = None
        if kind == _BYTES:
            length, begin = _varint(message, position)
            position = begin + length
            value = message[begin:position]
        elif kind == _VARINT:
            value, position = _varint(message, position)
        else:
            position = _skip(message, position, kind, remaining)
        if position > end:
            raise ValueError("unexpected end of message")
        yield number, value, message[start:position]


def _varint(message: bytes, position: int) -> tuple[int, int]:
    """The number that starts at `position`, and where it ends."""
    result = shift = 0
    try:
        while (byte := message[position]) > 127:
            result |= (byte & 127) << shift
            position += 1
            if (shift := shift + 7) > _MAX_SHIFT:
                raise ValueError("integer overflow")
    except IndexError:
        raise ValueError("unexpected end of message") from None
    return (result | byte << shift) & _UINT64, position + 1


def _number(tag: int) -> int:
    number = as_int32(tag >> 3)
    if number <= 0:
        raise ValueError(f"illegal tag {number}")
    return number


def _skip(message: bytes, position: int, kind: int, remaining: Budget) -> int:
    """Where a field of another kind ends; groups may nest."""
    depth = 0
    while True:
        if kind == _GROUP:
            depth += 1
        elif kind == _GROUP_END:
            depth -= 1
        elif kind == _VARINT:
            _, position = _varint(message, position)
        elif kind == _BYTES:
            length, position = _varint(message, position)
            position += length
        elif kind in _FIXED_SIZES:
            position += _FIXED_SIZES[kind]
        else:
            raise ValueError(f"illegal wire type {kind}")
        if depth < 0:
            raise ValueError("unexpected end of group")
        if depth == 0:
            return position
        if next(remaining, None) is None:
            raise ValueError("too many fields")
        tag, position = _varint(message, position)
        kind = tag & 7


def as_message(value: Value) -> bytes:
    if not isinstance(value, bytes):
        raise ValueError("wrong wire type")
    return value


def as_text(value: Value) -> str:
    """Go keeps bytes that are no UTF-8; nobody else could use them, so they are replaced."""
    return as_message(value).decode("utf-8", "replace")


def as_uint32(value: Value) -> int:
    if not isinstance(value, int):
        raise ValueError("wrong wire type")
    return value & _UINT32


def as_int32(value: Value) -> int:
    number = as_uint32(value)
    return number - 2**32 if number > 2**31 - 1 else number


def as_bool(value: Value) -> bool:
    if not isinstance(value, int):
        raise ValueError("wrong wire type")
    return value != 0


def read_pair(message: bytes, remaining: Budget) -> tuple[str, str]:
    """An entry of a map; what it leaves out is empty."""
    key = text = ""
    for number, value, _ in read(message, remaining):
        if number == 1:
            key = as_text(value)
        elif number == 2:
            text = as_text(value)
    return key, text


def write_number(field: int, number: int) -> bytes:
    """Negative ones as 64 bits."""
    return _write_varint(field << 3 | _VARINT) + _write_varint(number & _UINT64)


def write_message(field: int, message: bytes) -> bytes:
    return _write_varint(field << 3 | _BYTES) + _write_varint(len(message)) + message


def write_text(field: int, text: str) -> bytes:
    """ValueError when it is not valid Unicode."""
    return write_message(field, text.encode())


def write_texts(field: int, texts: Iterable[str]) -> bytes:
    return b"".join(write_text(field, text) for text in texts)


def write_map(field: int, texts: Mapping[str, str]) -> bytes:
    """In the order of the keys."""
    return b"".join(
        write_message(field, write_text(1, key) + write_text(2, texts[key])) for key in sorted(texts)
    )


def _write_varint(number: int) -> bytes:
    if number < 128:
        return bytes((number,))
    written = bytearray()
    while number > 127:
        written.append(number & 127 | 128)
        number >>= 7
    written.append(number)
    return bytes(written)
