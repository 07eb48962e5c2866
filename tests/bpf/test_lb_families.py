"""Services of both families: each in its own maps, with ids that never meet in the matches they share."""

from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpf import affinity_map, lb_map, lb_plan
from bpf.address import Family, family
from bpf.datapath import Datapath
from bpf.errors import MapFullError
from bpf.lb_backends import BACKEND_IDS
from bpf.lb_plan import Mirror
from bpf.lb_steps import Dumps, Table
from bpf.lb_wanted import Master
from bpf.services import ServiceMaps
from mesh.localservice import Frontend
from mesh.matching import Backend
from tests.bpf.test_lb_plan import FRONTENDS, LISTS, Maps, Services

WEB, WEB6 = Frontend("172.20.1.1", 80, "TCP"), Frontend("fd00:20::1", 80, "TCP")


def v6(frontend: Frontend | Backend) -> tuple[object, ...]:
    return (f"fd00::{frontend.ip.replace('.', ':')}", *frontend[1:])


FRONTENDS6 = st.builds(lambda frontend: Frontend(*v6(frontend)), FRONTENDS)
LISTS6 = st.builds(lambda backends: [Backend(*v6(backend)) for backend in backends], LISTS)
BOTH = st.builds(
    lambda v4, v6: {**v4, **v6},
    st.dictionaries(FRONTENDS, LISTS, max_size=3),
    st.dictionaries(FRONTENDS6, LISTS6, max_size=3),
)


def of(services: Services, which: Family) -> Services:
    return {frontend: backends for frontend, backends in services.items() if family(frontend.ip) is which}


class BothMaps:
    """The maps of both families in memory; the matches are one."""

    def __init__(self) -> None:
        self.maps = {which: Maps() for which in Family}
        self.maps[Family.IPV6].tables[Table.MATCHES] = self.maps[Family.IPV4].tables[Table.MATCHES]

    def sync(self, services: Services) -> None:
        sticky = dict.fromkeys(services, Master(60))
        for which, maps in self.maps.items():
            maps.write(lb_plan.plan(services, maps.dumps, masters=sticky, of=which))

    def check(self, services: Services) -> None:
        for which, maps in self.maps.items():
            maps.check_equal(of(services, which))
            numbers = map(lb_map.unpack_backend_id, maps.tables[Table.BACKENDS])
            assert all(number in BACKEND_IDS[which] for number in numbers)
        wanted = sum(len({b._replace(weight=0) for b in backends}) for backends in services.values())
        assert len(self.maps[Family.IPV4].tables[Table.MATCHES]) == wanted


@given(BOTH, BOTH)
def test_a_plan_of_one_family_leaves_the_other_s_entries_alone(before: Services, after: Services) -> None:
    maps = BothMaps()
    maps.sync(before)
    maps.check(before)
    maps.sync(after)
    maps.check(after)
    for which, held in maps.maps.items():
        sticky = dict.fromkeys(after, Master(60))
        assert lb_plan.plan(after, held.dumps, masters=sticky, of=which) == []
        sizes = Mirror(held.dumps, which).sizes()
        assert sizes[Table.BACKENDS] == len(held.tables[Table.BACKENDS])


def test_a_backend_of_the_other_family_is_refused() -> None:
    stranger = {WEB6: [Backend("10.1.0.1", 80, "TCP", 1)]}
    with pytest.raises(ValueError, match=r"another family: 10\.1\.0\.1"):
        lb_plan.plan(stranger, Dumps(), of=Family.IPV6)
    assert lb_plan.plan(stranger, Dumps(), of=Family.IPV4) == []


Wanted = Mapping[Frontend, Sequence[Backend]]


def both(*numbers: int) -> Wanted:
    return {
        WEB: [Backend(f"10.1.0.{n}", 8080, "TCP", 1) for n in numbers],
        WEB6: [Backend(f"fd00:1::{n}", 8080, "TCP", 1) for n in numbers],
    }


def held(services: ServiceMaps) -> dict[str, int]:
    return {name: round(share * 65_536) for name, share in services.pressure().items()}


@pytest.mark.root
def test_one_call_writes_both_families_into_the_kernel(node: Datapath) -> None:
    services = node.services
    assert services.sync(both(1, 2), masters={WEB6: Master(60)}) == 2 * (2 + 1 + 2 + 1) + 2
    assert services.sync(both(1, 2), masters={WEB6: Master(60)}) == 0
    assert held(services) == {
        "cilium_lb4_services_v2": 3,
        "cilium_lb4_backends_v3": 2,
        "cilium_lb4_reverse_nat": 1,
        "cilium_lb_affinity_match": 2,
        "cilium_lb4_source_range": 0,
        "cilium_lb6_services_v2": 3,
        "cilium_lb6_backends_v3": 2,
        "cilium_lb6_reverse_nat": 1,
        "cilium_lb6_source_range": 0,
    }
    assert {affinity_map.unpack_match(key)[0] for key in services.matches.dump()} == {1 << 31, (1 << 31) + 1}
    assert (
        services.change({WEB6: both(2)[WEB6]}, masters={WEB6: Master(60)}) == 5
    )  # slots, master, match, backend
    assert services.change({WEB6: None}) == 5
    assert [len(services.dump(which).services) for which in Family] == [3, 0]
    assert not services.matches.dump()
    assert services.sync({WEB: both(1, 2)[WEB]}) == 0


@pytest.mark.root
def test_what_is_wrong_with_one_family_does_not_hold_up_the_other(node: Datapath) -> None:
    crowd = [Backend(f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}", 80, "TCP", 1) for n in range(65_536)]
    with pytest.raises(MapFullError):
        node.services.sync({WEB: crowd, WEB6: both(1)[WEB6]})
    assert len(node.services.dump(Family.IPV6).services) == 2
    with pytest.raises(ValueError, match="another family"):
        node.services.change({WEB: both(1)[WEB], WEB6: both(1)[WEB]})
    assert len(node.services.dump(Family.IPV4).services) == 2
    assert node.services.sync(both(1)) == 0


@pytest.mark.root
def test_both_families_have_the_same_room(node: Datapath) -> None:
    assert node.services.room(Family.IPV6) == node.services.room(Family.IPV4)
