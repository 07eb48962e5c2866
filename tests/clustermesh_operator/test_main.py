"""The program's flags, and the one thing that it looks up by itself."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from clustermesh_operator.__main__ import main
from clustermesh_operator.snapshot import Settings
from clustermesh_operator.world import World
from k8s.core import Service, ServiceSpec
from k8s.discovery import Endpoint, EndpointConditions, EndpointSlice
from k8s.objects import ObjectMeta
from k8s.resource import ENDPOINTSLICE, SERVICE
from k8s.watch import ObjectDelta


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--cluster-name", "east", "--cluster-id", "0"), "--cluster-id must be"),
        (("--cluster-name", "East", "--cluster-id", "1"), "East"),
        (("--cluster-name", "default", "--cluster-id", "1"), "means unset"),
        (("--cluster-name", "east", "--cluster-id", "1", "--max-connected-clusters", "7"), "7"),
        (("--cluster-name", "east", "--cluster-id", "1", "--kubeconfig", "/nowhere"), "/nowhere"),
    ],
)
def test_bad_settings_end_it_with_one_line(flags: tuple[str, ...], said: str) -> None:
    result = CliRunner().invoke(main, flags)
    assert result.exit_code == 1
    assert said in result.stderr
    assert result.stderr.count("\n") == 1


def test_an_unknown_flag_is_refused() -> None:
    assert CliRunner().invoke(main, ("--cluster-nmae", "east")).exit_code == 2


def test_a_service_of_this_cluster_is_reached_at_its_ready_endpoints_first() -> None:
    world = World(Settings("east"), lambda: True)
    metadata = ObjectMeta(name="mesh", namespace="kube-system")
    world.apply(
        SERVICE,
        ObjectDelta({metadata.key: Service(metadata=metadata, spec=ServiceSpec(clusterIPs=("172.20.0.9",)))}),
    )
    labels = {"kubernetes.io/service-name": "mesh"}
    piece = EndpointSlice(
        metadata=ObjectMeta(name="mesh-1", namespace="kube-system", labels=labels),
        endpoints=(
            Endpoint(addresses=("198.18.0.1",), conditions=EndpointConditions(ready=False)),
            Endpoint(addresses=("198.18.0.2",)),
        ),
    )
    world.apply(ENDPOINTSLICE, ObjectDelta({piece.metadata.key: piece}))
    assert world.addresses("kube-system/mesh") == ("198.18.0.2", "172.20.0.9")
    assert world.addresses("kube-system/other") == ()
