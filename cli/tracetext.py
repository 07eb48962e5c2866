"""A traced connection as a ladder: one rung for each thing that decides about it. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cli.dbg.column import columns

Object = Mapping[str, Any]
PROTOCOLS = {6: "TCP", 17: "UDP", 132: "SCTP"}
_SHOWN_LABELS = 6
MAX_CANDIDATES = 40


def as_text(found: Object) -> str:
    lines = [_source(found["source"])]
    lines += _service(found["service"]) if found["service"] else []
    if found.get("refused"):
        lines.append(f"  refused: {found['refused']}")
    for path in found["paths"]:
        lines += _path(path)
    if found["paths-left-out"]:
        lines.append(f"  ... and {found['paths-left-out']} more backends")
    if found["differences"]:
        lines += ["kernel", *(f"  DIFFERS  {each}" for each in found["differences"])]
    else:
        lines.append("kernel: as wanted")
    return "\n".join([*lines, f"verdict: {found['verdict']}"]) + "\n"


def is_well(found: Object) -> bool:
    """Every way is allowed, and the kernel says the same."""
    return found["verdict"] == "allowed" and not found["differences"]


def verdict(paths: Sequence[Object]) -> str:
    """The worst of what may happen: a connection meets one of the paths."""
    found = {side["verdict"] for path in paths for side in (path["egress"], path["ingress"]) if side}
    if not found:
        return "no backend"
    return next((each for each in ("denied", "unknown") if each in found), "allowed")


def _source(source: Object) -> str:
    labels = _labels(source["labels"])
    if "client" in source:
        return f"from client {source['client']}, identity {source['identity']}{labels}"
    if "endpoint" not in source:
        return f"from identity {source['identity']}{labels}"
    return (
        f"from {source['pod']} (endpoint {source['endpoint']}, {source['ip']}), "
        f"identity {source['identity']}{labels}"
    )


def _service(service: Object) -> list[str]:
    said = ["global" if service["global"] else "not global"]
    if service["global"]:
        said.append("shared" if service["shared"] else "not shared")
        said.append(f"affinity {service['affinity']}")
    if service["weights"]:
        said.append("weights " + ",".join(f"{name}={weight}" for name, weight in service["weights"].items()))
    if service["cluster-preference"]:
        said.append(f"preference {','.join(service['cluster-preference'])}")
    lines = [f"  service {service['name']} at {service['frontend']}: {', '.join(said)}"]
    lines += [f"    problem: {each}" for each in service["problems"]]
    told: Sequence[Object] = service["candidates"]
    rows = [
        ("+" if each["chosen"] else "-", _at(each["ip"], each["port"]), each["cluster"] or "?", _why(each))
        for each in told[:MAX_CANDIDATES]
    ]
    if rows:
        table = columns(("", "BACKEND", "CLUSTER", "WHY"), rows)
        lines += [f"    {line}" for line in table.splitlines()]
    left = max(0, len(told) - MAX_CANDIDATES) + int(service.get("candidates-left-out") or 0)
    if left:
        lines.append(f"    ... and {left} more")
    if not any(each["chosen"] for each in told):
        lines.append("    nobody serves it")
    return lines


def _why(candidate: Object) -> str:
    share = f", share {candidate['weight']}" if candidate["weight"] else ""
    return f"{candidate['reason']}{share}"


def _path(path: Object) -> list[str]:
    protocol = PROTOCOLS.get(path["protocol"], str(path["protocol"]))
    prefix = f"{path['prefix']} as told by {path['told-by']}" if path["prefix"] else "in no prefix: the world"
    lines = [
        f"  to {_at(path['address'], path['port'])}/{protocol}",
        f"    identity  {path['identity']}{_labels(path['labels'])}: {prefix}",
    ]
    if path["egress"]:
        lines.append(f"    egress    {_said(path['egress'])}")
    lines.append(f"    delivery  {_delivery(path['delivery'])}")
    lines.append(f"    ingress   {_said(path['ingress'])} (decided by {path['ingress']['decided-by']})")
    return lines


def _said(side: Object) -> str:
    reason: str = side["reason"]
    verdict: str = side["verdict"]
    return reason if reason.startswith(verdict) else f"{verdict}: {reason}"


def _delivery(delivery: Object) -> str:
    match delivery["way"]:
        case "local":
            return f"local, endpoint {delivery['endpoint']} ({delivery['pod']})"
        case "tunnel":
            name = f" ({delivery['node-name']})" if delivery["node-name"] else ""
            return f"tunnel to {delivery['node']}{name}, VNI {delivery['vni']}"
        case _:
            return "direct, by the node's routes"


def _labels(labels: Sequence[str]) -> str:
    shown = [label for label in labels if "io.cilium.k8s.namespace.labels" not in label][:_SHOWN_LABELS]
    return f" [{' '.join(shown)}]" if shown else ""


def _at(ip: str, port: int) -> str:
    host = f"[{ip}]" if ":" in ip else ip
    return f"{host}:{port}" if port else host
