"""What should be loaded is consistent in itself and fits Cilium's names and sizes."""

from bpf.programspec import PROGRAMS, SOCKET_PROGRAMS
from bpf.spec import MAPS


def test_names_are_unique_and_cilium_s() -> None:
    names = [each.name for each in (*MAPS, *PROGRAMS)]
    assert len(set(names)) == len(names)
    assert all(each.name.startswith("cilium_") for each in MAPS)
    assert all(each.name.startswith("cil_") for each in PROGRAMS)


def test_maps_shared_with_cilium_have_its_sizes() -> None:
    sizes = {each.name: (each.key.size, each.value.size) for each in MAPS}
    assert sizes["cilium_ipcache_v2"] == (24, 24)
    assert sizes["cilium_lb4_services_v2"] == (12, 12)
    assert sizes["cilium_lb4_backends_v3"] == (4, 12)
    assert sizes["cilium_lb4_reverse_nat"] == (2, 6)
    assert sizes["cilium_lb4_affinity"] == (16, 16)
    assert sizes["cilium_lb_affinity_match"] == (8, 1)
    assert sizes["cilium_lxc"] == (20, 48)
    assert sizes["cilium_ct4_global"] == (14, 56)
    assert sizes["cilium_lb6_services_v2"] == (24, 12)
    assert sizes["cilium_lb6_backends_v3"] == (4, 24)
    assert sizes["cilium_lb6_reverse_nat"] == (2, 18)
    assert sizes["cilium_lb6_affinity"] == (24, 16)
    assert sizes["cilium_lb6_reverse_sk"] == (32, 20)
    assert sizes["cilium_ct6_global"] == (38, 56)
    assert sizes["cilium_ipv6_frag_datagrams"] == (40, 4)
    assert sizes["cilium_snat_v4_external"] == (14, 40)
    assert sizes["cilium_metrics"] == (8, 16)


def test_only_socket_programs_tell_the_kernel_their_hook_when_loading() -> None:
    assert {each for each in PROGRAMS if each.expected_attach is not None} == set(SOCKET_PROGRAMS)
