"""Our own writes count at once, and an old word of the watch never undoes them."""

from __future__ import annotations

import msgspec

from k8s.collection import ObjectDelta
from k8s.objects import KubeObject
from lab.control.collection import Collection


def thing(name: str, version: int) -> KubeObject:
    return msgspec.convert({"metadata": {"name": name, "resourceVersion": str(version)}}, KubeObject)


def held(collection: Collection[KubeObject]) -> dict[str, str]:
    return {key: value.metadata.resourceVersion for key, value in collection.view().items()}


def test_an_answer_is_seen_before_the_watch_tells_of_it() -> None:
    things = Collection(KubeObject)
    things.answered(msgspec.json.encode(thing("a", 3)))
    assert held(things) == {"a": "3"}
    assert not things.is_complete


def test_an_older_version_never_replaces_a_newer_one() -> None:
    things = Collection(KubeObject)
    things.answered(msgspec.json.encode(thing("a", 12)))
    things.change(ObjectDelta({"a": thing("a", 9), "b": thing("b", 1)}, set(), synced=True))
    assert held(things) == {"a": "12", "b": "1"}
    things.change(ObjectDelta({"a": thing("a", 100)}))
    assert held(things)["a"] == "100"
    assert things.is_complete


def test_a_late_answer_does_not_bring_a_removed_object_back() -> None:
    things = Collection(KubeObject)
    things.change(ObjectDelta({"a": thing("a", 1)}))
    things.change(ObjectDelta({}, {"a"}))
    things.answered(msgspec.json.encode(thing("a", 1)))
    assert held(things) == {}
