"""Identity labels of pods."""

from __future__ import annotations

from agent.labels import from_security_labels, from_texts, security_labels, texts
from mesh.identity import Labels, labels_text
from mesh.podlabels import pod_labels


def make(pod: dict[str, str], namespace_labels: dict[str, str] | None = None) -> Labels:
    return pod_labels(
        pod, namespace="shop", namespace_labels=namespace_labels or {}, service_account="web", cluster="east"
    )


def test_a_pods_labels_are_written_as_cilium_writes_them() -> None:
    assert labels_text(make({"app": "web"})) == (
        "k8s:app=web;"
        "k8s:io.cilium.k8s.namespace.labels.kubernetes.io/metadata.name=shop;"
        "k8s:io.cilium.k8s.policy.cluster=east;"
        "k8s:io.cilium.k8s.policy.serviceaccount=web;"
        "k8s:io.kubernetes.pod.namespace=shop;"
    )


def test_labels_that_change_with_every_roll_out_make_no_identity() -> None:
    noise = {
        "pod-template-hash": "7d9f",
        "controller-revision-hash": "1",
        "statefulset.kubernetes.io/pod-name": "web-0",
        "apps.kubernetes.io/pod-index": "0",
        "batch.kubernetes.io/job-name": "x",
    }
    assert make({"app": "web", **noise}) == make({"app": "web"})


def test_a_pod_cannot_claim_another_cluster_or_namespace() -> None:
    forged = {"io.cilium.k8s.policy.cluster": "west", "io.kubernetes.pod.namespace": "kube-system"}
    assert make(forged) == make({})


def test_namespace_labels_take_part() -> None:
    labels = make({}, {"team": "a"})
    assert "k8s:io.cilium.k8s.namespace.labels.team=a" in texts(labels)


def test_labels_survive_both_of_their_other_forms() -> None:
    labels = make({"app": "web", "flag": ""})
    assert from_security_labels(security_labels(labels)) == labels
    assert from_texts(texts(labels)) == labels
