"""The service maps written for real, and after failures."""

import pytest

from bpf import lb_map
from bpf.datapath import Datapath
from bpf.errors import MapError, MapFullError
from bpf.lb_wanted import Master
from bpf.pinned_map import PinnedMap
from mesh.localservice import Frontend
from mesh.matching import Backend

pytestmark = pytest.mark.root

WEB = Frontend("172.20.1.1", 80, "TCP")
API = Frontend("172.20.1.2", 80, "TCP")


def backends(*numbers: int) -> list[Backend]:
    return [Backend(f"10.1.0.{n}", 8080, "TCP", 1) for n in numbers]


def count(node: Datapath, frontend: Frontend) -> int | None:
    raw = node.services.services.lookup(lb_map.pack_service(*frontend[:3]))
    return None if raw is None else lb_map.unpack_service_value(raw).count


def test_a_sync_writes_what_is_wanted_and_then_nothing_more(node: Datapath) -> None:
    wanted = {WEB: backends(1, 2), API: backends(2)}
    assert node.services.sync(wanted) == 2 + 2 + 3 + 2  # backends, rev nat, slots, masters
    assert node.services.sync(wanted) == 0
    assert (count(node, WEB), count(node, API)) == (2, 1)
    assert node.services.sync({API: backends(2)}) == 1 + 2 + 1 + 1
    assert (count(node, WEB), count(node, API)) == (None, 1)


def test_changes_need_no_dump_and_touch_only_their_services(node: Datapath) -> None:
    node.services.sync({WEB: backends(1)})
    node.services.change({API: backends(1, 3)})
    assert (count(node, WEB), count(node, API)) == (1, 2)
    assert node.services.change({WEB: None}) == 3
    assert (count(node, WEB), count(node, API)) == (None, 2)
    assert node.services.sync({API: backends(1, 3)}) == 0


def test_after_a_failed_write_the_maps_are_read_again(
    node: Datapath, monkeypatch: pytest.MonkeyPatch
) -> None:
    node.services.sync({WEB: backends(1)})
    update = PinnedMap.update

    def fail(table: PinnedMap, items: object) -> None:
        if table is node.services.services:
            raise MapError("no memory")
        update(table, items)  # type: ignore[arg-type]

    with monkeypatch.context() as broken:
        broken.setattr(PinnedMap, "update", fail)
        with pytest.raises(MapError):
            node.services.change({WEB: backends(2, 3)})
    node.services.change({WEB: backends(2, 3)})
    assert count(node, WEB) == 2
    assert node.services.sync({WEB: backends(2, 3)}) == 0


def test_after_a_refused_plan_the_maps_are_read_again(node: Datapath) -> None:
    node.services.sync({WEB: backends(1)})
    crowd = [Backend(f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}", 80, "TCP", 1) for n in range(65_536)]
    with pytest.raises(MapFullError):
        node.services.change({API: backends(5), WEB: crowd})
    node.services.change({API: backends(5)})
    assert (count(node, WEB), count(node, API)) == (1, 1)
    assert node.services.sync({WEB: backends(1), API: backends(5)}) == 0


def test_how_full_the_maps_are_is_known(node: Datapath) -> None:
    node.services.sync({WEB: backends(1, 2), API: backends(2)}, masters={API: Master(60)})
    held = {name: share * 65_536 for name, share in node.services.pressure().items()}
    assert held == {
        "cilium_lb4_services_v2": 5,
        "cilium_lb4_backends_v3": 2,
        "cilium_lb4_reverse_nat": 2,
        "cilium_lb_affinity_match": 1,
        "cilium_lb4_source_range": 0,
        "cilium_lb6_source_range": 0,
        "cilium_lb6_services_v2": 0,
        "cilium_lb6_backends_v3": 0,
        "cilium_lb6_reverse_nat": 0,
    }


def test_weighted_services_are_read_back_by_meaning(node: Datapath) -> None:
    near, far = backends(1, 2), [Backend("10.2.0.1", 8080, "TCP", 2)]
    weighted = [backend._replace(weight=3 if backend.cluster_id == 1 else 1) for backend in near + far]
    node.services.sync({WEB: weighted})
    assert node.services.sync({WEB: weighted}) == 0
    node.services.sync({WEB: near})
    assert len(node.services.services.dump()) == 3
