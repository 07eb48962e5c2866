"""Refuses answers from another etcd cluster than the first one seen. Pure.

Revisions and leases of different clusters cannot be compared: behind one address may stand several
independent etcds (replicas), or a new, empty one after a restart.
"""

from __future__ import annotations

from kvstore.errors import ClusterChangedError
from kvstore.messages import ResponseHeader


class ClusterGuard:
    def __init__(self) -> None:
        self._cluster_id = 0

    @property
    def cluster_id(self) -> int:
        """The id of the first answer; 0 before it."""
        return self._cluster_id

    def check(self, header: ResponseHeader) -> None:
        """Raise ClusterChangedError unless the answer is from the cluster first seen."""
        if header.cluster_id == 0:  # also when the header is missing: its fields read as zero
            raise ClusterChangedError("an answer carries no etcd cluster id")
        if self._cluster_id == 0:
            self._cluster_id = header.cluster_id
        elif header.cluster_id != self._cluster_id:
            raise ClusterChangedError(
                f"an answer came from etcd cluster {header.cluster_id:x}, not {self._cluster_id:x}"
            )
