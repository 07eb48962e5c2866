"""`clustermesh connect --export` and `--import`: two operators, two files, no kubeconfig of the other's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import click

from certs.bundle import TrustBundle
from cli import facts, peerbundle, wholefile
from cli.errors import CommandError
from cli.facts import Address, ClusterFacts
from cli.members import Judging, Member, judge, let_in, share_trust, surveys, tell
from cli.running import say
from cli.survey import is_remote, probed
from cli.target import Target

STDOUT = Path("-")


async def export_bundle(target: Target, path: Path, addresses: tuple[Address, ...], judging: Judging) -> None:
    """`addresses`: where the others reach us, if not where the Service says."""
    async with target.connect() as client:
        local = _at(await facts.read(client, target), addresses)
        [ours] = await surveys([Member(client, local)], datetime.now(UTC), dial=judging.dial)
    judge(ours, [], judging)
    text = peerbundle.render(ours)
    if path == STDOUT:
        click.echo(text, nl=False)
    else:
        wholefile.write(path, text.encode())
        say(f"{path} tells how to reach {ours.name}: connect --import it in the other cluster")
    _say_fingerprints(ours)


async def import_bundles(
    target: Target, paths: Sequence[Path], addresses: tuple[Address, ...], judging: Judging
) -> None:
    """`addresses`: where we reach the one peer, if not where its bundle says."""
    peers = [
        _at(peerbundle.parse(read_file(path, peerbundle.MAX_BYTES), str(path)), addresses) for path in paths
    ]
    if addresses and len(peers) > 1:
        raise CommandError("--destination-endpoint is for one peer bundle only")
    now = datetime.now(UTC)
    async with target.connect() as client:
        local = Member(client, await facts.read(client, target))
        [ours] = await surveys([local], now, dial=judging.dial)
        if judging.dial or (judging.dial is None and is_remote(client.server)):
            peers = [await _dialled(peer, now) for peer in peers]
        for peer in peers:
            _say_fingerprints(peer)
        judge(ours, peers, judging)
        if judging.allow_mismatching_ca:
            await share_trust([local], [ours.trust, *(peer.trust for peer in peers)])
        await let_in(local, *(peer.name for peer in peers))
        for peer in peers:
            await tell(local, peer)
    for peer in peers:
        say(f"{peer.name} reads {ours.name} once it has imported a bundle of {ours.name}'s")


async def _dialled(peer: ClusterFacts, now: datetime) -> ClusterFacts:
    return replace(peer, survey=replace(peer.survey, probes=await probed(peer, now)))


def _at(cluster: ClusterFacts, addresses: tuple[Address, ...]) -> ClusterFacts:
    return replace(cluster, addresses=addresses) if addresses else cluster


def _say_fingerprints(cluster: ClusterFacts) -> None:
    trust: TrustBundle | None = cluster.trust
    for fingerprint in peerbundle.fingerprints(trust) if trust else ():
        say(f"authority of {cluster.name}, to be compared on both sides: SHA-256 {fingerprint}")


def read_file(path: Path, most: int) -> bytes:
    """Its content; of a larger one a byte more than `most`. Raises CommandError."""
    try:
        with path.open("rb") as file:
            return file.read(most + 1)
    except OSError as error:
        raise CommandError(f"{path}: {error.strerror}") from None
