"""The file that tells agents how to reach one peer: an etcd client configuration (spec 3.1). Pure."""

from __future__ import annotations

from collections.abc import Sequence

import yaml

from certs.profile import MESH_DOMAIN
from cli.errors import CommandError
from cli.facts import Address

CLIENT_FILES = "/var/lib/cilium/clustermesh/common-etcd-client"


def render(peer: str, addresses: Sequence[Address]) -> str:
    """One endpoint by the peer's name in the mesh, its addresses as static aliases: no DNS is needed."""
    ports = {address.port for address in addresses}
    if len(ports) != 1:
        raise CommandError(f"the addresses of {peer} need one port, not {len(ports)}")
    hostname = f"{peer}.{MESH_DOMAIN}"
    return yaml.safe_dump(
        {
            "endpoints": [f"https://{hostname}:{ports.pop()}"],
            "trusted-ca-file": f"{CLIENT_FILES}-ca.crt",
            "key-file": f"{CLIENT_FILES}.key",
            "cert-file": f"{CLIENT_FILES}.crt",
            "cilium-host-aliases": [{"hostname": hostname, "ips": [address.ip for address in addresses]}],
        },
        sort_keys=False,
    )
