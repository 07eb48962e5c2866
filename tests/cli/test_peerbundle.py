"""Peer bundles: what a bundle says, what is none, and clusters that exchange nothing else."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from certs.bundle import TrustBundle
from certs.issue import Authority
from cli import peerbundle
from cli.errors import CommandError
from cli.facts import Address, ClusterFacts, Survey
from cli.target import Target
from tests.cli.conftest import Clusters
from tests.cli.test_connect import known

AUTHORITY = Authority.create(datetime(2026, 11, 1, tzinfo=UTC))
EAST = ClusterFacts(
    Target(),
    name="east",
    cluster_id="1",
    service_type="LoadBalancer",
    addresses=(Address("192.0.2.1", 2379),),
    trust=TrustBundle((AUTHORITY.certificate,)),
)

addresses = st.tuples(st.ip_addresses().map(str), st.integers(1, 65535)).map(lambda pair: Address(*pair))
cidrs = st.sampled_from(["10.1.0.0/16", "fd00:1::/64", "10.2.3.0/24"])


@given(st.lists(addresses, min_size=1, max_size=3), st.lists(cidrs, max_size=3), st.integers(1, 255))
def test_what_is_written_is_what_is_read(where: list[Address], pods: list[str], number: int) -> None:
    said = replace(EAST, addresses=tuple(where), survey=Survey(pod_cidrs=tuple(pods)), cluster_id=str(number))
    text = peerbundle.render(said)
    read = peerbundle.parse(text.encode(), "east.yaml")
    assert replace(read, target=said.target, service_type=said.service_type) == said
    assert read.target.label == "the bundle of east"
    assert "PRIVATE" not in text


def changed(**changes: object) -> bytes:
    return yaml.safe_dump(yaml.safe_load(peerbundle.render(EAST)) | changes).encode()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is no peer bundle"),
        (b"kind: [", "is no peer bundle"),
        (b"\xff\xfe", "is no peer bundle"),
        (changed(kind="Secret"), "kind 'Secret' version 1"),
        (changed(version=2), "version 2"),
        (changed(extra=1), "unknown field `extra`"),
        (changed(addresses=[]), "length >= 1"),
        (changed(addresses=[{"ip": "west.example", "port": 1}]), "west.example"),
        (changed(addresses=[{"ip": "192.0.2.1", "port": 0}]), "port"),
        (changed(podCIDRs=["10.0.0.1/8"]), "host bits"),
        (changed(authorities="nobody"), "PEM"),
        (changed(authorities=AUTHORITY.issued.key_pem.decode()), "holds a private key"),
        (b"#" * (peerbundle.MAX_BYTES + 1), "larger than"),
    ],
)
def test_what_is_no_bundle_is_refused_with_its_place(content: bytes, reason: str) -> None:
    with pytest.raises(CommandError, match=reason):
        peerbundle.parse(content, "east.yaml")


async def exchange(clusters: Clusters, folder: Path) -> dict[str, Path]:
    files = {name: folder / f"{name}.yaml" for name in ("east", "west")}
    for name, file in files.items():
        before = await clusters.everything()
        done = await clusters.run("connect", "--context", name, "--export", str(file))
        assert done.exit_code == 0, done.output
        assert await clusters.everything() == before
    return files


async def test_clusters_that_exchanged_bundles_know_and_trust_each_other(
    clusters: Clusters, tmp_path: Path
) -> None:
    await clusters.enable(share=False)
    files = await exchange(clusters, tmp_path)
    shown = {}
    for name, other in (("east", "west"), ("west", "east")):
        words = ("connect", "--context", name, "--import", str(files[other]), "--allow-mismatching-ca")
        done = await clusters.run(*words)
        assert done.exit_code == 0, done.output
        assert f"{name} now knows {other} at 192.0.2." in done.stderr
        shown[other] = done.stderr
        again = await clusters.everything()
        assert (await clusters.run(*words)).exit_code == 0
        assert await clusters.everything() == again
    by_bundles = {name: await known(clusters, name) for name in files}
    trust = await clusters.trusted()
    for name in files:
        exported = await clusters.run("connect", "--context", name, "--export", "-")
        prints = [line for line in exported.stderr.splitlines() if "SHA-256" in line]
        assert len(prints) == 1
        assert prints[0] in shown[name]  # both sides are shown the same
    by_contexts = ("connect", "--context", "east", "--destination-context", "west", "--allow-mismatching-ca")
    assert (await clusters.run(*by_contexts)).exit_code == 0
    assert {name: await known(clusters, name) for name in files} == by_bundles
    assert await clusters.trusted() == trust


async def test_a_bundle_is_judged_as_its_cluster_would_be(clusters: Clusters, tmp_path: Path) -> None:
    await clusters.enable(share=False)
    files = await exchange(clusters, tmp_path)
    before = await clusters.everything()
    for file, reason in ((files["west"], "ca-mismatch"), (files["east"], "same-cluster-name")):
        done = await clusters.run("connect", "--context", "east", "--import", str(file))
        assert (done.exit_code, reason in done.stderr) == (1, True), done.output
    assert await clusters.everything() == before


async def test_a_cluster_that_is_not_ready_has_no_bundle(clusters: Clusters, tmp_path: Path) -> None:
    done = await clusters.run("connect", "--context", "east", "--export", str(tmp_path / "east.yaml"))
    assert (done.exit_code, "mesh-not-enabled" in done.stderr) == (1, True)
    assert list(tmp_path.glob("*.yaml")) == list(tmp_path.glob(".east*")) == []


async def test_one_way_of_connecting_is_to_be_given(clusters: Clusters, tmp_path: Path) -> None:
    for more in ((), ("--destination-context", "west", "--export", str(tmp_path / "e"))):
        done = await clusters.run("connect", "--context", "east", *more)
        assert (done.exit_code, "give one of" in done.stderr) == (2, True)


async def test_a_dead_peer_is_forgotten_on_one_side(clusters: Clusters) -> None:
    await clusters.enable()
    await clusters.run("connect", "--context", "east", "--destination-context", "west")
    forget = ("disconnect", "--context", "east", "--cluster")
    done = await clusters.run(*forget, "north")
    assert (done.exit_code, "east does not know north: it knows west" in done.stderr) == (1, True)
    done = await clusters.run(*forget, "west")
    assert done.exit_code == 0, done.output
    assert (set(await known(clusters, "east")), set(await known(clusters, "west"))) == (set(), {"east"})
