"""What has to change so that clusters know each other as `mesh.yaml` says. Pure.

Peers that a cluster knows and the file does not name are let go of: the file is the whole truth.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from certs import bundle
from certs.bundle import TrustBundle
from certs.errors import CertificateError
from cli import peerfile, secret
from cli.facts import Address, ClusterFacts
from cli.meshfile import MeshCluster, MeshFile
from cli.settings import MIRRORED_SECRET, PEERS_SECRET
from mesh.keys import Kind
from peering import rules
from peering.rules import Claims

Secrets = Mapping[str, Mapping[str, str]]  # name -> files


class Action(Enum):
    """What happens to a peer in a cluster's configuration; `ACCEPT`: to its authority.

    `LET_IN` and `SHUT_OUT`: to whether it may come under its own name, where a list is kept of those who may.
    `SEE` and `CLAIM`: to what it may. Without a peer: to what whoever is not named may.
    """

    ACCEPT = "accept"
    ADD = "add"
    CHANGE = "change"
    REMOVE = "remove"
    LET_IN = "let in"
    SHUT_OUT = "shut out"
    SEE = "see"
    CLAIM = "claim"


@dataclass(frozen=True, slots=True)
class Change:
    cluster: str
    action: Action
    peer: str = ""
    addresses: tuple[Address, ...] = ()
    rule: str = ""  # what a peer may from now on

    @property
    def text(self) -> str:
        where = ", ".join(str(address) for address in self.addresses)
        said = _TEXTS[self.action].format(
            peer=self.peer or "whoever is not named", where=where, rule=self.rule
        )
        return f"{self.cluster}: {said}"


_TEXTS = {
    Action.ACCEPT: "accept the authorities of {peer}",
    Action.ADD: "know {peer} at {where}",
    Action.CHANGE: "know {peer} otherwise: at {where}",
    Action.REMOVE: "forget {peer}",
    Action.LET_IN: "let in {peer}",
    Action.SHUT_OUT: "no longer let in {peer}",
    Action.SEE: "{peer} may see {rule}",
    Action.CLAIM: "{peer} may claim {rule}",
}


@dataclass(frozen=True, slots=True)
class Known:
    """A cluster as it is now: its facts, the files that tell of its peers, and what those may.

    From a bundle: no files.
    """

    facts: ClusterFacts
    files: Secrets = field(default_factory=dict)
    rules: Mapping[str, str] = field(default_factory=dict)
    users: frozenset[str] | None = None  # who is let in by name; None: no list is kept


def strangers(mesh: MeshFile, clusters: Mapping[str, Known]) -> list[str]:
    """Clusters that are not who the file says; empty when all are."""
    return [
        f"{each.name}: {known.facts.target.label} is cluster {known.facts.name or 'without a name'!s} "
        f"with id {known.facts.cluster_id or 'none'}, not {each.name} with id {each.cluster_id}"
        for each in mesh.clusters.values()
        if not _is(each, known := clusters[each.name])
    ]


def changes(mesh: MeshFile, clusters: Mapping[str, Known]) -> list[Change]:
    """In the order in which they are made: trust first, so that no connection is refused for a moment, and
    what peers may before they are known, so that none has more for a moment."""
    accepted = [change for name in mesh.reads for change in _accepting(mesh, name, clusters)]
    told = [change for name in mesh.reads for change in _telling(mesh, name, clusters)]
    ruled = [change for name in mesh.reads for change in _ruling(mesh.clusters[name], clusters[name].rules)]
    admitted = [change for name in mesh.reads for change in _admitting(mesh, name, clusters[name].users)]
    last = (Action.REMOVE, Action.SHUT_OUT)
    return [*accepted, *ruled, *sorted([*admitted, *told], key=lambda change: change.action in last)]


def wanted(mesh: MeshFile, name: str, clusters: Mapping[str, Known]) -> Secrets:
    """The Secrets that tell a cluster of its peers, whole."""
    facts = clusters[name].facts
    files = {peer: peerfile.remote(peer, clusters[peer].facts.addresses) for peer in mesh.reads[name]}
    found = peerfile.secrets(files, facts.target.namespace, mirrored=facts.kvstoremesh)
    return {secret_name: found.get(secret_name, {}) for secret_name in (MIRRORED_SECRET, PEERS_SECRET)}


def wanted_users(mesh: MeshFile, name: str) -> frozenset[str]:
    """Who reads the cluster, and those of whom that is not said here: others' operators decide it."""
    readers = {reader for reader, peers in mesh.reads.items() if name in peers}
    return frozenset(readers.union(each.name for each in mesh.clusters.values() if each.bundle))


def _admitting(mesh: MeshFile, name: str, have: frozenset[str] | None) -> list[Change]:
    if have is None:
        return []
    want = wanted_users(mesh, name)
    added = [Change(name, Action.LET_IN, peer) for peer in sorted(want - have)]
    return [*added, *(Change(name, Action.SHUT_OUT, peer) for peer in sorted(have - want))]


def wanted_rules(each: MeshCluster) -> dict[str, str]:
    """The files that say what a cluster's peers may."""
    return {
        rules.SEE_FILE: rules.render_see(each.see),
        rules.CLAIMS_FILE: rules.render_claims(each.claims),
    }


def _ruling(each: MeshCluster, have: Mapping[str, str]) -> list[Change]:
    """A file that is not there restricts nobody; one that cannot be read is written anew, whole."""
    try:
        see = rules.parse_see(have.get(rules.SEE_FILE, "").encode())
        claims = rules.parse_claims(have.get(rules.CLAIMS_FILE, "").encode())
    except rules.RulesError as error:
        return [Change(each.name, Action.SEE, rule=f"what the file says: it is not readable there ({error})")]
    found = []
    if see.default != each.see.default:
        found.append(Change(each.name, Action.SEE, rule=_kinds(each.see.default)))
    for peer in sorted(see.peers.keys() | each.see.peers.keys()):
        if see.peers.get(peer) != (kinds := each.see.peers.get(peer)):
            rule = "what others may" if kinds is None else _kinds(kinds)
            found.append(Change(each.name, Action.SEE, peer, rule=rule))
    for peer in sorted(claims.keys() | each.claims.keys()):
        before, after = claims.get(peer, Claims()), each.claims.get(peer, Claims())
        if before != after:
            found.append(Change(each.name, Action.CLAIM, peer, rule=_claims(after)))
    return found


def _kinds(kinds: frozenset[Kind]) -> str:
    return "everything" if kinds == rules.EVERYTHING else ", ".join(rules.names(kinds)) or "nothing"


def _claims(claims: Claims) -> str:
    said = rules.written(claims)
    texts = [f"{name} {v if isinstance(v, str) else ', '.join(v) or 'none'}" for name, v in said.items()]
    return "; ".join(texts) or "all that is its own"


def _is(each: MeshCluster, known: Known) -> bool:
    return (known.facts.name, known.facts.cluster_id) == (each.name, str(each.cluster_id))


def _telling(mesh: MeshFile, name: str, clusters: Mapping[str, Known]) -> list[Change]:
    want = wanted(mesh, name, clusters)
    read = clusters[name].files
    if not clusters[name].facts.kvstoremesh:  # what is left in its Secret is read by nobody
        read = {each: files for each, files in read.items() if each != MIRRORED_SECRET}
    found = []
    peers = {peer for files in (*read.values(), *want.values()) for peer in files}
    for peer in sorted(peers):
        before, after = _of(read, peer), _of(want, peer)
        if before == after:
            continue
        if not after:
            found.append(Change(name, Action.REMOVE, peer))
        else:
            action = Action.CHANGE if before else Action.ADD
            found.append(Change(name, action, peer, clusters[peer].facts.addresses))
    return found


def _of(secrets: Secrets, peer: str) -> dict[str, str]:
    return {name: files[peer] for name, files in secrets.items() if peer in files}


def _accepting(mesh: MeshFile, name: str, clusters: Mapping[str, Known]) -> list[Change]:
    if not mesh.share_authorities:
        return []
    held = [_held(data) for data in clusters[name].facts.leaves.values()]
    return [
        Change(name, Action.ACCEPT, other)
        for other, known in clusters.items()
        if other != name
        and (trust := known.facts.trust) is not None
        and any(each is None or not each.trusts_all_of(trust) for each in held)
    ]


def _held(data: secret.Data) -> TrustBundle | None:
    try:
        return bundle.parse(data.get(secret.TRUST, b""))
    except CertificateError:
        return None
