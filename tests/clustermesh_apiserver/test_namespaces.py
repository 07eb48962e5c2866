"""An annotation, else the cluster's default, decides whether a namespace takes part."""

import pytest

from clustermesh_apiserver.namespaces import GlobalNamespaces
from k8s.watch import ObjectDelta
from tests.clustermesh_apiserver import objects as o


@pytest.mark.parametrize("default", [True, False])
def test_the_default_holds_where_nothing_is_said(default: bool) -> None:
    namespaces = GlobalNamespaces(default)
    assert namespaces.apply(ObjectDelta({"shop": o.namespace("shop")})) == set()
    assert ("shop" in namespaces) is default
    assert ("never-seen" in namespaces) is default


def test_changed_answers_are_told_once() -> None:
    namespaces = GlobalNamespaces(True)
    closed = ObjectDelta({"shop": o.namespace("shop", "false")})
    assert namespaces.apply(closed) == {"shop"}
    assert namespaces.apply(closed) == set()
    assert "shop" not in namespaces
    assert namespaces.apply(ObjectDelta({"shop": o.namespace("shop", "True")})) == {"shop"}
    assert namespaces.apply(ObjectDelta({"shop": o.namespace("shop", "no")})) == {"shop"}
    assert namespaces.apply(ObjectDelta(removes={"shop"})) == {"shop"}
    assert "shop" in namespaces
