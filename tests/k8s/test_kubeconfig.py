"""Plain kubeconfigs are read as the official loader reads them; all others are left to it."""

from __future__ import annotations

import base64
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from k8s import access, kubeconfig
from tests.k8s.test_access import kubeconfig as written

PEM = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
INLINE = base64.b64encode(PEM).decode()
SERVER = {"server": "https://api:6443/"}

CLUSTERS: list[dict[str, object]] = [
    {**SERVER},
    {**SERVER, "certificate-authority-data": INLINE},
    {**SERVER, "certificate-authority": "ca.crt", "tls-server-name": "other"},
    {**SERVER, "insecure-skip-tls-verify": True},
]
USERS: list[dict[str, object]] = [
    {},
    {"token": "abc"},
    {"tokenFile": "token"},
    {"token": "abc", "tokenFile": "token"},
    {"client-certificate-data": INLINE, "client-key-data": INLINE},
    {"client-certificate": "ca.crt", "client-key": "ca.crt"},
]


@pytest.mark.parametrize("user", USERS, ids=str)
@pytest.mark.parametrize("cluster", CLUSTERS, ids=str)
@pytest.mark.parametrize("context", [None, "west"])
def test_plain_forms_are_read_as_the_official_loader_reads_them(
    context: str | None, cluster: dict[str, object], user: dict[str, object], tmp_path: Path
) -> None:
    (tmp_path / "ca.crt").write_bytes(PEM)
    (tmp_path / "token").write_text("from-file\n")
    path = written(tmp_path / "config", cluster, user)
    found = kubeconfig.read(path, context)
    assert found is not None
    assert replace(access.load(path, context), renew=None) == access._load_once(path, context)


@pytest.mark.parametrize(
    "user",
    [{"exec": {"command": "x"}}, {"username": "u", "password": "p"}, {"auth-provider": {}}, {"as": "other"}],
    ids=str,
)
def test_what_is_not_plain_is_left_to_the_official_loader(user: dict[str, object], tmp_path: Path) -> None:
    assert kubeconfig.read(written(tmp_path / "config", dict(SERVER), user)) is None


def test_what_cannot_be_read_is_left_to_the_official_loader(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path / "config", dict(SERVER), {"tokenFile": "missing"})
    assert kubeconfig.read(path) is None
    assert kubeconfig.read(path, "nowhere") is None
    assert kubeconfig.read(tmp_path / "none") is None
    (tmp_path / "bad").write_text("{")
    assert kubeconfig.read(tmp_path / "bad") is None
    assert kubeconfig.contexts(tmp_path / "bad") == []
    monkeypatch.setenv("KUBECONFIG", f"{path}:{path}")
    assert kubeconfig.read() is None


def test_contexts_are_named_in_order(tmp_path: Path) -> None:
    path = written(tmp_path / "config", dict(SERVER), {})
    assert kubeconfig.contexts(path) == ["east", "west"]
    assert yaml.safe_load(path.read_text())["current-context"] == "east"
