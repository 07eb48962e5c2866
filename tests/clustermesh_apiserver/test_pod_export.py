"""IPs of a cluster without Cilium: pods, namespaces and numbers may come in any order."""

from __future__ import annotations

import json
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from clustermesh_apiserver.convert import Converter
from clustermesh_apiserver.namespaces import GlobalNamespaces
from clustermesh_apiserver.object_export import Exported
from clustermesh_apiserver.pod_export import PodExport
from k8s.cilium import CiliumIdentity
from k8s.core import Namespace, Pod
from k8s.watch import ObjectDelta
from mesh.podlabels import DEFAULT_FILTER
from tests.clustermesh_apiserver import objects as o

WEB, DB = "10.3.1.44", "10.3.1.45"


def pod(name: str, ip: str, *, app: str = "web", phase: str = "Running", host: bool = False) -> Pod:
    body: dict[str, Any] = {
        "metadata": {"name": name, "namespace": "shop", "labels": {"app": app}},
        "spec": {"serviceAccountName": "web", "hostNetwork": host},
        "status": {"phase": phase, "podIPs": [{"ip": ip}] if ip else [], "hostIP": "192.0.2.11"},
    }
    return o.read(body, Pod)


def namespace(**labels: str) -> Namespace:
    return o.read({"metadata": {"name": "shop", "labels": labels}}, Namespace)


def number(value: int) -> CiliumIdentity:
    return o.read({"metadata": {"name": str(value)}}, CiliumIdentity)


def build() -> PodExport:
    return PodExport(Converter(o.EAST), "east", GlobalNamespaces(True), DEFAULT_FILTER)


def numbered(export: PodExport) -> Exported:
    """Everything that is wanted gets a number that its text decides."""
    texts = {text: number(196608 + len(text) + 100 * ("app=db" in text)) for text in export.wanted}
    return export.numbers(ObjectDelta(texts))


def test_a_pod_is_published_once_its_labels_have_a_number() -> None:
    export = build()
    assert export.pods(ObjectDelta({"shop/web-0": pod("web-0", WEB)})).changes == {}
    (text,) = export.wanted
    assert "k8s:app=web;" in text and "k8s:io.cilium.k8s.policy.cluster=east;" in text
    changes = export.numbers(ObjectDelta({text: number(196871)})).changes
    value = json.loads(changes[WEB.encode()] or b"")
    assert (value["ID"], value["HostIP"], value["K8sPodName"]) == (196871, "192.0.2.11", "web-0")
    assert value["K8sServiceAccount"] == "web"


def test_a_pod_of_two_families_is_published_under_each_address() -> None:
    export = build()
    dual = pod("web-0", WEB)
    ips = [{"ip": WEB}, {"ip": "FD00:10:3:1::2C"}]
    body = msgspec.to_builtins(dual) | {"status": msgspec.to_builtins(dual.status) | {"podIPs": ips}}
    export.pods(ObjectDelta({"shop/web-0": o.read(body, Pod)}))
    assert numbered(export).changes.keys() == {WEB.encode(), b"fd00:10:3:1::2c"}
    gone = export.pods(ObjectDelta({"shop/web-0": dual})).changes
    assert gone == {b"fd00:10:3:1::2c": None}


def test_pods_without_an_address_of_their_own_are_nobody() -> None:
    export = build()
    pods = {
        "shop/a": pod("a", WEB, host=True),
        "shop/b": pod("b", WEB, phase="Succeeded"),
        "shop/c": pod("c", WEB, phase="Failed"),
        "shop/d": pod("d", ""),
    }
    export.pods(ObjectDelta(pods))
    assert export.wanted == set()
    assert export.pairs() == {}


def test_a_pod_whose_labels_change_is_known_by_its_old_number_until_there_is_a_new_one() -> None:
    export = build()
    export.pods(ObjectDelta({"shop/web-0": pod("web-0", WEB)}))
    numbered(export)
    before = export.pairs()
    assert export.pods(ObjectDelta({"shop/web-0": pod("web-0", WEB, app="db")})).changes == {}
    assert export.pairs() == before
    assert set(numbered(export).changes) == {WEB.encode()}
    assert export.pairs() != before


def test_a_pod_that_ends_is_removed() -> None:
    export = build()
    export.pods(ObjectDelta({"shop/web-0": pod("web-0", WEB)}))
    numbered(export)
    ended = export.pods(ObjectDelta({"shop/web-0": pod("web-0", WEB, phase="Succeeded")}))
    assert ended.changes == {WEB.encode(): None}
    assert export.wanted == set()


def test_a_namespace_outside_of_the_mesh_needs_no_numbers() -> None:
    export = build()
    export.pods(ObjectDelta({"shop/web-0": pod("web-0", WEB)}))
    away = o.read(o.namespace_body("shop", "false"), Namespace)
    export.namespaces(ObjectDelta({"shop": away}))
    assert export.wanted == set()
    numbered(export)
    assert export.pairs() == {}


STEPS = st.lists(
    st.one_of(
        st.builds(
            lambda name, app, ip, phase: ("pod", f"shop/{name}", pod(name, ip, app=app, phase=phase)),
            st.sampled_from("ab"),
            st.sampled_from(["web", "db"]),
            st.sampled_from([WEB, DB]),
            st.sampled_from(["Running", "Failed"]),
        ),
        st.builds(lambda name: ("gone", f"shop/{name}", None), st.sampled_from("ab")),
        st.builds(lambda team: ("namespace", "shop", namespace(team=team)), st.sampled_from("xy")),
        st.just(("numbers", "", None)),
    ),
    max_size=12,
)


@given(STEPS)
def test_any_history_ends_in_what_the_final_objects_give(steps: list[tuple[str, str, Any]]) -> None:
    export, pods, last = build(), dict[str, Pod](), namespace()
    stored: dict[bytes, bytes] = {}

    def store(exported: Exported) -> None:
        for key, value in exported.changes.items():
            if value is None:
                del stored[key]
            else:
                stored[key] = value

    for what, key, value in [*steps, ("numbers", "", None)]:
        match what:
            case "pod":
                pods[key] = value
                store(export.pods(ObjectDelta({key: value})))
            case "gone":
                pods.pop(key, None)
                store(export.pods(ObjectDelta(removes={key})))
            case "namespace":
                last = value
                store(export.namespaces(ObjectDelta({key: value})))
            case _:
                store(numbered(export))
    fresh = build()
    fresh.namespaces(ObjectDelta({"shop": last}))
    for key, each in pods.items():
        fresh.pods(ObjectDelta({key: each}))
    numbered(fresh)
    assert stored == export.pairs()
    assert export.wanted == fresh.wanted
    assert stored.keys() == fresh.pairs().keys()
