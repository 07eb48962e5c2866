"""Every way to break the way to an etcd is named: real etcd, real TLS."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from certs import profile
from certs.issue import Authority, Issued
from kvstore.config import EtcdConfig
from kvstore.etcd import connect
from mesh import clusterconfig, keys
from mesh.clusterconfig import ClusterConfig
from peering import troubleshoot
from peering.diagnosis import Diagnosis, Section, as_objects, as_text
from tests.conftest import RunningEtcd, free_port

NOW = datetime.now(UTC)
OURS = Authority.create(NOW)
THEIRS = Authority.create(NOW, name="Other CA")
REMOTE = OURS.issue(profile.remote(), NOW)


@pytest.fixture
async def west(etcds: Callable[..., RunningEtcd], tmp_path: Path) -> RunningEtcd:
    """A peer's etcd: mutual TLS, a heartbeat, and the configuration of `west`."""
    folder = tmp_path / "server"
    folder.mkdir()
    issued = OURS.issue(profile.server("kube-system", ip_addresses=["127.0.0.1"]), NOW)
    write(folder, issued)
    files = {"cert-file": "client.crt", "key-file": "client.key", "trusted-ca-file": "ca.crt"}
    arguments = (f"--{name}={folder / file}" for name, file in files.items())
    server = etcds("west", "--client-cert-auth", *arguments)
    async with connect(configured(tmp_path, server.port)) as backend:
        await backend.put(keys.HEARTBEAT, b"2026-11-26T12:00:00Z")
        config = clusterconfig.encode(ClusterConfig(4, synced_canaries=True))
        await backend.put(keys.cluster_config("west"), config)
    return server


def write(folder: Path, issued: Issued, authority: Authority = OURS) -> None:
    (folder / "ca.crt").write_bytes(authority.issued.certificate_pem)
    (folder / "client.crt").write_bytes(issued.certificate_pem)
    (folder / "client.key").write_bytes(issued.key_pem)


def configured(folder: Path, port: int) -> EtcdConfig:
    write(folder, REMOTE)
    files = (folder / name for name in ("ca.crt", "client.crt", "client.key"))
    return EtcdConfig((f"https://127.0.0.1:{port}",), *files)


def peer_file(folder: Path, endpoint: str, *, aliases: bool = True) -> Path:
    path = folder / "west"
    text = f"endpoints: [{endpoint}]\ntrusted-ca-file: {folder}/ca.crt\n"
    text += f"cert-file: {folder}/client.crt\nkey-file: {folder}/client.key\n"
    if aliases:
        text += "cilium-host-aliases: [{hostname: west.mesh.cilium.io, ips: [127.0.0.1]}]\n"
    path.write_text(text)
    return path


async def diagnosed(path: Path) -> Diagnosis:
    return await troubleshoot.diagnose("west", path, 5.0, cluster="west")


def bad(found: Diagnosis, section: Section) -> str:
    """What was wrong there, as one text."""
    wrong = [check for check in found.checks if check.section is section and check.ok is False]
    return "; ".join(part for check in wrong for part in (check.text, *check.details))


async def endpoints(path: Path) -> str:
    return bad(await diagnosed(path), Section.ENDPOINTS)


async def test_a_way_without_obstacles_is_said_step_by_step(west: RunningEtcd, tmp_path: Path) -> None:
    write(tmp_path, REMOTE)
    found = await diagnosed(peer_file(tmp_path, f"https://west.mesh.cilium.io:{west.port}"))
    text = as_text([found])
    assert found.is_well, text
    for step in (
        "Host alias: west.mesh.cilium.io is dialled at 127.0.0.1",
        f"TCP connection successfully established to 127.0.0.1:{west.port}",
        f"TLS connection successfully established to 127.0.0.1:{west.port}",
        "Subject: CN=remote",
        "Etcd connection established",
        "Heartbeat: 2026-11-26T12:00:00Z",
        "Cluster configuration of west: cluster ID 4",
    ):
        assert step in text
    assert re.search(r"Etcd cluster ID: [0-9a-f]+\n", text)
    assert "PRIVATE" not in text
    (said,) = as_objects([found])
    assert (said["name"], said["ok"]) == ("west", True)


async def test_a_server_of_another_authority_is_named_with_its_certificate(
    west: RunningEtcd, tmp_path: Path
) -> None:
    write(tmp_path, THEIRS.issue(profile.remote(), NOW), THEIRS)
    found = await diagnosed(peer_file(tmp_path, f"https://west.mesh.cilium.io:{west.port}"))
    wrong = bad(found, Section.ENDPOINTS)
    assert "TLS connection" in wrong and "no valid chain" in wrong
    assert "Server certificate: Subject: CN=" in wrong
    assert bad(found, Section.CLIENT)


async def test_a_name_that_the_server_does_not_carry_is_named(west: RunningEtcd, tmp_path: Path) -> None:
    write(tmp_path, REMOTE)
    path = peer_file(tmp_path, f"https://other.example:{west.port}")
    path.write_text(path.read_text().replace("west.mesh.cilium.io", "other.example"))
    assert "does not carry the name other.example" in bad(await diagnosed(path), Section.ENDPOINTS)


async def test_our_own_expired_certificate_is_named_where_the_server_only_hangs_up(
    west: RunningEtcd, tmp_path: Path
) -> None:
    old = OURS.issue(profile.remote(), NOW - timedelta(days=20), validity=timedelta(days=10))
    write(tmp_path, old)
    found = await diagnosed(peer_file(tmp_path, f"https://west.mesh.cilium.io:{west.port}"))
    assert "our own client.crt: the certificate expired" in bad(found, Section.CERTIFICATES)
    assert "Etcd cannot be read" in bad(found, Section.CLIENT)


async def test_another_cluster_behind_the_name_is_named(west: RunningEtcd, tmp_path: Path) -> None:
    write(tmp_path, REMOTE)
    path = peer_file(tmp_path, f"https://west.mesh.cilium.io:{west.port}")
    found = await troubleshoot.diagnose("north", path, 5.0, cluster="north")
    assert "No cluster configuration of north" in bad(found, Section.CLIENT)


async def test_nobody_there_and_no_such_name_are_told_apart(tmp_path: Path) -> None:
    write(tmp_path, REMOTE)
    path = peer_file(tmp_path, f"https://west.mesh.cilium.io:{free_port()}")
    assert re.search(r"TCP .* 127.0.0.1:\d+ failed: Connection refused$", await endpoints(path))
    path = peer_file(tmp_path, "https://nobody.invalid:2379", aliases=False)
    assert "Hostname nobody.invalid not resolved" in await endpoints(path)


async def test_a_bad_file_ends_the_walk_at_its_first_step(tmp_path: Path) -> None:
    path = tmp_path / "west"
    path.write_text("endpoint: [x]\n")
    (only,) = (await diagnosed(path)).checks
    assert (only.section, only.ok) == (Section.CONFIGURATION, False)
    assert "endpoint: unknown key" in only.text


def test_peers_are_the_files_that_say_endpoints(tmp_path: Path) -> None:
    (tmp_path / "ca.crt").write_text("no peer")
    (tmp_path / "west").write_text("endpoints: []")
    assert troubleshoot.configured(tmp_path) == {"west": tmp_path / "west"}
    assert troubleshoot.configured(tmp_path, ["north"]) == {"north": tmp_path / "north"}
    with pytest.raises(OSError, match="absent"):
        troubleshoot.configured(tmp_path / "absent")


async def test_a_services_name_is_walked_to_where_the_program_finds_it(
    west: RunningEtcd, tmp_path: Path
) -> None:
    name = "clustermesh-apiserver.kube-system.svc"
    path = peer_file(tmp_path, f"https://{name}:{west.port}", aliases=False)
    assert troubleshoot.hosts({"west": path}) == {name}
    found = await troubleshoot.diagnose(
        "west", path, 5.0, cluster="west", resolve=lambda host: ("127.0.0.1",) if host == name else ()
    )
    assert found.is_well, as_text([found])
    assert "Service resolved to: 127.0.0.1" in as_text([found])
