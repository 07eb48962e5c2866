"""Many entries at once are read just as one after another, or not at all."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh import ipcache
from mesh.addressing import Identity
from mesh.errors import DecodeError
from mesh.ipcache import IPEntry
from tests.agent.values import scope

FIRST = (2 << 16) + 1  # the lowest identities of cluster 2


def pair(ip: str, **changes: object) -> tuple[bytes, bytes]:
    value = {"IP": ip, "Mask": None, "HostIP": "198.18.2.11", "ID": FIRST, "Key": 0, "Metadata": ""} | changes
    return ip.encode(), json.dumps(value, separators=(",", ":")).encode()


GOOD = [pair("10.2.1.5"), pair("fd00::5"), pair("10.2.1.6", K8sPodName="web")]
ODD = [
    (b"10.2.1.9", b""),
    (b"10.2.1.9", b'{"IP":"10.2.1.9","ID":'),
    (b"10.2.1.9", b'131073,"NamedPorts":[{"Name":"a"}'),
    (b"10.2.1.9", b'{"Name":"b"}]}'),
    (b"10.2.1.9", b'{"IP":"10.2.1.9",\n"ID":131073}'),
    (b"10.2.1.9", b"{}\n{}"),
    (b"10.2.1.09", pair("10.2.1.09")[1]),
    (b"10.2.1.8", pair("10.2.1.9")[1]),
    (b"10.2.1.9\n10.2.1.8", pair("10.2.1.9")[1]),
    (b"\xff", pair("10.2.1.9")[1]),
    pair("10.2.1.9", ID=1),
    pair("10.2.1.9", ID=(3 << 16) + 1),
    pair("10.2.1.9", HostIP="198.18.2.011"),
    pair("10.2.1.9", NamedPorts=[{"Name": "http", "Port": 80, "Protocol": "TCP"}]),
    (b"10.2.0.0/16", pair("10.2.0.0", Mask="//8AAA==")[1]),
]


def one_by_one(pairs: list[tuple[bytes, bytes]]) -> dict[str, IPEntry] | None:
    """None when one of them is refused."""
    try:
        return {k.decode(): ipcache.admit(ipcache.decode(k.decode(), v), scope()) for k, v in pairs}
    except (DecodeError, UnicodeDecodeError):
        return None


@given(st.lists(st.sampled_from([*GOOD, *ODD]), min_size=1, max_size=6, unique_by=lambda one: one[0]))
def test_what_is_read_at_once_is_what_is_read_one_by_one(pairs: list[tuple[bytes, bytes]]) -> None:
    found = ipcache.plain(pairs, scope())
    assert found is None or found == one_by_one(pairs)


@given(
    st.lists(st.binary(max_size=12).map(lambda cut: b'{"IP":"10.2.1.9"' + cut + b"}"), min_size=1, max_size=3)
)
def test_no_bytes_read_as_something_else_at_once(values: list[bytes]) -> None:
    pairs = [(b"10.2.1.%d" % number, value) for number, value in enumerate(values)]
    found = ipcache.plain(pairs, scope())
    assert found is None or found == one_by_one(pairs)


def test_the_common_entries_are_read_at_once() -> None:
    found = ipcache.plain([GOOD[0], GOOD[2]], scope())
    assert found is not None
    assert found["10.2.1.6"].identity == Identity(FIRST)


@pytest.mark.parametrize("odd", ODD[:9])
def test_one_odd_value_is_never_hidden_by_good_ones(odd: tuple[bytes, bytes]) -> None:
    assert ipcache.plain([GOOD[0], odd, GOOD[2]], scope()) is None
