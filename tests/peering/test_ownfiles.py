"""What is wrong with our own certificate, said on our own side."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from aiokit.wait import eventually
from certs import profile
from certs.issue import Authority, Issued
from kvstore.config import EtcdConfig
from kvstore.etcd import connect
from kvstore.memory import MemoryBackend
from peering.ownfiles import complaints
from tests.agent.peering import Peering
from tests.agent.values import tables

NOW = datetime(2026, 11, 23, tzinfo=UTC)
DAY = timedelta(days=1)
AUTHORITY = Authority.create(NOW - 100 * DAY)
OTHER = Authority.create(NOW - 100 * DAY, name="Other CA")


def written(folder: Path, issued: Issued, key: bytes | None = None) -> EtcdConfig:
    ca, cert, private = (folder / name for name in ("ca.crt", "remote.crt", "remote.key"))
    ca.write_bytes(AUTHORITY.issued.certificate_pem)
    cert.write_bytes(issued.certificate_pem)
    private.write_bytes(issued.key_pem if key is None else key)
    return EtcdConfig(("https://west:2379",), ca, cert, private)


def issue(authority: Authority, begins: datetime) -> Issued:
    return authority.issue(profile.remote(), begins, validity=10 * DAY)


def test_good_files_and_no_files_are_nothing_to_complain_about(tmp_path: Path) -> None:
    assert not complaints(written(tmp_path, issue(AUTHORITY, NOW)), NOW)
    assert not complaints(EtcdConfig(("http://west:2379",)), NOW)


@pytest.mark.parametrize(
    ("issued", "said"),
    [
        (issue(AUTHORITY, NOW - 20 * DAY), "expired"),
        (issue(AUTHORITY, NOW + DAY), "not valid before|not yet valid"),
        (issue(OTHER, NOW), "no valid chain from the issuer CN=Other CA"),
        (Issued(b"garbage", b"garbage"), "not a PEM certificate"),
    ],
    ids=["expired", "early", "stranger", "garbage"],
)
def test_what_is_wrong_with_our_certificate_is_named(tmp_path: Path, issued: Issued, said: str) -> None:
    assert re.search(rf"remote\.crt.*({said})", complaints(written(tmp_path, issued), NOW))


def test_a_key_of_another_certificate_and_a_missing_file_are_named(tmp_path: Path) -> None:
    config = written(tmp_path, issue(AUTHORITY, NOW), issue(AUTHORITY, NOW).key_pem)
    assert "does not belong" in complaints(config, NOW)
    (tmp_path / "remote.key").unlink()
    assert "remote.key: No such file" in complaints(config, NOW)
    assert "PRIVATE" not in complaints(config, NOW)


async def test_a_peers_status_names_our_own_expired_certificate(tmp_path: Path) -> None:
    authority = Authority.create(datetime.now(UTC))
    old = authority.issue(profile.remote(), datetime.now(UTC) - 20 * DAY, validity=10 * DAY)
    files = written(tmp_path, old)
    (tmp_path / "ca.crt").write_bytes(authority.issued.certificate_pem)
    content = (
        f"endpoints: [https://127.0.0.1:1]\ntrusted-ca-file: {files.trusted_ca_file}\n"
        f"cert-file: {files.cert_file}\nkey-file: {files.key_file}\n"
    )
    peering = Peering(MemoryBackend(), tables(), connect=connect)
    async with peering.running(content.encode()):
        await eventually(lambda: "our own remote.crt: " in peering.peer.status().text)
        assert "expired" in peering.peer.status().text
