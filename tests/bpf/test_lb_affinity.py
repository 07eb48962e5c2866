"""Session affinity in the service maps: who may keep its clients, at every moment of a change."""

from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st

from bpf import affinity_map, lb_map, lb_plan
from bpf.address import Family
from bpf.affinity_map import Client
from bpf.lb_affinity import Matches
from bpf.lb_plan import Mirror
from bpf.lb_steps import Table, Writes
from bpf.lb_wanted import PLAIN, Master
from mesh.localservice import Frontend
from mesh.matching import Backend
from tests.bpf.strategies import u16, u32
from tests.bpf.test_lb_plan import (
    DNS,
    FRONTENDS,
    LISTS,
    SERVICES,
    WEB,
    Maps,
    Services,
    backend,
    key_of,
    plain,
)

Masters = Mapping[Frontend, Master]
STICKY = st.dictionaries(FRONTENDS, st.sampled_from([Master(60), Master(10_800)]), max_size=5)


def matched(maps: Maps, frontend: Frontend) -> set[Backend]:
    """The backends that may keep clients of `frontend`; KeyError where a match names none."""
    master = maps.tables[Table.SERVICES].get(key_of(frontend))
    if master is None:
        return set()
    found = set()
    for number, rev_nat in map(affinity_map.unpack_match, maps.tables[Table.MATCHES]):
        raw = lb_map.unpack_backend(maps.tables[Table.BACKENDS][lb_map.pack_backend_id(number)])
        if rev_nat == lb_map.unpack_service_value(master).rev_nat:
            found.add(Backend(raw.ip, raw.port, raw.protocol, raw.cluster_id))
    return found


def sticky_of(maps: Maps, frontend: Frontend) -> int:
    raw = maps.tables[Table.SERVICES].get(key_of(frontend))
    return lb_map.unpack_service_value(raw).sticky if raw else 0


def check(maps: Maps, services: Services, sticky: Masters) -> None:
    maps.check_equal(services)
    for frontend, backends in services.items():
        assert sticky_of(maps, frontend) == sticky.get(frontend, PLAIN).sticky
        assert matched(maps, frontend) == (plain(backends) if frontend in sticky else set())
    count = sum(len(plain(backends)) for frontend, backends in services.items() if frontend in sticky)
    assert len(maps.tables[Table.MATCHES]) == count


@given(SERVICES, STICKY, SERVICES, STICKY)
def test_at_every_moment_a_backend_that_serves_may_keep_its_clients(
    before: Services, was: Masters, after: Services, will: Masters
) -> None:
    maps = Maps()
    maps.write(lb_plan.plan(before, maps.dumps, masters=was))
    check(maps, before, was)
    for _ in maps.writing(lb_plan.plan(after, maps.dumps, masters=will)):
        for frontend in before.keys() | after.keys():
            serving = set(maps.backends_of(frontend) or ())
            if sticky_of(maps, frontend) and frontend in will and frontend in after:
                assert serving <= matched(maps, frontend)
    check(maps, after, will)
    assert lb_plan.plan(after, maps.dumps, masters=will) == []


@given(SERVICES, STICKY, SERVICES, STICKY, st.integers(0, 60))
def test_a_plan_broken_off_anywhere_is_mended_by_the_next(
    before: Services, was: Masters, after: Services, will: Masters, writes: int
) -> None:
    maps = Maps()
    maps.write(lb_plan.plan(before, maps.dumps, masters=was))
    for done, _ in enumerate(maps.writing(lb_plan.plan(after, maps.dumps, masters=will)), 1):
        if done > writes:
            break
    maps.write(lb_plan.plan(after, maps.dumps, masters=will))
    check(maps, after, will)


@given(st.lists(st.tuples(st.dictionaries(FRONTENDS, st.none() | LISTS, max_size=3), STICKY), max_size=5))
def test_changes_service_by_service_end_where_one_plan_would(
    changes: list[tuple[dict[Frontend, list[Backend] | None], dict[Frontend, Master]]],
) -> None:
    maps, mirror = Maps(), Mirror()
    wanted: dict[Frontend, list[Backend]] = {}
    kept: dict[Frontend, Master] = {}
    for change, sticky in changes:
        maps.write(mirror.plan_changes(change, masters=sticky))
        for frontend, backends in change.items():
            wanted.pop(frontend, None)
            kept.pop(frontend, None)
            if backends is not None:
                wanted[frontend] = backends
                kept |= {frontend: sticky[frontend]} if frontend in sticky else {}
        check(maps, wanted, kept)
    assert mirror.sizes()[Table.MATCHES] == len(maps.tables[Table.MATCHES])


def test_a_backend_that_only_another_service_keeps_loses_the_clients_of_this_one() -> None:
    maps, sticky = Maps(), {WEB: Master(60), DNS: Master(60)}
    maps.write(lb_plan.plan({WEB: [backend(1), backend(2)], DNS: [backend(1)]}, maps.dumps, masters=sticky))
    steps = lb_plan.plan({WEB: [backend(2)], DNS: [backend(1)]}, maps.dumps, masters=sticky)
    assert Table.BACKENDS not in {step.table for step in steps}
    maps.write(steps)
    assert (matched(maps, WEB), matched(maps, DNS)) == ({backend(2)}, {backend(1)})


def test_a_time_out_that_changes_is_one_write() -> None:
    maps = Maps()
    maps.write(lb_plan.plan({WEB: [backend(1), backend(2)]}, maps.dumps, masters={WEB: Master(60)}))
    steps = lb_plan.plan({WEB: [backend(1), backend(2)]}, maps.dumps, masters={WEB: Master(90)})
    assert [(s.table, len(s.upserts), len(s.deletes)) for s in steps] == [(Table.SERVICES, 1, 0)]


@given(u32, u16)
def test_a_match_survives_the_way_to_bytes_and_back(backend_id: int, rev_nat: int) -> None:
    packed = affinity_map.pack_match(backend_id, rev_nat)
    assert affinity_map.unpack_match(packed) == (backend_id, rev_nat)
    for used, gone in (({rev_nat}, []), (set[int](), [packed])):
        writes = Writes()
        Matches([packed]).prune(used, writes)
        assert writes.old_matches == gone


def test_the_bytes_are_those_of_cilium() -> None:
    assert affinity_map.pack_match(7, 5).hex() == "07000000" + "0005" + "0000"
    key, value = affinity_map.pack_client(Client(cookie=258, rev_nat=5, backend_id=7, last_used=9))
    assert key.hex() == "0201000000000000" + "0005" + "01" + "00" + "00000000"
    assert value.hex() == "0900000000000000" + "07000000" + "00000000"
    assert affinity_map.unpack_client(key, value) == Client(258, 5, 7, 9)
    key6, value6 = affinity_map.pack_client(Client(258, 5, 7, 9), Family.IPV6)
    assert key6.hex() == "0201000000000000" + "00" * 8 + "0005" + "01" + "00" + "00000000"
    assert value6 == value
    assert affinity_map.unpack_client(key6, value6) == Client(258, 5, 7, 9)
