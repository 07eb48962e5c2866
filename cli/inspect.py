"""`clustermesh inspect-policy-default-local-cluster`: whose meaning hangs on that setting (spec 7.3)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import click
import msgspec

from cli.completing import complete_context
from cli.running import run
from cli.target import Target
from k8s.client import Client
from k8s.errors import NotFoundError
from k8s.resource import (
    CILIUMCLUSTERWIDENETWORKPOLICY,
    CILIUMNETWORKPOLICY,
    NETWORKPOLICY,
    Resource,
)
from mesh.errors import MeshError
from mesh.network_policy import parse_network_policy
from mesh.policy import Policy, parse_policy


class _Kind(NamedTuple):
    member: str  # of the JSON answer
    resource: Resource
    parse: Callable[[Mapping[str, Any]], Policy]


KINDS = (
    _Kind("ciliumNetworkPolicies", CILIUMNETWORKPOLICY, parse_policy),
    _Kind("ciliumClusterWideNetworkPolicies", CILIUMCLUSTERWIDENETWORKPOLICY, parse_policy),
    _Kind("networkPolicies", NETWORKPOLICY, parse_network_policy),
)

Found = Mapping[str, Mapping[str, bool]]  # member -> policy -> is affected


@click.command("inspect-policy-default-local-cluster")
@click.option(
    "--context", shell_complete=complete_context, help="Kubeconfig context (default: the current one)."
)
@click.option("--kubeconfig", type=click.Path(dir_okay=False, path_type=Path))
@click.option("-n", "--namespace", default="default", show_default=True, help="Namespace of the policies.")
@click.option("-A", "--all-namespaces", is_flag=True, help="Policies of all namespaces.")
@click.option("-o", "--output", type=click.Choice(["summary", "json"]), default="summary", show_default=True)
def inspect(
    *, context: str | None, kubeconfig: Path | None, namespace: str, all_namespaces: bool, output: str
) -> None:
    """Show which policies mean something else when policy-default-local-cluster is changed.

    They have a selector of peers that names no cluster: with the setting it selects pods of the local
    cluster only, without it those of all clusters.
    """
    target = Target(kubeconfig, context)
    found = run(_inspect(target, "" if all_namespaces else namespace))
    if output == "json":
        click.echo(msgspec.json.encode(found))
    else:
        click.echo(_text(found), nl=False)


async def _inspect(target: Target, namespace: str) -> Found:
    async with target.connect() as client:
        return {kind.member: await _affected(client, kind, namespace) for kind in KINDS}


async def _affected(client: Client, kind: _Kind, namespace: str) -> Mapping[str, bool]:
    try:
        listed = await client.list(kind.resource, namespace if kind.resource.namespaced else "")
    except NotFoundError:  # the cluster does not have this kind
        return {}
    found = {}
    for raw in listed:
        body = msgspec.json.decode(raw, type=dict[str, Any])
        metadata = body["metadata"]
        name = "/".join(filter(None, (metadata.get("namespace"), metadata["name"])))
        try:
            found[name] = kind.parse(body).hangs_on_default_cluster
        except MeshError:  # nobody enforces it
            found[name] = False
    return dict(sorted(found.items()))


def _text(found: Found) -> str:
    lines = []
    for kind in KINDS:
        policies = found[kind.member]
        unchanged = sum(not affected for affected in policies.values())
        lines.append(f"{_mark(unchanged < len(policies))} {kind.resource.kind} {unchanged}/{len(policies)}")
        lines += [f"  {_mark(affected)} {name}" for name, affected in policies.items()]
    return "".join(f"{line}\n" for line in lines)


def _mark(is_affected: bool) -> str:
    return "⚠️ " if is_affected else "✅"
