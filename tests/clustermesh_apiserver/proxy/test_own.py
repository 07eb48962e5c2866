"""An authority that is accepted for a peer issues names of this cluster's own clients: they are nobody."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from aiokit.wait import eventually
from certs import bundle, own, profile
from certs.check import load_chain
from certs.issue import Authority
from certs.profile import Profile
from clustermesh_apiserver.proxy import gate
from clustermesh_apiserver.proxy.access import AuthMode
from clustermesh_apiserver.proxy.caller import Peer, caller_of
from clustermesh_apiserver.proxy.metric import Metrics
from tests.clustermesh_apiserver.proxy.conftest import Mesh, etcdctl, write_secret
from tests.clustermesh_apiserver.proxy.test_revocation import is_ended, lives, no_sweep, reads, watching
from tests.clustermesh_apiserver.proxy.test_serve import page

__all__ = ["no_sweep"]
OWN = [profile.admin("east"), profile.local("east")]
FILES = {"cacert": "ca.crt", "cert": "tls.crt", "key": "tls.key"}
KEYS = {"admin-east": "cilium/state/a", "local-east": "cilium/cache/a"}


def now() -> datetime:
    return datetime.now(UTC)


async def status(mesh: Mesh, client: Profile, authority: Authority, served: Authority) -> str:
    """What etcdctl says when it reads with a certificate that `authority` issued."""
    files = mesh.folder / "foreign"
    write_secret(files, authority.issue(client, now()), served)
    key = KEYS.get(client.common_name, "cilium/state/a")
    names = [f"--{flag}={files / name}" for flag, name in FILES.items()]
    done = await etcdctl([f"--endpoints=https://{mesh.address}", *names, "get", key])
    return "read" if done.status == 0 else done.err


@pytest.mark.parametrize("client", OWN)
async def test_a_foreign_authority_issues_peers_and_not_our_own_clients(mesh: Mesh, client: Profile) -> None:
    foreign = Authority.create(now())
    server = mesh.authority.issue(profile.server("kube-system"), now())
    write_secret(mesh.cert_dir, server, mesh.authority, foreign)

    async def is_peer() -> bool:
        return await status(mesh, profile.remote("west"), foreign, mesh.authority) == "read"

    await eventually(is_peer)
    assert await status(mesh, client, mesh.authority, mesh.authority) == "read"
    assert "permission denied" in await status(mesh, client, foreign, mesh.authority)
    _, text = await page(mesh.proxy.health_port, "/metrics")
    assert f'client="{client.common_name}",method="Range",reason="authority not ours"' in text


async def test_below_a_common_root_another_clusters_intermediate_is_foreign_too(mesh: Mesh) -> None:
    root = Authority.create(now(), name="root", signs_authorities=True)
    east, west = root.create_intermediate("east", now()), root.create_intermediate("west", now())
    write_secret(mesh.cert_dir, east.issue(profile.server("kube-system"), now()), root)

    async def is_served() -> bool:
        return await status(mesh, profile.local("east"), east, root) == "read"

    await eventually(is_served)
    assert "permission denied" in await status(mesh, profile.local("east"), west, root)
    assert await status(mesh, profile.remote("west"), west, root) == "read"


async def test_an_own_client_lives_through_a_change_of_the_signer_and_not_for_ever(
    no_sweep: None, mesh: Mesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    coming = Authority.create(now(), name="coming")
    server = coming.issue(profile.server("kube-system"), now())
    both = {"trusts": [mesh.authority, coming]}
    async with mesh.channel(profile.admin("east"), **both) as old:
        stream = await watching(old)
        write_secret(mesh.cert_dir, server, mesh.authority, coming)

        async def is_served() -> bool:
            async with mesh.channel(profile.admin("east"), authority=coming, trusts=[coming]) as channel:
                return await reads(channel)

        await eventually(is_served)
        await lives(mesh, stream)
        monkeypatch.setattr(gate, "FORMER_OWN", gate.FORMER_OWN * 0)
        third = Authority.create(now(), name="third")
        server = third.issue(profile.server("kube-system"), now())
        write_secret(mesh.cert_dir, server, mesh.authority, coming, third)
        await is_ended(stream)


async def test_who_will_sign_next_is_ours_when_our_secret_says_so(mesh: Mesh) -> None:
    coming = Authority.create(now(), name="coming")
    (mesh.cert_dir / own.OWN).write_bytes(coming.issued.certificate_pem)
    server = mesh.authority.issue(profile.server("kube-system"), now())
    write_secret(mesh.cert_dir, server, mesh.authority, coming)

    async def is_ours() -> bool:
        return await status(mesh, profile.local("east"), coming, mesh.authority) == "read"

    await eventually(is_ours)
    assert await status(mesh, profile.local("east"), mesh.authority, mesh.authority) == "read"


def test_a_former_authority_counts_for_its_time_whatever_becomes_of_the_wall_clock() -> None:
    """The time that has passed decides: a clock that is set back would let its clients in for days."""
    former, coming = Authority.create(now(), name="former"), Authority.create(now(), name="coming")
    pem = former.issue(profile.admin("east"), now()).certificate_pem
    passed = [1000.0]
    asked = gate.Gate(AuthMode.LEGACY, has_users=False, metrics=Metrics(), clock=lambda: passed[0])
    both = bundle.parse(former.issued.certificate_pem + coming.issued.certificate_pem)
    for authority in (former, coming):
        asked.trust(both, tuple(load_chain(authority.issued.certificate_pem)))
    caller = caller_of(Peer("ipv4:10.0.0.1:4711", pem), "east")
    assert asked.objection(caller) == ""
    passed[0] += gate.FORMER_OWN.total_seconds() - 1
    assert asked.objection(caller) == ""
    passed[0] += 2
    assert asked.objection(caller) == "authority not ours"
