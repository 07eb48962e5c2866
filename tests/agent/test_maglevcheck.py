"""Maglev tables in the kernel: what is wrong with them is told, and mended by the next compare."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from agent.maglevcheck import MaglevCheck
from bpf.datapath import Datapath
from bpf.lb_map import FLAG_NODE_PORT
from bpf.lb_wanted import Master
from bpf.services import ServiceMaps
from mesh.localservice import Frontend
from mesh.matching import Backend
from tests.bpf.conftest import bpffs, loaded_root, node  # noqa: F401 - fixtures

pytestmark = pytest.mark.root

WEB, WEB6 = Frontend("198.18.1.11", 30_080, "TCP"), Frontend("fd00:18::1:1", 30_080, "TCP")
SERVICES = {
    WEB: [Backend(f"10.1.1.{n}", 8080, "TCP", 0) for n in range(1, 4)],
    WEB6: [Backend(f"fd00:10:1:1::{n}", 8080, "TCP", 0) for n in range(1, 4)],
}
RIGHT = dict.fromkeys(("cilium_maglev_tables", "cilium_maglev6_tables"), (1, 0)) | dict.fromkeys(
    ("cilium_maglev_slots", "cilium_maglev6_slots"), (2, 0)
)


@pytest.fixture
def services(node: Datapath) -> Iterator[ServiceMaps]:  # noqa: F811
    node.services.use_maglev(509)
    compare(node.services)
    yield node.services
    node.services.use_maglev(0)
    node.services.sync({})


def compare(services: ServiceMaps) -> None:
    services.sync(SERVICES, masters=dict.fromkeys(SERVICES, Master(flags=FLAG_NODE_PORT)))


async def counts(services: ServiceMaps) -> dict[str, tuple[int, int]]:
    """Map -> how many entries are wanted, and how many differ."""
    states = await MaglevCheck(services).look()
    return {state.name: (state.wanted, len(state.differing)) for state in states}


async def test_what_is_right_is_equal(services: ServiceMaps) -> None:
    assert await counts(services) == RIGHT


@pytest.mark.parametrize("family", ["", "6"])
@pytest.mark.parametrize("is_missing", [True, False])
async def test_a_part_that_is_missing_or_wrong_is_told_and_mended(
    services: ServiceMaps, is_missing: bool, family: str
) -> None:
    slots = services.maglev6.slots if family else services.maglev.slots
    key = min(slots.dump())
    if is_missing:
        slots.delete([key])
    else:
        slots.update([(key, bytes(1024))])
    found = await counts(services)
    assert found[f"cilium_maglev{family}_tables"] == (1, 1)  # another table in its place
    assert found[f"cilium_maglev{family}_slots"] == (2, 3 if is_missing else 4)
    compare(services)
    assert await counts(services) == RIGHT


async def test_a_service_s_missing_table_is_told(services: ServiceMaps) -> None:
    services.maglev.tables.delete(services.maglev.tables.dump())
    assert (await counts(services))["cilium_maglev_tables"] == (1, 1)
