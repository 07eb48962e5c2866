"""Which writes turn the service maps into what is wanted. Pure.

Their order is `lb_steps`'. Ids are recovered from the maps, so a restart changes nothing: a backend keeps
its id while any service uses it, a frontend its reverse NAT id, and a backend its slot where possible.

Each family has maps of its own, and so a plan of its own: see `services.py`. Only the matches are shared,
which name backends: the two families' ids never meet.
"""

from collections import Counter
from collections.abc import Container, Mapping, Sequence

from bpf import lb_map
from bpf.address import Family, family
from bpf.lb_affinity import Matches
from bpf.lb_backends import BACKEND_IDS, Backends
from bpf.lb_groups import Groups
from bpf.lb_lists import Held, Lists, is_group
from bpf.lb_ranges import Ranges
from bpf.lb_rev_nat import ReverseNat
from bpf.lb_steps import Dumps, Step, Table, Writes
from bpf.lb_wanted import ALL_PLAIN, BackendLike, F, Master, Wanted, key_of, wanted

EMPTY = Dumps()
WHOLE_SHARE = 1 << 20  # a share of 1 among backends: divisible by any number of them well enough


def plan(
    services: Mapping[F, Sequence[BackendLike]],
    current: Dumps,
    *,
    complete: bool = True,
    masters: Mapping[F, Master] = ALL_PLAIN,
    of: Family = Family.IPV4,
) -> list[Step]:
    """Everything wanted against everything that stands. Not `complete`: nothing is removed
    that is merely unknown to the caller. `masters`: of frontends that are not plain. `of`: whose maps;
    frontends of the other family are left out."""
    mirror = Mirror(current, of)
    return mirror.plan(services, complete=complete, masters=masters)


class Mirror:
    """What the maps of one family hold, by meaning. `plan` assumes that its steps will be carried out;
    if they are not, throw the mirror away and make one of what the maps hold. Frontends of the other
    family are left out; ValueError for a backend of the other family."""

    def __init__(self, dumps: Dumps = EMPTY, of: Family = Family.IPV4) -> None:
        self._family = of
        self._backends = Backends(of, dumps.backends)
        self._rev_nats = ReverseNat(dumps.reverse_nat)
        self._matches = Matches(dumps.matches, BACKEND_IDS[of])
        self._ranges = Ranges(dumps.ranges)
        self._lists = Lists(dumps.services, self._backends)
        self._groups = Groups(self._lists, self._backends)
        for held in self._lists.held.values():
            self._rev_nats.occupy(held.rev_nat)

    def sizes(self) -> dict[Table, int]:
        """How many entries each map has. May be asked while a plan is made elsewhere."""
        return {
            Table.SERVICES: len(self._lists),
            Table.BACKENDS: len(self._backends),
            Table.REVERSE_NAT: len(self._rev_nats),
            Table.MATCHES: len(self._matches),
            Table.RANGES: len(self._ranges),
        }

    def node_ports(self, algorithms: Container[int]) -> dict[int, dict[bytes, int]]:
        """Reverse NAT id -> packed backends and their weights, of the services that nodes serve outside and
        that say one of these of how backends are chosen."""
        found = {}
        for key, held in self._lists.held.items():
            if lb_map.algorithm_of(held.flags) not in algorithms:
                continue
            if held.flags & lb_map.FLAGS_OUTSIDE and not held.flags & lb_map.FLAG_TWO_SCOPES:
                found[held.rev_nat] = self._weights(key, held)
        return found

    def _weights(self, key: bytes, held: Held) -> dict[bytes, int]:
        """A group's share is divided among its members."""
        weights: dict[bytes, int] = {}
        for number, share in Counter(held.slots).items():
            group = self._lists.held.get(lb_map.with_scope(key, -number)) if number < 0 else None
            members = group.slots if group else [number]
            weight = share * WHOLE_SHARE // len(members) if members else 0
            weights |= dict.fromkeys(self._backends.values(members), max(1, weight))
        return weights

    def id_of(self, value: bytes) -> int:
        """Of a packed backend."""
        return self._backends.id_of(value)

    def plan(
        self,
        services: Mapping[F, Sequence[BackendLike]],
        *,
        complete: bool = True,
        masters: Mapping[F, Master] = ALL_PLAIN,
    ) -> list[Step]:
        """All services: those that are not given go, if the picture is complete."""
        changes: dict[bytes, Wanted | None] = {
            key_of(f): wanted(f, b, masters) for f, b in services.items() if family(f.ip) is self._family
        }
        if complete:
            unknown = self._lists.held.keys() - changes.keys()
            changes |= dict.fromkeys(key for key in unknown if not is_group(key))
        return self._plan(changes, prune=complete)

    def plan_changes(
        self,
        changes: Mapping[F, Sequence[BackendLike] | None],
        *,
        masters: Mapping[F, Master] = ALL_PLAIN,
    ) -> list[Step]:
        """Only these services; None removes one."""
        return self._plan(
            {
                key_of(f): None if b is None else wanted(f, b, masters)
                for f, b in changes.items()
                if family(f.ip) is self._family
            }
        )

    def _plan(self, changes: Mapping[bytes, Wanted | None], *, prune: bool = False) -> list[Step]:
        writes = Writes()
        for key, change in changes.items():
            if change is None:
                self._remove(key, writes)
            else:
                self._upsert(key, change, writes)
        if prune:
            self._prune(writes)
        self._backends.release(writes)
        return writes.steps()

    def _upsert(self, key: bytes, change: Wanted, writes: Writes) -> None:
        held = self._lists.held.get(key)
        rev_nat = self._rev_nats.id_of(key, held.rev_nat if held else 0, writes)
        members = self._backends.ids(change.values, writes)
        slots = members.copy()
        scopes = self._groups.scopes(key, [group.cluster for group in change.groups])
        for group in change.groups:
            ids = self._backends.ids(group.values, writes)
            self._lists.fill(lb_map.with_scope(key, scopes[group.cluster]), ids, rev_nat, writes)
            members += ids
            slots += [-scopes[group.cluster]] * group.share
        self._matches.replace(rev_nat, members if change.master.sticky else (), writes)
        self._ranges.replace(rev_nat, change.master.ranges, writes)
        self._lists.fill(key, slots, rev_nat, writes, change.master)
        self._groups.replace(key, scopes, writes)

    def _remove(self, key: bytes, writes: Writes) -> None:
        held = self._lists.remove(key, writes)
        if held is None:
            return
        self._groups.replace(key, {}, writes)
        if self._rev_nats.release(key, held.rev_nat, writes):
            self._matches.replace(held.rev_nat, (), writes)
            self._ranges.replace(held.rev_nat, (), writes)

    def _prune(self, writes: Writes) -> None:
        """What a crash may have left: entries that nothing leads to."""
        self._groups.prune(writes)
        self._lists.prune(writes)
        used = {held.rev_nat for held in self._lists.held.values()}
        self._rev_nats.prune(used, writes)
        self._matches.prune(used, writes)
        self._ranges.prune(used, writes)
        self._backends.prune()
