"""What is removed and in which order, whatever is seen on a node."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from agent.leftovers import BPF_STATE, HOST, NET, VXLAN, Device, Kind, Seen, plan

NAMES = st.sampled_from([VXLAN, HOST, NET, "lxc1", "lxc2", "eth0"])
INDICES = st.integers(1, 4)
DEVICES = st.builds(
    Device, NAMES, INDICES, st.sampled_from(["veth", "vxlan", ""]), st.booleans(), st.booleans()
)
PATHS = st.lists(st.sampled_from([Path("/a"), Path("/b")]), unique=True).map(tuple)
SEEN = st.builds(
    Seen,
    devices=st.lists(DEVICES, max_size=4, unique_by=lambda device: device.index).map(tuple),
    pods=st.dictionaries(st.tuples(NAMES, INDICES), st.just("shop/web")),
    hooked=st.frozensets(INDICES),
    hooks=PATHS,
    programs=PATHS,
    maps=PATHS,
    foreign_pins=PATHS,
    routes=st.just((("10.2.0.0/16", "unicast"),)),
    files=PATHS,
)
ORDER = (Kind.POD_DEVICE, Kind.HOOK, Kind.PROGRAM, Kind.ROUTE, Kind.DEVICE, Kind.MAP, Kind.FILE)


@given(SEEN)
def test_a_device_goes_only_if_it_is_ours_and_nobody_else_uses_it(seen: Seen) -> None:
    devices = {each.index: each for each in seen.devices}
    for item in plan(seen).remove:
        if item.kind in (Kind.DEVICE, Kind.POD_DEVICE):
            found = devices[item.index]
            assert found.name == item.name
        if item.kind is Kind.DEVICE:
            assert found.is_marked and not found.is_shared and found.name in (VXLAN, HOST, NET)
        if item.kind is Kind.POD_DEVICE:
            assert found.kind == "veth"
            assert (item.name, item.index) in seen.pods or item.index in seen.hooked


@given(SEEN)
def test_pods_are_cut_off_before_their_programs_go_and_records_go_last(seen: Seen) -> None:
    pods = {each.index for each in seen.devices if each.kind == "veth" and each.index in seen.hooked}
    assert pods <= {item.index for item in plan(seen).remove if item.kind is Kind.POD_DEVICE}
    places = [ORDER.index(item.kind) for item in plan(seen).remove]
    assert places == sorted(places)


@given(SEEN)
def test_everything_of_ours_goes_or_is_told_to_stay(seen: Seen) -> None:
    planned = plan(seen)
    named = {item.name for item in planned.remove} | {each.name for each in planned.keep}
    own = {each.name for each in seen.devices if each.name in (VXLAN, HOST, NET)}
    own |= {str(pin) for pin in (*seen.hooks, *seen.programs, *seen.maps, *seen.files, *seen.foreign_pins)}
    assert own <= named


@given(SEEN)
def test_bpf_state_is_the_same_plan_without_the_rest(seen: Seen) -> None:
    everything, only = plan(seen), plan(seen, BPF_STATE)
    assert only.remove == tuple(item for item in everything.remove if item.kind in BPF_STATE)
    assert {item.kind for item in only.remove} <= BPF_STATE
