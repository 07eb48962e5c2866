"""What a delete takes along."""

from __future__ import annotations

import json
from typing import Any

from lab.api.collection import Stored, from_value
from lab.api.dependents import with_dependents
from tests.k8s.apiserver import definition


def stored(place: str, uid: str, *, namespace: str = "", owners: tuple[str, ...] = (), **body: Any) -> Stored:
    metadata: dict[str, Any] = {"name": place.rpartition("/")[2], "uid": uid}
    metadata |= {"namespace": namespace} if namespace else {}
    metadata |= {"ownerReferences": [{"uid": owner} for owner in owners]} if owners else {}
    metadata |= body.pop("metadata", {})
    value = json.dumps({**body, "metadata": metadata}).encode()
    return from_value(f"/registry/{place}".encode(), value, 1)


def uids(doomed: list[Stored]) -> list[str]:
    return [entry.body["metadata"]["uid"] for entry in doomed]


OWNER = stored("apps/deployments/d/web", "deployment")
OTHER = stored("apps/deployments/d/other", "other")
CHILD = stored("apps/replicasets/d/web-1", "replicaset", owners=("deployment",))
GRANDCHILD = stored("core/pods/d/web-1-x", "pod", owners=("replicaset",))
SHARED = stored("core/pods/d/shared", "shared", owners=("deployment", "other"))
DANGLING = stored("core/pods/d/dangling", "dangling", owners=("long-gone",))
EVERYTHING = [OWNER, OTHER, CHILD, GRANDCHILD, SHARED, DANGLING]


def test_dependents_follow_their_owners_in_that_order() -> None:
    assert uids(with_dependents([OWNER], EVERYTHING, orphan=False)) == ["deployment", "replicaset", "pod"]


def test_an_object_with_another_living_owner_stays_until_both_are_gone() -> None:
    assert "shared" in uids(with_dependents([OWNER, OTHER], EVERYTHING, orphan=False))


def test_orphaning_takes_only_the_object_itself() -> None:
    assert uids(with_dependents([OWNER], EVERYTHING, orphan=True)) == ["deployment"]


def test_a_dependent_held_by_a_finalizer_keeps_its_own_dependents() -> None:
    held = stored(
        "apps/replicasets/d/w", "replicaset", owners=("deployment",), metadata={"finalizers": ["f"]}
    )
    doomed = with_dependents([OWNER], [OWNER, held, GRANDCHILD], orphan=False)
    assert uids(doomed) == ["deployment", "replicaset"]


def test_a_namespace_takes_its_content_and_nothing_else() -> None:
    namespace = stored("core/namespaces/d", "namespace")
    inside = stored("core/pods/d/a", "inside", namespace="d")
    outside = stored("core/pods/e/a", "outside", namespace="e")
    assert uids(with_dependents([namespace], [namespace, inside, outside], orphan=False)) == [
        "namespace",
        "inside",
    ]


def test_a_definition_takes_the_objects_of_its_kind() -> None:
    body = definition("ciliumnodes", "CiliumNode")
    name = "apiextensions.k8s.io/customresourcedefinitions/ciliumnodes.cilium.io"
    crd = stored(name, "crd", spec=body["spec"])
    node, identity = (
        stored("cilium.io/ciliumnodes/n", "node"),
        stored("cilium.io/ciliumidentities/1", "identity"),
    )
    assert uids(with_dependents([crd], [crd, node, identity], orphan=False)) == ["crd", "node"]
