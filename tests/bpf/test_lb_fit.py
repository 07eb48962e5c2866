"""What is chosen for maps that are too small fits into them, and is everything where everything fits."""

from hypothesis import given
from hypothesis import strategies as st

from bpf.lb_fit import Room, fit
from bpf.lb_plan import Mirror
from bpf.lb_steps import Table
from mesh.localservice import Frontend
from tests.bpf.test_lb_plan import SERVICES, WEB, Maps, Services, backend

ROOMS = st.builds(Room, st.integers(0, 30), st.integers(0, 12), st.integers(0, 6))


@given(SERVICES, ROOMS)
def test_what_is_chosen_fits(services: Services, room: Room) -> None:
    chosen = fit(services, room)
    maps = Maps()
    maps.write(Mirror().plan(chosen))
    sizes = [len(maps.tables[table]) for table in (Table.SERVICES, Table.BACKENDS, Table.REVERSE_NAT)]
    assert sizes[0] <= room.services
    assert sizes[1] <= room.backends
    assert sizes[2] <= room.reverse_nat
    for frontend, backends in chosen.items():
        assert set(backends) <= set(services[frontend])


@given(SERVICES)
def test_with_room_for_all_all_are_chosen(services: Services) -> None:
    assert fit(services, Room(200, 200, 200)) == services


@given(SERVICES, ROOMS)
def test_the_choice_does_not_depend_on_the_order(services: Services, room: Room) -> None:
    assert fit(services, room) == fit(dict(reversed(services.items())), room)


def test_the_small_service_is_whole_and_the_large_one_gets_the_rest() -> None:
    small = Frontend("172.20.9.9", 80, "TCP")
    services = {WEB: [backend(n) for n in range(20)], small: [backend(30), backend(31)]}
    chosen = fit(services, Room(8, 8, 8))
    assert [len(chosen[small]), len(chosen[WEB])] == [2, 4]
