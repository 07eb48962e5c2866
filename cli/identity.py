"""Which name, id and capacity a cluster gets: from flags or as it has them; fixed while in use. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cli import preflight
from cli.errors import CommandError, RefusedError
from mesh.addressing import UNSET_NAME

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
    label: str = "the cluster",
    config: Mapping[str, str] | None = None,
) -> ClusterIdentity:
    """What to install with. Raises CommandError when it is no identity, or would renumber a live cluster.

    `config` is the whole ConfigMap: it says what else of the cluster must fit the id.
    """
    wanted = ClusterIdentity(
        name or current.name,
        str(cluster_id) if cluster_id is not None else current.cluster_id,
        max_connected_clusters or current.max_connected_clusters,
    )
    if refused := _refusals(wanted, config or {}, label, flags):
        raise RefusedError(refused)
    if is_enabled and wanted != current:
        raise CommandError(
            f"the mesh is enabled as {current.name} (id {current.cluster_id}, of "
            f"{current.max_connected_clusters}), and a change renumbers the identities of every workload: "
            f"run 'clustermesh disable{flags}' first"
        )
    return wanted


def _refusals(wanted: ClusterIdentity, config: Mapping[str, str], label: str, flags: str) -> list[str]:
    mend = f"run 'clustermesh enable{flags} --cluster-name NAME --cluster-id ID'"
    capacity = wanted.max_connected_clusters
    found = preflight.identity(label, wanted.name, wanted.cluster_id, capacity, mend=mend, flags=flags)
    found += preflight.marks(label, wanted.cluster_id, config, mend=mend)
    return [finding.text for finding in found]
