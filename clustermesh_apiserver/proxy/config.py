"""The proxy's settings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from clustermesh_apiserver.proxy.access import AuthMode
from clustermesh_apiserver.proxy.quota import DEFAULT, Limits


@dataclass(frozen=True, slots=True)
class ProxyConfig:
    """`cert_dir` is laid out as a Kubernetes TLS Secret is mounted: tls.crt, tls.key, ca.crt."""

    listen: str  # host:port; port 0 lets the kernel choose
    upstream: str  # host:port of an etcd that nobody but us can reach
    cert_dir: Path
    cluster_name: str
    health_port: int
    health_host: str = "0.0.0.0"
    auth_mode: AuthMode = AuthMode.MIGRATION
    users_path: Path | None = None  # users.yaml; None: every remote-<cluster> with our certificate is let in
    revoked_path: Path | None = None
    sight_path: Path | None = None  # see.yaml; None: every peer sees everything
    limits: Limits = DEFAULT
    advertise: str = ""  # the URL that MemberList answers; "": the mesh's name for this cluster


class ProxyError(Exception):
    """The proxy cannot start with these settings."""
