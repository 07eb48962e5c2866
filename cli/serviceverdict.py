"""Does a cluster serve a service from here, and if not, why not. Pure.

The reasons are tried in the order in which they decide: nothing that comes later matters as long as an
earlier one holds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec

from cli.cause import Cause
from cli.check import Check


class Share(msgspec.Struct, frozen=True):
    """One cluster's backends as an agent has them. `matching`: those whose ports have the right names."""

    name: str = ""
    backends: int = 0
    matching: int = 0
    used: int = 0
    withdrawn: int = 0
    waiting: int = 0


class MeshService(msgspec.Struct, frozen=True, rename="kebab"):
    """One service as an agent has it. The first of `clusters` is our own; `preference` is in words."""

    namespace: str = ""
    name: str = ""
    exists: bool = False
    here: bool = True  # False: its annotations choose other nodes than the agent's
    is_global: bool = msgspec.field(name="global", default=False)
    shared: bool = False
    node_only: bool = False
    preference: str = ""
    problems: tuple[str, ...] = ()
    clusters: tuple[Share, ...] = ()

    @property
    def key(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class There:
    """The same service as the peer's own API server has it; `flags` name that cluster in commands."""

    flags: str = ""
    exists: bool = False
    is_global: bool = False
    is_shared: bool = False
    namespace_takes_part: bool = True


@dataclass(frozen=True, slots=True)
class Peer:
    """What else is known of a peer. `there` None: its API server was not asked, or did not answer."""

    name: str
    causes: Sequence[Cause] = ()
    refused: int = 0  # claims, of all kinds
    there: There | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """`check` None: it serves. `note` is what is to be said of one that serves all the same."""

    cluster: str
    share: Share
    check: Check | None = None
    reason: str = ""
    mend: str = ""
    note: str = ""

    @property
    def serves(self) -> bool:
        return self.check is None


def verdicts(service: MeshService, peers: Sequence[Peer], own: str, flags: str) -> list[Verdict]:
    """Our own cluster first, then every peer that is configured. `flags` name our cluster in commands."""
    shares = {share.name: share for share in service.clusters}
    here = shares.get(own, Share(own))
    return [_own(service, here, flags), *(_peer(service, shares.get(p.name), p, own, flags) for p in peers)]


def _own(service: MeshService, share: Share, flags: str) -> Verdict:
    key, name = service.key, share.name
    if not service.exists:
        return Verdict(
            name, share, Check.SERVICE_MISSING, f"no Service {key} in {name}", "create it here too"
        )
    if found := _nowhere(service, flags):
        return Verdict(name, share, *found)
    if share.used:
        return Verdict(name, share)
    return _unused(service, share, flags)


def _nowhere(service: MeshService, flags: str) -> tuple[Check, str, str] | None:
    if service.here:
        return None
    reason = "its annotations choose none of the nodes here"
    return Check.NO_NODE_CHOSEN, reason, f"label a node as they say, or change them{_at(flags)}"


def _peer(service: MeshService, share: Share | None, peer: Peer, own: str, flags: str) -> Verdict:
    if found := _unwanted(service, own, flags):
        return Verdict(peer.name, share or Share(peer.name), *found)
    if share is None:
        return _untold(service, peer)
    if share.used:
        stale = peer.causes[0].check.label if peer.causes else ""
        return Verdict(peer.name, share, note=f"as it was last told: {stale}" if stale else "")
    if not share.backends and peer.refused:
        reason = f"{peer.refused} claims of {peer.name} were refused, its backends may be among them"
        return Verdict(peer.name, share, Check.CLAIM_REFUSED, reason, f"see 'clustermesh status{flags}'")
    return _unused(service, share, flags)


def _unwanted(service: MeshService, own: str, flags: str) -> tuple[Check, str, str] | None:
    """Why our own Service uses no other cluster at all."""
    key = service.key
    if not service.exists:
        reason = f"no Service {key} in {own}, which clients here would use"
        return Check.SERVICE_MISSING, reason, "create it here too"
    if not service.is_global:
        reason = f'the Service in {own} lacks service.cilium.io/global: "true"'
        return Check.SERVICE_NOT_GLOBAL, reason, _annotate(key, "global", flags)
    if service.node_only:
        reason = "internalTrafficPolicy: Local keeps clients to their own node"
        return Check.NODE_LOCAL_ONLY, reason, f"remove it from the Service in {own}"
    return _nowhere(service, flags)


def _unused(service: MeshService, share: Share, flags: str) -> Verdict:
    """Backends are told, and new connections do not go there."""
    name = share.name
    if not share.backends:
        mend = f"in {name}: kubectl -n {service.namespace} get pods,endpointslices"
        return Verdict(name, share, Check.NO_READY_BACKENDS, f"no pod in {name} is ready", mend)
    if not share.matching:
        reason = f"no port of the {share.backends} backends has the name of a port of the Service"
        mend = "give the ports the same names in all clusters"
        return Verdict(name, share, Check.PORTS_DIFFER, reason, mend)
    if share.withdrawn >= share.matching:
        mend = "are those nodes up, and is the way to them open (TCP 4240, UDP 8472)?"
        return Verdict(name, share, Check.NODES_SILENT, f"the nodes of {name}'s backends do not answer", mend)
    if share.waiting >= share.matching:
        reason = f"{name} has not told the addresses of its backends' pods yet"
        return Verdict(name, share, Check.SYNCING, reason, "ask again in a few seconds")
    reason = f"others are preferred while they can serve: {service.preference or 'by their number'}"
    mend = f"nothing, if it is meant so; else change the Service's annotations here{_at(flags)}"
    return Verdict(name, share, Check.SERVICE_PREFERENCE, reason, mend)


def _untold(service: MeshService, peer: Peer) -> Verdict:
    """The peer tells nothing of this service."""
    name, there, share = peer.name, peer.there, Share(peer.name)
    if there is not None and (found := _there(service.key, name, there)):
        return Verdict(name, share, *found)
    if peer.causes:
        cause = peer.causes[0]
        return Verdict(name, share, cause.check, cause.check.title, cause.mend)
    if there is None:
        reason = (
            f"{name} exports none: there it is missing, not global or not shared, or its namespace is not"
        )
        mend = f"ask {name} itself: --destination-context CONTEXT"
        return Verdict(name, share, Check.SERVICE_NOT_GLOBAL, reason, mend)
    if peer.refused:
        reason = f"{name} exports it, and {peer.refused} of its claims were refused, this may be one"
        return Verdict(name, share, Check.CLAIM_REFUSED, reason, "see 'clustermesh status'")
    reason = f"{name} exports it, and it has not come here yet"
    return Verdict(name, share, Check.SYNCING, reason, "ask again in a few seconds")


def _there(key: str, name: str, there: There) -> tuple[Check, str, str] | None:
    flags = there.flags
    namespace = key.partition("/")[0]
    if not there.exists:
        return Check.SERVICE_MISSING, f"no Service {key} in {name}", f"create it in {name} too"
    if not there.namespace_takes_part:
        reason = f"namespace {namespace} takes no part in the mesh in {name}"
        mend = f"kubectl{flags} annotate namespace {namespace} clustermesh.cilium.io/global=true --overwrite"
        return Check.NAMESPACE_NOT_GLOBAL, reason, mend
    if not there.is_global:
        reason = f'the Service in {name} lacks service.cilium.io/global: "true"'
        return Check.SERVICE_NOT_GLOBAL, reason, _annotate(key, "global", flags)
    if not there.is_shared:
        reason = f'the Service in {name} has a service.cilium.io/shared that is not "true"'
        return Check.SERVICE_NOT_SHARED, reason, _annotate(key, "shared", flags)
    return None


def _annotate(key: str, what: str, flags: str) -> str:
    namespace, _, name = key.partition("/")
    return f"kubectl{flags} -n {namespace} annotate service {name} service.cilium.io/{what}=true --overwrite"


def _at(flags: str) -> str:
    return f" (kubectl{flags})" if flags else ""


def worst(found: Sequence[MeshService]) -> MeshService:
    """One service as several agents have it: for each cluster the view of whoever uses it least, among those
    whose nodes it is for."""
    least: dict[str, Share] = {}
    for service in [each for each in found if each.here] or found:
        for share in service.clusters:
            if share.name not in least or share.used < least[share.name].used:
                least[share.name] = share
    here = any(each.here for each in found)
    return msgspec.structs.replace(found[0], here=here, clusters=tuple(least.values()))


def nodes_using(found: Sequence[MeshService]) -> Mapping[str, int]:
    """Cluster -> on how many nodes it serves."""
    counts: dict[str, int] = {}
    for service in found:
        for share in service.clusters:
            counts[share.name] = counts.get(share.name, 0) + bool(share.used)
    return counts
