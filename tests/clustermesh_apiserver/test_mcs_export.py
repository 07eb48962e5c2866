"""Shares of services of many clusters, in any order of their objects."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clustermesh_apiserver.mcs_export import MCSExport
from clustermesh_apiserver.namespaces import GlobalNamespaces
from clustermesh_apiserver.object_export import Exported
from k8s.core import Namespace, Service
from k8s.multicluster import ServiceExport
from k8s.objects import KubeObject
from k8s.watch import ObjectDelta
from mesh.serviceexport import HEADLESS, ServicePort, decode
from tests.clustermesh_apiserver import objects as o

CREATED = "2026-11-23T09:15:02Z"
KINDS: tuple[type[KubeObject], ...] = (ServiceExport, Service, Namespace)


def service_export(**spec: Any) -> ServiceExport:
    metadata = {"name": "web", "namespace": "shop", "creationTimestamp": CREATED}
    return o.read({"metadata": metadata, "spec": spec}, ServiceExport)


def feed(export: MCSExport, item: KubeObject | tuple[type[KubeObject], str]) -> Exported:
    match item:
        case ServiceExport():
            return export.exports(ObjectDelta({item.metadata.key: item}))
        case Service():
            return export.services(ObjectDelta({item.metadata.key: item}))
        case Namespace():
            return export.namespaces(ObjectDelta({item.metadata.key: item}))
        case (kind, key):
            take: Any = {ServiceExport: export.exports, Service: export.services}
            return take.get(kind, export.namespaces)(ObjectDelta(removes={key}))  # type: ignore[no-any-return]
    raise AssertionError(item)


def build(*items: KubeObject) -> MCSExport:
    export = MCSExport(o.EAST, GlobalNamespaces(True))
    for item in items:
        feed(export, item)
    return export


STEPS = st.lists(
    st.sampled_from(
        [
            service_export(),
            service_export(exportedLabels={"tier": "a"}),
            o.service(),
            o.service(type="ExternalName"),
            o.service(trafficDistribution="elsewhere"),
            o.read(o.namespace_body("shop", "false"), Namespace),
            o.read(o.namespace_body("shop"), Namespace),
            (ServiceExport, "shop/web"),
            (Service, "shop/web"),
            (Namespace, "shop"),
        ]
    ),
    max_size=12,
)


@given(STEPS)
def test_any_history_ends_in_what_the_final_objects_give(steps: list[Any]) -> None:
    export, stored = build(), dict[bytes, bytes]()
    world: dict[type[KubeObject], KubeObject] = {}
    for step in steps:
        for key, value in feed(export, step).changes.items():
            assert stored.get(key) != value
            if value is None:
                del stored[key]
            else:
                stored[key] = value
        if isinstance(step, tuple):
            world.pop(step[0], None)
        else:
            world[type(step)] = step
    assert stored == export.pairs() == build(*(world[kind] for kind in KINDS if kind in world)).pairs()


def test_a_share_says_all_that_its_service_does() -> None:
    port = {"name": "http", "protocol": "TCP", "port": 80, "appProtocol": "kubernetes.io/h2c"}
    web = o.service(
        annotations={"private": "x"},
        ports=[port],
        sessionAffinity="ClientIP",
        sessionAffinityConfig={"clientIP": {"timeoutSeconds": 5}},
        ipFamilies=["IPv4", "IPv6"],
        internalTrafficPolicy="Local",
        trafficDistribution="PreferClose",
    )
    export = build(service_export(exportedLabels={"l": "1"}, exportedAnnotations={"a": "2"}), web)
    item = decode("shop/web", export.pairs()[b"shop/web"])
    assert (item.cluster, item.created, item.ports) == (
        "east",
        CREATED,
        (ServicePort("http", "TCP", 80, "kubernetes.io/h2c"),),
    )
    assert item.session_affinity_config and item.session_affinity_config.client_ip
    assert item.session_affinity_config.client_ip.timeout_seconds == 5
    assert (item.session_affinity, item.ip_families) == ("ClientIP", ("IPv4", "IPv6"))
    assert (item.internal_traffic_policy, item.traffic_distribution) == ("Local", "PreferClose")
    assert (item.labels, item.annotations) == ({"l": "1"}, {"a": "2"})


def test_a_headless_service_is_exported_as_one() -> None:
    export = build(service_export(), o.service(clusterIP="None", clusterIPs=["None"]))
    item = decode("shop/web", export.pairs()[b"shop/web"])
    assert (item.type, item.ip_families) == (HEADLESS, ("IPv4",))


@pytest.mark.parametrize(
    "others",
    [
        (),
        (o.service(type="ExternalName"),),
        (o.service(), o.read(o.namespace_body("shop", "false"), Namespace)),
    ],
    ids=["no service", "external name", "namespace not global"],
)
def test_what_is_not_valid_is_not_exported(others: tuple[KubeObject, ...]) -> None:
    export = build(service_export(), *others)
    assert (export.pairs(), export.refused()) == ({}, 0)


def test_what_readers_would_refuse_is_refused_here_and_said_once() -> None:
    export = build(service_export())
    odd = o.service(trafficDistribution="elsewhere")
    assert feed(export, odd).refused == {"shop/web": "traffic distribution is unknown: elsewhere"}
    assert feed(export, odd).refused == {}
    assert (export.pairs(), export.refused()) == ({}, 1)
