"""Credentials from kubeconfigs and from a pod's service account."""

from __future__ import annotations

import base64
import ssl
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from certs.issue import Authority
from certs.profile import Profile
from k8s import access
from k8s.errors import AccessError


def kubeconfig(path: Path, cluster: dict[str, object], user: dict[str, object]) -> Path:
    contexts = [{"name": "east", "context": {"cluster": "c", "user": "u", "namespace": "ns"}}]
    contexts.append({"name": "west", "context": {"cluster": "c", "user": "u"}})
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "east",
        "contexts": contexts,
        "clusters": [{"name": "c", "cluster": cluster}],
        "users": [{"name": "u", "user": user}],
    }
    path.write_text(yaml.safe_dump(config))
    return path


def test_inline_certificates_are_read_into_memory(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    authority = Authority.create(now)
    leaf = authority.issue(Profile("admin", client=True), now)

    def inline(pem: bytes) -> str:
        return base64.b64encode(pem).decode()

    ca = authority.issued.certificate_pem
    cluster: dict[str, object] = {"server": "https://api:6443/", "certificate-authority-data": inline(ca)}
    user: dict[str, object] = {
        "client-certificate-data": inline(leaf.certificate_pem),
        "client-key-data": inline(leaf.key_pem),
    }
    loaded = access.load(kubeconfig(tmp_path / "config", cluster, user))
    assert (loaded.server, loaded.ca_pem, loaded.namespace) == ("https://api:6443", ca, "ns")
    assert (loaded.client_cert_pem, loaded.client_key_pem) == (leaf.certificate_pem, leaf.key_pem)
    assert access.tls_context(loaded).verify_mode is ssl.CERT_REQUIRED
    assert "PRIVATE KEY" not in repr(loaded)


def test_a_token_file_is_read_again_when_asked(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("first\n")
    config = kubeconfig(tmp_path / "config", {"server": "http://api"}, {"tokenFile": str(token)})
    loaded = access.load(config)
    assert loaded.token == "first"
    token.write_text("second\n")
    assert loaded.renew is not None
    assert loaded.renew().token == "second"
    assert "first" not in repr(loaded)


def test_a_plugin_is_asked_again_for_a_token(tmp_path: Path) -> None:
    count, plugin = tmp_path / "count", tmp_path / "plugin"
    plugin.write_text(
        f"""#!/bin/sh
echo x >> {count}
printf '{{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential",'
printf '"status":{{"token":"token-%s"}}}}' "$(wc -l < {count})"
"""
    )
    plugin.chmod(0o700)
    plug: dict[str, object] = {"apiVersion": "client.authentication.k8s.io/v1", "command": str(plugin)}
    plug["interactiveMode"] = "Never"
    loaded = access.load(kubeconfig(tmp_path / "config", {"server": "http://api"}, {"exec": plug}))
    assert loaded.token == "token-1"
    assert loaded.renew is not None
    assert loaded.renew().token == "token-2"


def test_rotated_client_certificates_are_read_again_when_asked(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    authority = Authority.create(now)
    certificate, key, ca = tmp_path / "tls.crt", tmp_path / "tls.key", tmp_path / "ca.crt"
    cluster: dict[str, object] = {"server": "https://api:6443", "certificate-authority": str(ca)}
    user: dict[str, object] = {"client-certificate": str(certificate), "client-key": str(key)}

    def rotate(issuer: Authority) -> bytes:
        leaf = issuer.issue(Profile("admin", client=True), now)
        certificate.write_bytes(leaf.certificate_pem)
        key.write_bytes(leaf.key_pem)
        ca.write_bytes(issuer.issued.certificate_pem)
        return leaf.certificate_pem

    first = rotate(authority)
    loaded = access.load(kubeconfig(tmp_path / "config", cluster, user))
    assert loaded.client_cert_pem == first
    other = Authority.create(now)
    second = rotate(other)
    assert loaded.renew is not None
    renewed = loaded.renew()
    assert (renewed.client_cert_pem, renewed.ca_pem) == (second, other.issued.certificate_pem)


def test_a_context_is_chosen_by_name(tmp_path: Path) -> None:
    config = kubeconfig(tmp_path / "config", {"server": "http://api"}, {"token": "t"})
    assert access.load(config, "west").namespace == "default"
    with pytest.raises(AccessError, match=f"{config}: there is no context 'north'; its contexts: east, west"):
        access.load(config, "north")


def test_a_context_that_no_file_has_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = kubeconfig(tmp_path / "config", {"server": "http://api"}, {"token": "t"})
    monkeypatch.setenv("KUBECONFIG", f"{tmp_path}/none:{config}")
    with pytest.raises(AccessError, match="there is no context 'north'; its contexts: east, west"):
        access.load(None, "north")


def test_a_missing_kubeconfig_is_an_access_error(tmp_path: Path) -> None:
    with pytest.raises(AccessError, match=f"kubeconfig {tmp_path}/none: no such file"):
        access.load(tmp_path / "none")


def test_outside_of_a_pod_there_are_no_in_cluster_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(AccessError):
        access.in_cluster()


@pytest.mark.parametrize(
    ("text", "reason"), [("just words", "it is no kubeconfig"), ("a: [", "it is no YAML")]
)
def test_a_file_that_is_no_kubeconfig_is_said_so(tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / "config").write_text(text)
    with pytest.raises(AccessError, match=f"kubeconfig {tmp_path}/config: {reason}"):
        access.load(tmp_path / "config")
