"""The endpoints and ports of an endpoint slice, and their part of its message (spec 2.9).

Fields that no version we know has are kept as bytes, behind the others. An optional field that is None is not
on the wire. Reading raises ValueError.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from mesh import protowire
from mesh.protowire import (
    Budget,
    as_bool,
    as_int32,
    as_message,
    as_text,
    read_pair,
    write_map,
    write_message,
    write_number,
    write_text,
    write_texts,
)


@dataclass(frozen=True, slots=True)
class Conditions:
    """None: Kubernetes does not say."""

    ready: bool | None = None
    serving: bool | None = None
    terminating: bool | None = None
    unknown: bytes = b""


@dataclass(frozen=True, slots=True)
class Hints:
    """Which zones should use an endpoint."""

    for_zones: tuple[str, ...] = ()
    unknown: bytes = b""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One backend; all its addresses are the same backend."""

    addresses: tuple[str, ...] = ()
    conditions: Conditions = Conditions()
    hostname: str | None = None
    deprecated_topology: Mapping[str, str] = field(default_factory=dict)
    node_name: str | None = None
    zone: str | None = None
    hints: Hints | None = None
    unknown: bytes = b""


@dataclass(frozen=True, slots=True)
class EndpointPort:
    """A port that all the slice's endpoints have."""

    name: str | None = None
    protocol: str | None = None
    port: int | None = None
    app_protocol: str | None = None
    unknown: bytes = b""


def read_endpoint(message: bytes, remaining: Budget) -> Endpoint:
    texts: dict[int, str | None] = {3: None, 6: None, 7: None}
    addresses: list[str] = []
    conditions: list[bytes] = []
    hints: list[bytes] = []
    topology: dict[str, str] = {}
    unknown: list[bytes] = []
    for number, value, raw in protowire.read(message, remaining):
        match number:
            case 1:
                addresses.append(as_text(value))
            case 2:  # a message that comes twice is merged, which is what reading both in a row does
                conditions.append(as_message(value))
            case 3 | 6 | 7:
                texts[number] = as_text(value)
            case 5:
                key, text = read_pair(as_message(value), remaining)
                topology[key] = text
            case 8:
                hints.append(as_message(value))
            case _:
                unknown.append(raw)
    return Endpoint(
        addresses=tuple(addresses),
        conditions=_read_conditions(b"".join(conditions), remaining),
        hostname=texts[3],
        deprecated_topology=topology,
        node_name=texts[6],
        zone=texts[7],
        hints=_read_hints(b"".join(hints), remaining) if hints else None,
        unknown=b"".join(unknown),
    )


def _read_conditions(message: bytes, remaining: Budget) -> Conditions:
    said: dict[int, bool] = {}
    unknown: list[bytes] = []
    for number, value, raw in protowire.read(message, remaining):
        if number in (1, 2, 3):
            said[number] = as_bool(value)
        else:
            unknown.append(raw)
    return Conditions(said.get(1), said.get(2), said.get(3), b"".join(unknown))


def _read_hints(message: bytes, remaining: Budget) -> Hints:
    zones: list[str] = []
    unknown: list[bytes] = []
    for number, value, raw in protowire.read(message, remaining):
        if number == 1:
            zones.append(read_pair(as_message(value), remaining)[0])
        else:
            unknown.append(raw)
    return Hints(tuple(zones), b"".join(unknown))


def read_port(message: bytes, remaining: Budget) -> EndpointPort:
    texts: dict[int, str | None] = {1: None, 2: None, 4: None}
    port: int | None = None
    unknown: list[bytes] = []
    for number, value, raw in protowire.read(message, remaining):
        match number:
            case 1 | 2 | 4:
                texts[number] = as_text(value)
            case 3:
                port = as_int32(value)
            case _:
                unknown.append(raw)
    return EndpointPort(texts[1], texts[2], port, texts[4], b"".join(unknown))


def write_endpoint(endpoint: Endpoint) -> bytes:
    return b"".join(
        (
            write_texts(1, endpoint.addresses),
            write_message(2, _write_conditions(endpoint.conditions)),
            _write_optional(3, endpoint.hostname),
            write_map(5, endpoint.deprecated_topology),
            _write_optional(6, endpoint.node_name),
            _write_optional(7, endpoint.zone),
            write_message(8, _write_hints(endpoint.hints)) if endpoint.hints else b"",
            endpoint.unknown,
        )
    )


def _write_conditions(conditions: Conditions) -> bytes:
    said = enumerate((conditions.ready, conditions.serving, conditions.terminating), start=1)
    known = b"".join(write_number(number, is_so) for number, is_so in said if is_so is not None)
    return known + conditions.unknown


def _write_hints(hints: Hints) -> bytes:
    zones = b"".join(write_message(1, write_text(1, zone)) for zone in hints.for_zones)
    return zones + hints.unknown


def write_port(port: EndpointPort) -> bytes:
    return b"".join(
        (
            _write_optional(1, port.name),
            _write_optional(2, port.protocol),
            b"" if port.port is None else write_number(3, port.port),
            _write_optional(4, port.app_protocol),
            port.unknown,
        )
    )


def _write_optional(number: int, text: str | None) -> bytes:
    return b"" if text is None else write_text(number, text)
