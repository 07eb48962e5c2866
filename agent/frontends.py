"""What is wanted of each frontend, and which service it is of. Pure.

Of services that claim one address and port (nothing keeps two from having one external address, or one from
having another's cluster IP as that) the first one told keeps it, so that nobody takes another's clients away.
One that Kubernetes gave it to, as cluster IP or node port, has it in any case. Who waits gets it when the
owner lets go.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NamedTuple

from agent.desired import Clock, Desired
from bpf.lb_wanted import PLAIN, Master
from mesh.ip import with_port
from mesh.localservice import Frontend
from mesh.matching import Backend

Members = tuple[Backend, ...]


class _Claim(NamedTuple):
    members: Members
    master: Master
    is_own: bool  # Kubernetes gave it to the service


class Frontends:
    def __init__(self, clock: Clock) -> None:
        self.wanted: Desired[Frontend, Members] = Desired(clock)
        self.masters: Desired[Frontend, Master] = Desired(clock)  # of frontends that are not plain
        self.owners: dict[Frontend, str] = {}
        self._of: dict[str, frozenset[Frontend]] = {}
        self._own: set[Frontend] = set()  # that Kubernetes gave to their owners
        self._waiting: dict[Frontend, dict[str, _Claim]] = {}  # hardly ever any

    def of(self, key: str) -> frozenset[Frontend]:
        """The frontends that one service has."""
        return frozenset(each for each in self._of.get(key, ()) if self.owners[each] == key)

    def replace(
        self,
        key: str,
        backends: Mapping[Frontend, Members],
        masters: Mapping[Frontend, Master],
        said_ips: Collection[str] = (),
    ) -> None:
        """The service has these frontends now, and no others; of each both are told. `said_ips`: what
        somebody wrote into it, and may have written into another one too."""
        for frontend, members in backends.items():
            self._claim(frontend, key, _Claim(members, masters[frontend], frontend.ip not in said_ips))
        for frontend in self._of.get(key, frozenset()) - backends.keys():
            self._let_go(frontend, key)
        if backends:
            self._of[key] = frozenset(backends)
        else:
            self._of.pop(key, None)

    def conflicts(self) -> dict[str, list[Frontend]]:
        """What services claim and others have."""
        found: dict[str, list[Frontend]] = {}
        for frontend, claims in sorted(self._waiting.items()):
            for key in claims:
                found.setdefault(key, []).append(frontend)
        return found

    def text(self, conflict: Frontend) -> str:
        at = with_port(conflict.ip, conflict.port)
        return f"{at}/{conflict.protocol} is service {self.owners[conflict]}'s"

    def _claim(self, frontend: Frontend, key: str, claim: _Claim) -> None:
        owner = self.owners.get(frontend, key)
        if owner == key and (claim.is_own or not self._own_heir(frontend)):
            self._give(frontend, key, claim)
        elif owner == key:  # it was the owner's own, and is not any more
            self._waiting[frontend][key] = claim
            self._hand_over(frontend, self._own_heir(frontend))
        elif claim.is_own and frontend not in self._own:
            master = self.masters.entries.get(frontend, PLAIN)
            before = _Claim(self.wanted.entries[frontend], master, is_own=False)
            self._waiting.setdefault(frontend, {}).update({owner: before, key: claim})
            self._hand_over(frontend, key)
        else:
            self._waiting.setdefault(frontend, {})[key] = claim

    def _let_go(self, frontend: Frontend, key: str) -> None:
        if self.owners.get(frontend) != key:
            self._stop_waiting(frontend, key)
        elif claims := self._waiting.get(frontend):
            self._hand_over(frontend, self._own_heir(frontend) or next(iter(claims)))
        else:
            del self.owners[frontend]
            self._own.discard(frontend)
            self.wanted.remove(frontend)
            self.masters.remove(frontend)

    def _own_heir(self, frontend: Frontend) -> str:
        """Who waits for what Kubernetes gave to it; empty for nobody."""
        return next((key for key, claim in self._waiting.get(frontend, {}).items() if claim.is_own), "")

    def _hand_over(self, frontend: Frontend, heir: str) -> None:
        claim = self._waiting[frontend][heir]
        self._stop_waiting(frontend, heir)
        self._give(frontend, heir, claim)

    def _give(self, frontend: Frontend, key: str, claim: _Claim) -> None:
        self.owners[frontend] = key
        (self._own.add if claim.is_own else self._own.discard)(frontend)
        self.wanted.upsert(frontend, claim.members)
        if claim.master == PLAIN:
            self.masters.remove(frontend)
        else:
            self.masters.upsert(frontend, claim.master)

    def _stop_waiting(self, frontend: Frontend, key: str) -> None:
        claims = self._waiting.get(frontend, {})
        claims.pop(key, None)
        if not claims:
            self._waiting.pop(frontend, None)
