from __future__ import annotations

import json
from typing import Annotated, Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.errors import DecodeError
from mesh.gojson import MAX_VALUE_BYTES, Reader, write


class Inner(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    Name: str = ""


class Outer(msgspec.Struct, forbid_unknown_fields=True):
    Text: str = ""
    Key: Annotated[int, msgspec.Meta(ge=0, le=255)] = 0
    Flag: bool = False
    Maybe: bool | None = None
    Items: list[Inner] | None = None
    Labels: dict[str, str] | None = None
    Deep: dict[str, dict[str, Inner | None] | None] | None = None
    Part: Inner = Inner()
    Either: Inner | str | None = None


reader = Reader(Outer)


def go_text(text: str) -> str:
    """What Go's encoder makes of a text, character by character."""
    short = {'"': '\\"', "\\": "\\\\", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
    return (
        '"'
        + "".join(
            short.get(c) or (f"\\u{ord(c):04x}" if c < " " or c in "<>&\u2028\u2029" else c) for c in text
        )
        + '"'
    )


@given(st.text() | st.text(st.sampled_from('<>&"\\\b\f\v\n\x00\x7f\u2028\u2029\u2027\ufffd€')))
def test_texts_are_escaped_as_by_go(text: str) -> None:
    assert write(text) == go_text(text).encode()


@given(st.dictionaries(st.text(), st.text()))
def test_map_keys_come_in_byte_order(labels: dict[str, str]) -> None:
    pairs = sorted((name.encode(), value) for name, value in labels.items())
    expected = ",".join(f"{go_text(name.decode())}:{go_text(value)}" for name, value in pairs)
    assert write(labels) == f"{{{expected}}}".encode()


@given(st.text() | st.dictionaries(st.text(), st.text()))
def test_what_is_written_is_json_of_the_same_value(value: Any) -> None:
    assert json.loads(write(value)) == value


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{}", Outer()),
        ("null", Outer()),
        ('{"text":"a","KEY":7,"fLag":true}', Outer(Text="a", Key=7, Flag=True)),
        ('{"\\u212aey":7}', Outer(Key=7)),
        ('{"Item\\u017f":[]}', Outer(Items=[])),
        ('{"Key":7,"key":8}', Outer(Key=8)),
        ('{"key":8,"Key":7}', Outer(Key=7)),
        ('{"Key":7,"Key":null}', Outer(Key=7)),
        ('{"Text":null,"Key":null,"Flag":null,"Part":null}', Outer()),
        ('{"Other":[{"x":1.5e9}],"Key":1}', Outer(Key=1)),
        ('{"Other":' + "9" * 6000 + "}", Outer()),
        ('{"Maybe":null,"Items":null,"Labels":null}', Outer()),
        ('{"Maybe":false}', Outer(Maybe=False)),
        ('{"Items":[null,{"name":"a"}]}', Outer(Items=[Inner(), Inner("a")])),
        ('{"Labels":{"a":null}}', Outer(Labels={"a": ""})),
        ('{"Labels":{}}', Outer(Labels={})),
        ('{"Deep":{"a":null,"b":{"":null},"c":{}}}', Outer(Deep={"a": None, "b": {"": None}, "c": {}})),
        ('{"part":{"NAME":"x","y":0}}', Outer(Part=Inner("x"))),
        ('{"Either":"x"}', Outer(Either="x")),
        ('{"either":{"name":"x"}}', Outer(Either=Inner("x"))),
        (' \t\r\n{"Key":1} \n', Outer(Key=1)),
        ('{"Text":"\\ud800"}', Outer(Text="\ufffd")),
        ('{"Text":"\\ud800\\u0041"}', Outer(Text="\ufffdA")),
        ('{"Text":"\\ud83d\\ude00"}', Outer(Text="😀")),
    ],
)
def test_reading_follows_go(text: str, expected: Outer) -> None:
    assert reader.read("k", text.encode()) == expected


@pytest.mark.parametrize(
    ("raw", "text"),
    [(b"a\xffb", "a\ufffdb"), (b"\xe2\x82", "\ufffd\ufffd"), (b"\xed\xa0\x80", "\ufffd" * 3)],
)
def test_every_invalid_byte_becomes_one_replacement_character(raw: bytes, text: str) -> None:
    assert reader.read("k", b'{"Text":"' + raw + b'"}').Text == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "{}x",
        "{}{}",
        "[]",
        '"x"',
        "1",
        "true",
        '{"Key":1,}',
        '{"Key":01}',
        "\ufeff{}",
        '{"Text":"a\nb"}',
        '{"Key":256}',
        '{"Key":-1}',
        '{"Key":1.0}',
        '{"key":1e0}',
        '{"Key":"1"}',
        '{"Key":true}',
        '{"key":NaN}',
        '{"Text":1}',
        '{"text":{}}',
        '{"Text":[]}',
        '{"Flag":"true"}',
        '{"Flag":1}',
        '{"Maybe":0}',
        '{"Items":{}}',
        '{"items":[[]]}',
        '{"Items":["a"]}',
        '{"Labels":[]}',
        '{"Labels":{"a":1}}',
        '{"Part":[]}',
        '{"Part":"x"}',
        '{"Either":1}',
        '{"Either":[]}',
        '{"Key":' + "9" * 6000 + "}",
        '{"key":-' + "9" * 6000 + "}",
        "{'Key':1}",
        "[" * 100000,
        '{"x":' * 100000,
    ],
)
def test_what_go_refuses_is_refused(text: str) -> None:
    with pytest.raises(DecodeError) as caught:
        reader.read("the/key", text.encode())
    assert caught.value.key == "the/key"
    assert caught.value.reason


def test_a_value_larger_than_etcd_takes_is_not_even_looked_at() -> None:
    with pytest.raises(DecodeError, match="exceeds"):
        reader.read("k", b"{}" + b" " * MAX_VALUE_BYTES)
