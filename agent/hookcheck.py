"""Are the programs where they should be: on every endpoint, on the node's devices, on the node's cgroup?

Told like a map whose entries are a program and what it hangs on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol

from agent.difference import MapState, Pair
from agent.tables import Tables
from bpf.datapath import Attachment
from bpf.programspec import OVERLAY_PROGRAMS, POD_PROGRAMS, SOCKET_PROGRAMS, UNDERLAY_PROGRAMS

NAME = "links"
_ATTACHED = b"attached"
_CGROUP = "cgroup"


class Attached(Protocol):
    def attachments(self) -> Sequence[Attachment]:
        """Blocking. Raises BPFError."""


class HookCheck:
    def __init__(
        self, tables: Tables, loaded: Attached, overlay: int, underlay: Collection[int] = ()
    ) -> None:
        """`overlay`: the tunnel device's ifindex, 0: none; `underlay`: of devices with the node's address."""
        self._tables = tables
        self._loaded = loaded
        self._overlay = overlay
        self._underlay = tuple(underlay)

    async def look(self) -> MapState:
        devices = sorted(endpoint.ifindex for endpoint in self._tables.endpoints.values())
        wanted = {_key(program.name, device) for program in POD_PROGRAMS for device in devices}
        wanted |= {_key(program.name, self._overlay) for program in OVERLAY_PROGRAMS if self._overlay}
        wanted |= {_key(program.name, device) for program in UNDERLAY_PROGRAMS for device in self._underlay}
        wanted |= {_key(program.name, _CGROUP) for program in SOCKET_PROGRAMS}
        sockets = {program.name for program in SOCKET_PROGRAMS}
        attached = [each for each in await asyncio.to_thread(self._loaded.attachments) if each.target]
        held = {_key(each.program, _CGROUP if each.program in sockets else each.target) for each in attached}
        differing = {key: Pair(_ATTACHED, None) for key in wanted - held}
        differing |= {key: Pair(None, _ATTACHED) for key in held - wanted}
        return MapState(NAME, len(wanted), len(held), differing)


def words(entries: Mapping[bytes, bytes]) -> list[dict[str, Any]]:
    return [{"key": key.decode(), "value": value.decode()} for key, value in sorted(entries.items())]


def _key(program: str, target: int | str) -> bytes:
    return f"{program} {target}".encode()
