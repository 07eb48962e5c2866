from __future__ import annotations

from ipaddress import IPv4Network

from hypothesis import given
from hypothesis import strategies as st

from mesh.cidr import CIDR, covered

addresses = st.integers(0, 3).map(lambda n: 0x0A000000 + n * 0x40) | st.integers(0, 2**32 - 1)
networks = st.builds(lambda a, bits: IPv4Network((a, bits), strict=False), addresses, st.integers(0, 32))
cidrs = st.builds(CIDR, networks, st.lists(networks, max_size=2).map(tuple))


@given(st.lists(cidrs, max_size=5), st.lists(networks, max_size=8))
def test_what_is_covered_is_found_without_asking_all(some: list[CIDR], prefixes: list[IPv4Network]) -> None:
    keyed = dict(enumerate(prefixes))
    slowly = {key for key, network in keyed.items() if any(cidr.covers(network) for cidr in some)}
    assert covered(some, keyed) == slowly
