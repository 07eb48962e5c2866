"""The `list` commands: one GET each, shown as a table or as the JSON that the agent sent."""

from __future__ import annotations

from contextlib import suppress
from typing import Any
from urllib.parse import quote

import click
import msgspec

from cli.dbg import table
from cli.dbg.agent import AbsentError, get, with_host
from cli.dbg.output import Output, with_output
from cli.errors import CommandError
from cli.running import run


def _listing(path: str, render: table.Render, text: str, name: str = "list", more: str = "") -> click.Command:
    @click.command(name, help=text)
    @with_host
    @with_output
    def command(*, host: str, output: Output) -> None:
        click.echo(run(shown(host, path, render, output, more)), nl=False)

    return command


async def shown(host: str, path: str, render: table.Render, output: Output, more: str = "") -> str:
    """The agent's answer, as a table through `render`. `more`: of a map, whose entries are added."""
    body = await get(host, path)
    if more:
        with suppress(AbsentError):  # an agent of an older version has fewer maps
            body = _joined(path, body, await get(host, more))
    try:
        return render(msgspec.json.decode(body)) if output.is_table else output.of(body)
    except (msgspec.DecodeError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise CommandError(f"the agent's answer to {path} is not understood: {error!r}") from error


def _joined(path: str, body: bytes, more: bytes) -> bytes:
    """One map's answer with the entries of another one, of the other family."""
    try:
        found, others = msgspec.json.decode(body), msgspec.json.decode(more)
        return msgspec.json.encode({**found, "entries": [*found["entries"], *others["entries"]]})
    except (msgspec.DecodeError, KeyError, TypeError) as error:
        raise CommandError(f"the agent's answer to {path} is not understood: {error!r}") from error


nodes = _listing("/v1/cluster/nodes", table.nodes, "List the nodes of all clusters.")
node_ids = _listing("/v1/node/ids", table.node_ids, "List nodes' numbers on this node and their addresses.")
endpoints = _listing("/v1/endpoint", table.endpoints, "List this node's endpoints.")
bpf_ipcache = _listing(
    "/v1/map/cilium_ipcache_v2",
    table.map_entries("IP PREFIX/ADDRESS", "IDENTITY"),
    "List the kernel's ipcache: CIDR to identity and tunnel endpoint.",
)
bpf_endpoints = _listing(
    "/v1/map/cilium_lxc",
    table.map_entries("IP ADDRESS", "LOCAL ENDPOINT INFO"),
    "List the kernel's endpoints of this node.",
)
bpf_ct = _listing(
    "/v1/map/cilium_ct4_global",
    table.map_entries("CONNECTION", "STATE"),
    "List the connections of this node's endpoints that the kernel knows.",
    "global",
    "/v1/map/cilium_ct6_global",
)
bpf_nat = _listing(
    "/v1/map/cilium_snat_v4_external",
    table.map_entries("CONNECTION", "TRANSLATION"),
    "List what this node stands for towards other nodes' backends.",
    more="/v1/map/cilium_snat_v6_external",
)
bpf_node_ids = _listing(
    "/v1/map/cilium_node_map_v2",
    table.bpf_node_ids,
    "List nodes' numbers and addresses as the kernel has them.",
)
maps = _listing("/v1/map", table.maps, "List the kernel maps that can be shown.")
bpf_metrics = _listing("/v1/map/cilium_metrics", table.metrics, "List what the kernel's programs counted.")
bpf_policy = _listing(
    "/v1/map/cilium_policy",
    table.map_entries("ENDPOINT DIRECTION IDENTITY PORT/PROTO", "VERDICT"),
    "List the kernel's policy entries.",
)


def _getting(argument: str, path: str, render: table.Render, text: str) -> click.Command:
    @click.command("get", help=text)
    @click.argument("name", metavar=argument)
    @with_host
    @with_output
    def command(*, host: str, name: str, output: Output) -> None:
        click.echo(run(shown(host, f"{path}/{quote(name, safe=':')}", render, output)), nl=False)

    return command


endpoint = _getting(
    "ID",
    "/v1/endpoint",
    lambda found: table.endpoints([found]),
    "Show one endpoint, by its number, container-id:ID or pod-name:NAMESPACE/POD.",
)
map_entries = _getting(
    "NAME", "/v1/map", table.map_entries("Key", "Value"), "Show the entries of one kernel map."
)


@click.command("get")
@click.argument("endpoint", type=click.IntRange(1, 65535))
@with_host
@with_output
def bpf_policy_get(*, host: str, endpoint: int, output: Output) -> None:
    """Show the kernel's policy entries of one endpoint, by its number."""
    found = run(_entries_of(host, endpoint))
    click.echo(table.policy(found) if output.is_table else output.of_object(found), nl=False)


async def _entries_of(host: str, endpoint: int) -> list[Any]:
    """Entries, each with the labels of its identity. CommandError when the endpoint does not exist."""
    await get(host, f"/v1/endpoint/{endpoint}")
    body, identities = await get(host, "/v1/map/cilium_policy"), await get(host, "/v1/identity")
    try:
        labels = {each["id"]: each.get("labels") or [] for each in msgspec.json.decode(identities)}
        entries = msgspec.json.decode(body).get("entries") or []
        mine = [each for each in entries if each["endpoint"] == endpoint]
        return [{**each, "labels": labels.get(each["identity"], [])} for each in mine]
    except (msgspec.DecodeError, KeyError, TypeError, AttributeError) as error:
        raise CommandError(f"the agent's answer is not understood: {error!r}") from error


@click.command("list")
@click.option("--clustermesh-affinity", is_flag=True, help="Mark the backends that the affinity prefers.")
@with_host
@with_output
def services(*, host: str, clustermesh_affinity: bool, output: Output) -> None:
    """List services and their backends."""
    render = table.services_by_affinity if clustermesh_affinity else table.services
    click.echo(run(shown(host, "/v1/service", render, output)), nl=False)
