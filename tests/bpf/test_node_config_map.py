"""Bytes of the node's own settings."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpf import node_config_map
from bpf.node_config_map import NodeConfig
from tests.bpf.strategies import ipv4, u32


@given(st.builds(NodeConfig, ipv4, u32, u32, st.binary(min_size=20, max_size=20)))
def test_settings_survive_the_way_to_bytes_and_back(config: NodeConfig) -> None:
    assert node_config_map.unpack_value(node_config_map.pack_value(config)) == config


def test_a_node_needs_an_ipv4_address() -> None:
    with pytest.raises(ValueError, match="IPv4"):
        node_config_map.pack_value(NodeConfig("node-1", 3, 1450))
