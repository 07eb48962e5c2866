"""Peers that cannot be heard, as far as this agent knows."""

from __future__ import annotations

from agent import servicename
from agent.mirrorwatch import MirrorWatch
from agent.services import Services
from peering.peers import Peers


def lost(peers: Peers | None) -> set[str]:
    """Whose control plane does not answer us; "" (whose nodes we do not know) counts as lost."""
    known = peers.peers if peers else {}
    return {"", *(name for name, peer in known.items() if not peer.status().connected)}


def speechless(peers: Peers | None, mirror: MirrorWatch | None) -> set[str]:
    """Who cannot say how its backends are: lost by us, or by the KVStoreMesh whose copies we read."""
    known = peers.peers if peers else {}
    mirrored = mirror.lost if mirror else frozenset()
    return {name for name, peer in known.items() if name in mirrored or not peer.status().is_ready}


def mirror_addresses(peers: Peers | None, services: Services) -> list[str]:
    """Our KVStoreMesh's, if a peer is read through it."""
    known = peers.peers if peers else {}
    copies = [peer for peer in known.values() if (said := peer.status().config) is not None and said.cached]
    hosts = {host for peer in copies for host in peer.hosts}
    return sorted({ip for host in hosts for ip in servicename.addresses(services, host) or (host,)})
