"""What the server decides about a Service: its cluster IPs, node ports and defaults. Pure.

Addresses in use are read from the stored Services, so nothing can leak and no allocation needs undoing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from ipaddress import ip_address, ip_network
from itertools import chain
from typing import Any, Protocol

from lab.api import families
from lab.api.families import HEADLESS
from lab.api.kinds import SERVICE, Kind
from lab.api.status import StatusError, invalid

Json = dict[str, Any]

NODE_PORTS = range(30000, 32768)
_WITH_NODE_PORTS = ("NodePort", "LoadBalancer")


class Admission(Protocol):
    """Looks at an object about to be stored and may complete or refuse it (StatusError).

    `old` is None on creation; `stored` gives the other objects of the kind, this one not included.
    """

    def __call__(
        self, kind: Kind, new: Json, old: Json | None, stored: Callable[[], Iterable[Json]]
    ) -> Json: ...


class ServiceAdmission:
    """Allocates from one range of cluster IPs a family, its first family's first, and from Kubernetes' range
    of node ports."""

    def __init__(self, *service_cidrs: str) -> None:
        self._ranges = {families.family(cidr): _Range(cidr) for cidr in service_cidrs}

    def __call__(self, kind: Kind, new: Json, old: Json | None, stored: Callable[[], Iterable[Json]]) -> Json:
        if kind is not SERVICE:
            return new
        others = [service.get("spec", {}) for service in stored()]
        spec = _with_defaults(new.get("spec") or {})
        before = (old or {}).get("spec", {})
        if spec["type"] == "ExternalName":
            return {**new, "spec": spec}
        name = new["metadata"]["name"]
        seed = f"{new['metadata'].get('namespace')}/{name}"
        policy, wanted = families.decide(name, spec, before, list(self._ranges))
        kept = _kept(name, _addresses(spec), _addresses(before))
        addresses = self._cluster_ips(name, seed, wanted, kept, others)
        spec |= {"clusterIP": addresses[0], "clusterIPs": addresses}
        spec |= {"ipFamilies": wanted, "ipFamilyPolicy": policy}
        if spec["type"] in _WITH_NODE_PORTS:
            spec["ports"] = _with_node_ports(name, seed, spec, before.get("ports", []), others)
        else:
            spec["ports"] = _without_node_ports(name, spec, before)
        spec |= _health_port(name, seed, spec, before, others)
        _check_policies(name, spec)
        return {**new, "spec": spec, "status": new.get("status") or {"loadBalancer": {}}}

    def _cluster_ips(
        self,
        name: str,
        seed: str,
        wanted: Sequence[str],
        asked: Mapping[str, str],
        others: Sequence[Json],
    ) -> list[str]:
        """One of each wanted family; "None" alone for a headless Service."""
        if HEADLESS in asked:
            return [HEADLESS]
        taken = {address for spec in others for address in _addresses(spec).values()}
        return [self._ranges[each].give(name, seed, asked.get(each, ""), taken) for each in wanted]


class _Range:
    def __init__(self, cidr: str) -> None:
        self._network = ip_network(cidr)
        # the first is where a cluster's own `kubernetes` Service would be
        first = int(self._network.network_address)
        self._usable = range(first + 2, first + self._network.num_addresses - 1)

    def give(self, name: str, seed: str, asked: str, taken: Collection[str]) -> str:
        """The address that is asked for, or a free one. Raises StatusError."""
        if asked:
            return self._check_asked(name, asked, taken)
        for number in _probe(self._usable, seed):
            address = str(ip_address(number))
            if address not in taken:
                return address
        raise StatusError(500, "InternalError", f"no cluster IP is left in {self._network}")

    def _check_asked(self, name: str, asked: str, taken: Collection[str]) -> str:
        try:
            inside = ip_address(asked) in self._network
        except ValueError:
            inside = False
        if not inside:
            why = f'Invalid value: "{asked}": the range of valid IPs is {self._network}'
            raise invalid("Service", name, "spec.clusterIPs", why)
        if asked in taken:
            why = f'Invalid value: "{asked}": provided IP is already allocated'
            raise invalid("Service", name, "spec.clusterIPs", why)
        return asked


def _kept(name: str, asked: Mapping[str, str], before: Mapping[str, str]) -> dict[str, str]:
    """What is asked for and what the Service has. Raises StatusError where they differ."""
    for each, address in before.items():
        is_other = asked.get(each, address) != address
        if is_other or (asked and (HEADLESS in asked) != (HEADLESS in before)):
            said = ", ".join(asked.values())
            raise invalid("Service", name, "spec.clusterIP", f'Invalid value: "{said}": field is immutable')
    return {**asked, **before}


def _addresses(spec: Json) -> dict[str, str]:
    """A spec's cluster IPs by family; "None" stands under itself."""
    named = [spec.get("clusterIP") or "", *(spec.get("clusterIPs") or ())]
    found: dict[str, str] = {}
    for address in filter(None, named):
        found.setdefault(HEADLESS if address == HEADLESS else families.family(address), address)
    return found


def _with_defaults(spec: Json) -> Json:
    ports = [
        {"protocol": "TCP", "targetPort": port.get("port"), **port}  # what the port says wins
        for port in spec.get("ports") or []
    ]
    defaults = {"type": "ClusterIP", "sessionAffinity": "None", "internalTrafficPolicy": "Cluster"}
    if spec.get("type") in _WITH_NODE_PORTS:
        defaults["externalTrafficPolicy"] = "Cluster"
    return {**defaults, **spec, "ports": ports}


def _with_node_ports(
    name: str, seed: str, spec: Json, before: list[Json], others: Sequence[Json]
) -> list[Json]:
    """Each port's number: the one asked for, else the one it has, else a free one. TCP and UDP may share."""
    ports: list[Json] = spec["ports"]
    allocates = spec["type"] == "NodePort" or spec.get("allocateLoadBalancerNodePorts") is not False
    taken = {port.get("nodePort") for spec in others for port in spec.get("ports", [])}
    taken |= {spec.get("healthCheckNodePort") for spec in others} - {None}
    kept = {(port.get("protocol"), port["port"]): port["nodePort"] for port in before if port.get("nodePort")}
    asked = {port["nodePort"] for port in ports if port.get("nodePort")}
    mine: set[tuple[int, str]] = set()
    result = []
    for port in ports:
        number = port.get("nodePort") or kept.get((port["protocol"], port["port"]))
        if number is None and not allocates:
            result.append(port)
            continue
        if number is None:
            free = (free for free in _probe(NODE_PORTS, seed) if free not in taken | asked)
            number = next(free, None)
            if number is None:
                raise StatusError(500, "InternalError", "no node port is left")
        elif number not in NODE_PORTS:
            why = f"the range of valid ports is {NODE_PORTS[0]}-{NODE_PORTS[-1]}"
            raise invalid("Service", name, "spec.ports.nodePort", f"Invalid value: {number}: {why}")
        elif number in taken - {held for held, _ in mine} or (number, port["protocol"]) in mine:
            why = f"Invalid value: {number}: provided port is already allocated"
            raise invalid("Service", name, "spec.ports.nodePort", why)
        taken.add(number)
        mine.add((number, port["protocol"]))
        result.append({**port, "nodePort": number})
    return result


def _health_port(name: str, seed: str, spec: Json, before: Json, others: Sequence[Json]) -> Json:
    """Where nodes tell load balancers of their endpoints. It never changes while there is one."""
    asked, had = spec.pop("healthCheckNodePort", None), before.get("healthCheckNodePort")
    if spec["type"] != "LoadBalancer" or spec.get("externalTrafficPolicy") != "Local":
        return {}
    if asked and had and asked != had:
        raise invalid(
            "Service", name, "spec.healthCheckNodePort", f"Invalid value: {asked}: field is immutable"
        )
    services = (*others, spec)
    taken = {port.get("nodePort") for each in services for port in each.get("ports", [])}
    taken |= {each.get("healthCheckNodePort") for each in others}
    number = asked or had or next((n for n in _probe(NODE_PORTS, f"health/{seed}") if n not in taken), None)
    if number is None:
        raise StatusError(500, "InternalError", "no node port is left")
    if number in taken:
        why = f"Invalid value: {number}: provided port is already allocated"
        raise invalid("Service", name, "spec.healthCheckNodePort", why)
    return {"healthCheckNodePort": number}


def _without_node_ports(name: str, spec: Json, before: Json) -> list[Json]:
    """Numbers of the type that the Service had before go with it; new ones are a mistake."""
    had = {port.get("nodePort") for port in before.get("ports", [])}
    for port in spec["ports"]:
        if port.get("nodePort") and port["nodePort"] not in had:
            why = f"Forbidden: may not be used when `type` is '{spec['type']}'"
            raise invalid("Service", name, "spec.ports.nodePort", why)
    return [{key: value for key, value in port.items() if key != "nodePort"} for port in spec["ports"]]


def _check_policies(name: str, spec: Json) -> None:
    for field in ("externalTrafficPolicy", "internalTrafficPolicy"):
        if spec.get(field, "Cluster") not in ("Cluster", "Local"):
            why = f'Unsupported value: "{spec[field]}": supported values: "Cluster", "Local"'
            raise invalid("Service", name, f"spec.{field}", why)


def _probe(numbers: range, seed: str) -> Iterable[int]:
    """All numbers once, from a place that depends on the name: a freed one is not given out next."""
    start = int.from_bytes(hashlib.sha256(seed.encode()).digest()[:8], "big") % len(numbers)
    return chain(numbers[start:], numbers[:start])
