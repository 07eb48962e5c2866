"""Replacing an authority while its leaves are in use: which step comes next. Pure: the time is passed in.

    PREPARE -> TRUST -> (settle) -> REISSUE -> (settle) -> FORGET -> FINISH

The step follows from what the clusters hold, so a rotation that was interrupted anywhere goes on from there
and every step may be done twice. A step's moment is written down after all its writes; `settle` is how
long a reader may go on with files from before. Promise: everybody who is connected can verify everybody
else, whichever of the files of the running step each of them has.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum

from certs.errors import CertificateError


class RotationError(CertificateError):
    """The clusters contradict each other: somebody must look before anything is written."""


class Step(Enum):
    """What to write next."""

    PREPARE = "prepare"  # keep the next authority, beside the present one, in every cluster
    TRUST = "trust"  # accept both, everywhere
    REISSUE = "reissue"  # sign the leaves with the next authority
    FORGET = "forget"  # accept only the next authority
    FINISH = "finish"  # drop the record; there is nothing left to resume


@dataclass(frozen=True, slots=True)
class Leaf:
    """A leaf's signer and who its bearer accepts, by key identifier."""

    signer: bytes
    trusts: frozenset[bytes]


@dataclass(frozen=True, slots=True)
class Record:
    """What a cluster keeps of a rotation. The moments are kept in the first cluster only."""

    old: bytes
    next: bytes
    trusted_at: datetime | None = None
    reissued_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Cluster:
    """What one cluster's Secrets say. `authority`: the key identifier of the one that signs there."""

    name: str
    authority: bytes
    leaves: Mapping[str, Leaf] = field(default_factory=dict)
    record: Record | None = None

    def uses(self, authority: bytes) -> bool:
        """Whether anything here is, or will be, signed by it."""
        return self.authority == authority or any(leaf.signer == authority for leaf in self.leaves.values())

    def trusts_everywhere(self, authority: bytes) -> bool:
        return all(authority in leaf.trusts for leaf in self.leaves.values())


@dataclass(frozen=True, slots=True)
class Next:
    """Do `step`, but not before `not_before`."""

    step: Step
    not_before: datetime | None = None

    def is_ready(self, now: datetime) -> bool:
        return self.not_before is None or now >= self.not_before


def next_step(clusters: Sequence[Cluster], settle: timedelta) -> Next:
    """What comes next; the first cluster leads. Without a record a rotation begins. Raises RotationError.

    A cluster that joins late (no record, does not accept the next authority) is taken along first.
    """
    record = record_of(clusters)
    if record is None:
        return Next(Step.PREPARE)
    if not all(cluster.trusts_everywhere(record.next) for cluster in clusters):
        everyone_knows = all(cluster.record is not None for cluster in clusters)
        return Next(Step.TRUST if everyone_knows else Step.PREPARE)
    uses_old = any(cluster.uses(record.old) for cluster in clusters)
    if record.trusted_at is None and (uses_old or record.reissued_at is None):
        return Next(Step.TRUST)  # written, and not yet written down
    if uses_old or record.reissued_at is None:
        assert record.trusted_at is not None
        return Next(Step.REISSUE, record.trusted_at + settle)
    if any(record.old in leaf.trusts for cluster in clusters for leaf in cluster.leaves.values()):
        return Next(Step.FORGET, record.reissued_at + settle)
    return Next(Step.FINISH)


def record_of(clusters: Sequence[Cluster]) -> Record | None:
    """The rotation that these clusters are in: moments from the first one. Raises RotationError."""
    found = {cluster.name: cluster.record for cluster in clusters if cluster.record is not None}
    if not found:
        return None
    if len({(record.old, record.next) for record in found.values()}) > 1:
        raise RotationError(f"{', '.join(found)} are in different rotations: finish one of them first")
    first = next(iter(found.values()))
    return clusters[0].record or Record(first.old, first.next)
