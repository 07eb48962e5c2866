"""Networks, reverse NAT ids and lists of services that are gone, or were left by a crash."""

from __future__ import annotations

from bpf import lb_map, source_range_map
from bpf.lb_fit import Room, fit
from bpf.lb_map import FLAG_LOAD_BALANCER, FLAG_SOURCE_RANGES, FLAG_TWO_SCOPES
from bpf.lb_plan import Mirror
from bpf.lb_rev_nat import MAX_REV_NAT
from bpf.lb_steps import Table
from bpf.lb_wanted import Master
from mesh.localservice import Frontend
from mesh.matching import Backend
from tests.bpf.test_lb_plan import DNS, WEB, Maps, backend

NETWORK = "192.0.2.0/24"
LIMITED = Master(flags=FLAG_LOAD_BALANCER | FLAG_SOURCE_RANGES, ranges=(NETWORK,))


def served() -> tuple[Maps, Mirror]:
    maps, mirror = Maps(), Mirror()
    maps.write(mirror.plan({WEB: [backend(0)]}, masters={WEB: LIMITED}))
    assert [source_range_map.unpack_key(key).network for key in maps.tables[Table.RANGES]] == [NETWORK]
    return maps, mirror


def test_the_networks_of_a_service_go_with_it_and_after_the_entry_that_asks_for_them() -> None:
    maps, mirror = served()
    steps = mirror.plan_changes({WEB: None})
    deleted = [step.table for step in steps if step.deletes]
    assert deleted.index(Table.SERVICES) < deleted.index(Table.RANGES)
    maps.write(steps)
    assert not maps.tables[Table.RANGES]


def test_networks_of_nobody_go_when_all_is_compared_and_only_then() -> None:
    maps, _ = served()
    maps.tables[Table.RANGES][source_range_map.pack_key(77, "198.51.100.0/24")] = source_range_map.RANGE
    for complete, count in ((False, 2), (True, 1)):
        steps = Mirror(maps.dumps).plan({WEB: [backend(0)]}, complete=complete, masters={WEB: LIMITED})
        maps.write(steps)
        assert len(maps.tables[Table.RANGES]) == count


def test_networks_are_there_before_the_entry_that_asks_for_them() -> None:
    written = [step.table for step in Mirror().plan({WEB: [backend(0)]}, masters={WEB: LIMITED})]
    assert written.index(Table.RANGES) < written.index(Table.SERVICES)


def test_an_id_that_an_entry_has_is_taken_though_its_map_lost_it() -> None:
    maps, _ = served()
    maps.tables[Table.REVERSE_NAT].clear()
    maps.write(Mirror(maps.dumps).plan({DNS: [], WEB: [backend(0)]}, masters={WEB: LIMITED}))
    numbers = {lb_map.unpack_rev_nat_id(key) for key in maps.tables[Table.REVERSE_NAT]}
    assert 1 not in numbers
    assert len(numbers) == 2


def test_of_two_lists_of_one_address_the_one_for_clients_outside_has_a_table() -> None:
    inside, outside = Frontend("203.0.113.7", 80, "TCP"), Frontend("203.0.113.7", 80, "TCP", outside=True)
    masters = {
        inside: Master(flags=FLAG_LOAD_BALANCER | FLAG_TWO_SCOPES),
        outside: Master(flags=FLAG_LOAD_BALANCER),
    }
    mirror = Mirror()
    mirror.plan({inside: [backend(0), backend(1)], outside: [backend(1)]}, masters=masters)
    assert [len(weights) for weights in mirror.node_ports({0}).values()] == [1]


def test_no_more_services_than_there_are_reverse_nat_ids() -> None:
    services = {Frontend("172.20.1.1", n, "TCP"): list[Backend]() for n in range(MAX_REV_NAT + 2)}
    assert len(fit(services, Room(1 << 20, 10, 1 << 20))) == MAX_REV_NAT


def test_an_id_that_two_entries_claim_stays_with_the_one_that_its_map_names() -> None:
    maps, _ = served()
    stray = Frontend("172.20.1.9", 80, "TCP")
    key = lb_map.pack_service(stray.ip, stray.port, stray.protocol)
    maps.tables[Table.SERVICES][key] = lb_map.pack_master(0, 1, 0, 0)
    maps.write(Mirror(maps.dumps).plan_changes({stray: None}))
    assert maps.backends_of(WEB) == [backend(0)]
    assert len(maps.tables[Table.RANGES]) == 1


def test_clusters_with_shares_have_groups_as_long_as_others_could_take_their_places() -> None:
    most = len(lb_map.GROUP_SCOPES) // 2

    def shared(first: int, count: int) -> list[Backend]:
        return [backend(n)._replace(cluster_id=first + n, weight=1) for n in range(count)]

    maps, mirror = Maps(), Mirror()
    for clusters in (shared(1, most), shared(1 + most, most)):
        maps.write(mirror.plan({WEB: clusters}))
        assert len(maps.shares_of(WEB)) == most
    maps.write(mirror.plan({WEB: shared(1, most + 1)}))
    assert maps.backends_of(WEB) == [each._replace(weight=0) for each in shared(1, most + 1)]
    assert set(maps.shares_of(WEB)) == {0}
