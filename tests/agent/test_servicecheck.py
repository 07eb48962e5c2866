"""Whatever is done to one entry of the service maps is told, and nothing else ever is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hypothesis import given
from hypothesis import strategies as st

from agent.servicecheck import differing
from bpf import affinity_map, lb_map
from bpf.address import Family
from bpf.lb_plan import Mirror
from bpf.lb_steps import Dumps, Table
from bpf.lb_wanted import ALL_PLAIN, Master
from mesh.localservice import Frontend
from mesh.matching import Backend
from tests.agent.fakemap import FakeServices
from tests.bpf.test_lb_affinity import STICKY, Masters
from tests.bpf.test_lb_plan import BACKENDS, DNS, FRONTENDS, LISTS, SERVICES, WEB, Maps, backend

Services = Mapping[Frontend, Sequence[Backend]]


def written(*histories: Services, masters: Masters = ALL_PLAIN) -> Maps:
    maps = Maps()
    for services in histories:
        maps.write(Mirror(maps.dumps).plan(services, masters=masters))
    return maps


def told(
    dumps: Dumps,
    wanted: Services,
    moving: frozenset[Frontend] = frozenset(),
    masters: Masters = ALL_PLAIN,
) -> bool:
    found, _ = differing(dumps, wanted, moving, masters)
    return any(found.values())


@given(SERVICES, SERVICES, STICKY)
def test_what_was_written_is_equal_whatever_stood_before(
    before: Services, services: Services, sticky: Masters
) -> None:
    dumps = written(before, services, masters=sticky).dumps
    found, sizes = differing(dumps, services, masters=sticky)
    assert not any(found.values())
    assert sizes == {
        Table.SERVICES: len(dumps.services),
        Table.BACKENDS: len(dumps.backends),
        Table.REVERSE_NAT: len(dumps.reverse_nat),
        Table.MATCHES: len(dumps.matches),
        Table.RANGES: len(dumps.ranges),
    }


@given(SERVICES.filter(bool), st.sampled_from(Table), st.data())
def test_one_changed_bit_of_a_value_is_told(services: Services, table: Table, data: st.DataObject) -> None:
    maps = written(services)
    entries = maps.tables[table]
    if not entries:
        return
    key = data.draw(st.sampled_from(sorted(entries)))
    bit = data.draw(st.integers(0, 8 * len(entries[key]) - 1))
    value = bytearray(entries[key])
    value[bit // 8] ^= 1 << bit % 8
    entries[key] = bytes(value)
    assert told(maps.dumps, services)


@given(SERVICES.filter(bool), STICKY, st.sampled_from(Table), st.data())
def test_one_lost_entry_is_told(
    services: Services, sticky: Masters, table: Table, data: st.DataObject
) -> None:
    maps = written(services, masters=sticky)
    if not maps.tables[table]:
        return
    del maps.tables[table][data.draw(st.sampled_from(sorted(maps.tables[table])))]
    assert told(maps.dumps, services, masters=sticky)


@given(SERVICES, STICKY, STICKY)
def test_another_session_affinity_is_told(services: Services, held: Masters, wanted: Masters) -> None:
    differs = any(held.get(frontend) != wanted.get(frontend) for frontend in services)
    assert told(written(services, masters=held).dumps, services, masters=wanted) == differs
    assert not told(written(services, masters=held).dumps, services, frozenset(services), wanted)


def test_a_backend_that_wrongly_keeps_clients_is_told() -> None:
    maps = written({WEB: [backend(1)], DNS: [backend(2)]}, masters={WEB: Master(60)})
    ((number, rev_nat),) = map(affinity_map.unpack_match, maps.tables[Table.MATCHES])
    (other,) = {lb_map.unpack_backend_id(key) for key in maps.tables[Table.BACKENDS]} - {number}
    maps.tables[Table.MATCHES][affinity_map.pack_match(other, rev_nat)] = affinity_map.MATCH
    found, _ = differing(maps.dumps, {WEB: [backend(1)], DNS: [backend(2)]}, masters={WEB: Master(60)})
    assert [pair.wanted for pair in found[Table.MATCHES].values()] == [None]


@given(SERVICES, FRONTENDS, LISTS, st.sampled_from([True, False]))
def test_a_frontend_that_changes_just_now_is_left_out(
    services: Services, changed: Frontend, backends: Sequence[Backend], is_gone: bool
) -> None:
    dumps = written(services).dumps
    now = {frontend: found for frontend, found in services.items() if frontend != changed}
    if not is_gone:
        now[changed] = backends
    assert not told(dumps, now, frozenset({changed}))


@given(SERVICES, FRONTENDS, BACKENDS)
def test_the_others_are_told_meanwhile(services: Services, changed: Frontend, extra: Backend) -> None:
    others = {frontend: found for frontend, found in services.items() if frontend != changed}
    wanted = {**dict.fromkeys(others, ()), changed: [extra]}
    has_less = any(others.values())
    assert told(written(services).dumps, wanted, frozenset({changed})) == has_less


def test_a_difference_says_what_is_missing_and_what_is_too_much() -> None:
    maps = written({WEB: [backend(1), backend(2)]})
    found, _ = differing(maps.dumps, {WEB: [backend(1)], DNS: []})
    services = found[Table.SERVICES]
    master = lb_map.pack_service(WEB.ip, WEB.port, WEB.protocol)
    assert services.keys() == {master, lb_map.with_slot(master, 2), lb_map.pack_service(*DNS[:3])}
    assert services[lb_map.with_slot(master, 2)].wanted is None
    assert services[lb_map.pack_service(*DNS[:3])].held is None
    assert [pair.wanted for pair in found[Table.BACKENDS].values()] == [None]
    assert [pair.held for pair in found[Table.REVERSE_NAT].values()] == [None]


def test_an_entry_that_leads_nowhere_is_told() -> None:
    maps = written({WEB: [backend(1)]})
    maps.tables[Table.BACKENDS][lb_map.pack_backend_id(77)] = lb_map.pack_backend("10.9.9.9", 1, "TCP")
    assert told(maps.dumps, {WEB: [backend(1)]})


def test_a_slot_that_borrows_another_services_reverse_address_is_told() -> None:
    over_udp = WEB._replace(protocol="UDP")  # the same address and port: the same reverse entry, by value
    services: Services = {WEB: [backend(1)], over_udp: []}
    maps = written(services)
    master = lb_map.pack_service(WEB.ip, WEB.port, WEB.protocol)
    key = lb_map.with_slot(master, 1)
    value = lb_map.unpack_service_value(maps.tables[Table.SERVICES][key])
    other = lb_map.unpack_service_value(
        maps.tables[Table.SERVICES][lb_map.pack_service(over_udp.ip, over_udp.port, over_udp.protocol)]
    )
    assert other.rev_nat != value.rev_nat
    maps.tables[Table.SERVICES][key] = lb_map.pack_service_value(
        value.backend_id, rev_nat=other.rev_nat, flags=value.flags
    )
    assert told(maps.dumps, services)


def test_each_family_is_compared_alone_though_they_share_the_matches() -> None:
    web6 = Frontend("fd00:20:1::5", 80, "TCP")
    services = {WEB: [backend(1)], web6: [Backend("fd00:10:2:1::5", 8080, "TCP", 2)]}
    sticky = {WEB: Master(60), web6: Master(60)}
    maps = FakeServices([])
    maps.sync(services, masters=sticky)
    assert len(maps.maps[Table.MATCHES].entries) == 2
    for family in Family:
        found, _ = differing(maps.dump(family), services, masters=sticky, of=family)
        assert not any(found.values())
    del maps.maps[Table.MATCHES].entries[affinity_map.pack_match(1 << 31, 1)]
    for family in Family:
        found, _ = differing(maps.dump(family), services, masters=sticky, of=family)
        assert any(found.values()) == (family is Family.IPV6)
