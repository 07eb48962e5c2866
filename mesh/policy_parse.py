"""Read a CiliumNetworkPolicy object into rules. Pure.

PolicyError for an object that is none. Parts that we do not know to express are named in `unsupported`, and
fail closed: an allow without them selects less than was meant, a deny more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mesh.errors import PolicyError
from mesh.identity import CLUSTER_LABEL, K8S, NAMESPACE_LABEL, RESERVED
from mesh.selector import Requirement, Selector, parse_selector

MAX_RANGE = 256  # ports of one range: each becomes an entry per identity

PROTOCOLS = {"TCP": (6,), "UDP": (17,), "SCTP": (132,), "ANY": (6, 17, 132), "": (6, 17, 132)}

_NODES = ("host", "remote-node", "init", "ingress", "health", "unmanaged", "kube-apiserver")
_ADDITIVE = frozenset({"fromCIDR", "fromCIDRSet", "fromGroups", "fromNodes"})  # more peers that we miss
_RESTRICTIVE = frozenset({"fromRequires", "icmps", "authentication"})  # less of the same peers
_KNOWN = frozenset({"fromEndpoints", "fromEntities", "toPorts"})


@dataclass(frozen=True, slots=True)
class PortSpec:
    """Some ports of some protocols; `name` instead of numbers where the pod's names decide."""

    ports: tuple[int, ...]
    protocols: tuple[int, ...]
    name: str = ""


@dataclass(frozen=True, slots=True)
class Ingress:
    """Some peers on some ports; no ports: all."""

    peers: tuple[Selector, ...] = ()
    everyone: bool = False
    ports: tuple[PortSpec, ...] = ()


@dataclass(frozen=True, slots=True)
class Rule:
    """`default_deny`: what is not allowed is refused, for the endpoints that `subject` selects."""

    subject: Selector
    allows: tuple[Ingress, ...] = ()
    denies: tuple[Ingress, ...] = ()
    default_deny: bool = False


@dataclass(frozen=True, slots=True)
class Policy:
    """One object. `namespace` is empty for a cluster-wide policy."""

    namespace: str
    name: str
    rules: tuple[Rule, ...] = ()
    unsupported: tuple[str, ...] = ()


def parse_policy(said: Mapping[str, Any]) -> Policy:
    metadata = _object(said, "metadata")
    specs = [spec for spec in (said.get("spec"), *_list(said, "specs")) if spec is not None]
    parser = _Parser(str(metadata.get("namespace") or ""))
    rules = tuple(parser.rule(spec) for spec in specs)
    return Policy(parser.namespace, str(metadata.get("name") or ""), rules, tuple(sorted(parser.unsupported)))


class _Parser:
    """Holds what one object is read with: its namespace, and what was not understood."""

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace
        self.unsupported: set[str] = set()

    def rule(self, spec: object) -> Rule:
        if not isinstance(spec, Mapping):
            raise PolicyError("a policy's spec must be an object")
        if "endpointSelector" not in spec:
            if "nodeSelector" not in spec:
                raise PolicyError("a policy's spec needs an endpointSelector")
            self.unsupported.add("nodeSelector")
            return Rule(Selector((Requirement(RESERVED, "host", "Exists"),)))
        subject = parse_selector(spec["endpointSelector"])
        if self.namespace:
            subject = subject.with_label(NAMESPACE_LABEL, self.namespace)
        allows, denies = _list(spec, "ingress"), _list(spec, "ingressDeny")
        said = _object(spec, "enableDefaultDeny").get("ingress")
        if spec.get("egress") or spec.get("egressDeny"):
            self.unsupported.add("egress")
        return Rule(
            subject,
            tuple(item for said_item in allows if (item := self._allow(said_item))),
            tuple(item for said_item in denies if (item := self._deny(said_item))),
            default_deny=said if isinstance(said, bool) else bool(allows or denies),
        )

    def _allow(self, said: object) -> Ingress | None:
        """None when it selects nothing."""
        item = self._section(said)
        if not item.keys().isdisjoint(_RESTRICTIVE) or not item.keys() <= _KNOWN | _ADDITIVE:
            return None
        ports = self._ports(item, is_deny=False)
        everyone, peers = self._peers(item)
        if ports is None or not (everyone or peers):
            return None
        return Ingress(peers, everyone, ports)

    def _deny(self, said: object) -> Ingress | None:
        item = self._section(said)
        unknown = item.keys() - _KNOWN
        everyone, peers = self._peers(item)
        everyone = everyone or bool(unknown - {"icmps"})
        ports = () if unknown else self._ports(item, is_deny=True)
        if ports is None or not (everyone or peers):
            return None
        return Ingress(() if everyone else peers, everyone, ports)

    def _section(self, said: object) -> dict[str, Any]:
        if not isinstance(said, Mapping):
            raise PolicyError("an ingress rule must be an object")
        item = {name: value for name, value in said.items() if value is not None}
        self.unsupported.update(item.keys() - _KNOWN)
        return item

    def _peers(self, item: Mapping[str, Any]) -> tuple[bool, tuple[Selector, ...]]:
        """Whether everybody is meant, and who else. A list that is present but empty means nobody."""
        if not any(name.startswith("from") for name in item):
            return bool(item.get("toPorts") or item.get("icmps")), ()
        selectors = [self._peer(parse_selector(said)) for said in _list(item, "fromEndpoints")]
        entities = [str(name) for name in _list(item, "fromEntities")]
        for name in entities:
            selectors += self._entity(name)
        return "all" in entities, tuple(selectors)

    def _peer(self, selector: Selector) -> Selector:
        """Without a word about namespaces the policy's own is meant."""
        if selector.is_reserved or selector.names_namespace:
            return selector
        if self.namespace:
            return selector.with_label(NAMESPACE_LABEL, self.namespace)
        return selector.with_any(NAMESPACE_LABEL)

    def _entity(self, name: str) -> list[Selector]:
        match name:
            case "all" | "none":
                return []
            case "world":
                return [_reserved(world) for world in ("world", "world-ipv4", "world-ipv6")]
            case "world-ipv4" | "world-ipv6":
                return [_reserved(name)]
            case "cluster":
                return [*map(_reserved, _NODES), Selector(own_cluster=True)]
            case "cluster-mesh":
                in_mesh = Selector((Requirement(K8S, CLUSTER_LABEL, "Exists"),))
                return [*map(_reserved, _NODES), in_mesh]
            case _ if name in _NODES:
                return [_reserved(name)]
            case _:
                raise PolicyError(f"unknown entity {name!r}")

    def _ports(self, item: Mapping[str, Any], *, is_deny: bool) -> tuple[PortSpec, ...] | None:
        """Empty: all ports. None: none that we could express."""
        sections = _list(item, "toPorts")
        if not sections:
            return ()
        specs: list[PortSpec] = []
        for section in sections:
            if not isinstance(section, Mapping):
                raise PolicyError("toPorts must be a list of objects")
            beyond = {name for name, value in section.items() if name != "ports" and value}
            self.unsupported.update(f"toPorts.{name}" for name in beyond)
            if beyond and not is_deny:
                continue
            ports = _list(section, "ports")
            if not ports:
                return ()
            specs += [spec for port in ports if (spec := self._port(port, is_deny=is_deny))]
        return tuple(specs) or None

    def _port(self, said: object, *, is_deny: bool) -> PortSpec | None:
        if not isinstance(said, Mapping):
            raise PolicyError("a port must be an object")
        protocol = str(said.get("protocol") or "").upper()
        if protocol not in PROTOCOLS:
            self.unsupported.add(f"protocol {protocol}")
            return PortSpec((0,), (0,)) if is_deny else None
        text, protocols = str(said.get("port") or "0"), PROTOCOLS[protocol]
        if not (text.isascii() and text.isdecimal()):
            return PortSpec((), protocols, name=text)
        first = _number(text)
        last = _number(str(said.get("endPort") or first))
        if first == 0:
            return PortSpec((0,), protocols if len(protocols) == 1 else (0,))
        if last - first >= MAX_RANGE:
            self.unsupported.add(f"more than {MAX_RANGE} ports in a range")
            return PortSpec((0,), protocols) if is_deny else None
        return PortSpec(tuple(range(first, max(first, last) + 1)), protocols)


def _reserved(name: str) -> Selector:
    return Selector((Requirement(RESERVED, name, "Exists"),))


def _number(text: str) -> int:
    if not (text.isascii() and text.isdecimal()) or len(text) > 5 or int(text) > 65535:
        raise PolicyError(f"{text[:32]!r} is not a port")
    return int(text)


def _object(said: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = said.get(name)
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise PolicyError(f"{name} must be an object")
    return value


def _list(said: Mapping[str, Any], name: str) -> list[Any]:
    value = said.get(name)
    if value is None:
        return []
    if not isinstance(value, list):
        raise PolicyError(f"{name} must be a list")
    return value
