"""The files that tell how to reach one peer: etcd client configurations (spec 3.1). Pure.

Where KVStoreMesh reads the peers for the whole cluster, the real addresses are its business, and the
agents' files lead to our own API server, which has the copies.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import yaml

from certs.profile import MESH_DOMAIN
from cli.errors import CommandError
from cli.facts import Address
from cli.settings import CLIENT_PORT, MIRRORED_SECRET, PEERS_SECRET, SERVICE

DIRECTORY = "/var/lib/cilium/clustermesh"
REMOTE_CLIENT = "common-etcd-client"  # our certificate towards other clusters
LOCAL_CLIENT = "local-etcd-client"  # our certificate towards our own API server

Files = Mapping[str, str]  # peer -> content


def remote(peer: str, addresses: Sequence[Address]) -> str:
    """One endpoint by the peer's name in the mesh, its addresses as static aliases: no DNS is needed."""
    ports = {address.port for address in addresses}
    if len(ports) != 1:
        raise CommandError(f"the addresses of {peer} need one port, not {len(ports)}")
    hostname = f"{peer}.{MESH_DOMAIN}"
    aliases = [{"hostname": hostname, "ips": [address.ip for address in addresses]}]
    return _render(f"https://{hostname}:{ports.pop()}", REMOTE_CLIENT, {"cilium-host-aliases": aliases})


def local(namespace: str) -> str:
    """Our own API server, by its Service's name: agents find a Service without DNS."""
    return _render(f"https://{SERVICE}.{namespace}.svc:{CLIENT_PORT}", LOCAL_CLIENT, {})


def secrets(peers: Files, namespace: str, *, mirrored: bool) -> dict[str, dict[str, str]]:
    """Secret -> its files, for peers that are reached as `peers` says. KVStoreMesh's comes first: agents
    that were told of a copy before there is one would wait for it."""
    if not mirrored:
        return {PEERS_SECRET: dict(peers)}
    return {MIRRORED_SECRET: dict(peers), PEERS_SECRET: dict.fromkeys(peers, local(namespace))}


def reached(agents: Files, mirrored: Files, namespace: str) -> Files:
    """How each peer is really reached, from what both Secrets say now."""
    direct = {peer: text for peer, text in agents.items() if text != local(namespace)}
    return {**direct, **mirrored}


def _render(endpoint: str, client: str, more: Mapping[str, object]) -> str:
    return yaml.safe_dump(
        {
            "endpoints": [endpoint],
            "trusted-ca-file": f"{DIRECTORY}/{client}-ca.crt",
            "key-file": f"{DIRECTORY}/{client}.key",
            "cert-file": f"{DIRECTORY}/{client}.crt",
            **more,
        },
        sort_keys=False,
    )
