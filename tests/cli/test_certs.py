"""`clustermesh certs`: what is shown, renewed, replaced and revoked, against API servers."""

from __future__ import annotations

import asyncio
import base64
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from cryptography import x509

from certs import bundle, reissue
from certs.check import Purpose, check, load_chain
from certs.issue import Authority
from cli import secret
from cli.__main__ import main
from k8s.resource import CONFIGMAP, SECRET
from tests.cli.conftest import Clusters

EAST = ("--context", "east")
BOTH = (*EAST, "--destination-context", "west")


async def data_of(clusters: Clusters, cluster: str, name: str) -> dict[str, bytes]:
    found = await clusters.get(cluster, SECRET, name)
    assert found is not None
    return {key: base64.b64decode(text) for key, text in found["data"].items()}


async def store(clusters: Clusters, cluster: str, name: str, data: secret.Data) -> None:
    [body] = secret.bodies("kube-system", {name: data})
    await clusters.client(cluster).apply(SECRET, body)


async def verify_each_other(clusters: Clusters) -> None:
    """Every client is accepted by every server, and the other way round."""
    for one in clusters.apis:
        for other in clusters.apis:
            trust = bundle.parse((await data_of(clusters, other, secret.SERVER))["ca.crt"])
            client = (await data_of(clusters, one, secret.REMOTE))["tls.crt"]
            assert check(client, trust, purpose=Purpose.CLIENT, now=datetime.now(UTC)) == []
            trust = bundle.parse((await data_of(clusters, one, secret.REMOTE))["ca.crt"])
            server = (await data_of(clusters, other, secret.SERVER))["tls.crt"]
            assert check(server, trust, purpose=Purpose.SERVER, now=datetime.now(UTC)) == []


async def test_show_names_every_certificate_and_what_is_wrong_with_it(clusters: Clusters) -> None:
    await clusters.enable()
    good = await clusters.run("certs", "show", *EAST, "-o", "json")
    assert good.exit_code == 0, good.output
    assert {each["secret"] for each in json.loads(good.stdout)} == {"cilium-ca", *secret.LEAVES}
    ca = await data_of(clusters, "east", "cilium-ca")
    past = datetime.now(UTC) - timedelta(days=30)
    expired = reissue.signed_by(
        Authority.load(ca["ca.crt"], ca["ca.key"]),
        await data_of(clusters, "east", secret.REMOTE),
        past,
        validity=timedelta(days=10),
    )
    await store(clusters, "east", secret.REMOTE, expired)
    bad = await clusters.run("certs", "show", *EAST)
    assert bad.exit_code == 1
    assert "PROBLEM: the certificate expired at" in bad.stdout
    assert "PRIVATE KEY" not in bad.output


async def test_renew_leaves_good_certificates_alone_unless_forced(clusters: Clusters) -> None:
    await clusters.enable()
    before = await clusters.everything()
    assert "server-cert is not due" in (await clusters.run("certs", "renew", *EAST)).stderr
    assert (await clusters.run("certs", "renew", *EAST, "--force", "--dry-run")).exit_code == 0
    assert await clusters.everything() == before
    old = await data_of(clusters, "east", secret.SERVER)
    result = await clusters.run("certs", "renew", *EAST, "--force")
    assert result.exit_code == 0, result.output
    new = await data_of(clusters, "east", secret.SERVER)
    assert new["tls.crt"] != old["tls.crt"]
    assert new["ca.crt"] == old["ca.crt"]
    assert reissue.profile_of(reissue.leaf_of(new)) == reissue.profile_of(reissue.leaf_of(old))
    await verify_each_other(clusters)


async def test_a_leaf_of_another_authority_is_not_renewed(clusters: Clusters) -> None:
    await clusters.enable()
    foreign = reissue.signed_by(
        Authority.create(datetime.now(UTC)), await data_of(clusters, "east", secret.REMOTE), datetime.now(UTC)
    )
    await store(clusters, "east", secret.REMOTE, foreign)
    result = await clusters.run("certs", "renew", *EAST, "--force")
    assert result.exit_code == 1
    assert "not signed by this cluster's authority" in result.stderr
    assert await data_of(clusters, "east", secret.REMOTE) == foreign


@pytest.mark.parametrize("share", [True, False])
async def test_an_authority_is_replaced_step_by_step_and_all_accept_each_other_at_each(
    clusters: Clusters, *, share: bool
) -> None:
    await clusters.enable(share=share)
    await clusters.run("connect", *BOTH, "--allow-mismatching-ca")
    old = {name: (await data_of(clusters, name, "cilium-ca"))["ca.crt"] for name in clusters.apis}
    said = ""
    for _ in range(5):
        result = await clusters.run("certs", "rotate-ca", *BOTH, "--step", "--settle", "0s")
        assert result.exit_code == 0, result.output
        said += result.stderr
        await verify_each_other(clusters)
    assert [line.partition(":")[0] for line in said.splitlines()] == [
        "prepare",
        "trust",
        "reissue",
        "forget",
        "finish",
    ]
    new = {name: (await data_of(clusters, name, "cilium-ca"))["ca.crt"] for name in clusters.apis}
    assert new["east"] != old["east"]
    assert new["west"] == (new["east"] if share else old["west"])
    assert await clusters.get("east", SECRET, "cilium-ca-rotation") is None
    trusted = bundle.parse((await data_of(clusters, "west", secret.SERVER))["ca.crt"]).key_ids
    assert trusted == bundle.parse(new["east"] + new["west"]).key_ids


async def test_enabling_in_the_middle_of_a_rotation_breaks_nothing(clusters: Clusters) -> None:
    await clusters.enable()
    await clusters.run("connect", *BOTH)
    for _ in range(3):
        await clusters.run("certs", "rotate-ca", *BOTH, "--step", "--settle", "0s")
        await clusters.enable()
        await verify_each_other(clusters)
    result = await clusters.run("certs", "rotate-ca", *BOTH, "--settle", "0s")
    assert result.exit_code == 0, result.output
    await verify_each_other(clusters)


async def test_certificates_are_not_signed_anew_before_the_bundles_had_their_time(clusters: Clusters) -> None:
    await clusters.enable()
    for _ in range(2):
        await clusters.run("certs", "rotate-ca", *EAST, "--step")
    before = await clusters.everything()
    result = await clusters.run("certs", "rotate-ca", *EAST, "--step")
    assert "'reissue' not before" in result.stderr
    assert await clusters.everything() == before
    dry = await clusters.run("certs", "rotate-ca", *EAST, "--dry-run")
    assert "next: reissue (not before" in dry.stdout
    assert await clusters.everything() == before


async def test_a_peer_that_was_not_named_would_be_cut_off_so_nothing_is_done(clusters: Clusters) -> None:
    await clusters.enable()
    await clusters.run("connect", *BOTH)
    before = await clusters.everything()
    result = await clusters.run("certs", "rotate-ca", *EAST)
    assert result.exit_code == 1
    assert "connected and not named: west" in result.stderr
    assert await clusters.everything() == before


async def revoked(clusters: Clusters) -> list[dict[str, str]]:
    found = await clusters.get("east", CONFIGMAP, "clustermesh-revoked")
    assert found is not None
    entries: list[dict[str, str]] = yaml.safe_load(found["data"]["revoked.yaml"])["revoked"]
    return entries


async def test_a_peer_is_revoked_by_name_and_certificate_and_let_in_again(
    clusters: Clusters, tmp_path: Path
) -> None:
    await clusters.enable()
    pem = (await data_of(clusters, "west", secret.REMOTE))["tls.crt"]
    serial = f"{x509.load_pem_x509_certificate(pem).serial_number:x}"
    (tmp_path / "west.crt").write_bytes(pem)
    wanted = [{"name": "remote-west"}, {"serial": serial}]
    result = await clusters.run("certs", "revoke", "west", *EAST, "--certificate", str(tmp_path / "west.crt"))
    assert result.exit_code == 0, result.output
    assert await revoked(clusters) == wanted
    await clusters.enable()
    assert await revoked(clusters) == wanted
    await clusters.run("certs", "revoke", "west", *BOTH, "--undo")
    assert await revoked(clusters) == []


async def test_a_peer_that_cannot_be_told_by_its_name_is_not_called_revoked(clusters: Clusters) -> None:
    await clusters.enable()
    result = await clusters.run("certs", "revoke", "west", *EAST)
    assert result.exit_code == 1
    assert "must be known by its certificate" in result.stderr
    assert await revoked(clusters) == []


async def test_clusters_below_one_root_connect_without_each_others_authorities(
    clusters: Clusters, tmp_path: Path
) -> None:
    folder = tmp_path / "root"
    made = await asyncio.to_thread(CliRunner().invoke, main, ["certs", "root", str(folder)])
    assert made.exit_code == 0, made.output
    assert (folder / "root.key").stat().st_mode & 0o777 == 0o600
    again = await asyncio.to_thread(CliRunner().invoke, main, ["certs", "root", str(folder)])
    assert again.exit_code == 1 and "never overwritten" in again.output
    for name in clusters.apis:
        words = ("--root", str(folder), "--context", name, "--cluster-name", name)
        result = await clusters.run("certs", "intermediate", *words)
        assert result.exit_code == 0, result.output
    await clusters.enable(share=False)
    connected = await clusters.run("connect", *BOTH)
    assert connected.exit_code == 0, connected.output
    await verify_each_other(clusters)
    root = (folder / "root.crt").read_bytes()
    signers = set()
    for name in clusters.apis:
        held = [await data_of(clusters, name, each) for each in ("cilium-ca", *secret.LEAVES)]
        assert (folder / "root.key").read_bytes() not in b"".join(b"".join(data.values()) for data in held)
        assert {data["ca.crt"] for data in held[1:]} == {root}
        signers |= {reissue.signer(reissue.leaf_of(data)) for data in held[1:]}
    assert len(signers) == 2
    shown = await clusters.run("certs", "show", *EAST)
    assert shown.exit_code == 0, shown.output
    rotating = await clusters.run("certs", "rotate-ca", *BOTH)
    assert rotating.exit_code == 1 and "clustermesh certs intermediate" in rotating.output


async def test_a_running_mesh_moves_below_a_root_once_everybody_accepts_it(
    clusters: Clusters, tmp_path: Path
) -> None:
    await clusters.enable()
    await clusters.run("connect", *BOTH)
    await asyncio.to_thread(CliRunner().invoke, main, ["certs", "root", str(tmp_path)])
    move = ("certs", "intermediate", "--root", str(tmp_path))
    before = await clusters.everything()
    refused = await clusters.run(*move, *EAST)
    assert refused.exit_code == 1
    assert "does not accept the root" in refused.output and "connected and not named: west" in refused.output
    assert await clusters.everything() == before
    for name in clusters.apis:
        trusted = await clusters.run("certs", "trust", str(tmp_path / "root.crt"), "--context", name)
        assert trusted.exit_code == 0, trusted.output
    for one, other in (("east", "west"), ("west", "east")):
        result = await clusters.run(*move, "--context", one, "--destination-context", other)
        assert result.exit_code == 0, result.output
        await verify_each_other(clusters)
        assert len(check_chain(await data_of(clusters, one, secret.SERVER))) == 2
    renewed = await clusters.run("certs", "renew", "--force", *EAST)
    assert renewed.exit_code == 0, renewed.output
    await verify_each_other(clusters)


def check_chain(data: secret.Data) -> list[x509.Certificate]:
    return load_chain(data[secret.CERTIFICATE])


async def test_show_says_when_nobody_renewed_what_should_long_have_been(clusters: Clusters) -> None:
    await clusters.enable()
    ca = await data_of(clusters, "east", "cilium-ca")
    authority = Authority.load(ca["ca.crt"], ca["ca.key"])
    past = datetime.now(UTC) - timedelta(days=9)
    late = reissue.signed_by(
        authority, await data_of(clusters, "east", secret.LOCAL), past, validity=timedelta(days=10)
    )
    await store(clusters, "east", secret.LOCAL, late)
    shown = await clusters.run("certs", "show", *EAST)
    assert shown.exit_code == 1
    assert shown.output.count("PROBLEM") == 1 and "CronJob clustermesh-apiserver-certgen" in shown.output
