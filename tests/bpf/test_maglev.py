"""Maglev tables: even, the same everywhere, little changed by a change; and how they get into the maps."""

from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import chain
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bpf import lb_map, maglev, maglev_map, maglev_plan
from bpf.lb_map import with_algorithm
from bpf.lb_plan import Mirror
from bpf.lb_steps import Dumps, Table
from bpf.lb_wanted import Master
from bpf.maglev_plan import Plan, Slots
from bpf.maglev_tables import MAGLEV, Maglev
from mesh.localservice import Frontend
from mesh.matching import Backend

SMALL = 1021
NODE_PORT = lb_map.FLAG_NODE_PORT


def backend(number: int, cluster: int = 0) -> bytes:
    return lb_map.pack_backend(
        f"10.{number // 65536 + 1}.{number // 256 % 256}.{number % 256}", 80, "TCP", cluster
    )


NUMBERS = st.sets(st.integers(0, 200_000), min_size=1, max_size=40)
WEIGHTS = st.dictionaries(
    st.builds(backend, st.integers(0, 200_000)), st.integers(1, 50), min_size=1, max_size=30
)


@given(WEIGHTS, st.randoms())
def test_a_table_is_the_same_in_every_order(weights: Mapping[bytes, int], random: Random) -> None:
    items = list(weights.items())
    random.shuffle(items)
    assert maglev.table(dict(items), 251) == maglev.table(weights, 251)


@given(WEIGHTS)
def test_every_backend_has_its_share_of_slots(weights: Mapping[bytes, int]) -> None:
    counts, total = Counter(maglev.table(weights, SMALL)), sum(weights.values())
    assert sum(counts.values()) == SMALL
    for value, weight in weights.items():
        exact, tolerance = SMALL * weight / total, 2 + len(weights) * weight / total
        assert abs(counts[value] - exact) <= tolerance


@given(NUMBERS)
def test_equal_backends_differ_by_one_slot_at_most(numbers: set[int]) -> None:
    counts = Counter(maglev.table({backend(number): 1 for number in numbers}, SMALL))
    assert max(counts.values()) - min(counts.values()) <= 1
    assert len(counts) == len(numbers)


@settings(max_examples=30)
@given(st.sets(st.integers(0, 200_000), min_size=2, max_size=30), st.data())
def test_when_a_backend_goes_the_others_keep_nearly_all_slots(numbers: set[int], data: st.DataObject) -> None:
    """The paper has 1 to 2 of 100 for tables a hundred times as long as the list; these are shorter."""
    gone = backend(data.draw(st.sampled_from(sorted(numbers))))
    before = maglev.table({backend(number): 1 for number in numbers}, SMALL)
    after = maglev.table({backend(number): 1 for number in numbers if backend(number) != gone}, SMALL)
    moved = sum(old not in (gone, new) for old, new in zip(before, after, strict=True))
    assert moved <= 0.25 * SMALL


def test_a_usual_service_moves_few_connections_when_one_of_ten_backends_goes() -> None:
    before = maglev.table({backend(number): 1 for number in range(10)}, maglev.DEFAULT_SIZE)
    after = maglev.table({backend(number): 1 for number in range(9)}, maglev.DEFAULT_SIZE)
    moved = sum(old not in (backend(9), new) for old, new in zip(before, after, strict=True))
    assert moved < 0.06 * maglev.DEFAULT_SIZE


def test_a_table_is_the_same_in_both_clusters() -> None:
    """Each has no number for its own backends."""
    here = maglev.table({backend(1): 1, backend(2, cluster=2): 1}, 251)
    there = maglev.table({backend(1, cluster=1): 1, backend(2): 1}, 251)
    assert [lb_map.unpack_backend(b).ip for b in here] == [lb_map.unpack_backend(b).ip for b in there]


def test_no_backends_make_no_table() -> None:
    assert maglev.table({}, 251) == ()


def test_sizes_are_primes() -> None:
    """Or a backend's preferences would not go through all slots."""
    assert all(size % n for size in maglev.SIZES for n in range(2, int(size**0.5) + 1))
    assert maglev.DEFAULT_SIZE in maglev.SIZES


class Maps:
    """The maps in memory; a plan's writes go in one at a time."""

    def __init__(self) -> None:
        self.tables: dict[bytes, bytes] = {}
        self.parts: dict[bytes, bytes] = {}

    def plan(self, wanted: Mapping[int, Slots]) -> Plan:
        return maglev_plan.plan(wanted, self.tables, self.parts)

    def writing(self, plan: Plan) -> Iterator[None]:
        for held, pairs in ((self.parts, plan.parts), (self.tables, plan.tables)):
            for key, value in pairs:
                held[key] = value
                yield
        for key in chain(plan.old_tables, plan.old_parts):
            (self.tables if key in plan.old_tables else self.parts).pop(key)
            yield

    def write(self, plan: Plan) -> None:
        for _ in self.writing(plan):
            pass

    def seen(self, rev_nat: int) -> list[int | None] | None:
        """As the programs see a service's table."""
        raw = self.tables.get(maglev_map.pack_key(rev_nat))
        if raw is None:
            return None
        table = maglev_map.unpack_table(raw)
        return [maglev_map.backend_at(table, slot, self.parts) for slot in range(table.size)]


TABLES = st.dictionaries(
    st.integers(1, 3), st.sampled_from([[], [1] * 300, [1, 2] * 150, [3] * 251, [4] * 600]), max_size=3
)


@given(TABLES, TABLES)
def test_at_every_moment_a_service_has_its_old_table_or_the_new_one(
    before: Mapping[int, Slots], after: Mapping[int, Slots]
) -> None:
    maps = Maps()
    maps.write(maps.plan(before))
    for _ in maps.writing(maps.plan(after)):
        for rev_nat in before.keys() | after.keys():
            allowed = [list(side.get(rev_nat, [])) or None for side in (before, after)]
            assert maps.seen(rev_nat) in allowed
    for rev_nat, ids in after.items():
        assert maps.seen(rev_nat) == (list(ids) or None)
    assert len(maps.tables) == sum(bool(ids) for ids in after.values())
    assert len(maps.parts) == sum(maglev_map.parts_of(len(ids)) for ids in after.values())
    assert len(maps.plan(after)) == 0  # a restart changes nothing


@given(TABLES, TABLES, st.integers(0, 12))
def test_what_a_crash_leaves_is_mended(
    before: Mapping[int, Slots], after: Mapping[int, Slots], at: int
) -> None:
    maps = Maps()
    maps.write(maps.plan(before))
    for done, _ in enumerate(maps.writing(maps.plan(after))):
        if done == at:
            break
    maps.write(maps.plan(after))
    assert {rev_nat: maps.seen(rev_nat) for rev_nat in after} == {
        k: list(v) or None for k, v in after.items()
    }
    assert len(maps.parts) == sum(maglev_map.parts_of(len(ids)) for ids in after.values())


@given(TABLES, TABLES)
def test_changes_alone_come_to_the_same_and_show_no_half_table(
    before: Mapping[int, Slots], after: Mapping[int, Slots]
) -> None:
    maps = Maps()
    maps.write(maps.plan(before))
    standing = {maglev_map.unpack_key(k): maglev_map.unpack_table(v) for k, v in maps.tables.items()}
    changes = {r: after.get(r, []) for r in before.keys() | after.keys() if before.get(r) != after.get(r)}
    for _ in maps.writing(maglev_plan.plan_changes(changes, standing)):
        for rev_nat in before.keys() | after.keys():
            allowed = [list(side.get(rev_nat, [])) or None for side in (before, after)]
            assert maps.seen(rev_nat) in allowed
    assert len(maps.plan(after)) == 0


def test_a_cluster_s_share_is_divided_among_its_backends() -> None:
    web, plain = Frontend("198.18.1.11", 30_080, "TCP"), Frontend("172.20.1.5", 80, "TCP")
    members = [Backend(f"10.1.0.{n}", 80, "TCP", 0, 3) for n in range(1, 4)] + [
        Backend("10.2.0.1", 80, "TCP", 2, 1)
    ]
    mirror = Mirror()
    mirror.plan({web: members, plain: members[:1]}, masters={web: Master(flags=NODE_PORT)})
    ((_, weights),) = mirror.node_ports({0}).items()  # the other service is no node port
    assert mirror.node_ports({MAGLEV}) == {}
    counts = Counter(lb_map.unpack_backend(value).ip for value in maglev.table(weights, SMALL))
    assert counts["10.2.0.1"] == pytest.approx(SMALL / 4, abs=3)
    assert all(counts[f"10.1.0.{n}"] == pytest.approx(SMALL / 4, abs=3) for n in range(1, 4))


def test_a_service_that_says_so_has_a_table_or_none_whatever_the_node_does() -> None:
    silent, random, hashing = (Frontend("198.18.1.11", port, "TCP") for port in (30_080, 30_081, 30_082))
    backends = [Backend("10.1.0.1", 80, "TCP", 0)]
    flags = {silent: NODE_PORT, random: NODE_PORT | with_algorithm(1), hashing: NODE_PORT | with_algorithm(2)}
    masters = {frontend: Master(flags=each) for frontend, each in flags.items()}
    steps = Mirror().plan(dict.fromkeys(flags, backends), masters=masters)
    services = dict(pair for step in steps if step.table is Table.SERVICES for pair in step.upserts)
    mirror = Mirror(Dumps(services=services))  # as a restart finds it
    rev_nats = {key: lb_map.unpack_service_value(raw).rev_nat for key, raw in services.items()}
    told = {frontend: rev_nats[lb_map.pack_service(*frontend[:3])] for frontend in flags}
    maps = Maglev(None, None, size=0)  # type: ignore[arg-type] # what it is to hold is asked alone
    assert maps.algorithms == frozenset()
    maps.size = SMALL
    for is_default, wanted in ((True, {told[silent], told[hashing]}), (False, {told[hashing]})):
        maps.is_default = is_default
        assert mirror.node_ports(maps.algorithms).keys() == wanted


def test_a_table_of_another_size_takes_the_place_though_it_begins_alike() -> None:
    ids = [5] * (2 * maglev_map.PART)
    tables = {maglev_map.pack_key(1): maglev_map.pack_table(maglev_map.Table(1, len(ids)))}
    found = maglev_plan.plan({1: ids[: maglev_map.PART]}, tables, maglev_map.pack_slots(1, ids))
    assert [maglev_map.unpack_table(raw) for _, raw in found.tables] == [maglev_map.Table(2, maglev_map.PART)]
    assert len(found.old_parts) == 2


def test_a_table_that_lost_its_parts_is_made_anew_under_another_number() -> None:
    """Under the old one look-ups would meet half of it while it is written."""
    tables = {maglev_map.pack_key(1): maglev_map.pack_table(maglev_map.Table(1, maglev_map.PART))}
    found = maglev_plan.plan({1: [5] * maglev_map.PART}, tables, {})
    assert {maglev_map.number_of(key) for key, _ in found.parts} == {2}
