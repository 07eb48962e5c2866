"""Plans carried out again and again, by an API server in a dictionary, whatever happens in between."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from clustermesh_operator.plan import Plan, Ref, plan
from clustermesh_operator.snapshot import Remote, Settings, Snapshot
from clustermesh_operator.world import FOLLOWED
from k8s.differ import without_nones
from k8s.objects import decode
from k8s.resource import ENDPOINTSLICE, NAMESPACE, SERVICE, SERVICEEXPORT, SERVICEIMPORT, Resource
from lab.api.patch import merge_patch
from mesh.mcs import derived_name
from mesh.service import GlobalService, Port
from mesh.serviceexport import HEADLESS, ServiceExport, ServicePort

Body = dict[str, Any]

NOW = "2026-11-23T09:15:02Z"
ROUNDS = 8  # import, derived Service, its slices and the addresses, the statuses: with room to spare
IMPORT, DERIVED = Ref(SERVICEIMPORT, "shop/web"), Ref(SERVICE, f"shop/{derived_name('shop', 'web')}")
PORT = {"name": "http", "port": 80, "protocol": "TCP"}
SHARE = ServiceExport(
    cluster="west",
    namespace="shop",
    name="web",
    created=NOW,
    ports=(ServicePort("http", "TCP", 80),),
    ip_families=("IPv4",),
)
BACKENDS = GlobalService("west", "shop", DERIVED.name, backends={"10.2.0.1": {"http": Port("TCP", 80)}})
WEST = [
    Remote(is_listed=True),
    Remote(),  # has not been heard
    Remote({"shop/web": SHARE}, {BACKENDS.key: BACKENDS}, is_listed=True),
    Remote({"shop/web": replace(SHARE, type=HEADLESS, labels={"a": "b"})}, is_listed=True),
    Remote({"shop/web": replace(SHARE, ip_families=("IPv6",))}, is_listed=True),
]
META: Body = {"name": "web", "namespace": "shop", "creationTimestamp": NOW}
SLICE_LABELS = {"kubernetes.io/service-name": "web"}
THINGS: list[tuple[Resource, str, Body | None]] = [
    (NAMESPACE, "shop", {"metadata": {"name": "shop"}}),
    (
        NAMESPACE,
        "shop",
        {"metadata": {"name": "shop", "annotations": {"clustermesh.cilium.io/global": "no"}}},
    ),
    (SERVICE, "shop/web", {"metadata": META, "spec": {"clusterIP": "172.20.9.9", "ports": [PORT]}}),
    (SERVICE, "shop/web", {"metadata": META, "spec": {"clusterIP": "None", "ports": [PORT]}}),
    (SERVICE, "shop/web", {"metadata": META, "spec": {"type": "ExternalName"}}),
    (SERVICE, "shop/web", None),
    (SERVICEEXPORT, "shop/web", {"metadata": META}),
    (SERVICEEXPORT, "shop/web", {"metadata": META, "spec": {"exportedLabels": {"l": "1"}}}),
    (SERVICEEXPORT, "shop/web", None),
    (
        ENDPOINTSLICE,
        "shop/web-1",
        {
            "metadata": {**META, "name": "web-1", "labels": SLICE_LABELS},
            "endpoints": [{"addresses": ["10.1.0.1"]}],
        },
    ),
    (ENDPOINTSLICE, "shop/web-1", None),
    (SERVICE, DERIVED.key, None),
    (SERVICEIMPORT, IMPORT.key, None),
]
STEPS = st.lists(st.sampled_from(THINGS) | st.sampled_from(WEST), max_size=10)


@dataclass
class Api:
    """One cluster's objects, and what is known of the other one."""

    west: Remote = field(default_factory=Remote)
    bodies: dict[Ref, Body] = field(default_factory=dict)
    uids: int = 0

    def put(self, ref: Ref, body: Body) -> None:
        """As written; the server gives new objects their uid and Services their address."""
        if ref not in self.bodies:
            self.uids += 1
            body = merge_patch(without_nones(body), {"metadata": {"uid": str(self.uids), "generation": 1}})
            if ref.resource is SERVICE and "clusterIP" not in body["spec"]:
                body["spec"] |= {"clusterIP": "172.20.9.14", "clusterIPs": ["172.20.9.14"]}
        self.bodies[ref] = merge_patch(self.bodies.get(ref, {}), body)

    def delete(self, ref: Ref) -> None:
        self.bodies.pop(ref, None)

    def snapshot(self) -> Snapshot:
        objects: dict[Resource, dict[str, Any]] = {resource: {} for resource in FOLLOWED}
        for ref, body in self.bodies.items():
            objects[ref.resource][ref.key] = decode(msgspec.json.encode(body), FOLLOWED[ref.resource])
        return Snapshot(
            Settings("east", endpoint_sync=True),
            namespaces=objects[NAMESPACE],
            services=objects[SERVICE],
            slices=objects[ENDPOINTSLICE],
            exports=objects[SERVICEEXPORT],
            imports=objects[SERVICEIMPORT],
            remotes={"west": self.west},
        )

    def carry_out(self, wanted: Plan) -> None:
        for ref in wanted.deletes:
            self.delete(ref)
        for ref, body in {**wanted.objects, **wanted.slices}.items():
            self.put(ref, body)
        for ref, status in wanted.statuses.items():
            self.put(ref, {"status": status})

    def settle(self) -> None:
        """Carry plans out until there is nothing to do."""
        for _ in range(ROUNDS):
            before = dict(self.bodies)
            self.carry_out(plan(self.snapshot(), NOW))
            if before == self.bodies:
                return
        raise AssertionError("no end of changes")

    def happen(self, step: Any) -> None:
        if isinstance(step, Remote):
            # a lost cluster keeps what it said; one that was never heard has said nothing
            self.west = step if step.is_listed or not self.west.is_listed else self.west
        elif step[2] is None:
            self.delete(Ref(step[0], step[1]))
        else:
            self.delete(Ref(step[0], step[1]))
            self.put(Ref(step[0], step[1]), step[2])

    @property
    def ours(self) -> set[Ref]:
        given = {Ref(resource, key) for resource, key, _ in THINGS} - {IMPORT, DERIVED}
        return set(self.bodies) - given


@given(STEPS)
def test_after_any_history_the_objects_are_what_the_last_state_alone_would_give(steps: list[Any]) -> None:
    lived, born = Api(), Api()
    for step in [THINGS[0], WEST[0], *steps]:
        lived.happen(step)
        lived.settle()
    born.west = lived.west
    for ref in set(lived.bodies) - lived.ours:
        born.put(ref, {key: value for key, value in lived.bodies[ref].items() if key != "status"})
    born.settle()
    assert timeless(lived) == timeless(born)


@given(STEPS, STEPS)
def test_while_a_cluster_has_not_been_heard_nothing_that_rests_on_it_goes_or_changes(
    before: list[Any], after: list[Any]
) -> None:
    api = Api()
    for step in [THINGS[0], WEST[2], *before]:
        api.happen(step)
        api.settle()
    clusters = [c["cluster"] for c in api.bodies.get(IMPORT, {}).get("status", {}).get("clusters", [])]
    held = {ref: api.bodies[ref].get("spec") for ref in (IMPORT, DERIVED) if ref in api.bodies}
    api.west = Remote()  # another life begins, west cannot be reached
    for step in after:
        if not isinstance(step, Remote) and Ref(step[0], step[1]) not in (IMPORT, DERIVED):
            api.happen(step)
            api.settle()
    if "west" in clusters:
        assert {ref: api.bodies[ref].get("spec") for ref in held} == held


@given(STEPS)
def test_when_nobody_exports_any_more_nothing_of_ours_is_left(steps: list[Any]) -> None:
    api = Api()
    for step in [THINGS[0], *steps]:
        api.happen(step)
        api.settle()
    api.west = WEST[0]
    api.delete(Ref(SERVICEEXPORT, "shop/web"))
    api.settle()
    assert api.ours == set()


def timeless(api: Api) -> Any:
    """Without uids, which differ from life to life."""
    found = {(ref.resource.kind, ref.key): deepcopy(body) for ref, body in api.bodies.items()}
    for body in found.values():
        body["metadata"].pop("uid", None)
        for owner in body["metadata"].get("ownerReferences", []):
            owner.pop("uid")
        conditions = body.get("status", {}).get("conditions", [])
        body.setdefault("status", {})["conditions"] = sorted(conditions, key=lambda each: each["type"])
    return found
