"""cilium_ipcache_v2: IP prefix -> security identity, and the node to tunnel to.

The byte layout and nothing else; Cilium's v2 layout, frozen.
"""

import ipaddress
import socket
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

from bpf import address
from bpf.layout import IPCACHE_KEY, IPCACHE_VALUE

_FIXED_BITS = 32  # cluster id, pad and family are always matched in full
_IPV4, _IPV6 = 1, 2

FLAG_SKIP_TUNNEL = 1
FLAG_HAS_TUNNEL = 2
FLAG_IPV6_TUNNEL = 4
FLAG_REMOTE_CLUSTER = 8
FLAG_WORDS = {
    FLAG_SKIP_TUNNEL: "skiptunnel",
    FLAG_HAS_TUNNEL: "hastunnel",
    FLAG_IPV6_TUNNEL: "ipv6tunnel",
    FLAG_REMOTE_CLUSTER: "remotecluster",
}


_HOST = IPCACHE_KEY.pack(_FIXED_BITS + 32, 0, 0, _IPV4, b"")
_HOST_HEAD, _HOST_TAIL = _HOST[:-16], bytes(12)  # of an IPv4 address's key: only its four bytes differ
_TUNNELS = 16384  # nodes of a mesh


@dataclass(frozen=True, slots=True)
class IPCacheKey:
    prefix_text: str
    cluster_id: int = 0


@dataclass(frozen=True, slots=True)
class IPCacheValue:
    identity: int
    tunnel: str | None = None
    encrypt_key: int = 0
    flags: int = 0


def pack_key(prefix_text: str, cluster_id: int = 0) -> bytes:
    """`prefix_text` is "10.1.0.4", "10.1.0.0/24" or the like of IPv6; ValueError for host bits."""
    if prefix_text[-3:] == "/32" and not cluster_id and ":" not in prefix_text:  # nearly all of a mesh's
        try:
            return _HOST_HEAD + socket.inet_pton(socket.AF_INET, prefix_text[:-3]) + _HOST_TAIL
        except OSError as error:
            raise ValueError(f"not an IP address: {prefix_text[:-3]!r}") from error
    ip, slash, bits = prefix_text.partition("/")
    version6 = ":" in ip
    host_bits = 128 if version6 else 32
    raw = address.pack(ip)
    if slash and bits != str(host_bits):  # whole addresses are the bulk: spare them the slow path
        network = ipaddress.ip_network(prefix_text)
        raw, host_bits = network.network_address.packed, network.prefixlen
    return IPCACHE_KEY.pack(_FIXED_BITS + host_bits, cluster_id, 0, _IPV6 if version6 else _IPV4, raw)


def pack_keys(prefix_texts: Sequence[str]) -> list[bytes]:
    """`pack_key` of each, quicker where most are single IPv4 addresses."""
    read, v4 = socket.inet_pton, socket.AF_INET
    try:
        return [
            _HOST_HEAD + read(v4, text[:-3]) + _HOST_TAIL if text[-3:] == "/32" else pack_key(text)
            for text in prefix_texts
        ]
    except OSError:  # an IPv6 network may end so, too
        return [pack_key(text) for text in prefix_texts]


def unpack_key(raw: bytes) -> IPCacheKey:
    bits, cluster_id, _, family, packed = IPCACHE_KEY.unpack(raw)
    return IPCacheKey(f"{_text(packed, family == _IPV6)}/{bits - _FIXED_BITS}", cluster_id)


def pack_value(identity: int, tunnel: str | None, encrypt_key: int = 0, flags: int = 0) -> bytes:
    """The two tunnel flags follow from `tunnel`; `flags` adds others."""
    raw, of_tunnel = _tunnel(tunnel)
    return IPCACHE_VALUE.pack(identity, raw, 0, encrypt_key, flags | of_tunnel)


class Entry(Protocol):
    @property
    def identity(self) -> int: ...
    @property
    def tunnel(self) -> str | None: ...
    @property
    def encrypt_key(self) -> int: ...


def pack_values(entries: Iterable[Entry], flags: int = 0) -> list[bytes]:
    """`pack_value` of each."""
    pack, known = IPCACHE_VALUE.packer, _tunnel
    return [
        pack(each.identity, (there := known(each.tunnel))[0], 0, each.encrypt_key, there[1] | flags)
        for each in entries
    ]


def unpack_value(raw: bytes) -> IPCacheValue:
    identity, tunnel, _, encrypt_key, flags = IPCACHE_VALUE.unpack(raw)
    has_tunnel = any(tunnel) or flags & FLAG_HAS_TUNNEL
    text = _text(tunnel, bool(flags & FLAG_IPV6_TUNNEL)) if has_tunnel else None
    return IPCacheValue(identity, text, encrypt_key, flags)


@lru_cache(maxsize=_TUNNELS)
def _tunnel(text: str | None) -> tuple[bytes, int]:
    """A node's address and the flags that say what it is."""
    if not text:
        return b"", 0
    return address.pack(text), FLAG_HAS_TUNNEL | (FLAG_IPV6_TUNNEL if ":" in text else 0)


def _text(raw: bytes, version6: bool) -> str:
    return address.text(raw if version6 else raw[: address.V4_BYTES])
