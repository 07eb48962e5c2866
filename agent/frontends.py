"""What is wanted of each frontend, and which service it is of. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from agent.desired import Clock, Desired
from bpf.lb_wanted import PLAIN, Master
from mesh.localservice import Frontend
from mesh.matching import Backend


class Frontends:
    """`owners`: of two services with one address the one that was told last has it."""

    def __init__(self, clock: Clock) -> None:
        self.wanted: Desired[Frontend, tuple[Backend, ...]] = Desired(clock)
        self.masters: Desired[Frontend, Master] = Desired(clock)  # of frontends that are not plain
        self.owners: dict[Frontend, str] = {}
        self._of: dict[str, frozenset[Frontend]] = {}

    def of(self, key: str) -> frozenset[Frontend]:
        """The frontends of one service."""
        return self._of.get(key, frozenset())

    def replace(
        self, key: str, backends: Mapping[Frontend, tuple[Backend, ...]], masters: Mapping[Frontend, Master]
    ) -> None:
        """The service has these frontends now, and no others; of each both are told."""
        for frontend, members in backends.items():
            self.owners[frontend] = key
            self.wanted.upsert(frontend, members)
            if (master := masters[frontend]) == PLAIN:
                self.masters.remove(frontend)
            else:
                self.masters.upsert(frontend, master)
        for frontend in self.of(key) - backends.keys():
            if self.owners.get(frontend) == key:  # else another service has taken the address over
                del self.owners[frontend]
                self.wanted.remove(frontend)
                self.masters.remove(frontend)
        if backends:
            self._of[key] = frozenset(backends)
        else:
            self._of.pop(key, None)
