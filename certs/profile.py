"""What each certificate of the mesh is for, and its names (spec 4.6). Pure data.

Common names are API: a peer's etcd, or proxy, maps them to what their bearer may do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

MESH_DOMAIN = "mesh.cilium.io"
SERVICE = "clustermesh-apiserver"
SERVER_NAME = "clustermesh-apiserver.cilium.io"


@dataclass(frozen=True, slots=True)
class Profile:
    """The subject, the names and the uses of one leaf certificate."""

    common_name: str
    dns_names: tuple[str, ...] = ()
    ip_addresses: tuple[str, ...] = ()
    server: bool = False
    client: bool = False


def server(namespace: str, *, dns_names: Sequence[str] = (), ip_addresses: Sequence[str] = ()) -> Profile:
    """The certificate that a cluster's mesh API shows: whatever name a peer dials must be in it."""
    common_name = f"{SERVICE}.{namespace}.svc"
    own_names = (
        common_name,
        SERVICE,
        f"{SERVICE}.{namespace}",
        f"{SERVICE}.{namespace}.svc.cluster.local",
        SERVER_NAME,
        f"*.{MESH_DOMAIN}",
        "localhost",
    )
    return Profile(
        common_name,
        dns_names=tuple(dict.fromkeys([*own_names, *dns_names])),
        ip_addresses=tuple(dict.fromkeys(["127.0.0.1", "::1", *ip_addresses])),
        server=True,
    )


def admin(cluster: str) -> Profile:
    """For the cluster's own control plane: may do everything, in its own cluster only."""
    return Profile(f"admin-{cluster}", dns_names=("localhost",), client=True)


def local(cluster: str) -> Profile:
    """For the cluster's own agents: reads the cluster's own store."""
    return Profile(f"local-{cluster}", client=True)


def remote(cluster: str | None = None) -> Profile:
    """For agents towards other clusters: shared by all of them, or (given a name) one a cluster."""
    return Profile("remote" if cluster is None else f"remote-{cluster}", client=True)
