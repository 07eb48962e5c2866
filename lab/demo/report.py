"""What a demo run found, and how it is shown. Pure: measured values in, text out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table


class Curl(msgspec.Struct, frozen=True, rename={"source": "from"}):
    """One answered request: who asked whom, which `cluster/pod` answered, in how many milliseconds."""

    source: str
    to: str
    served_by: str
    ms: float


class Quantiles(msgspec.Struct, frozen=True):
    """Milliseconds."""

    p50: float
    p99: float


class PolicyResult(msgspec.Struct, frozen=True):
    """`allowed`: the remote pod was answered before and after the policy; `denied`: not while it stood."""

    allowed: bool
    denied: bool
    drops: int = 0


class DemoResult(msgspec.Struct, frozen=True):
    """The object that `./run demo -o json` prints (design, section 7)."""

    clusters: list[str]
    curls: list[Curl]
    failover_ms: float
    failed_curls: int
    propagation_ms: Quantiles
    policy: PolicyResult
    seconds: dict[str, float]
    ok: bool


def quantiles(values: Sequence[float]) -> Quantiles:
    """Nearest-rank quantiles of at least one value."""
    ordered = sorted(values)
    return Quantiles(_rank(ordered, 0.50), _rank(ordered, 0.99))


def _rank(ordered: Sequence[float], share: float) -> float:
    return round(ordered[min(len(ordered) - 1, int(share * len(ordered)))], 2)


def as_json(result: DemoResult) -> bytes:
    return msgspec.json.encode(result)


def as_tables(result: DemoResult, console: Console) -> None:
    """Print the run for a person."""
    console.print(_curls(result.curls))
    facts = Table(title="What was measured", show_header=False)
    for row in _facts(result):
        facts.add_row(*row)
    console.print(facts)
    console.print("[green]ok[/]" if result.ok else "[red]not ok[/]")


def _curls(curls: Sequence[Curl]) -> Table:
    table = Table(title="curl from a pod of one cluster, answered by a pod of either")
    for name in ("from", "to", "served by"):
        table.add_column(name)
    table.add_column("ms", justify="right")
    for curl in curls[:8]:
        table.add_row(curl.source, curl.to, curl.served_by, f"{curl.ms:.1f}")
    if len(curls) > 8:
        table.add_row("…", f"{len(curls)} requests in all", "", "")
    return table


def _facts(result: DemoResult) -> list[tuple[str, str]]:
    spread = result.propagation_ms
    policy = result.policy
    return [
        (
            "failover after scaling east to 0",
            f"{result.failover_ms:.0f} ms, {result.failed_curls} failed curls",
        ),
        (
            "west's etcd to east's kernel map, by KVStoreMesh",
            f"p50 {spread.p50:.1f} ms, p99 {spread.p99:.1f} ms",
        ),
        ("a policy denies east's client in west", f"{_yes(policy.denied)}, {policy.drops} packets dropped"),
        ("and without it the client is answered", _yes(policy.allowed)),
        ("the whole run", f"{sum(result.seconds.values()):.0f} s"),
    ]


def _yes(value: bool) -> str:
    return "yes" if value else "NO"


def decode(data: bytes) -> dict[str, Any]:
    """The printed object again, for tests."""
    decoded: dict[str, Any] = msgspec.json.decode(data)
    return decoded
