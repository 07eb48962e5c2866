"""May these clusters be connected? Every reason against it, with the command that mends it. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import combinations

from certs.check import Problem
from cli import overlap, tunnels
from cli.check import Check, Finding
from cli.facts import ClusterFacts, Reached
from mesh.addressing import UNSET_NAME, parse_cluster_name
from mesh.errors import MeshError

CAPACITIES = ("255", "511")
SHOWN_OVERLAPS = 3
ONLY_PEERS = "if this machine is not where peers dial from, add --no-dial"

_CERTIFICATE = {
    Problem.WRONG_NAME: Check.SERVER_CERTIFICATE_NAME,
    Problem.WRONG_USE: Check.SERVER_CERTIFICATE_USE,
    Problem.UNTRUSTED: Check.SERVER_CERTIFICATE_CHAIN,
    Problem.EXPIRED: Check.SERVER_CERTIFICATE_EXPIRED,
    Problem.NOT_YET_VALID: Check.SERVER_CERTIFICATE_CLOCK,
}


def refusals(
    local: ClusterFacts, remotes: Sequence[ClusterFacts], *, allow_mismatching_ca: bool
) -> list[str]:
    """Why not to connect, in words; empty when nothing speaks against it."""
    found = findings(local, remotes, allow_mismatching_ca=allow_mismatching_ca)
    return [finding.text for finding in found if finding.refuses]


def findings(
    local: ClusterFacts,
    remotes: Sequence[ClusterFacts],
    *,
    allow_mismatching_ca: bool,
    skip: Collection[Check] = (),
) -> list[Finding]:
    """Everything that speaks against connecting `local` with `remotes`, except what is to be skipped."""
    clusters = [local, *remotes]
    found = [finding for cluster in clusters for finding in _alone(cluster)]
    for one, other in combinations(clusters, 2):
        found += _together(one, other)
    if not allow_mismatching_ca:
        for remote in remotes:
            found += _authorities(local, remote)
    return [finding for finding in found if finding.check not in skip]


def identity(
    label: str, name: str, cluster_id: str, capacity: str, *, mend: str, flags: str
) -> list[Finding]:
    """What speaks against a cluster with this name and id, as they are written in its ConfigMap."""
    found = []
    if not name or name == UNSET_NAME:
        found.append(Finding(Check.CLUSTER_NAME_UNSET, f"{label}: the cluster has no name", mend))
    else:
        try:
            parse_cluster_name(name)
        except MeshError as error:
            found.append(Finding(Check.CLUSTER_NAME_INVALID, f"{label}: {error}", mend))
    if capacity not in CAPACITIES:
        reason = f"{label}: max-connected-clusters is {capacity!r}, not 255 or 511"
        repair = f"run 'clustermesh enable{flags} --max-connected-clusters 255'"
        found.append(Finding(Check.CAPACITY_INVALID, reason, repair))
    elif cluster_id in {"", "0"}:
        found.append(Finding(Check.CLUSTER_ID_UNSET, f"{label}: the cluster has no id", mend))
    elif not _is_id(cluster_id, int(capacity)):
        reason = f"{label}: cluster id {cluster_id!r} is not between 1 and {capacity}"
        found.append(Finding(Check.CLUSTER_ID_RANGE, reason, mend))
    return found


def marks(label: str, cluster_id: str, config: Mapping[str, str], *, mend: str) -> list[Finding]:
    """Ids of the upper half (bit 0x80) and IPAM modes that use the packet mark's same bit (spec 1.6)."""
    if not (_is_id(cluster_id, 511) and int(cluster_id) & 0x80):
        return []
    if config.get("allow-unsafe-policy-skb-usage", "").lower() == "true":
        return []
    if config.get("ipam", "") in {"eni", "alibabacloud"}:
        who = f"ipam {config['ipam']}"
    elif config.get("cni-chaining-mode", "") == "aws-cni":
        who = "cni-chaining-mode aws-cni"
    else:
        return []
    reason = (
        f"{label}: cluster id {cluster_id} has bit 0x80, which {who} uses in packet marks: packets would "
        "be taken for another cluster's, and Cilium's agents do not start"
    )
    return [Finding(Check.UPPER_HALF_CLUSTER_ID, reason, f"take an id of 1-127 or 256-383: {mend}")]


def _is_id(text: str, limit: int) -> bool:
    return text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= limit


def _alone(cluster: ClusterFacts) -> list[Finding]:
    target, mend = cluster.target, _mend(cluster)
    found = identity(
        target.label,
        cluster.name,
        cluster.cluster_id,
        cluster.max_connected_clusters,
        mend=mend,
        flags=target.flags,
    )
    found += marks(target.label, cluster.cluster_id, cluster.config, mend=mend)
    enable = f"run 'clustermesh enable{target.flags}'"
    if not cluster.service_type:
        found.append(Finding(Check.MESH_NOT_ENABLED, f"{target.label}: the mesh is not enabled", enable))
    elif not cluster.addresses:
        reason = f"{target.label}: Service clustermesh-apiserver ({cluster.service_type}) has no address yet"
        mend = (
            f"run 'clustermesh status{target.flags} --wait', or give its IP:PORT with "
            "--source-endpoint or --destination-endpoint"
        )
        found.append(Finding(Check.NO_ADDRESS, reason, mend))
    if cluster.trust is None:
        reason = f"{target.label}: no certificate authority found"
        found.append(Finding(Check.CA_MISSING, reason, enable))
    return [*found, *_server(cluster)]


def _server(cluster: ClusterFacts) -> list[Finding]:
    """The server's certificate as it is stored, then what its addresses really answer."""
    label, survey = cluster.target.label, cluster.survey
    found: dict[Check, Finding] = {}
    for finding in survey.certificate:
        check = _CERTIFICATE[finding.problem]
        reason = f"{label}: Secret clustermesh-apiserver-server-cert: {finding.text}"
        found.setdefault(check, Finding(check, reason, _renew(check, cluster)))
    for probe in survey.probes:
        for finding in probe.certificate:
            check = _CERTIFICATE[finding.problem]
            reason = f"{label}: the server at {probe.address}: {finding.text}"
            found.setdefault(check, Finding(check, reason, f"{_renew(check, cluster)}; {ONLY_PEERS}"))
    return [*_unreached(cluster), *found.values()]


def _unreached(cluster: ClusterFacts) -> list[Finding]:
    """One address that answers is enough. Silence may be a firewall that only this machine is behind."""
    probes = cluster.survey.probes
    is_served = any(probe.reached is Reached.ANSWERED for probe in probes)
    mend = (
        f"open the way or wait for the Service, see 'clustermesh status{cluster.target.flags}'; {ONLY_PEERS}"
    )
    return [
        Finding(
            Check.ENDPOINT_UNREACHABLE,
            f"{cluster.target.label}: {probe.address} does not answer from here ({probe.error})",
            mend,
            refuses=probe.reached is Reached.REFUSED and not is_served,
        )
        for probe in probes
        if probe.reached is not Reached.ANSWERED
    ]


def _renew(check: Check, cluster: ClusterFacts) -> str:
    flags = cluster.target.flags
    match check:
        case Check.SERVER_CERTIFICATE_EXPIRED:
            return f"run 'clustermesh certs renew{flags}'"
        case Check.SERVER_CERTIFICATE_CLOCK:
            return f"set the clocks right, then run 'clustermesh certs renew{flags} --force'"
        case _:
            return f"run 'clustermesh enable{flags}', which issues it anew"


def _together(one: ClusterFacts, other: ClusterFacts) -> list[Finding]:
    labels = f"{one.target.label} and {other.target.label}"
    found = []
    if one.name and one.name == other.name:
        reason = f"{labels} are both named {one.name!r}"
        found.append(Finding(Check.SAME_CLUSTER_NAME, reason, _mend(other)))
    if one.cluster_id not in {"", "0"} and one.cluster_id == other.cluster_id:
        reason = f"{labels} both have the id {one.cluster_id}"
        found.append(Finding(Check.SAME_CLUSTER_ID, reason, _mend(other)))
    capacities = {one.max_connected_clusters, other.max_connected_clusters}
    if len(capacities) > 1 and capacities <= set(CAPACITIES):
        reason = (
            f"{labels} differ in max-connected-clusters ({one.max_connected_clusters} and "
            f"{other.max_connected_clusters}), and so in how they number identities"
        )
        mend = (
            "disable one and run "
            f"'clustermesh enable{other.target.flags} --max-connected-clusters {one.max_connected_clusters}'"
        )
        found.append(Finding(Check.CAPACITY_DIFFERS, reason, mend))
    found += tunnels.findings(one, other, labels)
    return [*found, *_known(one, other), *_known(other, one), *_cidrs(one, other, labels)]


def _known(reader: ClusterFacts, peer: ClusterFacts) -> list[Finding]:
    """Whether `reader` follows another cluster already that has the name or the id of `peer`."""
    found = []
    label = reader.target.label
    for name, number in sorted(reader.survey.known.items()):
        if name != peer.name and str(number) == peer.cluster_id and peer.cluster_id != reader.cluster_id:
            reason = f"{label} follows {name}, which has the id {number} of {peer.target.label} too"
            forget = f"clustermesh disconnect{reader.target.flags} --cluster {name}"
            mend = f"{_mend(peer)}; or, if {name} is gone or has another name now, first run '{forget}'"
            found.append(Finding(Check.SAME_CLUSTER_ID, reason, mend))
        elif name == peer.name and str(number) != peer.cluster_id:
            reason = f"{label} follows another cluster named {name}, with the id {number}"
            other = f" --destination-context {peer.target.context}" if peer.target.context else ""
            mend = f"run 'clustermesh disconnect{reader.target.flags}{other}' first"
            found.append(Finding(Check.SAME_CLUSTER_NAME, reason, mend))
    return found


def _cidrs(one: ClusterFacts, other: ClusterFacts, labels: str) -> list[Finding]:
    pairs = overlap.overlaps(one.survey.pod_cidrs, other.survey.pod_cidrs)
    if not pairs:
        return []
    shown = ", ".join(f"{first} and {second}" for first, second in pairs[:SHOWN_OVERLAPS])
    more = f" and {len(pairs) - SHOWN_OVERLAPS} more" if len(pairs) > SHOWN_OVERLAPS else ""
    mend = (
        f"give the nodes of {other.target.label} other pod CIDRs (cluster-pool-ipv4-cidr, or --cluster-cidr "
        "of the controller manager), and make its nodes and pods anew"
    )
    reason = f"{labels} have overlapping pod CIDRs: {shown}{more}"
    return [Finding(Check.OVERLAPPING_POD_CIDRS, reason, mend)]


def _authorities(local: ClusterFacts, remote: ClusterFacts) -> list[Finding]:
    if local.trust is None or remote.trust is None or local.trust.key_ids == remote.trust.key_ids:
        return []
    mend = (
        "run connect with --allow-mismatching-ca so that each trusts both, or copy Secret cilium-ca from one "
        f"to the other and run 'clustermesh enable{remote.target.flags}'"
    )
    labels = f"{local.target.label} and {remote.target.label}"
    return [Finding(Check.CA_MISMATCH, f"{labels} have different certificate authorities", mend)]


def _mend(cluster: ClusterFacts) -> str:
    flags = cluster.target.flags
    return (
        f"run 'clustermesh disable{flags}', then "
        f"'clustermesh enable{flags} --cluster-name NAME --cluster-id ID'"
    )
