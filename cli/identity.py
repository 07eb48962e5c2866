"""Which name, id and capacity a cluster gets: from flags or as it has them; fixed while in use. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cli.errors import CommandError
from mesh.addressing import UNSET_NAME, parse_cluster_name
from mesh.errors import MeshError

UNSET_ID = "0"


@dataclass(frozen=True, slots=True)
class ClusterIdentity:
    """As texts, the way the ConfigMap holds them."""

    name: str = UNSET_NAME
    cluster_id: str = UNSET_ID
    max_connected_clusters: str = "255"

    @classmethod
    def of(cls, config: Mapping[str, str]) -> ClusterIdentity:
        return cls(
            config.get("cluster-name", UNSET_NAME),
            config.get("cluster-id", UNSET_ID),
            config.get("max-connected-clusters", "255"),
        )


def chosen(
    current: ClusterIdentity,
    *,
    name: str | None,
    cluster_id: int | None,
    max_connected_clusters: str | None,
    is_enabled: bool,
    flags: str,
) -> ClusterIdentity:
    """What to install with. Raises CommandError when it is no identity, or would renumber a live cluster."""
    wanted = ClusterIdentity(
        name or current.name,
        str(cluster_id) if cluster_id is not None else current.cluster_id,
        max_connected_clusters or current.max_connected_clusters,
    )
    _require_valid(wanted, flags)
    if is_enabled and wanted != current:
        raise CommandError(
            f"the mesh is enabled as {current.name} (id {current.cluster_id}, of "
            f"{current.max_connected_clusters}), and a change renumbers the identities of every workload: "
            f"run 'clustermesh disable{flags}' first"
        )
    return wanted


def _require_valid(identity: ClusterIdentity, flags: str) -> None:
    if identity.name == UNSET_NAME or identity.cluster_id == UNSET_ID:
        raise CommandError(
            "the cluster has no name or no id: "
            f"run 'clustermesh enable{flags} --cluster-name NAME --cluster-id ID'"
        )
    try:
        parse_cluster_name(identity.name)
    except MeshError as error:
        raise CommandError(str(error)) from error
    if identity.max_connected_clusters not in {"255", "511"}:
        raise CommandError(f"max-connected-clusters is {identity.max_connected_clusters!r}, not 255 or 511")
    limit = int(identity.max_connected_clusters)
    text = identity.cluster_id
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= limit):
        raise CommandError(f"cluster id {text!r} is not between 1 and {limit}")
