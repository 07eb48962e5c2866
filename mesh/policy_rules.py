"""What a policy says, whatever kind of object said it: rules for two directions. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from mesh.cidr import CIDR
from mesh.selector import Selector

ICMP, ICMPV6 = 1, 58
PROTOCOLS = {"TCP": (6,), "UDP": (17,), "SCTP": (132,), "ANY": (6, 17, 132), "": (6, 17, 132)}


@dataclass(frozen=True, slots=True)
class PortSpec:
    """Ports `first` to `last` of some protocols, 0 to 0 for all; or those that a pod gives `name` to.

    Protocol 0: any. ICMP and ICMPv6 have types where others have ports (`icmp_type`).
    """

    first: int
    last: int
    protocols: tuple[int, ...]
    name: str = ""


def icmp_type(number: int, protocol: int = ICMP) -> PortSpec:
    """256 is added, as type 0 exists and port 0 means all of them (bpf/include/packet.h)."""
    return PortSpec(256 + number, 256 + number, (protocol,))


@dataclass(frozen=True, slots=True)
class Traffic:
    """Some peers on some ports; no ports: all. Ports are those of whoever is connected to."""

    peers: tuple[Selector, ...] = ()
    everyone: bool = False
    ports: tuple[PortSpec, ...] = ()
    cidrs: tuple[CIDR, ...] = ()


@dataclass(frozen=True, slots=True)
class Side:
    """One direction. `default_deny`: what is not allowed is refused."""

    allows: tuple[Traffic, ...] = ()
    denies: tuple[Traffic, ...] = ()
    default_deny: bool = False


NOTHING_SAID = Side()


@dataclass(frozen=True, slots=True)
class Rule:
    """For the endpoints that `subject` selects."""

    subject: Selector
    ingress: Side = NOTHING_SAID
    egress: Side = NOTHING_SAID


@dataclass(frozen=True, slots=True)
class Policy:
    """One object. `namespace` is empty for a cluster-wide policy."""

    namespace: str
    name: str
    rules: tuple[Rule, ...] = ()
    unsupported: tuple[str, ...] = ()

    def cidrs(self) -> frozenset[CIDR]:
        """Every CIDR that it names."""
        return frozenset(cidr for item in self._traffic() for cidr in item.cidrs)

    @property
    def hangs_on_default_cluster(self) -> bool:
        """Whether peers are selected without naming a cluster: a setting then says which are meant."""
        return any(
            not (peer.names_cluster or peer.is_reserved or peer.own_cluster)
            for item in self._traffic()
            for peer in item.peers
        )

    def _traffic(self) -> list[Traffic]:
        sides = [side for rule in self.rules for side in (rule.ingress, rule.egress)]
        return [item for side in sides for item in (*side.allows, *side.denies)]
