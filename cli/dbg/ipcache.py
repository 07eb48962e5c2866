"""`clustermesh-dbg bpf ipcache get ADDRESS` and `match LABEL…`: the kernel's entry of one address, and the
entries of identities with these labels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from ipaddress import ip_address, ip_network
from typing import Any

import click
import msgspec

from cli.dbg import table
from cli.dbg.agent import get, with_host
from cli.dbg.identity import has_labels
from cli.dbg.output import Output, with_output
from cli.errors import CommandError
from cli.running import run

Entry = Mapping[str, Any]
IPCACHE = "/v1/map/cilium_ipcache_v2"


@click.command("get")
@click.argument("address", metavar="ADDRESS")
@with_host
@with_output
def ipcache_get(*, host: str, address: str, output: Output) -> None:
    """Show the kernel's ipcache entry of ADDRESS: that of the longest prefix around it. Exit 1: none."""
    try:
        ip_address(address)
    except ValueError as error:
        raise click.BadParameter(f"{address!r} is not an IP address", param_hint="ADDRESS") from error
    found = longest(run(_entries(host)), address)
    if found is None:
        raise click.ClickException(f"no entry of the ipcache is around {address}: it is the world's")
    text = f"{address} maps to {found['key']} {found['value']}"
    click.echo(f"{text}\n" if output.is_table else output.of_object(found), nl=False)


@click.command("match")
@click.argument("labels", metavar="LABEL…", nargs=-1, required=True)
@with_host
@with_output
def ipcache_match(*, host: str, labels: tuple[str, ...], output: Output) -> None:
    """Show the kernel's ipcache entries of identities with every LABEL, as k8s:app=web. Exit 1: none."""
    found = run(_matching(host, labels))
    shown = table.map_entries("IP PREFIX/ADDRESS", "IDENTITY")({"entries": found})
    click.echo(shown if output.is_table else output.of_object(found), nl=False)
    if not found:
        raise SystemExit(1)


def longest(entries: Iterable[Entry], address: str) -> Entry | None:
    """The entry that the kernel's trie would give."""
    wanted = ip_address(address)
    around = [
        (network.prefixlen, entry)
        for entry in entries
        if (network := ip_network(entry["key"])).version == wanted.version and wanted in network
    ]
    return max(around, key=lambda each: each[0])[1] if around else None


async def _entries(host: str) -> list[Entry]:
    return _read(await get(host, IPCACHE)).get("entries") or []


async def _matching(host: str, labels: Sequence[str]) -> list[Entry]:
    known = _read(await get(host, "/v1/identity"))
    numbers = {each["id"] for each in known if has_labels(each, labels)}
    return [each for each in await _entries(host) if each["identity"] in numbers]


def _read(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except msgspec.DecodeError as error:
        raise CommandError(f"the agent's answer is not understood: {error!r}") from error
