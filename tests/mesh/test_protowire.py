from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh import protowire
from mesh.protowire import Value, as_bool, as_int32, as_text, as_uint32, read_pair, write_number, write_text

numbers = st.integers(0, 2**64 - 1)


def read(message: bytes, fields: int = 100) -> list[tuple[int, Value]]:
    return [(number, value) for number, value, _ in protowire.read(message, protowire.budget(fields))]


@given(st.integers(1, 2**29 - 1), numbers)
def test_a_number_that_is_written_reads_the_same(field: int, number: int) -> None:
    assert read(write_number(field, number)) == [(field, number)]


@given(st.integers(1, 2**29 - 1), st.text())
def test_a_text_that_is_written_reads_the_same(field: int, text: str) -> None:
    [(number, value)] = read(write_text(field, text))
    assert (number, as_text(value)) == (field, text)


@given(st.dictionaries(st.text(), st.text()))
def test_maps_are_written_in_the_order_of_their_keys(texts: dict[str, str]) -> None:
    entries = [value for _, value in read(protowire.write_map(5, texts))]
    pairs = [read_pair(entry, protowire.budget(2)) for entry in entries if isinstance(entry, bytes)]
    assert pairs == sorted(texts.items(), key=lambda pair: pair[0].encode())


@pytest.mark.parametrize(
    ("message", "fields"),
    [
        ("", []),
        ("0800", [(1, 0)]),
        ("08ac02", [(1, 300)]),
        ("08ffffffffffffffffff7f", [(1, 2**64 - 1)]),  # what does not fit into 64 bits is dropped
        ("08ac8200", [(1, 300)]),
        ("12026869", [(2, b"hi")]),
        ("1200", [(2, b"")]),
        ("0900000000000000000801", [(1, None), (1, 1)]),
        ("0d000000000801", [(1, None), (1, 1)]),
        ("0b0c0801", [(1, None), (1, 1)]),
        ("0b0b08010c0d00000000120161140801", [(1, None), (1, 1)]),  # groups nest, and any end ends one
    ],
)
def test_fields_are_read_as_go_reads_them(message: str, fields: list[tuple[int, Value]]) -> None:
    assert read(bytes.fromhex(message)) == fields


def test_all_bytes_of_a_message_are_in_its_fields() -> None:
    message = bytes.fromhex("08011201610d000000000b0c0801")
    assert b"".join(raw for _, _, raw in protowire.read(message, protowire.budget(9))) == message


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ("08", "unexpected end of message"),
        ("0880", "unexpected end of message"),
        ("1201", "unexpected end of message"),
        ("12ffffffff7f61", "unexpected end of message"),
        ("12ffffffffffffffffff0161", "unexpected end of message"),
        ("0900", "unexpected end of message"),
        ("0d00", "unexpected end of message"),
        ("0b", "unexpected end of message"),
        ("0b0800", "unexpected end of message"),
        ("0880808080808080808080808000", "integer overflow"),
        ("0c", "unexpected end of group"),
        ("0e", "illegal wire type 6"),
        ("0f", "illegal wire type 7"),
        ("0001", "illegal tag 0"),
        ("f8ffffff7f01", "illegal tag -1"),
    ],
)
def test_what_go_refuses_is_refused(message: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        read(bytes.fromhex(message))


def test_more_fields_than_the_budget_are_refused_also_in_groups() -> None:
    assert len(read(b"\x08\x01" * 100)) == 100
    for message in (b"\x08\x01" * 101, b"\x0b" * 101, b"\x0b" + b"\x08\x01" * 101):
        with pytest.raises(ValueError, match="too many fields"):
            read(message)


def test_numbers_of_32_bits_wrap() -> None:
    assert [as_int32(value) for value in (1, 2**31 - 1, 2**31, 2**64 - 1, 2**32)] == [
        1,
        2**31 - 1,
        -(2**31),
        -1,
        0,
    ]
    assert as_uint32(2**32 + 7) == 7
    assert write_number(3, -1) == bytes.fromhex("18ffffffffffffffffff01")
    assert [as_bool(value) for value in (0, 1, 2**63)] == [False, True, True]


@pytest.mark.parametrize("value", [None, 1, b""])
def test_the_wrong_wire_type_is_refused(value: Value) -> None:
    converts: list[tuple[type, Callable[[Value], object]]] = [
        (bytes, as_text),
        (int, as_uint32),
        (int, as_int32),
        (int, as_bool),
    ]
    wrong = [convert for wanted, convert in converts if not isinstance(value, wanted)]
    for convert in wrong:
        with pytest.raises(ValueError, match="wrong wire type"):
            convert(value)
    assert wrong


@given(st.binary(max_size=100))
def test_arbitrary_bytes_raise_nothing_else(message: bytes) -> None:
    try:
        read(message)
    except ValueError as error:
        assert str(error)


def test_bytes_that_are_no_text_are_replaced() -> None:
    assert as_text(b"a\xffb") == "a\ufffdb"
