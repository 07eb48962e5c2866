"""JSON as Go's encoding/json reads and writes it, which is what "byte for byte" and "refused" mean here.

Reading has two ways. Exact names, no nulls where Go has none and valid UTF-8, which is what peers write,
goes straight through msgspec. Everything else takes the slow way, which follows Go: names in any case,
unknown fields ignored, null meaning "leave it", invalid UTF-8 replaced, the last of equal names winning
(Go would merge equal names of objects; nobody writes those, nor the `-0` that we take and Go does not). Any
failure is a DecodeError. Nesting is bounded by the interpreter's stack, far below Go's 10,000.

Writing follows Go 1.22 and later (control characters as \\b, \\f, \\u000b): map keys in byte order, and
`<`, `>`, `&`, U+2028 and U+2029 escaped.
"""

from __future__ import annotations

import json
import re
from typing import Any, Generic, NoReturn, TypeVar

import msgspec
from msgspec import inspect

from mesh.errors import DecodeError

T = TypeVar("T", bound=msgspec.Struct)

MAX_VALUE_BYTES = 1536 * 1024  # etcd's default limit of a request: no peer can have stored more

_NOT_AN_INTEGER = object()  # 1.0 and 1e3 are numbers, but never integers to Go
_MAX_DIGITS = 20  # uint64; a longer number is out of every field's range
_OUT_OF_RANGE = 1 << 80
_ESCAPES = {
    b"<": rb"\u003c",
    b">": rb"\u003e",
    b"&": rb"\u0026",
    b"\xe2\x80\xa8": rb"\u2028",
    b"\xe2\x80\xa9": rb"\u2029",
}
_ESCAPED = re.compile(b"[<>&]|\xe2\x80[\xa8\xa9]")
_SURROGATE = re.compile("[\ud800-\udfff]")
_encoder = msgspec.json.Encoder(order="deterministic")


class Reader(Generic[T]):
    """Reads one wire type, whose defaults must be Go's zero values, or what Go's decoder starts from."""

    def __init__(self, wire: type[T]) -> None:
        self._wire = wire
        self._decoder = msgspec.json.Decoder(wire)
        self._shape = inspect.type_info(wire)

    def read(self, key: str, value: bytes) -> T:
        if len(value) > MAX_VALUE_BYTES:
            raise DecodeError(key, f"value of {len(value)} bytes exceeds {MAX_VALUE_BYTES}")
        try:
            return self._decoder.decode(value)
        except (ValueError, RecursionError):
            return self._read_slowly(key, value)

    def _read_slowly(self, key: str, value: bytes) -> T:
        try:
            tree = _parser.decode(_decoded(value))
            return msgspec.convert(_as_shape(self._shape, tree), self._wire)
        except (ValueError, RecursionError) as error:
            raise DecodeError(key, _reason(error)) from error

    def members(self, value: bytes) -> tuple[str, ...]:
        """The names of a value that was read, in their order, without those that nobody knows."""
        tree = _verbatim.decode(_decoded(value))
        return tuple(name for name, _ in _known(self._shape, tree)) if isinstance(tree, _Pairs) else ()

    def known(self, value: bytes) -> bytes:
        """A value that was read without the members that nobody knows, else to the byte.

        The value itself when it is not written as compactly as Go does.
        """
        try:
            tree = _verbatim.decode(_decoded(value))
            return _compact(_known(self._shape, tree)) if _compact(tree) == value else value
        except (ValueError, RecursionError):
            return value


def write(value: object) -> bytes:
    """ValueError when a text is not valid Unicode."""
    encoded = _encoder.encode(value)
    if not _ESCAPED.search(encoded):  # they can only stand inside texts, so replacing bytes is safe
        return encoded
    return _ESCAPED.sub(lambda match: _ESCAPES[match[0]], encoded)


def _decoded(value: bytes) -> str:
    return _SURROGATE.sub("\ufffd", value.decode("utf-8", "surrogateescape"))


def _reason(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "nested too deeply"
    if isinstance(error, json.JSONDecodeError):
        return f"invalid JSON: {error.msg} at {error.pos}"
    return str(error)


class _Pairs(list[tuple[str, Any]]):
    """A JSON object with its members in order: which of two names that Go takes for one comes last counts."""


def _integer(text: str) -> int:
    if len(text) > _MAX_DIGITS:
        return -_OUT_OF_RANGE if text[0] == "-" else _OUT_OF_RANGE
    return int(text)


def _no_constant(text: str) -> NoReturn:
    raise ValueError(f"invalid JSON: {text}")


_parser = json.JSONDecoder(
    object_pairs_hook=_Pairs,
    parse_int=_integer,
    parse_float=lambda _: _NOT_AN_INTEGER,
    parse_constant=_no_constant,
)

_verbatim = json.JSONDecoder(
    object_pairs_hook=_Pairs,
    parse_int=lambda text: msgspec.Raw(text.encode()),
    parse_float=lambda text: msgspec.Raw(text.encode()),
    parse_constant=_no_constant,
)


def _compact(tree: Any) -> bytes:
    """Objects as they were parsed: with their order, and names that come twice."""
    match tree:
        case _Pairs():
            return b"{" + b",".join(write(name) + b":" + _compact(item) for name, item in tree) + b"}"
        case list():
            return b"[" + b",".join(map(_compact, tree)) + b"]"
        case _:
            return write(tree)


def _known(shape: inspect.Type, tree: Any) -> Any:
    """The parsed tree without members of objects that the shape has no field for."""
    match shape:
        case inspect.UnionType(types=types) if tree is not None:
            return _known(_member(types, tree), tree)
        case inspect.StructType(fields=fields) if isinstance(tree, _Pairs):
            folded = {_fold(field.encode_name): field.type for field in fields}
            members = ((name, folded.get(_fold(name)), item) for name, item in tree)
            return _Pairs((name, _known(inner, item)) for name, inner, item in members if inner is not None)
        case inspect.DictType(value_type=inner) if isinstance(tree, _Pairs):
            return _Pairs((name, _known(inner, item)) for name, item in tree)
        case inspect.VarTupleType(item_type=inner) | inspect.ListType(item_type=inner) if _is_array(tree):
            return [_known(inner, item) for item in tree]
        case _:
            return tree


def _as_shape(shape: inspect.Type, tree: Any) -> Any:  # noqa: PLR0911 - one a case
    """The parsed tree as msgspec would want it; wrong types are left for msgspec to refuse."""
    match shape:
        case inspect.UnionType(types=types):
            return None if tree is None else _as_shape(_member(types, tree), tree)
        case inspect.StructType():
            return _as_fields(shape, tree)
        case inspect.DictType(value_type=inner) if isinstance(tree, _Pairs):
            return {_text(name): _as_shape(inner, item) for name, item in tree}
        case inspect.VarTupleType(item_type=inner) | inspect.ListType(item_type=inner) if _is_array(tree):
            return [_as_shape(inner, item) for item in tree]
        case inspect.StrType():
            return "" if tree is None else _text(tree)
        case inspect.IntType():
            return 0 if tree is None else tree
        case inspect.BoolType():
            return False if tree is None else tree
        case inspect.DictType() | inspect.VarTupleType() | inspect.ListType() if isinstance(tree, _Pairs):
            return _NOT_AN_INTEGER  # an object where an array belongs must not pass as one
        case _:
            return tree


def _member(types: tuple[inspect.Type, ...], tree: Any) -> inspect.Type:
    """Which of a union's types is meant: a text where one may stand, else what is neither text nor null."""
    texts = [kind for kind in types if isinstance(kind, inspect.StrType)]
    others = [kind for kind in types if not isinstance(kind, inspect.StrType | inspect.NoneType)]
    return (texts or others if isinstance(tree, str) else others or texts)[0]


def _as_fields(shape: inspect.StructType, tree: Any) -> Any:
    if tree is None:
        return {}
    if not isinstance(tree, _Pairs):
        return tree
    exact = {field.encode_name: field for field in shape.fields}
    folded = {_fold(name): field for name, field in exact.items()}
    members: dict[str, Any] = {}
    for name, item in tree:
        field = exact.get(name) or folded.get(_fold(name))
        if field is None or (item is None and not _is_nullable(field.type)):
            continue
        members[field.encode_name] = _as_shape(field.type, item)
    return members


def _is_nullable(shape: inspect.Type) -> bool:
    return isinstance(shape, inspect.UnionType)


def _is_array(tree: Any) -> bool:
    return isinstance(tree, list) and not isinstance(tree, _Pairs)


def _text(item: Any) -> Any:
    return _SURROGATE.sub("\ufffd", item) if isinstance(item, str) else item


def _fold(name: str) -> str:
    """Go folds ASCII letters, and the two other characters whose simple folding is an ASCII letter."""
    return name.replace("\u017f", "s").replace("\u212a", "k").lower()
