"""What is looked for before clusters are connected: pod CIDRs, the server's certificate, its addresses.

Changes nothing. Addresses are dialled from this machine, which is not where peers dial from: through a
tunnel, behind another firewall, it may see nobody or somebody else. So they are not dialled where an API
server is on loopback, unless told to. No client certificate is shown: the server proves itself first.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from ipaddress import ip_address
from urllib.parse import urlsplit

from certs import bundle
from certs.bundle import TrustBundle
from certs.check import Finding, Problem, Purpose, check
from certs.errors import CertificateError
from certs.profile import MESH_DOMAIN
from cli import agentreport, podask, secret
from cli.facts import Address, ClusterFacts, Probe, Reached, Survey, nodes
from cli.settings import AGENT, AGENT_HEALTH_PORT, KVSTOREMESH_HEALTH_PORT, SERVICE
from k8s import objects
from k8s.cilium import CiliumNode
from k8s.client import Client
from k8s.errors import NotFoundError
from k8s.resource import CILIUMNODE

DIAL_SECONDS = 3.0  # for TCP and for TLS each: an address that takes longer would not carry a mesh


@dataclass(frozen=True, slots=True)
class _Peer:
    """Who has to answer, and how it is judged."""

    address: Address
    name: str
    trust: TrustBundle | None
    now: datetime


async def surveyed(client: Client, cluster: ClusterFacts, now: datetime, *, dial: bool) -> ClusterFacts:
    """The same facts, with a survey. Raises KubernetesError."""
    async with asyncio.TaskGroup() as group:
        cidrs = group.create_task(pod_cidrs(client), name="read pod CIDRs")
        known = group.create_task(known_peers(client, cluster), name="read peers")
        probes = group.create_task(probed(cluster, now), name="dial") if dial else None
    answers = probes.result() if probes else ()
    found = Survey(cidrs.result(), stored(cluster, now), answers, known.result())
    return replace(cluster, survey=found)


async def probed(cluster: ClusterFacts, now: datetime) -> tuple[Probe, ...]:
    """How each of the cluster's addresses answers from here."""
    name, trust = f"{cluster.name}.{MESH_DOMAIN}", accepted(cluster)
    async with asyncio.TaskGroup() as group:
        probes = [
            group.create_task(probe(address, name, trust, now), name=f"dial {address}")
            for address in cluster.addresses
        ]
    return tuple(task.result() for task in probes)


def is_remote(server: str) -> bool:
    """Whether an API server's URL leads off this machine."""
    host = urlsplit(server).hostname or ""
    try:
        return not ip_address(host).is_loopback
    except ValueError:
        return host != "localhost"


async def pod_cidrs(client: Client) -> tuple[str, ...]:
    """Where the cluster's pods get their addresses: Cilium's own nodes know better where there are any."""
    try:
        own = [objects.decode(raw, CiliumNode) for raw in await client.list(CILIUMNODE)]
    except NotFoundError:  # no such kind: Cilium's definitions are not installed
        own = []
    if found := tuple(cidr for node in own for cidr in node.spec.ipam.cidrs):
        return found
    listed = await nodes(client)
    return tuple(cidr for node in listed for cidr in node.spec.podCIDRs or (node.spec.podCIDR,) if cidr)


async def known_peers(client: Client, cluster: ClusterFacts) -> dict[str, int]:
    """The ids of the peers that are read already, as far as somebody says them."""
    namespace = cluster.target.namespace
    if cluster.kvstoremesh:
        answers = await podask.answers(client, namespace, SERVICE, KVSTOREMESH_HEALTH_PORT, "/v1/cluster")
        decode = agentreport.mirrored
    else:
        answers = await podask.answers(client, namespace, AGENT, AGENT_HEALTH_PORT, "/v1/healthz")
        decode = agentreport.peers
    found: dict[str, int] = {}
    for answer in answers:
        with suppress(ValueError):  # nothing said, or not understood: then there is nothing to compare with
            peers = decode(answer.body)
            found |= {peer.name: peer.config.cluster_id for peer in peers if peer.config}
    return {name: number for name, number in found.items() if number}


def accepted(cluster: ClusterFacts) -> TrustBundle | None:
    """Whom the cluster's own clients trust: peers with its authority trust the same."""
    with suppress(CertificateError, KeyError):
        known = bundle.parse(cluster.leaves[secret.REMOTE][secret.TRUST])
        return bundle.merge([known, cluster.trust]) if cluster.trust else known
    return cluster.trust


def stored(cluster: ClusterFacts, now: datetime) -> tuple[Finding, ...]:
    """What is wrong with the server's certificate as the cluster has it. Pure."""
    trust, data = accepted(cluster), cluster.leaves.get(secret.SERVER)
    if trust is None or data is None or not cluster.name:
        return ()
    try:
        name = f"{cluster.name}.{MESH_DOMAIN}"
        found = check(data[secret.CERTIFICATE], trust, purpose=Purpose.SERVER, now=now, name=name)
    except (CertificateError, KeyError):
        return (Finding(Problem.UNTRUSTED, "there is no certificate that can be read"),)
    return tuple(found)


async def probe(address: Address, name: str, trust: TrustBundle | None, now: datetime) -> Probe:
    """Dial once. The TLS library judges; only what it refuses is looked at again, to say why."""
    peer = _Peer(address, name, trust, now)
    try:
        await _handshake(peer, _verifying(trust) if trust else None)
    except ssl.SSLCertVerificationError as error:
        return Probe(address, Reached.ANSWERED, str(error), await _explained(peer, error))
    except ssl.SSLError as error:  # somebody answers who does not speak our TLS, or wants a client's first
        return Probe(address, Reached.ANSWERED, str(error))
    except ConnectionRefusedError:
        return Probe(address, Reached.REFUSED, "connection refused")
    except TimeoutError:
        return Probe(address, Reached.SILENT, f"no answer within {DIAL_SECONDS:g} s")
    except OSError as error:
        return Probe(address, Reached.SILENT, error.strerror or str(error))
    return Probe(address, Reached.ANSWERED)


async def _explained(peer: _Peer, error: ssl.SSLCertVerificationError) -> tuple[Finding, ...]:
    fallback = (Finding(Problem.UNTRUSTED, error.verify_message),)
    if peer.trust is None:
        return fallback
    try:
        pem = await _handshake(peer, _accepting())
        found: Sequence[Finding] = check(
            pem, peer.trust, purpose=Purpose.SERVER, now=peer.now, name=peer.name
        )
    except (OSError, CertificateError):
        return fallback
    return tuple(found) or fallback


async def _handshake(peer: _Peer, context: ssl.SSLContext | None) -> bytes:
    """Connect, with TLS where there is a context; the certificate shown, as PEM."""
    name = peer.name if context else None
    async with asyncio.timeout(DIAL_SECONDS):
        _, writer = await asyncio.open_connection(
            peer.address.ip, peer.address.port, ssl=context, server_hostname=name
        )
    try:
        session = writer.get_extra_info("ssl_object")
        shown = session.getpeercert(True) if session else None
        return ssl.DER_cert_to_PEM_cert(shown).encode() if shown else b""
    finally:
        writer.close()
        with suppress(OSError, TimeoutError):  # a server that takes its leave impolitely is no finding
            async with asyncio.timeout(1.0):
                await writer.wait_closed()


def _verifying(trust: TrustBundle) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=trust.pem.decode())
    context.set_alpn_protocols(["h2"])
    return context


def _accepting() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    return context
