from __future__ import annotations

from ipaddress import IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.ip import (
    canonical_ip,
    cidr_text,
    is_canonical,
    is_ip,
    is_proper_cidr,
    make_mask,
    mask_length,
    prefix_text,
    read_base64,
    read_cidr,
    read_ip,
    split_cidr,
)

ipv6_texts = st.builds(
    lambda address, form: address.exploded if form else address.compressed,
    st.ip_addresses(v=6),
    st.booleans(),
)


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("FD00::1", "fd00::1"),
        ("fd00:10:1:0:0:0:0:5", "fd00:10:1::5"),
        ("1:0:0:2:0:0:0:3", "1:0:0:2::3"),
        ("1:0:0:2:2:0:0:3", "1::2:2:0:0:3"),
        ("1:0:2:3:4:5:6:7", "1:0:2:3:4:5:6:7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("::ffff:c000:207", "192.0.2.7"),
        ("::192.0.2.7", "::c000:207"),
        ("::", "::"),
    ],
)
def test_addresses_print_as_in_go(text: str, canonical: str) -> None:
    assert canonical_ip(text) == canonical
    assert is_canonical(text) == (text == canonical)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "10.0.0",
        "10.0.0.256",
        "010.0.0.1",
        "10.0.0.01",
        "1.2.3.4.5",
        "fe80::1%eth0",
        ":::",
        "1::2::3",
        "10.0.0.1/32",
        " 10.0.0.1",
        "10.0.0.1\n",
        "12345::",
        "1:2:3:4:5:6:7:8::",
        "::1.2.3.04",
        "\u0661.2.3.4",
        "<nil>",
    ],
)
def test_what_go_does_not_read_is_no_address(text: str) -> None:
    assert not is_ip(text)


def test_no_address_is_an_empty_text() -> None:
    assert read_ip("") == ""
    with pytest.raises(ValueError, match="invalid IP address"):
        read_ip("<nil>")


@given(st.ip_addresses() | ipv6_texts)
def test_canonical_texts_are_recognised(address: object) -> None:
    text = str(address)
    canonical = canonical_ip(text)
    assert canonical is not None
    assert is_canonical(canonical)
    assert is_canonical(text) == (text == canonical)
    assert ip_address(canonical) in (ip_address(text), getattr(ip_address(text), "ipv4_mapped", None))


@given(st.lists(st.sampled_from(["0", "1", "ab", "ffff", ""]), min_size=1, max_size=9).map(":".join))
def test_the_quick_look_at_ipv6_agrees_with_the_slow_one(text: str) -> None:
    try:
        address = IPv6Address(text)
    except ValueError:
        assert not is_canonical(text)
    else:
        mapped = address.ipv4_mapped
        assert is_canonical(text) == (mapped is None and address.compressed == text)


@given(st.integers(0, 32))
def test_ipv4_masks_have_their_length(length: int) -> None:
    assert mask_length(make_mask(length, 4)) == length


@given(st.integers(0, 128))
def test_ipv6_masks_have_their_length(length: int) -> None:
    assert mask_length(make_mask(length, 6)) == length


@given(st.binary(max_size=20))
def test_a_mask_with_holes_has_no_length(mask: bytes) -> None:
    bits = "".join(f"{byte:08b}" for byte in mask)
    assert (mask_length(mask) is None) == ("01" in bits)


@pytest.mark.parametrize(
    ("ip", "mask", "text"),
    [
        ("10.1.0.4", None, "10.1.0.4"),
        ("10.9.0.0", b"\xff\xff\0\0", "10.9.0.0/16"),
        ("10.8.0.0", b"\xff\0\xff\0", "10.8.0.0/0"),
        ("", None, "<nil>"),
        ("10.0.0.1", b"", "10.0.0.1/0"),
    ],
)
def test_key_texts_are_those_of_go(ip: str, mask: bytes | None, text: str) -> None:
    assert prefix_text(ip, mask) == text


@given(st.ip_addresses().map(str).map(read_ip) | st.just(""), st.none() | st.binary(max_size=17))
def test_a_cidrs_text_keeps_whatever_mask_it_has(ip: str, mask: bytes | None) -> None:
    assert split_cidr(cidr_text(ip, mask)) == (ip, mask)


@pytest.mark.parametrize(
    "text", ["", "10.0.0.0", "10.0.0.0/33", "10.0.0.0/x", "x/8", "/8", "fd00::/129", "1.2.3.4/0xz"]
)
def test_what_is_no_cidr_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        split_cidr(text)


@pytest.mark.parametrize("text", ["10.0.0.0/8", "0.0.0.0/0", "fd00::/64", "10.0.0.1/32", "::/0"])
def test_a_network_is_a_proper_cidr(text: str) -> None:
    assert is_proper_cidr(text)


@pytest.mark.parametrize(
    "text", ["10.0.0.1/8", "10.0.0.0/0xff00ff00", "10.0.0.0/", "/0x", "", "{}", "fd00::1/64"]
)
def test_odd_cidrs_are_not_proper(text: str) -> None:
    assert not is_proper_cidr(text)


@given(st.ip_addresses(v=4) | st.ip_addresses(v=6), st.data())
def test_a_cidr_in_text_form_loses_its_host_bits(address: object, data: st.DataObject) -> None:
    version = 6 if ":" in str(address) else 4
    length = data.draw(
        st.integers(96 if str(address).startswith("::ffff:") else 0, 128 if version == 6 else 32)
    )
    ip, mask = read_cidr(f"{address}/{length}")
    if ":" in ip or version == 4:
        network = ip_network(f"{address}/{length}", strict=False)
        assert (ip, mask) == (str(network.network_address), network.netmask.packed)


@pytest.mark.parametrize(
    "text", ["", "10.0.0.0", "10.0.0.0/33", "/8", "10.0.0.0/8/8", "10.0.0.0/-1", "::ffff:1.2.3.4/8"]
)
def test_a_text_that_go_does_not_read_as_cidr_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="invalid"):
        read_cidr(text)


@pytest.mark.parametrize(
    ("text", "packed"), [("", b""), ("AA==", b"\0"), ("A\nA\r==", b"\0"), ("AB==", b"\0")]
)
def test_base64_reads_as_in_go(text: str, packed: bytes) -> None:
    assert read_base64(text) == packed


@pytest.mark.parametrize("text", ["A", "AA", "AA=", "AAAA=", "A===", "AA==AA==", "A-==", "AA ==", "é==="])
def test_other_base64_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        read_base64(text)
