"""A connection of a client outside of the cluster that meets this node: at a node port, at an external or a
load balancer's address.

Part of `agent.trace`. Which backend it gets is the node's choice, so each has its path. A pod of this node
sees the client; to any other backend the node stands before it (bpf/README.md, Node ports).
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address, ip_network
from typing import Any

from agent.cidrs import is_local
from agent.errors import NotFoundError, RequestError
from agent.nodeports import ANY_NODE, ANY_NODE_IPV6
from agent.tables import Tables
from agent.tracepath import Paths
from agent.traceservice import is_address, service_keys
from bpf.lb_map import FLAG_SOURCE_RANGES, FLAG_SOURCE_RANGES_DENY, FLAGS_OUTSIDE
from bpf.lb_wanted import Master
from mesh.addressing import FIRST_ALLOCATED, ReservedIdentity
from mesh.ip import with_port
from mesh.localservice import Frontend

PREFIX = "client:"
_ANYWHERE = (ANY_NODE, ANY_NODE_IPV6)  # for the node's own clients


class OutsideLookup:
    def __init__(self, tables: Tables, paths: Paths) -> None:
        self._tables = tables
        self._paths = paths

    def client(self, text: str) -> tuple[str, int]:
        """An address, and its identity here. Raises RequestError for what is no client outside."""
        if not is_address(text):
            raise RequestError(f"{text!r} is not a client's IP address")
        _, entry = self._paths.longest(text)
        identity = entry.identity if entry is not None else int(ReservedIdentity.WORLD)
        if identity >= FIRST_ALLOCATED and not is_local(identity):
            raise RequestError(f"{text} is a pod's address: trace from the pod")
        return text, identity

    def find(self, name: str, port: int, protocol: str) -> Frontend:
        """The entry that such a client meets at this address, or at any address of the service of this name.
        Raises NotFoundError."""
        if is_address(name):
            known = [Frontend(name, port, protocol, outside) for outside in (True, False)]
        else:
            keys = service_keys(name, "default")
            owned = [each for each, owner in self._tables.services.owners.items() if owner in keys]
            known = sorted(owned, key=lambda each: (not each.outside, each))
        served = [each for each in known if self._is_served(each)]
        for frontend in served:
            if (frontend.port, frontend.protocol) == (port, protocol):
                return frontend
        others = ", ".join(f"{with_port(f.ip, f.port)}/{f.protocol}" for f in served)
        where = f"; it is at {others}" if others else ""
        raise NotFoundError(f"nothing at {name}, {port}/{protocol}, is for clients outside{where}")

    def refusal(self, client: str, frontend: Frontend) -> str:
        """Why the client is not let in, whatever policies say; empty if it is."""
        if (":" in client) != (":" in frontend.ip):
            return f"the client's address is of another family than {frontend.ip}"
        master = self._tables.services.master(frontend)
        if not master.flags & FLAG_SOURCE_RANGES:
            return ""
        is_named = any(ip_address(client) in ip_network(each) for each in master.ranges)
        if is_named != bool(master.flags & FLAG_SOURCE_RANGES_DENY):
            return ""
        return f"{client} is {'' if is_named else 'not '}in {_text(master)}"

    def paths(
        self, identity: int, ends: Sequence[tuple[str, int, int]]
    ) -> list[tuple[dict[str, Any], list[str]]]:
        """To each backend: its address, port and protocol."""
        here = self._tables.policies.endpoints.entries
        return [
            self._paths.tell(None, identity if ip in here else behind(identity), ip, port, protocol, far=True)
            for ip, port, protocol in ends
        ]

    def _is_served(self, frontend: Frontend) -> bool:
        services = self._tables.services
        is_wanted = frontend in services.wanted.entries and frontend.ip not in _ANYWHERE
        return is_wanted and bool(services.master(frontend).flags & FLAGS_OUTSIDE)


def behind(identity: int) -> int:
    """What other nodes take a client for: the numbers of CIDRs are this node's alone."""
    return int(ReservedIdentity.WORLD) if is_local(identity) else identity


def _text(master: Master) -> str:
    kind = "denied" if master.flags & FLAG_SOURCE_RANGES_DENY else "allowed"
    return f"the {kind} source ranges {', '.join(master.ranges) or '(none)'}"
