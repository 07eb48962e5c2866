"""The proxy's settings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class ProxyConfig:
    """`cert_dir` is laid out as a Kubernetes TLS Secret is mounted: tls.crt, tls.key, ca.crt."""

    listen: str  # host:port; port 0 lets the kernel choose
    upstream: str  # host:port of an etcd that nobody but us can reach
    cert_dir: Path
    cluster_name: str
    health_port: int
    health_host: str = "0.0.0.0"
    advertise: str = ""  # the URL that MemberList answers; "": the mesh's name for this cluster


class ProxyError(Exception):
    """The proxy cannot start with these settings."""
