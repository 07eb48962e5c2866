"""Read a CiliumNetworkPolicy object into rules. Pure.

PolicyError for an object that is none. Parts that we do not know to express are named in `unsupported`, and
fail closed: an allow without them selects less than was meant, a deny more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mesh.cidr import CIDR, EVERYWHERE, EVERYWHERE_IPV6, Network, parse_cidr, parse_cidr_set
from mesh.errors import PolicyError
from mesh.identity import CLUSTER_LABEL, K8S, NAMESPACE_LABEL, RESERVED
from mesh.policy_rules import ICMP, ICMPV6, PROTOCOLS, Policy, PortSpec, Rule, Side, Traffic, icmp_type
from mesh.selector import Requirement, Selector, parse_selector

_NODES = ("host", "remote-node", "init", "ingress", "health", "unmanaged", "kube-apiserver")
_LAST_ICMP_TYPE = 255
_WORLDS: dict[str, Network] = {"world-ipv4": EVERYWHERE, "world-ipv6": EVERYWHERE_IPV6}
_GROUPS = frozenset({"cidrGroupRef", "cidrGroupSelector"})
_ICMP_NAMES = {"EchoReply": 0, "DestinationUnreachable": 3, "Redirect": 5, "Echo": 8, "EchoRequest": 8}
_ICMP_NAMES |= {"TimeExceeded": 11, "ParameterProblem": 12, "Timestamp": 13, "TimestampReply": 14}
_ICMPV6_NAMES = {"DestinationUnreachable": 1, "PacketTooBig": 2, "TimeExceeded": 3, "ParameterProblem": 4}
_ICMPV6_NAMES |= {"EchoRequest": 128, "EchoReply": 129, "MulticastListenerQuery": 130}
_ICMPV6_NAMES |= {"MulticastListenerReport": 131, "MulticastListenerDone": 132, "RouterSolicitation": 133}
_ICMPV6_NAMES |= {"RouterAdvertisement": 134, "NeighborSolicitation": 135, "NeighborAdvertisement": 136}
_ICMPV6_NAMES |= {"RedirectMessage": 137}
_ICMP = {"IPv4": (ICMP, _ICMP_NAMES), "IPv6": (ICMPV6, _ICMPV6_NAMES)}


@dataclass(frozen=True, slots=True)
class _Words:
    """The names of a direction's fields."""

    section: str
    deny: str
    endpoints: str
    entities: str
    cidr: str
    cidr_set: str
    additive: frozenset[str]  # more peers, that we miss
    restrictive: frozenset[str]  # less of the same peers

    @property
    def peers(self) -> frozenset[str]:
        return frozenset({self.endpoints, self.entities, self.cidr, self.cidr_set})

    @property
    def known(self) -> frozenset[str]:
        return self.peers | {"toPorts", "icmps"}


def _words(section: str, way: str, *more: str) -> _Words:
    return _Words(
        section,
        f"{section}Deny",
        f"{way}Endpoints",
        f"{way}Entities",
        f"{way}CIDR",
        f"{way}CIDRSet",
        frozenset({f"{way}Groups", f"{way}Nodes", *more}),
        frozenset({f"{way}Requires", "authentication"}),
    )


_INGRESS = _words("ingress", "from")
_EGRESS = _words("egress", "to", "toServices", "toFQDNs")


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
        return Rule(subject, self._side(spec, _INGRESS), self._side(spec, _EGRESS))

    def _side(self, spec: Mapping[str, Any], words: _Words) -> Side:
        allows, denies = _list(spec, words.section), _list(spec, words.deny)
        said = _object(spec, "enableDefaultDeny").get(words.section)
        return Side(
            tuple(item for said_item in allows if (item := self._allow(said_item, words))),
            tuple(item for said_item in denies if (item := self._deny(said_item, words))),
            default_deny=said if isinstance(said, bool) else bool(allows or denies),
        )

    def _allow(self, said: object, words: _Words) -> Traffic | None:
        """None when it selects nothing."""
        item = self._section(said, words)
        if not item.keys().isdisjoint(words.restrictive) or not item.keys() <= words.known | words.additive:
            return None
        ports = self._ports(item, is_deny=False)
        everyone, peers, cidrs = self._peers(item, words, is_deny=False)
        if ports is None or not (everyone or peers or cidrs):
            return None
        return Traffic(peers, everyone, ports, cidrs)

    def _deny(self, said: object, words: _Words) -> Traffic | None:
        item = self._section(said, words)
        unknown = item.keys() - words.known
        everyone, peers, cidrs = self._peers(item, words, is_deny=True)
        everyone = everyone or bool(unknown)
        ports = () if unknown else self._ports(item, is_deny=True)
        if ports is None or not (everyone or peers or cidrs):
            return None
        return Traffic(everyone=True, ports=ports) if everyone else Traffic(peers, False, ports, cidrs)

    def _section(self, said: object, words: _Words) -> dict[str, Any]:
        if not isinstance(said, Mapping):
            raise PolicyError(f"an {words.section} rule must be an object")
        item = {name: value for name, value in said.items() if value is not None}
        self.unsupported.update(item.keys() - words.known)
        return item

    def _peers(
        self, item: Mapping[str, Any], words: _Words, *, is_deny: bool
    ) -> tuple[bool, tuple[Selector, ...], tuple[CIDR, ...]]:
        """Whether everybody is meant, and who else. A list that is present but empty means nobody."""
        if item.keys().isdisjoint(words.peers | words.additive | words.restrictive):
            return bool(item.get("toPorts") or item.get("icmps")), (), ()
        selectors = [self._peer(parse_selector(said)) for said in _list(item, words.endpoints)]
        entities = [str(name) for name in _list(item, words.entities)]
        for name in entities:
            selectors += self._entity(name)
        cidrs = [CIDR(_WORLDS[name]) for name in entities if name in _WORLDS]
        cidrs += [parse_cidr(said) for said in _list(item, words.cidr)]
        unclear = False
        for said in _list(item, words.cidr_set):
            if isinstance(said, Mapping) and "cidr" not in said and said.keys() & _GROUPS:
                self.unsupported.add(f"{words.cidr_set} of groups")
                unclear = True
            else:
                cidrs.append(parse_cidr_set(said))
        everyone = "all" in entities or (unclear and is_deny)
        return everyone, tuple(selectors), tuple(cidrs)

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
            case _ if name in _WORLDS:  # its prefix is meant too
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
        specs = [spec for said in _list(item, "icmps") for spec in self._icmp(said)]
        if not sections:
            return tuple(specs) if specs or not item.get("icmps") else None
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
            return PortSpec(0, 0, (0,)) if is_deny else None
        return parse_port(said.get("port"), said.get("endPort"), PROTOCOLS[protocol])

    def _icmp(self, said: object) -> list[PortSpec]:
        if not isinstance(said, Mapping):
            raise PolicyError("icmps must be a list of objects")
        fields = _list(said, "fields")
        if not all(isinstance(field, Mapping) for field in fields):
            raise PolicyError("the fields of icmps must be objects")
        return [_icmp_field(field) for field in fields]


def parse_port(port: object, end: object, protocols: tuple[int, ...]) -> PortSpec:
    """A number, a range or a name; nothing: every port."""
    text = str(port or "0")
    if not (text.isascii() and text.isdecimal()):
        return PortSpec(0, 0, protocols, name=text)
    first = _number(text)
    last = max(first, _number(str(end or first)))
    if first == 0:
        return PortSpec(0, 0, protocols if len(protocols) == 1 else (0,))
    return PortSpec(first, last, protocols)


def _icmp_field(field: Mapping[str, Any]) -> PortSpec:
    family = field.get("family") or "IPv4"
    if family not in _ICMP:
        raise PolicyError(f"{str(family)[:32]!r} is not an IP family")
    protocol, names = _ICMP[family]
    return icmp_type(_icmp_number(field.get("type"), names), protocol)


def _icmp_number(said: object, names: Mapping[str, int]) -> int:
    text = str(said)
    number = names.get(text, int(text) if text.isascii() and text.isdecimal() and len(text) < 4 else -1)
    if not 0 <= number <= _LAST_ICMP_TYPE:
        raise PolicyError(f"{text[:32]!r} is not an ICMP type")
    return number


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
