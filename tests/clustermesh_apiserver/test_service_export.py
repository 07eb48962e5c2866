"""Services, slices and namespaces may come and go in any order: the last of them decide."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from clustermesh_apiserver.convert import Converter
from clustermesh_apiserver.namespaces import GlobalNamespaces
from clustermesh_apiserver.object_export import Exported
from clustermesh_apiserver.service_export import ServiceExport
from k8s.core import Namespace, Service
from k8s.discovery import EndpointSlice
from k8s.watch import ObjectDelta
from mesh.endpointslice import MANAGED_BY, MESH_CONTROLLER
from tests.clustermesh_apiserver import objects as o

NAMESPACES, SERVICES, SLICES = (st.sampled_from(names) for names in (["shop", "bank"], ["web", "db"], "xyz"))
BACKENDS = st.lists(
    st.builds(
        lambda ip, ready, zone: o.backend(f"10.3.1.{ip}", ready=ready, zone=zone),
        st.integers(1, 3),
        st.booleans(),
        st.sampled_from(["", "z"]),
    ),
    max_size=2,
)
ANNOTATIONS = st.sampled_from([o.GLOBAL, o.GLOBAL, {**o.GLOBAL, "service.cilium.io/shared": "false"}, {}])
STEPS = st.lists(
    st.builds(
        lambda ns, name, notes: o.service(name, ns, annotations=notes), NAMESPACES, SERVICES, ANNOTATIONS
    )
    | st.builds(
        lambda ns, service, name, port, ends: o.endpoint_slice(
            name, *ends, namespace=ns, service=service, port=port
        ),
        NAMESPACES,
        SERVICES,
        SLICES,
        st.sampled_from([8080, 9090]),
        BACKENDS,
    )
    | st.builds(o.namespace, NAMESPACES, st.sampled_from([None, "true", "false"]))
    | st.builds(lambda ns, name: (Service, f"{ns}/{name}"), NAMESPACES, SERVICES)
    | st.builds(lambda ns, name: (EndpointSlice, f"{ns}/{name}"), NAMESPACES, SLICES)
    | st.builds(lambda ns: (Namespace, ns), NAMESPACES),
    max_size=12,
)
Item = Service | EndpointSlice | Namespace
Step = Item | tuple[type[Item], str]
World = dict[type[Item], dict[str, Item]]


def build(default: bool = True) -> ServiceExport:
    return ServiceExport(Converter(o.EAST), GlobalNamespaces(default))


def feed(export: ServiceExport, step: Step) -> Exported:
    match step:
        case Service():
            return export.services(ObjectDelta({step.metadata.key: step}))
        case EndpointSlice():
            return export.slices(ObjectDelta({step.metadata.key: step}))
        case Namespace():
            return export.namespaces(ObjectDelta({step.metadata.key: step}))
        case (kind, name):
            if kind is Service:
                return export.services(ObjectDelta(removes={name}))
            if kind is EndpointSlice:
                return export.slices(ObjectDelta(removes={name}))
            return export.namespaces(ObjectDelta(removes={name}))


def remember(world: World, step: Step) -> None:
    if isinstance(step, tuple):
        world[step[0]].pop(step[1], None)
    else:
        world[type(step)][step.metadata.key] = step


@given(STEPS, st.booleans())
def test_any_history_ends_in_what_the_final_objects_give(steps: list[Step], default: bool) -> None:
    export, stored = build(default), dict[bytes, bytes]()
    world: World = {Service: {}, EndpointSlice: {}, Namespace: {}}
    for step in steps:
        for key, value in feed(export, step).changes.items():
            assert stored.get(key) != value  # no needless write, nothing deleted that is not there
            if value is None:
                del stored[key]
            else:
                stored[key] = value
        remember(world, step)
    at_once = build(default)
    for kind in (EndpointSlice, Service, Namespace):  # not the order of a real start, which must not matter
        for item in world[kind].values():
            feed(at_once, item)

    assert stored == export.pairs() == at_once.pairs()


def test_a_service_that_is_no_longer_shared_is_deleted_not_marked() -> None:
    export = build()
    export.services(ObjectDelta({"shop/web": o.service()}))
    closed = o.service(annotations={**o.GLOBAL, "service.cilium.io/shared": "false"})
    assert export.services(ObjectDelta({"shop/web": closed})).changes == {b"shop/web": None}


def test_slices_that_came_before_their_service_are_not_lost() -> None:
    export = build()
    export.slices(ObjectDelta({"shop/x": o.endpoint_slice("x", o.backend("10.3.1.44"))}))
    changes = export.services(ObjectDelta({"shop/web": o.service()})).changes
    assert b"10.3.1.44" in (changes[b"shop/web"] or b"")


def test_slices_of_a_mesh_are_not_exported_again() -> None:
    export = build()
    export.services(ObjectDelta({"shop/web": o.service()}))
    remote = o.endpoint_slice("x", o.backend("10.4.1.1"), labels={MANAGED_BY: MESH_CONTROLLER})
    assert export.slices(ObjectDelta({"shop/x": remote})).changes == {}


def test_a_slice_that_changes_its_service_leaves_the_old_one() -> None:
    export = build()
    export.services(ObjectDelta({"shop/web": o.service("web"), "shop/db": o.service("db")}))
    export.slices(ObjectDelta({"shop/x": o.endpoint_slice("x", o.backend("10.3.1.44"))}))
    export.slices(ObjectDelta({"shop/x": o.endpoint_slice("x", o.backend("10.3.1.44"), service="db")}))
    backends = {key: list(msgspec.json.decode(value)["backends"]) for key, value in export.pairs().items()}
    assert backends == {b"shop/web": [], b"shop/db": ["10.3.1.44"]}


def test_the_slice_that_is_later_in_name_order_wins_whatever_came_last() -> None:
    slices = [
        o.endpoint_slice(name, o.backend("10.3.1.44"), port=port) for name, port in (("b", 2), ("a", 1))
    ]
    for order in (slices, slices[::-1]):
        export = build()
        export.services(ObjectDelta({"shop/web": o.service()}))
        for item in order:
            export.slices(ObjectDelta({item.metadata.key: item}))
        assert b'"Port":2}' in export.pairs()[b"shop/web"]
