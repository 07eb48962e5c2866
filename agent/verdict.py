"""What policy says to one new connection, and which policies say it. Pure.

The same question three ways: of the policies (which of them says so), of the entries we want in the kernel,
and of those that the kernel has; the last two as `bpf/include/policy.h` asks: every width, and a deny of any
width beats an allow of any other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from agent.policygroup import PolicyKey
from mesh.policy import EndpointPolicy, PolicyEntry

OPEN_BITS = (0, 4, 8, 12)
ALLOWED, DENIED = "allowed", "denied"
NO_POLICY = "no policy selects it"
NOT_ALLOWED = "no policy allows it"


@dataclass(frozen=True, slots=True)
class Connection:
    """A new connection as one side's policy sees it; `identity` is the other side's."""

    identity: int
    port: int
    protocol: int
    egress: bool


@dataclass(frozen=True, slots=True)
class Said:
    """`verdict` and why; `rules` are the policies that say it, and what each says."""

    verdict: str
    reason: str
    rules: Mapping[str, str]


def said_by(whole: EndpointPolicy, policies: Mapping[str, EndpointPolicy], asked: Connection) -> Said:
    """`whole` is what all policies together mean for the endpoint, `policies` what each means by itself: one
    that only denies opens everything else by itself, but not beside others."""
    if not _is_enforced(whole, asked):
        return Said(ALLOWED, NO_POLICY, {})
    verdict = _of_entries(whole.entries, asked) or DENIED
    enforcing = sorted(name for name, each in policies.items() if _is_enforced(each, asked))
    rules = {name: _of_entries(policies[name].entries & whole.entries, asked) for name in enforcing}
    says = {name: said for name, said in rules.items() if said is not None}
    if verdict in says.values():
        return Said(verdict, f"{verdict} by {_listed(says, verdict)}", says)
    if verdict == ALLOWED:
        return Said(verdict, "allowed to the node itself", says)
    if not enforcing:
        return Said(verdict, f"{NOT_ALLOWED}, and enable-policy is always", says)
    return Said(verdict, f"{NOT_ALLOWED}: {', '.join(enforcing)} select it and do not", says)


def looked_up(entry: Callable[[PolicyKey], bool | None], endpoint: int, asked: Connection) -> str:
    """By map entries; `entry` gives whether one is a deny, or None where there is none."""
    found = [deny for key in keys(endpoint, asked) if (deny := entry(key)) is not None]
    return ALLOWED if found and not any(found) else DENIED


def keys(endpoint: int, asked: Connection) -> list[PolicyKey]:
    """All that are asked for, from the most exact to the widest."""
    ports = [(asked.port & ~((1 << bits) - 1), asked.protocol, bits) for bits in OPEN_BITS]
    widths = [*ports, (0, asked.protocol, 0), (0, 0, 0)]
    return [
        PolicyKey(endpoint, identity, port, protocol, asked.egress, bits)
        for identity in (asked.identity, 0)
        for port, protocol, bits in widths
    ]


def _is_enforced(policy: EndpointPolicy, asked: Connection) -> bool:
    return policy.egress_enforced if asked.egress else policy.ingress_enforced


def _of_entries(entries: Iterable[PolicyEntry], asked: Connection) -> str | None:
    found = {entry.deny for entry in entries if _covers(entry, asked)}
    if not found:
        return None
    return DENIED if True in found else ALLOWED


def _covers(entry: PolicyEntry, asked: Connection) -> bool:
    if entry.egress != asked.egress or entry.identity not in (asked.identity, 0):
        return False
    if not entry.protocol:
        return True
    fits = not entry.port or entry.port >> entry.open_bits == asked.port >> entry.open_bits
    return entry.protocol == asked.protocol and fits


def _listed(rules: Mapping[str, str], verdict: str) -> str:
    return ", ".join(sorted(name for name, said in rules.items() if said == verdict))
