"""May these clusters be connected? Every reason against it, with the command that mends it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

from cli.facts import ClusterFacts
from mesh.addressing import UNSET_NAME, parse_cluster_name
from mesh.errors import MeshError

CAPACITIES = ("255", "511")


def refusals(
    local: ClusterFacts, remotes: Sequence[ClusterFacts], *, allow_mismatching_ca: bool
) -> list[str]:
    """Why not to connect; empty when nothing speaks against it."""
    clusters = [local, *remotes]
    found = [reason for cluster in clusters for reason in _alone(cluster)]
    for one, other in combinations(clusters, 2):
        found += _together(one, other)
    if not allow_mismatching_ca:
        for remote in remotes:
            found += _authorities(local, remote)
    return found


def _alone(cluster: ClusterFacts) -> list[str]:
    found = [*_name(cluster), *_id(cluster)]
    target = cluster.target
    if not cluster.service_type:
        found.append(f"{target.label}: the mesh is not enabled: run 'clustermesh enable{target.flags}'")
    elif not cluster.addresses:
        found.append(
            f"{target.label}: Service clustermesh-apiserver ({cluster.service_type}) has no address yet: "
            f"run 'clustermesh status{target.flags} --wait', or give its IP:PORT with "
            "--source-endpoint or --destination-endpoint"
        )
    if cluster.trust is None:
        found.append(
            f"{target.label}: no certificate authority found: run 'clustermesh enable{target.flags}'"
        )
    return found


def _name(cluster: ClusterFacts) -> list[str]:
    label = cluster.target.label
    if not cluster.name or cluster.name == UNSET_NAME:
        return [f"{label}: the cluster has no name: {_mend(cluster)}"]
    try:
        parse_cluster_name(cluster.name)
    except MeshError as error:
        return [f"{label}: {error}: {_mend(cluster)}"]
    return []


def _id(cluster: ClusterFacts) -> list[str]:
    label, text = cluster.target.label, cluster.cluster_id
    if cluster.max_connected_clusters not in CAPACITIES:
        return [
            f"{label}: max-connected-clusters is {cluster.max_connected_clusters!r}, not 255 or 511: "
            f"run 'clustermesh enable{cluster.target.flags} --max-connected-clusters 255'"
        ]
    if text in {"", "0"}:
        return [f"{label}: the cluster has no id: {_mend(cluster)}"]
    limit = int(cluster.max_connected_clusters)
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= limit):
        return [f"{label}: cluster id {text!r} is not between 1 and {limit}: {_mend(cluster)}"]
    return []


def _together(one: ClusterFacts, other: ClusterFacts) -> list[str]:
    labels = f"{one.target.label} and {other.target.label}"
    found = []
    if one.name and one.name == other.name:
        found.append(f"{labels} are both named {one.name!r}: {_mend(other)}")
    if one.cluster_id not in {"", "0"} and one.cluster_id == other.cluster_id:
        found.append(f"{labels} both have the id {one.cluster_id}: {_mend(other)}")
    if one.max_connected_clusters != other.max_connected_clusters:
        found.append(
            f"{labels} differ in max-connected-clusters ({one.max_connected_clusters} and "
            f"{other.max_connected_clusters}), and so in how they number identities: disable one and run "
            f"'clustermesh enable{other.target.flags} --max-connected-clusters {one.max_connected_clusters}'"
        )
    return found


def _authorities(local: ClusterFacts, remote: ClusterFacts) -> list[str]:
    if local.trust is None or remote.trust is None or local.trust.key_ids == remote.trust.key_ids:
        return []
    return [
        f"{local.target.label} and {remote.target.label} have different certificate authorities: run connect "
        "with --allow-mismatching-ca so that each trusts both, or copy Secret cilium-ca from one to the "
        f"other and run 'clustermesh enable{remote.target.flags}'"
    ]


def _mend(cluster: ClusterFacts) -> str:
    flags = cluster.target.flags
    return (
        f"run 'clustermesh disable{flags}', then "
        f"'clustermesh enable{flags} --cluster-name NAME --cluster-id ID'"
    )
