"""How exporters ask for a stream of Kubernetes objects."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol, TypeVar

from k8s.objects import KubeObject
from k8s.resource import Resource
from k8s.watch import ObjectDelta

T = TypeVar("T", bound=KubeObject)


class Follow(Protocol):
    """Opens an endless stream of one kind's objects, as `k8s.watch.follow` does."""

    def __call__(self, resource: Resource, type_: type[T], /) -> AsyncIterator[ObjectDelta[T]]: ...
