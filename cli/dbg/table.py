"""The agent's answers as tables: columns and words are those of cilium-dbg. Pure.

Every function takes the decoded JSON of one path of the agent's API. Lenient: what is absent is empty.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from cli.dbg.column import columns
from mesh.ip import with_port

Object = Mapping[str, Any]
Render = Callable[[Any], str]


def identities(found: Sequence[Object]) -> str:
    ordered = sorted(found, key=lambda each: int(each["id"]))
    return columns(("ID", "LABELS"), [(str(each["id"]), _lines(each.get("labels"))) for each in ordered])


def map_entries(*head: str) -> Render:
    """For maps whose entries are a key and a value in words."""

    def render(found: Object) -> str:
        return columns(head, [(each["key"], each["value"]) for each in found.get("entries") or ()])

    return render


_PROTOCOLS = {0: "ANY", 1: "ICMP", 6: "TCP", 17: "UDP", 58: "ICMPv6", 132: "SCTP"}
_ICMP_TYPES = 256  # is added to an ICMP type


def policy(entries: Sequence[Object]) -> str:
    """One endpoint's entries, as `cilium-dbg bpf policy get` shows them."""
    rows = []
    for each in sorted(entries, key=lambda e: (e["direction"], e["identity"], e["protocol"], e["port"])):
        labels = _lines(each.get("labels")) if each["identity"] else "ANY"
        verdict = "Deny" if each["deny"] else "Allow"
        rows.append((verdict, each["direction"], labels, str(each["identity"]), _policy_port(each)))
    return columns(("POLICY", "DIRECTION", "LABELS", "IDENTITY", "PORT/PROTO"), rows)


def _policy_port(entry: Object) -> str:
    protocol = _PROTOCOLS.get(entry["protocol"], str(entry["protocol"]))
    first, last = entry["port"], entry.get("last-port") or entry["port"]
    if not last:
        return protocol
    if protocol in ("ICMP", "ICMPv6"):
        return f"type {first - _ICMP_TYPES}/{protocol}"
    return f"{first}-{last}/{protocol}" if last != first else f"{first}/{protocol}"


def metrics(found: Object) -> str:
    """As `cilium-dbg bpf metrics list`, without the line of the source, which ours do not count."""
    rows = [
        (each["reason"].capitalize(), each["direction"].upper(), str(each["packets"]), str(each["bytes"]))
        for each in found.get("entries") or ()
    ]
    return columns(("REASON", "DIRECTION", "PACKETS", "BYTES"), sorted(rows))


BACKEND_ADDRESS = "BACKEND ADDRESS (REVNAT_ID) (SLOT)"


def maps(found: Object) -> str:
    return columns(("Name",), [(each["name"],) for each in found.get("maps") or ()])


def frontends(found: Object) -> str:
    """The master lines alone."""
    return load_balancer({"entries": [each for each in found.get("entries") or () if not each["slot"]]})


def load_balancer(found: Object) -> str:
    """One service address a block: its master line (slot 0), then its backends by slot."""
    head = ("SERVICE ADDRESS", BACKEND_ADDRESS)
    return columns(head, [(each["key"], each["value"]) for each in found.get("entries") or ()])


def source_ranges(found: Object) -> str:
    """A network a line, and the frontend that it is for: Cilium shows its id only."""
    rows = [(each["key"], each["value"]) for each in found.get("entries") or ()]
    return columns(("SOURCE RANGE (REVNAT_ID)", "SERVICE ADDRESS"), rows)


def identities_of_endpoints(found: Sequence[Object]) -> str:
    ordered = sorted(found, key=lambda each: int(each["identity"]["id"]))
    rows = [
        (str(each["identity"]["id"]), _lines(each["identity"].get("labels")), str(each.get("refCount", 0)))
        for each in ordered
    ]
    return columns(("ID", "LABELS", "REFCOUNT"), rows)


def services_by_affinity(found: Sequence[Object]) -> str:
    return services(found, by_affinity=True)


def services(found: Sequence[Object], *, by_affinity: bool = False) -> str:
    rows = []
    for each in found:
        spec = each.get("spec") or {}
        backends = [
            f"{number} => {_address(backend)} ({backend.get('state') or 'active'})"
            + (" (preferred)" if by_affinity and backend.get("preferred") else "")
            for number, backend in enumerate(spec.get("backend-addresses") or (), 1)
        ]
        kind = (spec.get("flags") or {}).get("type", "")
        rows.append(
            (str(spec.get("id", "")), _address(spec.get("frontend-address") or {}), kind, _lines(backends))
        )
    return columns(("ID", "Frontend", "Service Type", "Backend"), rows)


def nodes(found: Object) -> str:
    head = ("Name", "IPv4 Address", "Endpoint CIDR", "IPv6 Address", "Endpoint CIDR", "Source")
    rows = []
    for each in sorted(found.get("nodes") or (), key=lambda node: str(node.get("name"))):
        primary = each.get("primary-address") or {}
        ipv4, ipv6 = primary.get("ipv4") or {}, primary.get("ipv6") or {}
        addresses = [ipv4.get("ip"), ipv4.get("alloc-range"), ipv6.get("ip"), ipv6.get("alloc-range")]
        rows.append((each["name"], *(text or "" for text in addresses), each.get("source") or ""))
    return columns(head, rows)


def node_ids(found: Sequence[Object]) -> str:
    rows = [(str(each["id"]), _lines(each.get("ips"))) for each in found if each.get("ips")]
    return columns(("NODE ID", "IP ADDRESSES"), rows)


def bpf_node_ids(found: Object) -> str:
    rows = [
        (f"{each['id']:#x}", each["key"], str(each.get("spi") or 0)) for each in found.get("entries") or ()
    ]
    return columns(("NODE ID", "IP ADDRESSES", "SPI"), rows)


def endpoints(found: Sequence[Object]) -> str:
    head = (
        *("ENDPOINT", "POLICY (ingress)", "POLICY (egress)", "IDENTITY"),
        *("LABELS (source:key[=value])", "IPv6", "IPv4", "STATUS"),
    )
    rows = []
    for each in sorted(found, key=lambda endpoint: int(endpoint["id"])):
        status = each.get("status") or {}
        identity = status.get("identity") or {}
        addressing = ((status.get("networking") or {}).get("addressing") or [{}])[0]
        policy = status.get("policy") or {}
        rows.append(
            (
                str(each["id"]),
                "Enabled" if policy.get("ingress-enforced") else "Disabled",
                "Enabled" if policy.get("egress-enforced") else "Disabled",
                str(identity.get("id", "")),
                _lines(identity.get("labels")),
                addressing.get("ipv6") or "",
                addressing.get("ipv4") or "",
                status.get("state") or "",
            )
        )
    return columns(head, rows)


def _address(of: Object) -> str:
    """`/i`: what only the cluster's own clients get, where another line has those outside."""
    ip, port = of.get("ip", ""), of.get("port", 0)
    return f"{with_port(ip, port)}/{_protocol(of)}{'/i' if of.get('scope') == 'internal' else ''}"


def _protocol(of: Object) -> str:
    return str(of.get("protocol") or "TCP").upper()


def _lines(found: Sequence[str] | None) -> str:
    return "\n".join(found or ())
