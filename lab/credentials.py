"""Who may speak to a cluster's API: one authority for the lab, a certificate and a token per cluster."""

from __future__ import annotations

import base64
import secrets
import ssl
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

from certs.issue import Authority, Issued
from certs.profile import Profile
from lab import plan, private_file
from lab.plan import ClusterPlan

_AUTHORITY, _CERTIFICATE, _KEY, _TOKEN = "ca.crt", "tls.crt", "tls.key", "token"


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a cluster's API server shows and asks for."""

    authority_pem: bytes
    server: Issued
    token: str = field(repr=False)


def make(authority: Authority, cluster: ClusterPlan, now: datetime) -> Credentials:
    names = ("kubernetes", "kubernetes.default.svc", "localhost")
    addresses = ("127.0.0.1", str(cluster.control.ip))
    profile = Profile(f"kube-apiserver-{cluster.name}", names, addresses, server=True)
    return Credentials(
        authority.issued.certificate_pem, authority.issue(profile, now), secrets.token_urlsafe(32)
    )


def write(folder: Path, credentials: Credentials) -> None:
    private_file.write(folder / _AUTHORITY, credentials.authority_pem)
    private_file.write(folder / _CERTIFICATE, credentials.server.certificate_pem)
    private_file.write(folder / _KEY, credentials.server.key_pem)
    private_file.write(folder / _TOKEN, credentials.token.encode())


def read(folder: Path) -> Credentials:
    issued = Issued((folder / _CERTIFICATE).read_bytes(), (folder / _KEY).read_bytes())
    return Credentials((folder / _AUTHORITY).read_bytes(), issued, (folder / _TOKEN).read_text())


def server_context(folder: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / _CERTIFICATE, folder / _KEY)
    return context


def kubeconfig(contexts: dict[str, tuple[str, Credentials]]) -> bytes:
    """A kubeconfig with one context per name; the first is the current one."""

    def each(key: str, build: Any) -> list[dict[str, Any]]:
        return [{"name": name, key: build(name, *pair)} for name, pair in contexts.items()]

    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": each(
            "cluster",
            lambda name, url, own: {
                "server": url,
                "certificate-authority-data": base64_of(own.authority_pem),
            },
        ),
        "users": each("user", lambda name, url, own: {"token": own.token}),
        "contexts": each(
            "context", lambda name, url, own: {"cluster": name, "user": name, "namespace": "default"}
        ),
        "current-context": next(iter(contexts)),
    }
    return yaml.safe_dump(config, sort_keys=False).encode()


def inside_url(cluster: ClusterPlan) -> str:
    """The API as seen from the lab's own network."""
    return f"https://{cluster.control.ip}:{plan.API_PORT}"


def base64_of(content: bytes) -> str:
    return base64.b64encode(content).decode()
