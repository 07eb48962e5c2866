"""A peer bundle: one file that tells another cluster's operator all that `connect` needs of ours. Pure.

It holds nothing secret: a name, an id, addresses and the certificates of authorities. Whoever can change it
on its way can stand in for the cluster, so both sides are shown the authorities' fingerprints to compare.
"""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import Annotated

import msgspec
import yaml
from cryptography.hazmat.primitives.hashes import SHA256

from aiokit import strictyaml
from certs import bundle
from certs.bundle import TrustBundle
from certs.errors import CertificateError
from cli import yamltext
from cli.errors import CommandError
from cli.facts import Address, ClusterFacts, Survey
from cli.target import Target

VERSION = 1
MAX_BYTES = 256 * 1024  # a hundred authorities and ten thousand pod CIDRs

_Port = Annotated[int, msgspec.Meta(ge=1, le=65535)]


class _Address(msgspec.Struct, forbid_unknown_fields=True):
    ip: str
    port: _Port


class _Cluster(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    name: str
    id: int
    max_connected_clusters: int


class _Bundle(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    kind: str
    version: int
    cluster: _Cluster
    addresses: Annotated[list[_Address], msgspec.Meta(min_length=1)]
    authorities: str
    pod_cidrs: list[str] = msgspec.field(default_factory=list, name="podCIDRs")


def render(facts: ClusterFacts) -> str:
    """The cluster's bundle as YAML. Its facts have passed `preflight`."""
    assert facts.trust is not None
    body = {
        "kind": "PeerBundle",
        "version": VERSION,
        "cluster": {
            "name": facts.name,
            "id": int(facts.cluster_id),
            "maxConnectedClusters": int(facts.max_connected_clusters),
        },
        "addresses": [{"ip": address.ip, "port": address.port} for address in facts.addresses],
        "podCIDRs": list(facts.survey.pod_cidrs),
        "authorities": facts.trust.pem.decode(),
    }
    return yamltext.dumped(body)


def parse(content: bytes, origin: str) -> ClusterFacts:
    """What the bundle says, as if the cluster had been asked. `origin`: for messages. Raises CommandError."""
    if len(content) > MAX_BYTES:
        raise CommandError(f"{origin} is no peer bundle: it is larger than {MAX_BYTES // 1024} KiB")
    if b"PRIVATE KEY" in content:
        raise CommandError(f"{origin} holds a private key: a peer bundle never does; destroy this copy")
    try:
        found = msgspec.convert(strictyaml.load(content), _Bundle)
        if (found.kind, found.version) != ("PeerBundle", VERSION):
            raise ValueError(f"kind {found.kind!r} version {found.version}, not PeerBundle version {VERSION}")
        trust = bundle.parse(found.authorities.encode())
        cidrs = tuple(str(ip_network(cidr)) for cidr in found.pod_cidrs)
        addresses = tuple(Address(str(ip_address(each.ip)), each.port) for each in found.addresses)
    except (msgspec.ValidationError, yaml.YAMLError, RecursionError, ValueError, CertificateError) as error:
        raise CommandError(f"{origin} is no peer bundle: {error}") from None
    cluster = found.cluster
    return ClusterFacts(
        Target(context=f"<of {cluster.name}>", title=f"the bundle of {cluster.name}"),
        name=cluster.name,
        cluster_id=str(cluster.id),
        max_connected_clusters=str(cluster.max_connected_clusters),
        service_type="PeerBundle",
        addresses=addresses,
        trust=trust,
        survey=Survey(pod_cidrs=cidrs),
    )


def fingerprints(trust: TrustBundle) -> list[str]:
    """SHA-256 of each authority's certificate, as openssl prints it."""
    return [each.fingerprint(SHA256()).hex(":").upper() for each in trust.certificates]
