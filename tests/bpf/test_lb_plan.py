"""Plans for the service maps, carried out write by write: no moment may show half a service."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpf import lb_map, lb_plan
from bpf.errors import MapFullError
from bpf.lb_plan import Mirror
from bpf.lb_steps import Dumps, Step, Table
from bpf.lb_wanted import MAX_SHARE, PLAIN, Master
from mesh.localservice import Frontend
from mesh.matching import Backend

Services = Mapping[Frontend, Sequence[Backend]]

FRONTENDS = st.builds(
    Frontend,
    st.sampled_from(["172.20.1.1", "172.20.1.2"]),
    st.sampled_from([80, 81]),
    st.sampled_from(["TCP", "UDP"]),
    st.booleans(),
)
BACKENDS = st.builds(
    Backend,
    st.sampled_from([f"10.1.0.{n}" for n in range(1, 7)]),
    st.just(8080),
    st.just("TCP"),
    st.sampled_from([1, 2]),
    st.just(0),
)
SHARES = st.sampled_from([(0, 0), (0, 0), (1, 1), (2, 3)])


def shared_out(backends: list[Backend], shares: tuple[int, int]) -> list[Backend]:
    return [backend._replace(weight=shares[backend.cluster_id - 1]) for backend in backends]


LISTS = st.builds(shared_out, st.lists(BACKENDS, max_size=7), SHARES)
SERVICES = st.dictionaries(FRONTENDS, LISTS, max_size=5)
KINDS = st.sampled_from([Master(flags=lb_map.FLAG_NODE_PORT), Master(flags=lb_map.FLAG_ROUTABLE)])
MASTERS = st.dictionaries(FRONTENDS, KINDS, max_size=5)

BALANCED = Master(flags=lb_map.FLAG_LOAD_BALANCER)
WEB = Frontend("172.20.1.1", 80, "TCP")
DNS = Frontend("172.20.1.2", 53, "UDP")


def backend(n: int) -> Backend:
    return Backend(f"10.1.{n // 250}.{n % 250 + 1}", 8080, "TCP", 1)


class Maps:
    """The maps in memory; a step's writes go in one at a time."""

    def __init__(self) -> None:
        self.tables: dict[Table, dict[bytes, bytes]] = {table: {} for table in Table}

    @property
    def dumps(self) -> Dumps:
        return Dumps(*(dict(self.tables[table]) for table in Table))

    def writing(self, steps: Sequence[Step]) -> Iterator[None]:
        """Yields after every single write."""
        for step in steps:
            table = self.tables[step.table]
            for key, value in step.upserts:
                table[key] = value
                yield
            for key in step.deletes:
                table.pop(key, None)
                yield

    def write(self, steps: Sequence[Step]) -> None:
        for _ in self.writing(steps):
            pass

    def backends_of(self, frontend: Frontend) -> list[Backend] | None:
        """As a program looks them up; KeyError where it would find half a service."""
        master = key_of(frontend)
        if master not in self.tables[Table.SERVICES]:
            return None
        value = lb_map.unpack_service_value(self.tables[Table.SERVICES][master])
        if value.count:
            rev_nat = self.tables[Table.REVERSE_NAT][lb_map.pack_rev_nat_id(value.rev_nat)]
            assert lb_map.unpack_rev_nat(rev_nat) == (frontend.ip, frontend.port)
        found = []
        for number in self._numbers(master, value.count):
            raw = lb_map.unpack_backend(self.tables[Table.BACKENDS][lb_map.pack_backend_id(number)])
            found.append(Backend(raw.ip, raw.port, raw.protocol, raw.cluster_id))
        return found

    def _numbers(self, key: bytes, count: int) -> Iterator[int]:
        table = self.tables[Table.SERVICES]
        for slot in range(1, count + 1):
            entry = lb_map.unpack_service_value(table[lb_map.with_slot(key, slot)])
            if entry.group:
                group = lb_map.with_scope(key, entry.group)
                members = lb_map.unpack_service_value(table[group]).count
                assert members  # a connection that came this far must find somebody
                yield from self._numbers(group, members)
            else:
                yield entry.backend_id

    def shares_of(self, frontend: Frontend) -> Counter[int]:
        """Group -> how often it stands in the frontend's list."""
        master, table = key_of(frontend), self.tables[Table.SERVICES]
        count = lb_map.unpack_service_value(table[master]).count
        entries = [lb_map.unpack_service_value(table[lb_map.with_slot(master, n + 1)]) for n in range(count)]
        return Counter(entry.group for entry in entries)

    def check_equal(self, services: Services) -> None:
        for frontend, backends in services.items():
            found = self.backends_of(frontend)
            assert found is not None
            shares = shares_of(frontend, backends)
            assert set(found) == plain(backends)
            assert len(found) == entries_of(frontend, backends) - 1 or shares
            assert sorted(self.shares_of(frontend).values()) == sorted(shares.values()) or not shares
        entries = sum(entries_of(*each) for each in services.items())
        assert len(self.tables[Table.SERVICES]) == entries
        assert len(self.tables[Table.REVERSE_NAT]) == len(services)
        assert len(self.tables[Table.BACKENDS]) == len(set().union(*map(plain, services.values())))


def plain(backends: Iterable[Backend]) -> set[Backend]:
    return {backend._replace(weight=0) for backend in backends}


def key_of(frontend: Frontend) -> bytes:
    return lb_map.pack_service(*frontend[:3], scope=lb_map.SCOPE_OUTSIDE if frontend.outside else 0)


def shares_of(frontend: Frontend, backends: Iterable[Backend]) -> dict[int, int]:
    """What is for clients outside alone has no groups: there a weight is a backend's own."""
    return {b.cluster_id: b.weight for b in backends if b.weight and not frontend.outside}


def entries_of(frontend: Frontend, backends: Sequence[Backend]) -> int:
    """How many a service takes in the services map: its masters and slots."""
    if frontend.outside:
        weights = {each._replace(weight=0): max(1, each.weight) for each in backends}
        return 1 + sum(weights.values())
    shares = shares_of(frontend, backends)
    return 1 + len(plain(backends)) + len(shares) + sum(shares.values())


@given(SERVICES, SERVICES)
def test_after_every_single_write_each_service_is_whole(before: Services, after: Services) -> None:
    maps = Maps()
    maps.write(lb_plan.plan(before, maps.dumps))
    maps.check_equal(before)
    for _ in maps.writing(lb_plan.plan(after, maps.dumps)):
        for frontend in before.keys() | after.keys():
            found = maps.backends_of(frontend)
            known = plain([*before.get(frontend, ()), *after.get(frontend, ())])
            assert set(found or ()) <= known
            if before.get(frontend) and after.get(frontend):
                assert found  # what has backends before and after has them all the while
    maps.check_equal(after)


@given(SERVICES, SERVICES, st.integers(0, 60))
def test_a_plan_broken_off_anywhere_is_mended_by_the_next(
    before: Services, after: Services, writes: int
) -> None:
    maps = Maps()
    maps.write(lb_plan.plan(before, maps.dumps))
    for done, _ in enumerate(maps.writing(lb_plan.plan(after, maps.dumps)), 1):
        if done > writes:
            break
    maps.write(lb_plan.plan(after, maps.dumps))
    maps.check_equal(after)


@given(st.lists(st.dictionaries(FRONTENDS, st.none() | LISTS, max_size=3), max_size=5))
def test_changes_service_by_service_end_where_one_plan_would(
    changes: list[dict[Frontend, list[Backend] | None]],
) -> None:
    maps, mirror = Maps(), Mirror()
    wanted: dict[Frontend, list[Backend]] = {}
    for change in changes:
        maps.write(mirror.plan_changes(change))
        for frontend, backends in change.items():
            wanted.pop(frontend, None)
            if backends is not None:
                wanted[frontend] = backends
        maps.check_equal(wanted)


@given(SERVICES)
def test_what_is_as_wanted_needs_no_write(services: Services) -> None:
    maps = Maps()
    maps.write(lb_plan.plan(services, maps.dumps))
    assert lb_plan.plan(services, maps.dumps) == []


@given(SERVICES, SERVICES)
def test_an_incomplete_picture_removes_no_service(before: Services, after: Services) -> None:
    maps = Maps()
    maps.write(lb_plan.plan(before, maps.dumps))
    maps.write(lb_plan.plan(after, maps.dumps, complete=False))
    for frontend, backends in {**before, **after}.items():
        found = maps.backends_of(frontend)
        assert found is not None
        assert set(found) == plain(backends)


def test_one_change_in_a_long_list_is_a_few_writes() -> None:
    maps = Maps()
    backends = [backend(n) for n in range(10_000)]
    maps.write(lb_plan.plan({WEB: backends}, maps.dumps))
    steps = lb_plan.plan({WEB: [*backends[:4000], *backends[4001:], backend(20_000)]}, maps.dumps)
    assert [(s.table, len(s.upserts), len(s.deletes)) for s in steps] == [
        (Table.BACKENDS, 1, 0),
        (Table.SERVICES, 1, 0),
        (Table.BACKENDS, 0, 1),
    ]


def test_one_change_of_a_weighted_service_touches_its_own_group_only() -> None:
    maps = Maps()
    near = [backend(n)._replace(weight=3) for n in range(5000)]
    far = [backend(n + 5000)._replace(cluster_id=2, weight=1) for n in range(5000)]
    maps.write(lb_plan.plan({WEB: near + far}, maps.dumps))
    assert sorted(maps.shares_of(WEB).values()) == [1, 3]
    steps = lb_plan.plan({WEB: near[1:] + far}, maps.dumps)
    assert sum(len(step.upserts) + len(step.deletes) for step in steps) == 4  # slot, master, slot, backend


def test_a_cluster_keeps_its_group_while_others_come_and_go() -> None:
    maps = Maps()
    one, two, three = (backend(n)._replace(cluster_id=n, weight=1) for n in (1, 2, 3))
    maps.write(lb_plan.plan({WEB: [one, two]}, maps.dumps))
    before = maps.dumps.services
    maps.write(lb_plan.plan({WEB: [two, three]}, maps.dumps))
    kept = [key for key in before if lb_map.scope_of(key) == 3]
    assert len(kept) == 2
    assert all(maps.dumps.services[key] == before[key] for key in kept)


def test_a_share_without_bound_is_cut() -> None:
    maps = Maps()
    maps.write(lb_plan.plan({WEB: [backend(1)._replace(weight=10**9)]}, maps.dumps))
    assert list(maps.shares_of(WEB).values()) == [MAX_SHARE]


def test_ids_stay_through_a_restart_and_freed_ones_are_not_given_out_at_once() -> None:
    maps = Maps()
    maps.write(lb_plan.plan({WEB: [backend(1), backend(2)], DNS: [backend(1)]}, maps.dumps))
    before = maps.dumps
    maps.write(lb_plan.plan({DNS: [backend(1), backend(3)]}, maps.dumps))
    after = maps.dumps
    kept = lb_map.pack_backend_id(1)
    assert after.backends[kept] == before.backends[kept]
    assert lb_map.pack_backend_id(2) not in after.backends
    assert lb_map.pack_backend_id(3) in after.backends
    dns = key_of(DNS)
    old, new = (lb_map.unpack_service_value(dumps.services[dns]) for dumps in (before, after))
    assert (old.rev_nat, old.count, new.rev_nat, new.count) == (old.rev_nat, 1, old.rev_nat, 2)


def test_a_service_without_backends_keeps_its_master_entry() -> None:
    maps = Maps()
    maps.write(lb_plan.plan({WEB: [backend(1)]}, maps.dumps))
    maps.write(lb_plan.plan({WEB: []}, maps.dumps))
    assert maps.backends_of(WEB) == []
    assert not maps.tables[Table.BACKENDS]


def test_two_masters_with_one_reverse_nat_id_are_told_apart() -> None:
    maps = Maps()
    maps.write(lb_plan.plan({WEB: [backend(1)], DNS: [backend(1)]}, maps.dumps))
    maps.tables[Table.SERVICES][key_of(DNS)] = maps.tables[Table.SERVICES][key_of(WEB)]
    maps.write(lb_plan.plan({WEB: [backend(1)], DNS: [backend(1)]}, maps.dumps))
    maps.check_equal({WEB: [backend(1)], DNS: [backend(1)]})


def test_more_backends_than_a_master_can_count_are_refused() -> None:
    crowd = [Backend(f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}", 80, "TCP", 1) for n in range(65_536)]
    with pytest.raises(MapFullError, match="65535 backends"):
        lb_plan.plan({WEB: crowd}, Dumps())


@given(SERVICES, MASTERS, SERVICES, MASTERS)
def test_a_master_entry_says_its_flags_and_a_change_of_them_is_a_write(
    before: Services, were: Mapping[Frontend, Master], after: Services, will: Mapping[Frontend, Master]
) -> None:
    maps = Maps()
    maps.write(lb_plan.plan(before, maps.dumps, masters=were))
    maps.write(lb_plan.plan(after, maps.dumps, masters=will))
    maps.check_equal(after)
    for frontend in after:
        raw = maps.tables[Table.SERVICES][key_of(frontend)]
        assert lb_map.unpack_service_value(raw).flags == will.get(frontend, PLAIN).flags
    assert lb_plan.plan(after, maps.dumps, masters=will) == []


def test_a_list_for_clients_outside_has_each_backend_as_often_as_it_weighs() -> None:
    maps, outside = Maps(), WEB._replace(outside=True)
    near, far = backend(1)._replace(weight=2), backend(2)._replace(weight=3, cluster_id=2)
    maps.write(lb_plan.plan({outside: [near, far]}, maps.dumps, masters={outside: BALANCED}))
    assert Counter(each.ip for each in maps.backends_of(outside) or ()) == {near.ip: 2, far.ip: 3}
    ((_, weights),) = Mirror(maps.dumps).node_ports({0}).items()  # so has a Maglev table
    by_ip = {lb_map.unpack_backend(value).ip: weight for value, weight in weights.items()}
    assert by_ip[near.ip] * 3 == by_ip[far.ip] * 2
