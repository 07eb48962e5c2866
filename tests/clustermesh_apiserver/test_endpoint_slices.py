"""IPs from CiliumEndpointSlices: the same pairs as from the endpoints themselves, however they are packed."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from clustermesh_apiserver import exporters
from clustermesh_apiserver.convert import Converter
from clustermesh_apiserver.namespaces import GlobalNamespaces
from clustermesh_apiserver.object_export import ObjectExport
from k8s.cilium import CiliumEndpointSlice
from k8s.watch import ObjectDelta
from mesh.keys import Kind
from tests.clustermesh_apiserver import objects as o
from tests.clustermesh_apiserver.scripted import ScriptedKubernetes


def core(name: str, address: str, identity: int = 196871) -> dict[str, Any]:
    networking = {"addressing": [{"ipv4": address}], "node": "192.0.2.11"}
    return {"name": name, "id": identity, "networking": networking, "service-account": "web"}


def piece(name: str, *endpoints: dict[str, Any], namespace: str = "shop") -> CiliumEndpointSlice:
    body = {"metadata": {"name": name}, "namespace": namespace, "endpoints": list(endpoints)}
    return o.read(body, CiliumEndpointSlice)


def build() -> ObjectExport[CiliumEndpointSlice]:
    return ObjectExport(Converter(o.EAST).endpoint_slice, GlobalNamespaces(True))


def test_a_slice_gives_what_its_endpoints_would_give() -> None:
    converter = Converter(o.EAST)
    packed = converter.endpoint_slice(piece("ces-1", core("web-0", "10.3.1.44")))
    body = o.endpoint_body()
    body["status"]["service-account"] = "web"
    assert packed == converter.endpoint(o.read(body, type(o.endpoint())))


def test_a_bad_endpoint_is_named_and_does_not_keep_out_its_neighbours() -> None:
    export = build()
    delta = {"ces-1": piece("ces-1", core("web-0", "10.3.1.44"), core("web-1", "no address"))}
    first = export.objects(ObjectDelta(delta))
    assert set(first.changes) == {b"10.3.1.44"}
    assert first.refused == {"ces-1": "web-1: 'no address' is not an IP address"}
    assert export.refused() == 1
    assert export.objects(ObjectDelta(delta)).refused == {}
    export.objects(ObjectDelta({"ces-1": piece("ces-1", core("web-0", "10.3.1.44"))}))
    assert export.refused() == 0


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["s1", "s2", "s3"])), max_size=12))
def test_an_endpoint_that_moves_from_slice_to_slice_is_never_absent(moves: list[tuple[str, str]]) -> None:
    """The operator adds it to its new slice before it takes it out of the old one."""
    export = build()
    slices: dict[str, dict[str, dict[str, Any]]] = {"s1": {}, "s2": {}, "s3": {}}
    addresses = {"a": "10.3.1.1", "b": "10.3.1.2", "c": "10.3.1.3"}
    stored: dict[bytes, bytes] = {}

    def tell(*names: str) -> None:
        for name in names:
            changes = export.objects(ObjectDelta({name: piece(name, *slices[name].values())})).changes
            for key, value in changes.items():
                assert value is not None, key
                stored[key] = value

    for name, target in moves:
        old = [each for each, held in slices.items() if name in held and each != target]
        slices[target][name] = core(name, addresses[name])
        tell(target)
        for each in old:
            del slices[each][name]
            tell(each)
    assert stored == export.pairs()
    assert set(stored) == {addresses[name].encode() for name, _ in moves}


def test_the_setting_decides_which_objects_are_read() -> None:
    kubernetes = ScriptedKubernetes()
    for in_slices in (True, False):
        built = exporters.build(
            o.EAST, kubernetes.follow, default_global_namespace=True, endpoint_slices=in_slices
        )
        (ips,) = [each for each in built if each.kind is Kind.IPS]
        assert ips.sources == ["namespaces", "ciliumendpointslices" if in_slices else "ciliumendpoints"]
