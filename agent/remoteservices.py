"""What one peer says of services, as services or as endpoint slices, on its way to the services table. Pure.

One of the two counts. When a peer changes over, what it said the old way stays until the new way is listed.
"""

from __future__ import annotations

from collections.abc import Iterable

from agent.addresscheck import AddressCheck, Recheck
from agent.services import Services
from mesh.endpointslice import ClusterEndpointSlice
from mesh.keys import Kind
from mesh.service import GlobalService
from peering.remoteslices import RemoteSlices


class RemoteServices:
    """Publishes to `table` what counts, restricted by `check`."""

    def __init__(self, peer: str, table: Services, check: AddressCheck) -> None:
        self.whole: dict[str, GlobalService] = {}  # as the peer told them
        self.slices = RemoteSlices()
        self._peer = peer
        self._table = table
        self._check = check
        self._slices_count = False
        self._published: set[str] = set()

    @property
    def count(self) -> int:
        return len(self._published)

    def read_as(self, kind: Kind) -> None:
        """Which of the two the peer is read as from now on; where that says nothing, the other counts."""
        self._slices_count = kind is Kind.ENDPOINTSLICES

    def set_service(self, key: str, service: GlobalService | None) -> None:
        if service is None:
            self.whole.pop(key, None)
        else:
            self.whole[key] = service
        self._publish(key)

    def set_slice(self, key: str, item: ClusterEndpointSlice | None) -> None:
        for service in self.slices.set(key, item):
            self._publish(service)

    def recheck(self, what: Recheck) -> None:
        for key in self._concerned(what):
            self._publish(key)

    def _concerned(self, what: Recheck) -> Iterable[str]:
        match what:
            case Recheck.EVERYTHING:
                return sorted(self._published)
            case Recheck.OUTSIDE:
                return sorted(self._check.services)
            case Recheck.NOTHING:
                return ()

    def _publish(self, key: str) -> None:
        service = self._current(key)
        if service is None:
            self._published.discard(key)
            self._check.forget_service(key)
            self._table.set_remote(self._peer, key, None)
        else:
            self._published.add(key)
            self._table.set_remote(self._peer, key, self._check.restrict(service))

    def _current(self, key: str) -> GlobalService | None:
        if self._slices_count:
            return self.slices.service(key) or self.whole.get(key)
        return self.whole.get(key) or self.slices.service(key)
