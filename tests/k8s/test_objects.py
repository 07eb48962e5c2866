"""Objects decode leniently: unknown fields, absent fields and nulls are all fine."""

from __future__ import annotations

import msgspec
import pytest

from k8s import cilium, core, discovery, objects
from k8s.resource import CILIUMENDPOINT, CLUSTERROLE, POD


def test_nulls_are_absent_fields() -> None:
    raw = b'{"metadata":{"creationTimestamp":null},"endpoints":null,"ports":[{"name":null,"port":3}]}'
    decoded = objects.decode(raw, discovery.EndpointSlice)
    assert (decoded.endpoints, decoded.ports) == ((), (discovery.EndpointPort(port=3),))


def test_secrets_hold_bytes_and_do_not_print_them() -> None:
    decoded = objects.decode(b'{"metadata":{"name":"s"},"data":{"key":"aHVzaA=="}}', core.Secret)
    assert decoded.data == {"key": b"hush"}
    assert "hush" not in repr(decoded)


def test_a_field_of_another_type_is_refused() -> None:
    with pytest.raises(msgspec.ValidationError):
        objects.decode(b'{"metadata":{"name":7}}', core.Pod)


def test_ciliums_dashed_fields_are_read() -> None:
    identity = objects.decode(b'{"security-labels":{"k8s:app":"web"}}', cilium.CiliumIdentity)
    assert identity.security_labels == {"k8s:app": "web"}
    raw = b'{"status":{"named-ports":[{"name":"http","port":80,"protocol":"TCP"}],"identity":{"id":70000}}}'
    endpoint = objects.decode(raw, cilium.CiliumEndpoint)
    assert (endpoint.status.named_ports[0].port, endpoint.status.identity.id) == (80, 70000)


def test_paths_name_collections_objects_and_subresources() -> None:
    assert POD.path() == "/api/v1/pods"
    assert POD.path(namespace="a", name="b", subresource="status") == "/api/v1/namespaces/a/pods/b/status"
    assert CILIUMENDPOINT.path(namespace="a") == "/apis/cilium.io/v2/namespaces/a/ciliumendpoints"
    path = CLUSTERROLE.path(namespace="ignored", name="system:node")
    assert path == "/apis/rbac.authorization.k8s.io/v1/clusterroles/system:node"
