"""The pod that somebody means by NAMESPACE/NAME: a pod's own name, or its Deployment's. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from k8s.core import Pod

MOST_SUFFIXES = 2  # Deployments add a hash and a random part, others one of them


def choose(pods: Sequence[Pod], name: str) -> Pod | None:
    """`pods` are those of the namespace. Of several of one owner: the first by name that has a node."""
    exact = [pod for pod in pods if pod.metadata.name == name]
    owned = [pod for pod in pods if _may_be_of(name, pod.metadata.name) and not pod.metadata.is_ending]
    found = exact or sorted(owned, key=lambda pod: (not pod.spec.nodeName, pod.metadata.name))
    return found[0] if found else None


def _may_be_of(owner: str, name: str) -> bool:
    suffix = name.removeprefix(f"{owner}-")
    return suffix != name and suffix.count("-") < MOST_SUFFIXES
