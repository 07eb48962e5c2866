"""Numbers for label sets: one CiliumIdentity a set, the same number on every node of the cluster.

All agents try the same numbers in the same order for one label set, and Kubernetes refuses the second
creation of a name: whoever comes second finds its own labels there and uses that number. No lock, no
leader. Identities are never deleted here: a number must not come back with another meaning while peers
still know the old one.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Protocol

import msgspec

from agent.errors import ExhaustedError
from agent.labels import from_security_labels, security_labels
from k8s.cilium import CiliumIdentity
from k8s.errors import ConflictError
from k8s.objects import decode
from k8s.resource import CILIUMIDENTITY, Resource
from mesh.addressing import Identity, PeerScope
from mesh.allocation import MAX_TRIES, candidates
from mesh.identity import NAMESPACE_LABEL, Labels, labels_text

log = logging.getLogger(__name__)


class IdentityAPI(Protocol):
    async def create(self, resource: Resource, body: dict[str, Any], namespace: str = "") -> bytes: ...
    async def get(self, resource: Resource, name: str, namespace: str = "") -> bytes | None: ...


class Allocator:
    """Get or create. `known` is the watched set of CiliumIdentities, which may lag behind."""

    def __init__(self, api: IdentityAPI, local: PeerScope, known: Mapping[Identity, Labels]) -> None:
        self._api = api
        self._local = local
        self._known = known

    async def allocate(self, labels: Labels) -> Identity:
        """The number for `labels`. Raises KubernetesError, ExhaustedError."""
        owns = self._local.owns  # numbers from before the cluster had another id mean nothing to its peers
        same = [number for number, known in self._known.items() if known == labels and owns(number)]
        if same:
            return min(same)  # duplicates are harmless, but everybody must take the same one
        for number in candidates(self._local, labels_text(labels)):
            if number in self._known:
                continue
            if await self._claim(number, labels):
                return number
        raise ExhaustedError(f"no free identity in {MAX_TRIES} tries")

    async def _claim(self, number: Identity, labels: Labels) -> bool:
        """Whether `number` means `labels` now, by us or by somebody faster."""
        try:
            await self._api.create(CILIUMIDENTITY, identity_object(number, labels))
        except ConflictError:
            raw = await self._api.get(CILIUMIDENTITY, str(number))
            return raw is not None and _labels_of(raw) == labels
        log.info("identity %s was created for %s", number, labels_text(labels))
        return True


def identity_object(number: Identity, labels: Labels) -> dict[str, Any]:
    namespace = next((label.value for label in labels if label.key == NAMESPACE_LABEL), "")
    return {
        "metadata": {"name": str(number), "labels": {NAMESPACE_LABEL: namespace}},
        "security-labels": security_labels(labels),
    }


def _labels_of(raw: bytes) -> Labels | None:
    try:
        return from_security_labels(decode(raw, CiliumIdentity).security_labels)
    except msgspec.MsgspecError:
        return None
