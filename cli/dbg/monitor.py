"""`clustermesh-dbg monitor`: single packets as they pass or are dropped, until interrupted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click
import msgspec

from cli.dbg.agent import lines, with_host
from cli.errors import CommandError
from cli.running import run


@click.command("monitor")
@click.option(
    "--type",
    "kinds",
    type=click.Choice(["drop", "trace"]),
    multiple=True,
    help="Only these: drops, or forwarded packets. By default both.",
)
@click.option(
    "--every",
    type=click.IntRange(1, 1_000_000),
    default=1,
    show_default=True,
    help="Show one of so many forwarded packets; drops are all shown.",
)
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
@with_host
def monitor(*, host: str, kinds: tuple[str, ...], every: int, output: str) -> None:
    """Show packets as they are dropped or forwarded on this node, and why."""
    query = "&".join([*(f"type={kind}" for kind in kinds), f"every={every}"])
    try:
        run(_show(host, f"/v1/monitor?{query}", as_json=output == "json"))
    except KeyboardInterrupt:
        return


async def _show(host: str, path: str, *, as_json: bool) -> None:
    async for line in lines(host, path):
        click.echo(line.decode() if as_json else _decoded(line))


def _decoded(line: bytes) -> str:
    try:
        return text(msgspec.json.decode(line))
    except (msgspec.DecodeError, KeyError, TypeError) as error:
        raise CommandError(f"the agent's event is not understood: {error!r}") from error


def text(event: Mapping[str, Any]) -> str:
    """One line: what happened, between whom."""
    fate = f"xx drop ({event['reason']})" if event["type"] == "drop" else "-> forwarded"
    source, destination = event["source"], event["destination"]
    lost = f" [{event['lost']} events before this are lost]" if event.get("lost") else ""
    return (
        f"{event['time']} {fate} {event['direction']} endpoint {event['endpoint']}, "
        f"identity {source['identity']}->{destination['identity']}: {_end(source)} -> {_end(destination)} "
        f"{event['protocol']} {event['tcp-flags']}".rstrip()
        + lost
    )


def _end(side: Mapping[str, Any]) -> str:
    pod = f" ({side['pod']})" if side.get("pod") else ""
    return f"{side['ip']}:{side['port']}{pod}"
