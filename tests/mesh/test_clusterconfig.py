from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.addressing import IdentityLayout
from mesh.clusterconfig import EXPORT_MODES, ClusterConfig, check, decode, encode
from mesh.errors import DecodeError, IncompatibleClusterError

uint32 = st.integers(0, 2**32 - 1)
configs = st.builds(
    ClusterConfig,
    uint32,
    st.booleans(),
    st.booleans(),
    uint32,
    st.none() | st.booleans(),
    st.sampled_from(sorted(EXPORT_MODES)) | st.text(),
)
GOOD = ClusterConfig(3, synced_canaries=True, max_connected_clusters=255)


@given(configs)
def test_what_is_written_reads_the_same(config: ClusterConfig) -> None:
    assert decode("east", encode(config)) == config


def test_zero_fields_are_left_out_but_capabilities_never_are() -> None:
    assert encode(ClusterConfig()) == b'{"capabilities":{}}'
    assert encode(ClusterConfig(id=3)) == b'{"id":3,"capabilities":{}}'


def test_the_fields_come_in_the_fields_order() -> None:
    config = ClusterConfig(3, True, True, 255, False, "services-and-endpointslices")
    assert encode(config) == (
        b'{"id":3,"capabilities":{"syncedCanaries":true,"cached":true,"maxConnectedClusters":255,'
        b'"serviceExportsEnabled":false,"endpointSlicesExportMode":"services-and-endpointslices"}}'
    )


@pytest.mark.parametrize("value", [b"{}", b"null", b'{"capabilities":null}', b'{"future":1}', b'{"ID":null}'])
def test_what_is_absent_is_zero(value: bytes) -> None:
    assert decode("east", value) == ClusterConfig()


@pytest.mark.parametrize(
    "value", [b'{"id":-1}', b'{"id":4294967296}', b'{"id":"1"}', b'{"capabilities":[]}', b"x"]
)
def test_other_values_are_refused(value: bytes) -> None:
    with pytest.raises(DecodeError):
        decode("east", value)


def refusal(config: ClusterConfig, capacity: int = 255, local_id: int = 1) -> str:
    try:
        check(config, local_id=local_id, layout=IdentityLayout(capacity), taken={9: "north"})
    except IncompatibleClusterError as error:
        return error.reason
    return ""


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        (GOOD, ""),
        (ClusterConfig(3), ""),
        (ClusterConfig(3, endpoint_slices_export_mode="endpointslices-only"), ""),
        (ClusterConfig(0), "ClusterID 0 is reserved"),
        (ClusterConfig(256), "ClusterID > 255 is not supported"),
        (ClusterConfig(1), "clusterID 1 is assigned to the local cluster"),
        (ClusterConfig(9), "clusterID 9 is already used by north"),
        (ClusterConfig(3, max_connected_clusters=511), "maxConnectedClusters is 511, ours is 255"),
        (ClusterConfig(3, endpoint_slices_export_mode="x"), "unknown endpointSlicesExportMode 'x'"),
    ],
)
def test_who_can_be_a_peer(config: ClusterConfig, reason: str) -> None:
    assert refusal(config) == reason


def test_both_must_number_identities_alike() -> None:
    assert refusal(ClusterConfig(300, max_connected_clusters=511), capacity=511) == ""
    assert refusal(GOOD, capacity=511) == "maxConnectedClusters is 255, ours is 511"
    assert refusal(ClusterConfig(3), capacity=511) == "maxConnectedClusters is 255, ours is 511"
