"""Leaves renew by themselves, and nothing else is touched."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from certs import bundle, profile
from certs.check import Purpose, check, load_chain, require_pair
from certs.issue import Authority, Issued
from clustermesh_apiserver import certgen
from clustermesh_apiserver.certgencommand import certgen_command
from k8s.client import Client
from k8s.resource import SECRET
from kvstore.memory import MemoryBackend
from tests.cli.conftest import write_kubeconfig
from tests.k8s.apiserver import lab_api

NAMESPACE = "kube-system"
REMOTE, SERVER = "clustermesh-apiserver-remote-cert", "clustermesh-apiserver-server-cert"
NOW = datetime.now(UTC)


@pytest.fixture
async def kube() -> AsyncIterator[Client]:
    async with lab_api(MemoryBackend()) as api:
        yield api.client


async def store(client: Client, name: str, data: Mapping[str, bytes]) -> None:
    encoded = {key: base64.b64encode(content).decode() for key, content in data.items()}
    body = {"metadata": {"name": name, "namespace": NAMESPACE}, "data": encoded}
    await client.apply(SECRET, body)


async def stored(client: Client, name: str) -> dict[str, bytes]:
    raw = await client.get(SECRET, name, NAMESPACE)
    assert raw is not None
    return {key: base64.b64decode(text) for key, text in msgspec.json.decode(raw)["data"].items()}


def leaf(issued: Issued, authority: Authority) -> dict[str, bytes]:
    trust = authority.issued.certificate_pem
    return {"tls.crt": issued.certificate_pem, "tls.key": issued.key_pem, "ca.crt": trust}


def ca(authority: Authority) -> dict[str, bytes]:
    return {"ca.crt": authority.issued.certificate_pem, "ca.key": authority.issued.key_pem}


async def test_a_leaf_about_to_expire_is_renewed_and_a_fresh_one_is_not(kube: Client) -> None:
    authority = Authority.create(NOW)
    soon = authority.issue(profile.remote(), NOW - timedelta(days=9), validity=timedelta(days=10))
    await store(kube, certgen.CA_SECRET, ca(authority))
    await store(kube, REMOTE, leaf(soon, authority))
    fresh = leaf(authority.issue(profile.server(NAMESPACE), NOW), authority)
    await store(kube, SERVER, fresh)
    assert await certgen.renew(kube, NAMESPACE, NOW) == []
    renewed = await stored(kube, REMOTE)
    assert renewed["tls.crt"] != soon.certificate_pem
    assert renewed["ca.crt"] == authority.issued.certificate_pem
    assert await stored(kube, SERVER) == fresh
    assert await certgen.renew(kube, NAMESPACE, NOW) == []
    assert await stored(kube, REMOTE) == renewed


async def test_a_foreign_leaf_is_left_alone_and_does_not_hold_back_the_others(kube: Client) -> None:
    authority, foreign = Authority.create(NOW), Authority.create(NOW)
    past, life = NOW - timedelta(days=9), timedelta(days=10)
    await store(kube, certgen.CA_SECRET, ca(authority))
    theirs = leaf(foreign.issue(profile.server(NAMESPACE), past, validity=life), foreign)
    ours = leaf(authority.issue(profile.remote(), past, validity=life), authority)
    await store(kube, SERVER, theirs)
    await store(kube, REMOTE, ours)
    assert await certgen.renew(kube, NAMESPACE, NOW) == [
        f"Secret {SERVER}: not signed by this cluster's authority: whoever issued it must renew it"
    ]
    assert await stored(kube, SERVER) == theirs
    assert await stored(kube, REMOTE) != ours


async def test_without_the_authoritys_key_nothing_is_done(kube: Client) -> None:
    authority = Authority.create(NOW)
    await store(kube, certgen.CA_SECRET, {"ca.crt": authority.issued.certificate_pem})
    (problem,) = await certgen.renew(kube, NAMESPACE, NOW)
    assert "it has no ca.key" in problem


async def test_what_is_missing_is_issued_only_where_a_name_is_given(kube: Client) -> None:
    (problem,) = await certgen.renew(kube, NAMESPACE, NOW)
    assert "not there" in problem
    wanted = certgen.Wanted("east", creates_authority=True, validity=timedelta(days=3))
    assert await certgen.renew(kube, NAMESPACE, NOW, wanted) == []
    authority = bundle.parse((await stored(kube, certgen.CA_SECRET))["ca.crt"])
    for name, purpose in ((REMOTE, Purpose.CLIENT), (SERVER, Purpose.SERVER)):
        made = await stored(kube, name)
        assert check(made["tls.crt"], authority, purpose=purpose, now=NOW + timedelta(days=2.9)) == []
        assert bundle.parse(made["ca.crt"]) == authority
        require_pair(made["tls.crt"], made["tls.key"])
    before = await stored(kube, SERVER)
    assert await certgen.renew(kube, NAMESPACE, NOW + timedelta(days=1), wanted) == []
    assert await stored(kube, SERVER) == before
    assert await certgen.renew(kube, NAMESPACE, NOW + timedelta(days=2), wanted) == []
    assert await stored(kube, SERVER) != before


async def test_an_intermediates_leaves_carry_their_chain_and_trust_the_root_alone(kube: Client) -> None:
    root = Authority.create(NOW, name="mesh", signs_authorities=True)
    authority = root.create_intermediate("east", NOW)
    await store(kube, certgen.CA_SECRET, ca(authority))
    assert await certgen.renew(kube, NAMESPACE, NOW, certgen.Wanted("east")) == []
    made = await stored(kube, SERVER)
    assert len(load_chain(made["tls.crt"])) == 2
    assert bundle.parse(made["ca.crt"]).certificates == (root.certificate,)
    assert (
        check(made["tls.crt"], root.anchors, purpose=Purpose.SERVER, now=NOW, name="x.mesh.cilium.io") == []
    )


async def test_an_authority_that_ends_soon_is_told_of_while_there_is_time(kube: Client) -> None:
    authority = Authority.create(NOW - timedelta(days=9), validity=timedelta(days=10))
    await store(kube, certgen.CA_SECRET, ca(authority))
    (problem,) = await certgen.renew(kube, NAMESPACE, NOW)
    assert "clustermesh certs rotate-ca" in problem


async def test_the_command_fails_when_anything_could_not_be_renewed(tmp_path: Path) -> None:
    async with lab_api(MemoryBackend()) as api:
        words = ["--kubeconfig", str(write_kubeconfig(tmp_path / "kubeconfig", {"east": api}))]
        lost = await asyncio.to_thread(CliRunner().invoke, certgen_command, words)
        assert lost.exit_code == 1 and "Secret cilium-ca: it is not there" in lost.output
        made = await asyncio.to_thread(
            CliRunner().invoke, certgen_command, [*words, "--cluster-name=east", "--ca-generate"]
        )
        assert made.exit_code == 0, made.output
        assert (await stored(api.client, SERVER)).keys() == {"tls.crt", "tls.key", "ca.crt"}


async def test_the_name_towards_others_follows_the_mode_unless_it_is_a_third_one(kube: Client) -> None:
    authority = Authority.create(NOW)
    await store(kube, "cilium-ca", ca(authority))

    async def name() -> str:
        return load_chain((await stored(kube, REMOTE))["tls.crt"])[0].subject.rfc4514_string()

    for own_name, wanted in ((False, "CN=remote"), (True, "CN=remote-east"), (False, "CN=remote")):
        assert not await certgen.renew(kube, NAMESPACE, NOW, certgen.Wanted("east", own_name=own_name))
        assert await name() == wanted
        before = await stored(kube, REMOTE)
        await certgen.renew(kube, NAMESPACE, NOW, certgen.Wanted("east", own_name=own_name))
        await certgen.renew(kube, NAMESPACE, NOW)  # who is not told of a mode keeps the name
        assert await stored(kube, REMOTE) == before
    await store(kube, REMOTE, leaf(authority.issue(profile.remote("other"), NOW), authority))
    await certgen.renew(kube, NAMESPACE, NOW, certgen.Wanted("east", own_name=True))
    assert await name() == "CN=remote-other"
