"""Values for property tests of byte layouts."""

import ipaddress

from hypothesis import strategies as st

u8, u16, u32 = (st.integers(0, 2**bits - 1) for bits in (8, 16, 32))
ports = st.integers(1, 65535)
ipv4 = st.integers(0, 2**32 - 1).map(lambda n: str(ipaddress.IPv4Address(n)))
ipv6 = st.integers(0, 2**128 - 1).map(lambda n: str(ipaddress.IPv6Address(n)))
ips = ipv4 | ipv6
macs = st.binary(min_size=6, max_size=6).map(lambda raw: raw.hex(":"))
protocols = st.sampled_from(["TCP", "UDP", "SCTP"])


def _network(address: int, bits: int, width: int) -> str:
    kind = ipaddress.IPv4Network if width == 32 else ipaddress.IPv6Network
    return str(kind((address >> (width - bits) << (width - bits), bits)))


prefixes = st.builds(_network, st.integers(0, 2**32 - 1), st.integers(0, 32), st.just(32)) | st.builds(
    _network, st.integers(0, 2**128 - 1), st.integers(0, 128), st.just(128)
)
