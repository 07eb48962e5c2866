"""Addresses, masks and CIDRs as texts, exactly as Go's `net` package reads and prints them.

Peers compare keys as texts, so there is one text per address: IPv6 compressed and in lower case, an
IPv4-mapped address as IPv4, `""` for none. Values stay texts because most of them are only compared.
"""

from __future__ import annotations

import binascii
import re
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address

_OCTET = r"(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_IPV4 = re.compile(rf"{_OCTET}(?:\.{_OCTET}){{3}}")
is_ipv4 = _IPV4.fullmatch  # every text that Go reads as IPv4 is canonical: leading zeros are refused

_OCTETS = frozenset(str(number) for number in range(256))
_HEADS = 65536  # networks of 256 addresses: those of a mesh's nodes, and some more


def is_canonical_ipv4(text: str) -> bool:
    """As `is_ipv4`, faster for many addresses of few networks."""
    head, _, last = text.rpartition(".")
    return last in _OCTETS and _is_head(head)


@lru_cache(maxsize=_HEADS)
def _is_head(head: str) -> bool:
    return is_ipv4(f"{head}.0") is not None


# a "::" among groups that are not 0: no other run of zeros could be the one to shorten (saves a parse)
_GROUPS = r"(?:[1-9a-f][0-9a-f]{0,3}(?::[1-9a-f][0-9a-f]{0,3})*)?"
_SURELY_CANONICAL = re.compile(f"{_GROUPS}::{_GROUPS}")

_MASK_BYTES = {4: 4, 6: 16}


def is_canonical(text: str) -> bool:
    """The text is an address, and the one that Go prints for it."""
    return canonical_ip(text) == text


def canonical_ip(text: str) -> str | None:
    """The address as Go prints it; None when Go would not read it as an address."""
    if is_ipv4(text):
        return text
    if _SURELY_CANONICAL.fullmatch(text) and text.count(":") <= 6 and not text.startswith("::ffff:"):
        return text
    if ":" not in text or "%" in text:
        return None
    try:
        address = IPv6Address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped
    return str(mapped) if mapped is not None else address.compressed


def is_ip(text: str) -> bool:
    return canonical_ip(text) is not None


def read_ip(text: str) -> str:
    """The canonical text; an empty text means none and stays empty. ValueError for what is no address."""
    if not text:
        return text
    canonical = canonical_ip(text)
    if canonical is None:
        raise ValueError(f"invalid IP address: {text[:64]!r}")
    return canonical


def family(ip: str) -> int:
    """4 or 6 of an address that is known to be one."""
    return 6 if ":" in ip else 4


def with_port(host: str, port: int) -> str:
    """`host:port`; an IPv6 address stands in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def read_base64(text: str) -> bytes:
    """Go's standard encoding: padded, line breaks ignored. ValueError otherwise."""
    packed = text.replace("\r", "").replace("\n", "")
    if len(packed) % 4 or not packed.isascii():
        raise ValueError("invalid base64")
    return binascii.a2b_base64(packed, strict_mode=True)


def mask_length(mask: bytes) -> int | None:
    """Leading one bits of a contiguous mask, else None."""
    bits = len(mask) * 8
    number = int.from_bytes(mask)
    ones = number.bit_count()
    return ones if number == (1 << bits) - (1 << (bits - ones)) else None


def make_mask(length: int, version: int) -> bytes:
    size = _MASK_BYTES[version]
    return ((1 << size * 8) - (1 << (size * 8 - length))).to_bytes(size)


def prefix_text(ip: str, mask: bytes | None) -> str:
    """The key text of an address (no mask) or a prefix; an odd mask counts as /0, as in Go."""
    shown = ip or "<nil>"
    return shown if mask is None else f"{shown}/{mask_length(mask) or 0}"


def cidr_text(ip: str, mask: bytes | None) -> str:
    """`ip/length`; `ip/0x<hex>` keeps a mask that no length can say, `ip/` a missing one."""
    if mask is None:
        return f"{ip}/"
    length = mask_length(mask)
    if ip and length is not None and len(mask) == _MASK_BYTES[family(ip)]:
        return f"{ip}/{length}"
    return f"{ip}/0x{mask.hex()}"


def split_cidr(text: str) -> tuple[str, bytes | None]:
    """The reverse of `cidr_text`. ValueError for what it cannot have made."""
    host, slash, length = text.rpartition("/")
    ip = read_ip(host)
    if not slash:
        raise ValueError(f"{text[:64]!r} is not a CIDR")
    if not length:
        return ip, None
    if length.startswith("0x"):
        return ip, bytes.fromhex(length[2:])
    if not ip or not (length.isascii() and length.isdecimal()) or int(length) > _MASK_BYTES[family(ip)] * 8:
        raise ValueError(f"invalid prefix length in {text[:64]!r}")
    return ip, make_mask(int(length), family(ip))


def is_proper_cidr(text: str) -> bool:
    """Has a contiguous mask of its own family, and no bits below it."""
    try:
        ip, mask = split_cidr(text)
    except ValueError:
        return False
    if not ip or mask is None or "/0x" in text:
        return False
    return _number(ip) & ~int.from_bytes(mask) == 0


def read_cidr(text: str) -> tuple[str, bytes]:
    """A CIDR as text, by Go's ParseCIDR: host bits are cleared. ValueError otherwise."""
    host, slash, length = text.partition("/")
    ip = read_ip(host)
    if not (ip and slash and length.isascii() and length.isdecimal()) or len(length) > 3:
        raise ValueError(f"invalid CIDR address: {text[:64]!r}")
    mapped = 96 if ":" in host and family(ip) == 4 else 0  # ::ffff:10.0.0.0/104 is 10.0.0.0/8
    ones = int(length) - mapped
    if not 0 <= ones <= _MASK_BYTES[family(ip)] * 8:
        raise ValueError(f"invalid CIDR address: {text[:64]!r}")
    mask = make_mask(ones, family(ip))
    number = _number(ip)
    network = number & int.from_bytes(mask)
    return ip if network == number else _text(network, family(ip)), mask


def _number(ip: str) -> int:
    return int(IPv4Address(ip) if family(ip) == 4 else IPv6Address(ip))


def _text(number: int, version: int) -> str:
    return str(IPv4Address(number)) if version == 4 else read_ip(IPv6Address(number).compressed)
