"""`clustermesh plan` and `clustermesh apply`: make clusters know each other as one file says."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import msgspec

from cli import facts, meshfile, meshplan, peerbundle, secret, users, wholefile, yamltext
from cli.disconnect import shut_out, unlink
from cli.errors import CommandError, RefusedError
from cli.exchange import read_file
from cli.members import Judging, Member, judge, let_in, share_trust, surveys, tell
from cli.meshfile import MeshCluster, MeshFile
from cli.meshplan import Action, Change, Known
from cli.running import run, say
from cli.settings import MIRRORED_SECRET, PEERS_SECRET
from cli.target import Target
from k8s import objects
from k8s.client import Client
from k8s.core import ConfigMap
from k8s.resource import CONFIGMAP
from peering import rules

RULES = (Action.SEE, Action.CLAIM)
CHANGES_STATUS = 2  # of `plan`: there is something to apply


def _with_file(command: Callable[..., Any]) -> Callable[..., Any]:
    path = click.Path(dir_okay=False, exists=True, path_type=Path)
    command = click.option("--kubeconfig", type=path, help="Default: $KUBECONFIG or ~/.kube/config.")(command)
    option = click.option("-f", "--file", type=path, default="mesh.yaml", show_default=True)
    return option(command)


@click.command()
@_with_file
@click.option("-o", "--output", type=click.Choice(["summary", "json"]), default="summary", show_default=True)
@click.option(
    "--manifests",
    type=click.Path(file_okay=False, path_type=Path),
    help="Write each cluster's objects to <name>.yaml in this directory, for 'kubectl apply --server-side'.",
)
def plan(*, file: Path, kubeconfig: Path | None, output: str, manifests: Path | None) -> None:
    """Show what 'clustermesh apply' would change. Exits 2 when that is something, 0 when nothing."""
    found = run(_plan(file, kubeconfig, manifests))
    if output == "json":
        click.echo(msgspec.json.format(msgspec.json.encode([_shown(change) for change in found])).decode())
    else:
        for change in found:
            click.echo(change.text)
        if not found:
            say("nothing to change")
    raise SystemExit(CHANGES_STATUS if found else 0)


@click.command()
@_with_file
def apply(*, file: Path, kubeconfig: Path | None) -> None:
    """Make the clusters know each other as the file says. A second time changes nothing."""
    run(_apply(file, kubeconfig))


async def _plan(file: Path, kubeconfig: Path | None, manifests: Path | None) -> list[Change]:
    async with _read(file, kubeconfig) as (mesh, known, _):
        if manifests is not None:
            _write(mesh, known, manifests)
        return meshplan.changes(mesh, known)


async def _apply(file: Path, kubeconfig: Path | None) -> None:
    async with _read(file, kubeconfig) as (mesh, known, clients):
        found = meshplan.changes(mesh, known)
        members = {name: Member(client, known[name].facts) for name, client in clients.items()}
        for name in dict.fromkeys(change.cluster for change in found if change.action is Action.ACCEPT):
            await share_trust([members[name]], [each.facts.trust for each in known.values()])
            say(f"{name} accepts the authorities of all")
        for name in dict.fromkeys(change.cluster for change in found if change.action in RULES):
            await _rule(clients[name], known[name], mesh.clusters[name])
        for name in dict.fromkeys(change.cluster for change in found if change.action is Action.LET_IN):
            await let_in(members[name], *meshplan.wanted_users(mesh, name))
        for change in found:
            if change.action in RULES:
                say(change.text)
            elif change.action in (Action.ADD, Action.CHANGE):
                await tell(members[change.cluster], known[change.peer].facts)
            elif change.action is Action.REMOVE:
                await unlink(members[change.cluster], change.peer)
            elif change.action is Action.SHUT_OUT:
                await shut_out(members[change.cluster], change.peer)
        if not found:
            say("nothing to change")


async def _rule(client: Client, cluster: Known, wanted: MeshCluster) -> None:
    """What peers may, whole: a rule that has gone must go."""
    metadata = {"name": rules.CONFIG_MAP, "namespace": cluster.facts.target.namespace}
    await client.apply(CONFIGMAP, {"metadata": metadata, "data": meshplan.wanted_rules(wanted)})


@asynccontextmanager
async def _read(
    file: Path, kubeconfig: Path | None
) -> AsyncGenerator[tuple[MeshFile, dict[str, Known], dict[str, Client]]]:
    """The file, and all its clusters as they are: judged. Raises RefusedError before anything is changed."""
    mesh = meshfile.parse(read_file(file, meshfile.MAX_BYTES), str(file))
    async with AsyncExitStack() as stack:
        clients: dict[str, Client] = {}
        known: dict[str, Known] = {}
        for name, each in mesh.clusters.items():
            if each.bundle:
                path = file.parent / each.bundle
                found = Known(peerbundle.parse(read_file(path, peerbundle.MAX_BYTES), str(path)))
            else:
                target = Target(kubeconfig, each.context, each.namespace)
                client = clients[name] = await stack.enter_async_context(target.connect())
                found = await _known(client, target)
            moved = each.endpoints or found.facts.addresses
            known[name] = replace(found, facts=replace(found.facts, addresses=moved))
        if reasons := meshplan.strangers(mesh, known):
            raise RefusedError([f"{file}: {reason}" for reason in reasons])
        await _judge(mesh, known, clients)
        yield mesh, known, clients


async def _known(client: Client, target: Target) -> Known:
    said = await facts.read(client, target)
    files: dict[str, dict[str, str]] = {}
    for name, peers in ((MIRRORED_SECRET, said.mirrored), (PEERS_SECRET, said.peers)):
        data = await facts.secret_data(client, name, target.namespace) or {}
        files[name] = {peer: data[peer].decode(errors="replace") for peer in peers if peer in data}
    raw = await client.get(CONFIGMAP, rules.CONFIG_MAP, target.namespace)
    let_in = await users.read(client, target.namespace)
    return Known(said, files, objects.decode(raw, ConfigMap).data if raw else {}, let_in)


async def _judge(mesh: MeshFile, known: Mapping[str, Known], clients: Mapping[str, Client]) -> None:
    asked = [Member(client, known[name].facts) for name, client in clients.items()]
    surveyed = await surveys(asked, datetime.now(UTC), dial=False) if asked else []
    told = [each.facts for name, each in known.items() if name not in clients]
    first, *others = [*surveyed, *told]
    judge(first, others, Judging(mesh.share_authorities, (), dial=False))


def _write(mesh: MeshFile, known: Mapping[str, Known], directory: Path) -> None:
    """Trust is not among it: those Secrets hold private keys, which stay where they are."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for name in mesh.reads:
            namespace = known[name].facts.target.namespace
            wanted = meshplan.wanted(mesh, name, known)
            bodies = [
                {"apiVersion": "v1", "kind": "Secret", **secret.files(namespace, each, files)}
                for each, files in wanted.items()
            ]
            metadata = {"name": rules.CONFIG_MAP, "namespace": namespace}
            data = meshplan.wanted_rules(mesh.clusters[name])
            bodies.append({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data})
            if known[name].users is not None:
                metadata = {"name": users.CONFIG_MAP, "namespace": namespace}
                data = {users.FILE: users.render(meshplan.wanted_users(mesh, name))}
                bodies.append({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data})
            wholefile.write(directory / f"{name}.yaml", yamltext.documents(bodies).encode())
    except OSError as error:
        raise CommandError(f"{error.filename}: {error.strerror}") from None
    say(f"{directory} has the objects of {', '.join(mesh.reads)}")


def _shown(change: Change) -> dict[str, Any]:
    return {
        "cluster": change.cluster,
        "action": change.action.value,
        "peer": change.peer,
        "addresses": [str(address) for address in change.addresses],
        "rule": change.rule,
    }
