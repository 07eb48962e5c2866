"""The kubeconfig that `lab up` hands over is one that Kubernetes' own loader reads."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime
from pathlib import Path

import pytest

from certs.issue import Authority
from k8s.access import load
from lab import credentials, plan

LAB = plan.make("demo", ["east", "west"], 1)


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority.create(datetime.now(UTC), name="test")


def test_every_cluster_is_a_context_and_the_first_is_current(authority: Authority, tmp_path: Path) -> None:
    now = datetime.now(UTC)
    made = {c.name: (f"https://127.0.0.1:{c.id}", credentials.make(authority, c, now)) for c in LAB.clusters}
    file = tmp_path / "kubeconfig"
    file.write_bytes(credentials.kubeconfig(made))
    west = load(file, "west")
    assert (west.server, west.token) == ("https://127.0.0.1:2", made["west"][1].token)
    assert load(file).server == "https://127.0.0.1:1"
    assert made["east"][1].token != made["west"][1].token


def test_credentials_are_stored_for_their_owner_only(authority: Authority, tmp_path: Path) -> None:
    made = credentials.make(authority, LAB.clusters[0], datetime.now(UTC))
    credentials.write(tmp_path / "c", made)
    assert credentials.read(tmp_path / "c") == made
    assert {file.stat().st_mode & 0o777 for file in (tmp_path / "c").iterdir()} == {0o600}
    assert (tmp_path / "c").stat().st_mode & 0o777 == 0o700
    assert isinstance(credentials.server_context(tmp_path / "c"), ssl.SSLContext)
    assert made.token not in repr(made)
