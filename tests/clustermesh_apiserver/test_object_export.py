"""Objects and namespaces may come and go in any order: what is stored is what the last of them say."""

from hypothesis import given
from hypothesis import strategies as st

from clustermesh_apiserver.convert import Converter
from clustermesh_apiserver.namespaces import GlobalNamespaces
from clustermesh_apiserver.object_export import Exported, ObjectExport
from k8s.cilium import CiliumEndpoint
from k8s.core import Namespace
from k8s.watch import ObjectDelta
from tests.clustermesh_apiserver import objects as o

NAMES, NAMESPACES = st.sampled_from(["a", "b"]), st.sampled_from(["shop", "bank"])
ADDRESSES = st.lists(
    st.sampled_from(["10.3.1.1", "10.3.1.2", "fd00::1"]), min_size=1, max_size=2, unique=True
)
ENDPOINTS = st.builds(
    lambda name, addresses, namespace, identity, created: o.endpoint(
        name, *addresses, namespace=namespace, identity=identity, created=created
    ),
    NAMES,
    ADDRESSES,
    NAMESPACES,
    st.sampled_from([196871, 65536]),  # the second is another cluster's
    st.sampled_from(["2026-01-01T00:00:00Z", "2026-01-01T00:00:01Z"]),
)
STEPS = st.lists(
    ENDPOINTS
    | st.builds(o.namespace, NAMESPACES, st.sampled_from([None, "true", "false"]))
    | st.builds("{}/{}".format, NAMESPACES, NAMES)  # an endpoint is deleted
    | NAMESPACES,  # a namespace is deleted
    max_size=12,
)
Step = CiliumEndpoint | Namespace | str


def build(default: bool = True) -> ObjectExport[CiliumEndpoint]:
    return ObjectExport(Converter(o.EAST).endpoint, GlobalNamespaces(default))


def feed(export: ObjectExport[CiliumEndpoint], step: Step) -> Exported:
    match step:
        case CiliumEndpoint():
            return export.objects(ObjectDelta({step.metadata.key: step}))
        case Namespace():
            return export.namespaces(ObjectDelta({step.metadata.name: step}))
        case str() if "/" in step:
            return export.objects(ObjectDelta(removes={step}))
        case _:
            return export.namespaces(ObjectDelta(removes={step}))


def store(stored: dict[bytes, bytes], exported: Exported) -> None:
    for key, value in exported.changes.items():
        if value is None:
            stored.pop(key)
        else:
            stored[key] = value


@given(STEPS, st.booleans())
def test_any_history_ends_in_what_the_final_objects_give(steps: list[Step], default: bool) -> None:
    export, stored = build(default), dict[bytes, bytes]()
    endpoints: dict[str, CiliumEndpoint] = {}
    namespaces: dict[str, Namespace] = {}
    for step in steps:
        store(stored, feed(export, step))
        match step:
            case CiliumEndpoint():
                endpoints[step.metadata.key] = step
            case Namespace():
                namespaces[step.metadata.name] = step
            case _:
                (endpoints if "/" in step else namespaces).pop(step, None)
    at_once = build(default)
    at_once.namespaces(ObjectDelta(namespaces))
    at_once.objects(ObjectDelta(endpoints))

    assert stored == export.pairs() == at_once.pairs()  # whoever starts anew comes to the same answer
    assert export.refused() == at_once.refused()


def test_two_endpoints_that_claim_one_address_take_turns() -> None:
    export = build()
    first = o.endpoint("old", "10.3.1.44", created="2026-01-01T00:00:00Z")
    second = o.endpoint("new", "10.3.1.44", identity=196872, created="2026-01-01T00:00:01Z")
    export.objects(ObjectDelta({"shop/old": first}))
    assert export.objects(ObjectDelta({"shop/new": second})).changes == {}
    changes = export.objects(ObjectDelta(removes={"shop/old"})).changes
    assert b'"K8sPodName":"new"' in (changes[b"10.3.1.44"] or b"")
    assert export.objects(ObjectDelta(removes={"shop/new"})).changes == {b"10.3.1.44": None}


def test_an_endpoint_that_gets_another_address_releases_the_old_one() -> None:
    export = build()
    export.objects(ObjectDelta({"shop/web-0": o.endpoint("web-0", "10.3.1.44")}))
    changes = export.objects(ObjectDelta({"shop/web-0": o.endpoint("web-0", "10.3.1.45")})).changes
    assert changes[b"10.3.1.44"] is None
    assert list(export.pairs()) == [b"10.3.1.45"]


def test_a_namespace_that_leaves_the_mesh_takes_its_endpoints_with_it() -> None:
    export = build()
    export.objects(ObjectDelta({"shop/web-0": o.endpoint()}))
    assert export.namespaces(ObjectDelta({"shop": o.namespace("shop", "false")})).changes == {
        b"10.3.1.44": None
    }
    assert list(export.namespaces(ObjectDelta({"shop": o.namespace("shop", "true")})).changes) == [
        b"10.3.1.44"
    ]


def test_an_identity_that_changed_its_namespace_has_left_the_old_one() -> None:
    export = ObjectExport(Converter(o.EAST).identity, GlobalNamespaces(True))
    export.objects(ObjectDelta({"196871": o.identity(namespace="shop")}))
    export.objects(ObjectDelta({"196871": o.identity(namespace="bank")}))
    assert export.namespaces(ObjectDelta({"shop": o.namespace("shop", "false")})).changes == {}
    export.objects(ObjectDelta(removes={"196871"}))
    assert export.namespaces(ObjectDelta(removes={"shop"})).changes == {}
    assert export.pairs() == {}


def test_an_object_that_turned_bad_loses_its_pairs_and_the_reason_is_told_once() -> None:
    export = build()
    export.objects(ObjectDelta({"shop/web-0": o.endpoint()}))
    bad = ObjectDelta({"shop/web-0": o.endpoint(identity=65536)})
    exported = export.objects(bad)
    assert exported.changes == {b"10.3.1.44": None}
    assert "65536" in exported.refused["shop/web-0"]
    assert export.objects(bad).refused == {}
    assert export.refused() == 1
    export.objects(ObjectDelta({"shop/web-0": o.endpoint()}))
    assert export.refused() == 0
