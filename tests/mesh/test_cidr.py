from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_network

from hypothesis import given
from hypothesis import strategies as st

from mesh.cidr import CIDR, Network, covered

addresses = st.integers(0, 3).map(lambda n: 0x0A000000 + n * 0x40) | st.integers(0, 2**32 - 1)
of_ipv4 = st.builds(lambda a, bits: IPv4Network((a, bits), strict=False), addresses, st.integers(0, 32))
long_addresses = st.builds(lambda a, below: a << 96 | below, addresses, st.integers(0, 3))
of_ipv6 = st.builds(lambda a, bits: IPv6Network((a, bits), strict=False), long_addresses, st.integers(0, 128))
networks = st.one_of(of_ipv4, of_ipv6)  # the first bits of some are the same in both
cidrs = st.builds(CIDR, networks, st.lists(networks, max_size=2).map(tuple))


@given(st.lists(cidrs, max_size=5), st.lists(networks, max_size=8))
def test_what_is_covered_is_found_without_asking_all(some: list[CIDR], prefixes: list[Network]) -> None:
    keyed = dict(enumerate(prefixes))
    slowly = {key for key, network in keyed.items() if any(cidr.covers(network) for cidr in some)}
    assert covered(some, keyed) == slowly


def test_a_prefix_of_one_family_covers_nothing_of_the_other() -> None:
    everywhere = [CIDR(ip_network("0.0.0.0/0"))]
    assert covered(
        everywhere, {1: ip_network("::/0"), 2: ip_network("::/8"), 3: ip_network("10.0.0.0/8")}
    ) == {3}
    assert not CIDR(ip_network("::/0")).covers(ip_network("0.0.0.0/0"))
