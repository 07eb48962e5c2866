from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.mcs import Reason, derived_name, merge
from mesh.serviceexport import HEADLESS, ClientIPConfig, ServiceExport, ServicePort, SessionAffinityConfig

HTTP, HTTPS = ServicePort("http", "TCP", 80), ServicePort("https", "TCP", 443)
EAST = ServiceExport(
    cluster="east",
    namespace="shop",
    name="web",
    created="2026-11-23T09:15:02Z",
    ports=(HTTP,),
    ip_families=("IPv4", "IPv6"),
)
WEST = replace(EAST, cluster="west", created="2026-11-23T09:15:03Z")

ports = st.builds(
    ServicePort,
    st.sampled_from(["", "http", "dns"]),
    st.sampled_from(["", "TCP", "UDP"]),
    st.sampled_from([53, 80]),
    st.sampled_from([None, "kubernetes.io/h2c"]),
)
maps = st.sampled_from([{}, {"tier": "a"}, {"tier": "b"}])
shares = st.builds(
    ServiceExport,
    cluster=st.sampled_from("abcd"),
    namespace=st.just("shop"),
    name=st.just("web"),
    created=st.sampled_from([EAST.created, WEST.created]),
    ports=st.lists(ports, max_size=3).map(tuple),
    type=st.sampled_from([EAST.type, HEADLESS]),
    ip_families=st.sampled_from([("IPv4",), ("IPv6",), ("IPv4", "IPv6"), ("IPv6", "IPv4")]),
    labels=maps,
    annotations=maps,
)
sets = st.lists(shares, max_size=4, unique_by=lambda item: item.cluster)


def test_no_exports_are_no_import() -> None:
    assert merge([]) is None


def test_one_export_is_imported_as_it_is() -> None:
    merged = merge([EAST])
    assert merged is not None
    assert (merged.spec, merged.clusters, merged.conflict) == (EAST, ("east",), None)


def test_ports_are_the_union() -> None:
    merged = merge([replace(WEST, ports=(HTTPS, HTTP)), EAST])
    assert merged is not None
    assert merged.spec.ports == (HTTP, HTTPS)
    assert merged.conflict is not None  # one of them does not have both
    assert (merged.conflict.reason, merged.conflict.clusters) == (Reason.PORTS, ("east",))


def test_the_order_of_ports_is_no_conflict() -> None:
    merged = merge([replace(WEST, ports=(HTTPS, HTTP)), replace(EAST, ports=(HTTP, HTTPS))])
    assert merged is not None and merged.conflict is None


def test_ip_families_are_what_all_have_in_common_in_the_oldests_order() -> None:
    merged = merge([EAST, replace(WEST, ip_families=("IPv6", "IPv4"))])
    assert merged is not None and merged.spec.ip_families == ("IPv4", "IPv6")
    merged = merge([EAST, replace(WEST, ip_families=("IPv6",))])
    assert merged is not None and merged.spec.ip_families == ("IPv6",)
    assert merged.conflict is None


def test_a_cluster_without_a_common_ip_family_is_left_out() -> None:
    merged = merge(
        [replace(EAST, ip_families=("IPv4",)), replace(WEST, ip_families=("IPv6",), ports=(HTTPS,))]
    )
    assert merged is not None and merged.conflict is not None
    assert (merged.clusters, merged.spec.ports) == (("east",), (HTTP,))
    assert merged.conflict.reason is Reason.IP_FAMILIES


def test_of_equally_old_exports_the_clusters_name_decides() -> None:
    merged = merge([replace(WEST, type=HEADLESS), replace(EAST, created=WEST.created)])
    assert merged is not None and merged.spec.type == EAST.type


CONFLICTS = [
    (Reason.PORTS, {"ports": (replace(HTTP, port=81),)}),
    (Reason.PORTS, {"ports": (replace(HTTP, name="web"),)}),
    (Reason.PORTS, {"ports": (replace(HTTPS, name=""),)}),
    (Reason.PORTS, {"ports": (replace(HTTP, app_protocol="kubernetes.io/h2c"),)}),
    (Reason.TYPE, {"type": HEADLESS}),
    (Reason.SESSION_AFFINITY, {"session_affinity": "ClientIP"}),
    (Reason.SESSION_AFFINITY_CONFIG, {"session_affinity_config": SessionAffinityConfig(ClientIPConfig(5))}),
    (Reason.ANNOTATIONS, {"annotations": {"a": "b"}}),
    (Reason.LABELS, {"labels": {"a": "b"}}),
    (Reason.INTERNAL_TRAFFIC_POLICY, {"internal_traffic_policy": "Local"}),
    (Reason.TRAFFIC_DISTRIBUTION, {"traffic_distribution": "PreferClose"}),
]


@pytest.mark.parametrize(("reason", "changes"), CONFLICTS)
def test_what_differs_is_a_conflict_and_the_oldest_counts(reason: Reason, changes: dict[str, object]) -> None:
    merged = merge([replace(WEST, **changes), EAST])  # type: ignore[arg-type]
    assert merged is not None and merged.conflict is not None
    assert merged.spec == EAST
    assert (merged.conflict.reason, merged.conflict.clusters) == (reason, ("west",))
    assert "west" in merged.conflict.message and "east" in merged.conflict.message


@pytest.mark.parametrize(("first", "second"), [p for p in pairwise(CONFLICTS) if p[0][0] is not p[1][0]])
def test_of_several_conflicts_the_first_is_told(
    first: tuple[Reason, dict[str, object]], second: tuple[Reason, dict[str, object]]
) -> None:
    merged = merge([EAST, replace(WEST, **first[1], **second[1])])  # type: ignore[arg-type]
    assert merged is not None and merged.conflict is not None
    assert merged.conflict.reason is first[0]


@given(sets, st.randoms(use_true_random=False))
def test_the_order_of_the_exports_does_not_matter(exports: list[ServiceExport], random: object) -> None:
    shuffled = list(exports)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert merge(shuffled) == merge(exports)


@given(sets)
def test_a_service_can_have_the_ports(exports: list[ServiceExport]) -> None:
    merged = merge(exports)
    union = merged.spec.ports if merged else ()
    assert len({port.name for port in union}) == len(union)
    assert len({(port.protocol, port.port) for port in union}) == len(union)
    assert len(union) < 2 or all(port.name for port in union)


@given(sets)
def test_a_conflict_is_told_when_and_only_when_the_exports_differ_in_what_cannot_be_joined(
    exports: list[ServiceExport],
) -> None:
    merged = merge(exports)
    if merged is None or merged.conflict is not None:
        return
    for item in exports:
        assert (item.type, item.labels, item.annotations) == (
            merged.spec.type,
            merged.spec.labels,
            merged.spec.annotations,
        )
        assert {(p.name, p.port) for p in item.ports} <= {(p.name, p.port) for p in merged.spec.ports}
        assert set(merged.spec.ip_families) <= set(item.ip_families)


def test_the_derived_name_depends_on_namespace_and_name() -> None:
    # printf %s shop/web | sha256sum, its first fifty bits in base32hex
    assert derived_name("shop", "web") == "derived-isrlchlhrq"
    assert derived_name("shop", "web") != derived_name("shop2", "web")
