"""IP entries: which security identity stands behind an address or prefix (spec 2.6).

Wire form: JSON under `cilium/state/ip/v1/default/<ip>[/<length>]`. Wire freeze: peers of other versions read
and write the same keys. This is the kind that comes by the hundred thousand, so the common entry (an IPv4
address, every field as Cilium writes it) costs one msgspec call and one regular expression.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Annotated

import msgspec

from mesh import gojson
from mesh.addressing import FIRST_ALLOCATED, Identity, PeerScope, ReservedIdentity
from mesh.errors import DecodeError
from mesh.ip import (
    family,
    is_canonical,
    is_canonical_ipv4,
    make_mask,
    mask_length,
    prefix_text,
    read_base64,
    read_ip,
)

_HOSTS = 16384  # nodes of a mesh: one address stands in every entry of its node
_HOST = Identity(ReservedIdentity.HOST)
_REMOTE_NODE = Identity(ReservedIdentity.REMOTE_NODE)

_UInt8 = Annotated[int, msgspec.Meta(ge=0, le=2**8 - 1)]
_UInt16 = Annotated[int, msgspec.Meta(ge=0, le=2**16 - 1)]
_UInt32 = Annotated[int, msgspec.Meta(ge=0, le=2**32 - 1)]


class NamedPort(msgspec.Struct, rename="pascal", frozen=True, forbid_unknown_fields=True, gc=False):
    """A port that the pod gave a name."""

    name: str = ""
    port: _UInt16 = 0
    protocol: str = ""


class IPEntry(
    msgspec.Struct,
    rename={
        "ip": "IP",
        "mask": "Mask",
        "identity": "ID",
        "host_ip": "HostIP",
        "encrypt_key": "Key",
        "namespace": "K8sNamespace",
        "pod_name": "K8sPodName",
        "service_account": "K8sServiceAccount",
        "metadata": "Metadata",
        "named_ports": "NamedPorts",
    },
    frozen=True,
    forbid_unknown_fields=True,
    gc=False,
):
    """One entry. `mask` None: a single address. `host_ip` is the node to tunnel to, "" for none."""

    ip: str
    mask: bytes | None
    identity: Annotated[Identity, msgspec.Meta(ge=0, le=2**32 - 1)]
    host_ip: str
    encrypt_key: _UInt8 = 0
    namespace: str = ""
    pod_name: str = ""
    service_account: str = ""
    metadata: str = ""
    named_ports: tuple[NamedPort, ...] = ()

    @property
    def prefix_text(self) -> str:
        """`10.1.0.4/32`: what the kernel's map is keyed by. Only for admitted entries."""
        length = 8 * len(make_mask(0, family(self.ip))) if self.mask is None else mask_length(self.mask)
        return f"{self.ip}/{length or 0}"


class _Wire(msgspec.Struct, forbid_unknown_fields=True):
    """In the order in which Cilium writes, with Go's zero values."""

    IP: str | None = ""
    Mask: str | None = None
    HostIP: str | None = ""
    ID: _UInt32 = 0
    Key: _UInt8 = 0
    Metadata: str = ""
    K8sNamespace: str = ""
    K8sPodName: str = ""
    K8sServiceAccount: str = ""
    NamedPorts: tuple[NamedPort, ...] | None = None


class _Always(msgspec.Struct):
    IP: str
    Mask: bytes | None
    HostIP: str
    ID: int
    Key: int
    Metadata: str


class _Written(_Always, omit_defaults=True):
    K8sNamespace: str = ""
    K8sPodName: str = ""
    K8sServiceAccount: str = ""
    NamedPorts: tuple[NamedPort, ...] = ()


_decoder = msgspec.json.Decoder(IPEntry)
WIRE = gojson.Reader(_Wire)


def decode(suffix: str, value: bytes) -> IPEntry:
    """Read one pair; `suffix` must be the entry's own key text."""
    if len(value) <= gojson.MAX_VALUE_BYTES:
        try:
            entry = _decoder.decode(value)
        except (ValueError, RecursionError):
            return _decode_slowly(suffix, value)
        if (
            entry.ip == suffix
            and entry.mask is None
            and is_canonical(suffix)
            and _is_canonical_host(entry.host_ip)
        ):
            return entry
    return _decode_slowly(suffix, value)


@lru_cache(maxsize=_HOSTS)
def _is_canonical_host(host: str) -> bool:
    return not host or is_canonical(host)


def plain(pairs: Sequence[tuple[bytes, bytes]], scope: PeerScope) -> dict[str, IPEntry] | None:
    """Many pairs at once: entries by suffix, decoded and admitted just as `decode` and `admit` do it.

    None unless each is the common entry: a single address with its own canonical text as key, of an identity
    of `scope`'s, in JSON of one line. Whoever gets None asks for one after another.
    """
    entries = _decode_lines([value for _, value in pairs])
    try:
        suffixes = b"\n".join([key for key, _ in pairs]).decode("ascii").split("\n")
    except UnicodeDecodeError:
        return None
    found = dict(zip(suffixes, entries, strict=False))
    if not len(entries) == len(suffixes) == len(found) == len(pairs):
        return None
    first, last = scope.first, scope.last
    for suffix, entry in found.items():
        if entry.ip != suffix or entry.mask is not None or not first <= entry.identity <= last:
            return None
    are_addresses = all(map(is_canonical_ipv4, found)) or all(map(is_canonical, found))
    return found if are_addresses and all(map(_is_canonical_host, {e.host_ip for e in entries})) else None


def _decode_lines(values: Sequence[bytes]) -> list[IPEntry]:
    """Empty unless every value is an object, whole and in one line: a line's end in one of two is no JSON."""
    lines = b"\n".join(values)
    between = len(values) - 1
    is_whole = lines.count(b"\n") == lines.count(b"}\n{") == between and lines[:1] + lines[-1:] == b"{}"
    if not is_whole or max(map(len, values)) > gojson.MAX_VALUE_BYTES:
        return []
    try:
        return _decoder.decode_lines(lines)
    except (ValueError, RecursionError):
        return []


def _decode_slowly(suffix: str, value: bytes) -> IPEntry:
    wire = WIRE.read(suffix, value)
    try:
        entry = IPEntry(
            ip=read_ip(wire.IP or ""),
            mask=None if wire.Mask is None else read_base64(wire.Mask),
            identity=Identity(wire.ID),
            host_ip=read_ip(wire.HostIP or ""),
            encrypt_key=wire.Key,
            namespace=wire.K8sNamespace,
            pod_name=wire.K8sPodName,
            service_account=wire.K8sServiceAccount,
            metadata=wire.Metadata,
            named_ports=wire.NamedPorts or (),
        )
    except ValueError as error:
        raise DecodeError(suffix, str(error)) from error
    own = prefix_text(entry.ip, entry.mask)
    if own != suffix:
        raise DecodeError(suffix, f"IP address does not match key: got {own}")
    return entry


def encode(entry: IPEntry) -> tuple[str, bytes]:
    written = _Written(
        entry.ip,
        entry.mask,
        entry.host_ip,
        entry.identity,
        entry.encrypt_key,
        entry.metadata,
        entry.namespace,
        entry.pod_name,
        entry.service_account,
        entry.named_ports,
    )
    return prefix_text(entry.ip, entry.mask), gojson.write(written)


def admit(entry: IPEntry, scope: PeerScope) -> IPEntry:
    """The entry as a reader stores it, or DecodeError when `scope` may not claim it."""
    identity = entry.identity
    if not scope.owns(identity):
        if identity >= FIRST_ALLOCATED:
            raise DecodeError(
                _key(entry), f"identity {identity} is outside the range of cluster {scope.name}"
            )
        if identity == _HOST:  # its host is a remote node to us
            entry = msgspec.structs.replace(entry, identity=_REMOTE_NODE)
        elif identity not in scope.reserved:
            raise DecodeError(_key(entry), f"reserved identity {int(identity)} may not come from a peer")
    if entry.mask is not None or not entry.ip:
        _check_prefix(entry)
    return entry


def _check_prefix(entry: IPEntry) -> None:
    if not entry.ip:
        raise DecodeError(_key(entry), "IP address is unset")
    mask = entry.mask or b""
    length = mask_length(mask)
    if length is None or len(mask) != len(make_mask(0, family(entry.ip))):
        raise DecodeError(_key(entry), "mask is not a prefix length of the address's family")
    if length == 0:
        raise DecodeError(_key(entry), "a peer may not claim every address")


def _key(entry: IPEntry) -> str:
    return prefix_text(entry.ip, entry.mask)
