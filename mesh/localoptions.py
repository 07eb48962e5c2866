"""What a Service's annotations say of load-balancing in its own cluster: none of it travels (spec 5.1).

Pure and total: a value that cannot be read counts as absent, as in Cilium; `problems` names it. Not read:
`/forwarding-mode` (the node always stands for the client towards other nodes) and `/proxy-delegation` (there
is no proxy to delegate to). Of EndpointSlices' `/weight` 0 alone is read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum, IntEnum
from typing import TypeVar

from mesh.labelselector import SelectorError, label_test

ALGORITHM = "service.cilium.io/lb-algorithm"
NODE = "service.cilium.io/node"  # of the Service, and the label of nodes that it is compared with
NODE_SELECTOR = "service.cilium.io/node-selector"
WEIGHT = "service.cilium.io/weight"  # of an EndpointSlice
TYPE = "service.cilium.io/type"
SOURCE_RANGES_POLICY = "service.cilium.io/src-ranges-policy"

T = TypeVar("T")


class Kind(Enum):
    """The one kind of frontends that a Service has, instead of all that its type has. External addresses it
    has in any case."""

    CLUSTER_IP = "ClusterIP"
    NODE_PORT = "NodePort"
    LOAD_BALANCER = "LoadBalancer"


class Algorithm(IntEnum):
    """How backends are chosen for clients outside. The numbers are Cilium's, in a master entry."""

    DEFAULT = 0  # as the node does it
    RANDOM = 1
    MAGLEV = 2


def kind(annotations: Mapping[str, str]) -> Kind | None:
    """None: all kinds. Case counts, as for Kubernetes' own types."""
    return _read(annotations, TYPE, _kind, None)


def has(annotations: Mapping[str, str], wanted: Kind) -> bool:
    """Whether a Service may have frontends of this kind."""
    return kind(annotations) in (None, wanted)


def denies_ranges(annotations: Mapping[str, str]) -> bool:
    """Whether `loadBalancerSourceRanges` are clients that may not, and all others may."""
    return _read(annotations, SOURCE_RANGES_POLICY, _denies, default=False)


def algorithm(annotations: Mapping[str, str]) -> Algorithm:
    """Counts only where agents are told to read it (`bpf-lb-algorithm-annotation`)."""
    return _read(annotations, ALGORITHM, _algorithm, Algorithm.DEFAULT)


def is_for(annotations: Mapping[str, str], labels: Mapping[str, str]) -> bool:
    """Whether a node with these labels serves the Service. The selector, if there is one, decides alone; one
    that cannot be read leaves the Service on every node."""
    selector = _read(annotations, NODE_SELECTOR, label_test, None)
    if NODE_SELECTOR in annotations:
        return selector is None or selector(labels)
    return NODE not in annotations or labels.get(NODE) == annotations[NODE]


def is_in_maintenance(annotations: Mapping[str, str]) -> bool:
    """Whether an EndpointSlice's endpoints get no new connections."""
    text = annotations.get(WEIGHT, "")
    return text.isascii() and text.isdecimal() and not text.strip("0")


def hangs_on_node(annotations: Mapping[str, str]) -> bool:
    """Whether `is_for` may be false."""
    return NODE in annotations or NODE_SELECTOR in annotations


def problems(annotations: Mapping[str, str]) -> tuple[str, ...]:
    """What says nothing that can be read."""
    found = []
    for name, parse in _PARSERS.items():
        if name in annotations:
            try:
                parse(annotations[name])
            except (ValueError, SelectorError) as error:
                found.append(f"{name}: {error}")
    return tuple(found)


def _read(annotations: Mapping[str, str], name: str, parse: Callable[[str], T], default: T) -> T:
    text = annotations.get(name)
    if text is None:
        return default
    try:
        return parse(text)
    except (ValueError, SelectorError):
        return default


def _algorithm(text: str) -> Algorithm:
    words = {"random": Algorithm.RANDOM, "maglev": Algorithm.MAGLEV}
    return _word(text, words)


def _denies(text: str) -> bool:
    return _word(text, {"allow": False, "deny": True})


def _word(text: str, words: Mapping[str, T]) -> T:
    if text.lower() not in words:
        raise ValueError(f"{text!r} is none of {', '.join(words)}")
    return words[text.lower()]


def _kind(text: str) -> Kind:
    try:
        return Kind(text)
    except ValueError:
        raise ValueError(f"{text!r} is none of {', '.join(each.value for each in Kind)}") from None


_PARSERS: Mapping[str, Callable[[str], object]] = {
    ALGORITHM: _algorithm,
    NODE_SELECTOR: label_test,
    TYPE: _kind,
    SOURCE_RANGES_POLICY: _denies,
}
