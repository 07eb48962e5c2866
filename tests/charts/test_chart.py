"""The chart installs what `clustermesh enable` installs, and refuses what cannot work. Helm renders."""

from __future__ import annotations

import base64
import copy
import json
import re
import tomllib
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import yaml

from certs.check import Purpose, check
from certs.issue import Authority
from certs.profile import server
from cli import manifest, meshfile, meshplan, peerfile, renewal, secret, users
from cli.facts import Address
from cli.settings import CERTGEN, CLUSTER, ETCD_IMAGE, LEGACY, MeshSettings
from peering import rules
from tests.charts import crds
from tests.charts.conftest import CHART, NAMESPACE, ROOT, Body, ChartError, Objects, Render

VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
SETTINGS = MeshSettings(
    cluster_name="east",
    cluster_id=1,
    namespace=NAMESPACE,
    service_type="LoadBalancer",
    image=f"clustermesh.io/clustermesh:{VERSION}",
    etcd_image=ETCD_IMAGE,
    issues=True,
)
CASES: dict[str, tuple[Body, MeshSettings]] = {
    "defaults": ({}, SETTINGS),
    "several replicas": ({"apiserver": {"replicas": 3}}, replace(SETTINGS, replicas=3)),
    "without KVStoreMesh": (
        {"apiserver": {"kvstoremesh": {"enabled": False}}},
        replace(SETTINGS, kvstoremesh=False),
    ),
    "MCS-API": ({"mcs": {"enabled": True}}, replace(SETTINGS, mcs_api=True)),
    "MCS-API in two families": (
        {"mcs": {"enabled": True, "ipFamilies": "dual"}},
        replace(SETTINGS, mcs_api=True, ip_families="dual"),
    ),
    "511 clusters": (
        {"cluster": {"name": "w-1", "id": 300, "maxConnectedClusters": 511}},
        replace(SETTINGS, cluster_name="w-1", cluster_id=300, max_connected_clusters=511),
    ),
    "a node port": (
        {"apiserver": {"service": {"type": "NodePort", "annotations": {"a": "b"}}}},
        replace(SETTINGS, service_type="NodePort", service_annotations={"a": "b"}),
    ),
    "other images": (
        {
            "image": {"repository": "r/m", "digest": "sha256:" + "0" * 64},
            "etcd": {"image": {"tag": "v3.6.0"}},
        },
        replace(
            SETTINGS, image="r/m@sha256:" + "0" * 64, etcd_image=ETCD_IMAGE.partition(":")[0] + ":v3.6.0"
        ),
    ),
    "a node set aside": (
        {"controlNode": True, "agent": {"tolerations": []}, "mcs": {"enabled": True}},
        replace(SETTINGS, on_control_node=True, mcs_api=True),
    ),
    "the shared name only": ({"tls": {"authMode": "legacy"}}, replace(SETTINGS, auth_mode=LEGACY)),
    "names of one's own": ({"tls": {"authMode": "cluster"}}, replace(SETTINGS, auth_mode=CLUSTER)),
    "certificates of one's own": ({"tls": {"auto": {"method": "none"}}}, replace(SETTINGS, renews=False)),
    "short certificates": (
        {"tls": {"auto": {"schedule": "0 * * * *", "validityDays": 7}}},
        replace(SETTINGS, schedule="0 * * * *", validity_days=7),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_the_chart_and_enable_install_the_same(render: Render, case: str) -> None:
    values, settings = CASES[case]
    wanted = {
        (each.resource.kind, each.name): each.complete
        for each in manifest.objects(settings, {})
        # what is only ever created belongs to other commands, and to Helm's folder crds
        if not each.once or (each.resource.kind == "CustomResourceDefinition" and "multicluster" in each.name)
    }
    found = render(values)
    if settings.auth_mode == CLUSTER:  # `enable` writes it by itself, as it never changes what is there
        listed = found.pop(("ConfigMap", users.CONFIG_MAP))
        assert users.parse(listed["data"][users.FILE]) == frozenset()
    for key in [key for key in found if key[0] == "Job"]:
        job = found.pop(key)
        assert settings.issues and key[1].startswith(CERTGEN)
        assert job["spec"].pop("ttlSecondsAfterFinished")
        assert job["spec"] == renewal.job_spec(settings)
    assert found.keys() == wanted.keys()
    for key, body in wanted.items():
        assert _plain(found[key]) == _plain(body), key
        labels = body["metadata"].get("labels", {})
        assert labels.items() <= found[key]["metadata"].get("labels", {}).items()


def _plain(body: Body) -> Body:
    """Without what Helm adds for itself, and without the order of a definition's versions."""
    body = copy.deepcopy(body)
    body["metadata"].pop("labels", None)
    annotations = body["metadata"].get("annotations", {})
    annotations.pop("helm.sh/resource-policy", None)
    if not annotations:
        body["metadata"].pop("annotations", None)
    if body["kind"] == "CustomResourceDefinition":
        body["spec"]["versions"].sort(key=lambda version: version["name"])
    return body


def test_definitions_of_kinds_are_those_of_enable() -> None:
    held = {path.name: path.read_text() for path in (CHART / "crds").iterdir()}
    assert held == crds.files(), "run python -m tests.charts.crds"


def test_the_charts_version_is_the_programs() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["version"] == chart["appVersion"] == VERSION


@pytest.mark.parametrize("mirrors", [True, False])
def test_peers_in_values_are_the_files_that_connect_writes(render: Render, mirrors: bool) -> None:
    values = {
        "config": {"clusters": {"west": {"ips": ["192.0.2.1", "192.0.2.2"], "port": 32379}}},
        "apiserver": {"kvstoremesh": {"enabled": mirrors}},
    }
    addresses = [Address("192.0.2.1", 32379), Address("192.0.2.2", 32379)]
    peers = {"west": peerfile.remote("west", addresses)}
    wanted = peerfile.secrets(peers, NAMESPACE, mirrored=mirrors)
    found = {name: body["stringData"] for (kind, name), body in render(values).items() if kind == "Secret"}
    assert _files(found) == _files(wanted)
    named = render({"config": {"clusters": {"west": {"address": "mesh.example.org", "port": 2379}}}})
    file = yaml.safe_load(named["Secret", "cilium-kvstoremesh"]["stringData"]["west"])
    assert file["endpoints"] == ["https://mesh.example.org:2379"]
    assert "cilium-host-aliases" not in file


PEERS: Body = {
    "west": {
        "see": ["nodes", "identities", "ip"],
        "claim": {"addresses": ["10.2.0.0/16"], "namespaces": ["shop"], "addressCheck": "enforce"},
    },
    "north": {"see": []},
    "south": {"claim": {"namespaces": []}},
}


@pytest.mark.parametrize("others", [{}, {"*": {"see": ["nodes"]}}, {"*": {"see": []}}])
def test_rules_in_values_are_the_files_that_apply_writes(render: Render, others: Body) -> None:
    peers = {**PEERS, **others}
    clusters = [{"name": "east", "id": 1, "context": "east", "peers": peers}]
    clusters += [{"name": name, "id": id, "context": name} for id, name in enumerate(PEERS, 2)]
    mesh = yaml.safe_dump({"kind": "Mesh", "version": 1, "clusters": clusters})
    wanted = meshplan.wanted_rules(meshfile.parse(mesh.encode(), "mesh.yaml").clusters["east"])
    found = render({"config": {"peers": peers}})["ConfigMap", rules.CONFIG_MAP]["data"]
    assert found.keys() == wanted.keys()
    see, claims = rules.SEE_FILE, rules.CLAIMS_FILE
    assert rules.parse_see(found[see].encode()) == rules.parse_see(wanted[see].encode())
    assert rules.parse_claims(found[claims].encode()) == rules.parse_claims(wanted[claims].encode())


@pytest.mark.parametrize(
    "config",
    [
        {"peers": {"*": {"claim": {"namespaces": []}}}},
        {"peers": {"west": {"see": ["pods"]}}},
        {"peers": {"West": {"see": []}}},
        {"peers": {"west": {"claim": {"address": []}}}},
        {"remoteUsers": ["remote west"]},
    ],
)
def test_rules_that_cannot_be_meant_are_refused(render: Render, config: Body) -> None:
    with pytest.raises(ChartError):
        render({"config": config})


def test_values_from_before_there_were_rules_and_modes_are_the_defaults(render: Render) -> None:
    """As with --reuse-values: null takes a default away."""
    before = {"config": {"clusters": {}, "peers": None, "remoteUsers": None}, "tls": {"authMode": None}}
    assert render(before) == render({})


def test_whom_values_name_may_read(render: Render) -> None:
    def listed(**config: Any) -> frozenset[str]:
        found = render({"tls": {"authMode": "cluster"}, "config": config})
        return users.parse(found["ConfigMap", users.CONFIG_MAP]["data"][users.FILE])

    clusters = {"west": {"ips": ["192.0.2.1"], "port": 2379}}
    assert listed(clusters=clusters) == {"west"}
    assert listed(clusters=clusters, remoteUsers=["north", "south"]) == {"north", "south"}
    assert listed(clusters=clusters, remoteUsers=[]) == frozenset()


@pytest.mark.parametrize("method", ["helm", "certmanager"])
def test_the_mode_decides_the_name_towards_others(render: Render, method: str) -> None:
    auto = {"method": method, "certManagerIssuer": {"kind": "ClusterIssuer", "name": "mesh"}}
    for mode, name in (("legacy", "remote"), ("migration", "remote"), ("cluster", "remote-east")):
        found = render({"tls": {"authMode": mode, "auto": auto}})
        if method == "helm":
            leaf = _decoded(found["Secret", secret.REMOTE]["data"]["tls.crt"])
            assert secret.load_chain(leaf)[0].subject.rfc4514_string() == f"CN={name}"
        else:
            assert found["Certificate", secret.REMOTE]["spec"]["commonName"] == name


def _files(secrets: Any) -> dict[str, dict[str, Any]]:
    return {
        name: {peer: yaml.safe_load(text) for peer, text in files.items()} for name, files in secrets.items()
    }


def test_helms_own_certificates_are_as_good_as_ours(render: Render) -> None:
    found = render({"tls": {"auto": {"method": "helm"}, "server": {"extraDnsNames": ["mesh.example.org"]}}})
    data = {
        name: {key: _decoded(text) for key, text in body["data"].items()}
        for (kind, name), body in found.items()
        if kind == "Secret"
    }
    authority = Authority.load(data["cilium-ca"]["ca.crt"], data["cilium-ca"]["ca.key"])
    now = datetime.now(UTC) + timedelta(days=1000)
    profiles = secret.profiles("east", NAMESPACE) | {
        secret.SERVER: server(NAMESPACE, dns_names=["mesh.example.org"])
    }
    assert {*data} == {"cilium-ca", *profiles}
    for name, of in profiles.items():
        purpose = Purpose.SERVER if of.server else Purpose.CLIENT
        for carried in [*of.dns_names, *of.ip_addresses] if of.server else [""]:
            host = carried.replace("*", "any")
            assert not check(data[name]["tls.crt"], authority.anchors, purpose=purpose, now=now, name=host)
        assert secret.require_pair(data[name]["tls.crt"], data[name]["tls.key"]) is None
        assert f"CN={of.common_name}" == secret.load_chain(data[name]["tls.crt"])[0].subject.rfc4514_string()
    assert not any(kind == "CronJob" for kind, _ in found)


def _decoded(text: str) -> bytes:
    return base64.b64decode(text)


def test_cert_manager_is_asked_for_the_same_names(render: Render) -> None:
    issuer = {"group": "cert-manager.io", "kind": "ClusterIssuer", "name": "mesh"}
    found = render({"tls": {"auto": {"method": "certmanager", "certManagerIssuer": issuer}}})
    for name, of in secret.profiles("east", NAMESPACE).items():
        spec = found["Certificate", name]["spec"]
        assert (spec["secretName"], spec["commonName"], spec["issuerRef"]) == (name, of.common_name, issuer)
        assert tuple(spec.get("dnsNames", ())) == of.dns_names
        assert tuple(spec.get("ipAddresses", ())) == of.ip_addresses
        assert spec["usages"] == ["digital signature", "server auth" if of.server else "client auth"]
        assert spec["privateKey"] == {"algorithm": "ECDSA", "size": 256, "rotationPolicy": "Always"}
        assert spec["duration"] == "26280h0m0s"


def test_an_authority_may_be_given(render: Render) -> None:
    issued = Authority.create(datetime.now(UTC)).issued
    ca = {"cert": issued.certificate_pem.decode(), "key": issued.key_pem.decode()}
    kept = render({"tls": {"ca": ca}})["Secret", "cilium-ca"]["stringData"]
    assert kept == {"ca.crt": ca["cert"], "ca.key": ca["key"]}
    signed = render({"tls": {"ca": ca, "auto": {"method": "helm"}}})
    leaf = _decoded(signed["Secret", secret.REMOTE]["data"]["tls.crt"])
    trust = Authority.load(issued.certificate_pem, issued.key_pem).anchors
    assert check(leaf, trust, purpose=Purpose.CLIENT, now=datetime.now(UTC)) == []


EVERYTHING: Body = {
    "mcs": {"enabled": True},
    "apiserver": {"replicas": 2},
    "networkPolicy": {"enabled": True, "peers": [{"ipBlock": {"cidr": "192.0.2.0/24"}}]},
    "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
    "prometheusRule": {"enabled": True},
    "dashboard": {"enabled": True},
    "config": {"clusters": {"west": {"ips": ["192.0.2.1"], "port": 2379}}, "peers": PEERS},
    "tls": {"authMode": "cluster"},
}


def _ports(found: Objects) -> dict[str, dict[str, int]]:
    return {
        name: {
            port["name"]: port["containerPort"]
            for container in body["spec"]["template"]["spec"]["containers"]
            for port in container.get("ports", [])
        }
        for (kind, name), body in found.items()
        if kind in {"Deployment", "DaemonSet"}
    }


def test_monitors_find_every_port_that_serves_metrics(render: Render) -> None:
    found = render(EVERYTHING)
    for app, ports in _ports(found).items():
        monitor, service = found["ServiceMonitor", app], found["Service", f"{app}-metrics"]
        metrics = {name: number for name, number in ports.items() if name.endswith("metrics")}
        assert {each["port"] for each in monitor["spec"]["endpoints"]} == set(metrics)
        assert {each["targetPort"]: each["port"] for each in service["spec"]["ports"]} == metrics
        assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
        assert monitor["metadata"]["labels"]["release"] == "prometheus"
        assert service["spec"]["selector"] == {"k8s-app": app}


def test_the_network_policy_lets_in_what_is_served(render: Render) -> None:
    found = render(EVERYTHING)
    rules = found["NetworkPolicy", "clustermesh-apiserver"]["spec"]["ingress"]
    opened = {port["port"] for rule in rules for port in rule["ports"]}
    assert opened == set(_ports(found)["clustermesh-apiserver"].values())


def test_dashboard_and_alerts_are_delivered_as_they_are(render: Render) -> None:
    found = render(EVERYTHING)
    shown = found["ConfigMap", "clustermesh-dashboard"]["data"]["clustermesh.json"]
    assert json.loads(shown) == json.loads((CHART / "dashboards/clustermesh.json").read_text())
    rules = found["PrometheusRule", "clustermesh"]["spec"]["groups"]
    assert rules == yaml.safe_load((CHART / "dashboards/alerts.yaml").read_text())
    assert all(re.search(r"\{\{ \$labels", rule["annotations"]["summary"]) for rule in rules[0]["rules"])


def test_a_chart_beside_cilium_leaves_cilium_its_own(render: Render) -> None:
    found = render({"agent": {"enabled": False}, "cluster": {"name": "east", "id": 1, "writeConfig": False}})
    assert not any("agent" in name or name == "cilium-config" for _, name in found)


@pytest.mark.parametrize(
    ("values", "word"),
    [
        ({"cluster": {"name": "", "id": 1}}, "name"),
        ({"cluster": {"name": "default", "id": 1}}, "name"),
        ({"cluster": {"name": "East", "id": 1}}, "name"),
        ({"cluster": {"name": "east", "id": 0}}, "id"),
        ({"cluster": {"name": "east", "id": 256}}, "id"),
        ({"apiserver": {"replica": 2}}, "replica"),
        ({"apiserver": {"service": {"type": "ExternalName"}}}, "type"),
        ({"tls": {"auto": {"method": "cronjob"}}}, "method"),
        ({"tls": {"auto": {"method": "certmanager"}}}, "certManagerIssuer"),
        ({"tls": {"auto": {"validityDays": 1}}}, "validityDays"),
        ({"tls": {"ca": {"cert": "x"}}}, "both cert and key"),
        ({"config": {"clusters": {"west": {"port": 2379}}}}, "west"),
        ({"config": {"clusters": {"West": {"port": 2379, "ips": ["192.0.2.1"]}}}}, "West"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_installed(
    render: Render, values: Body, word: str
) -> None:
    with pytest.raises(ChartError, match=re.escape(word)):
        render(values)


def _documented() -> list[Body]:
    text = (ROOT / "docs/install.md").read_text()
    blocks = re.findall(r"```yaml\n# values.yaml\n(.*?)```", text, re.DOTALL)
    return [yaml.safe_load(block) for block in blocks]


@pytest.mark.parametrize("values", _documented())
def test_the_values_in_the_documentation_are_accepted(render: Render, values: Body) -> None:
    assert ("Deployment", "clustermesh-apiserver") in render(values)


def test_every_value_is_in_the_schema_and_the_other_way_round() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    del schema["properties"]["global"]  # Helm's own
    assert _paths(values) == _known(schema)


def _paths(values: Any, at: str = "") -> set[str]:
    if not isinstance(values, dict) or not values or at.endswith(("labels", "certManagerIssuer")):
        return {at}
    return {path for key, value in values.items() for path in _paths(value, f"{at}.{key}")}


def _known(schema: Body, at: str = "") -> set[str]:
    if "properties" not in schema or at.endswith("certManagerIssuer"):
        return {at}
    return {path for key, below in schema["properties"].items() for path in _known(below, f"{at}.{key}")}
