"""Bytes of the policy map."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpf import policy_map
from bpf.policy_map import Direction, PolicyKey
from tests.bpf.strategies import u16, u32


@given(u16, u32, u16, st.integers(1, 255), st.sampled_from(Direction))
def test_a_key_survives_the_way_to_bytes_and_back(
    endpoint: int, identity: int, port: int, protocol: int, direction: Direction
) -> None:
    packed = policy_map.pack_key(endpoint, identity, port, protocol, direction)
    assert len(packed) == 12
    assert policy_map.unpack_key(packed) == PolicyKey(endpoint, identity, port, protocol, direction)


@pytest.mark.parametrize("deny", [True, False])
def test_a_value_survives_the_way_to_bytes_and_back(deny: bool) -> None:
    assert policy_map.unpack_value(policy_map.pack_value(deny=deny)) is deny


@given(u16, st.sampled_from([4, 8, 12]), st.sampled_from(Direction))
def test_a_range_survives_the_way_to_bytes_and_back(port: int, bits: int, direction: Direction) -> None:
    key = PolicyKey(1, 2, port >> bits << bits, 6, direction, bits)
    assert policy_map.unpack_key(policy_map.pack_key(1, 2, key.port, 6, direction, bits)) == key


@pytest.mark.parametrize(("port", "bits"), [(80, 5), (81, 4), (4096, 16)])
def test_a_range_that_the_program_does_not_ask_for_is_refused(port: int, bits: int) -> None:
    with pytest.raises(ValueError, match="open"):
        policy_map.pack_key(1, 2, port, 6, open_bits=bits)


def test_a_port_without_a_protocol_is_refused() -> None:
    with pytest.raises(ValueError, match="needs a protocol"):
        policy_map.pack_key(1, 2, port=80)
