"""Which nodes behind remote backends answer, from probes and their silence. Pure: time is given.

Hysteresis: some failures in a row make a node silent, some answers in a row bring it back. A node that never
answered may stand behind a firewall, so its silence counts only when something else speaks for it: another
node of its cluster answered at some time, or its cluster's control plane is lost too.

A node may have a health endpoint: addresses behind its data path, where pods' are. Its answer is the node's,
too. Its silence, while the node answers, counts only where it answered before, and when it lasts: Cilium's is
away for a while whenever an agent starts. Only that at its IPv4 address counts so: versions of ours that know
no other one leave it in a node's record without answering there.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum

FAILURES = 3  # in a row: one lost packet, or two, is no lost node
ANSWERS = 2
PROBES_PER_SECOND = 200.0  # from one node to all others
TIMEOUT_SHARE = 0.8  # of the time between probes: a probe is over before the next begins
MAX_TIMEOUT = 2.0  # even with a slow rhythm an answer that takes longer is none
ENDPOINT_FAILURES = 10 * FAILURES  # in a row, of a health endpoint: then the way to pods counts as cut
UNHEARD_FAILURES = 2 * FAILURES  # of a node that never answered: give its control plane time to be found lost


class DataPlane(Enum):
    UNKNOWN = "unknown"  # nobody was probed, or nobody ever answered
    OK = "ok"
    PARTIAL = "partial"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class Answer:
    """What one probe came to; `seconds` says nothing where none came."""

    came: bool
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class EndpointHealth:
    """One node's health endpoint."""

    failures: int = 0  # in a row
    answered: bool = False  # ever
    seconds: float = 0.0  # that the last answer took

    @property
    def state(self) -> str:
        if self.failures >= FAILURES:
            return "silent"
        return "reachable" if self.answered else "unknown"

    @property
    def is_cut(self) -> bool:
        """Nothing passes any more to what is behind the node."""
        return self.answered and self.failures >= ENDPOINT_FAILURES

    def after(self, *, answered: bool, seconds: float = 0.0) -> EndpointHealth:
        if answered:
            return EndpointHealth(0, answered=True, seconds=seconds)
        return replace(self, failures=self.failures + 1)


@dataclass(frozen=True, slots=True)
class NodeHealth:
    """One node, by what its probes said."""

    cluster: str
    failures: int = 0  # in a row
    answers: int = 0  # in a row
    answered: bool = False  # ever
    silent: bool = False
    seconds: float = 0.0  # that the last answer took
    endpoint: EndpointHealth | None = None  # None: it has none that we ask
    endpoint6: EndpointHealth | None = None  # at its IPv6 address: told, but nothing is withdrawn for it

    @property
    def state(self) -> str:
        if self.silent:
            return "silent"
        return "reachable" if self.answered else "unknown"

    @property
    def endpoints(self) -> tuple[EndpointHealth, ...]:
        """Of either family."""
        return tuple(each for each in (self.endpoint, self.endpoint6) if each is not None)

    def after(
        self,
        *,
        answered: bool,
        seconds: float = 0.0,
        endpoint: EndpointHealth | None = None,
        endpoint6: EndpointHealth | None = None,
    ) -> NodeHealth:
        """`answered`: at any of its addresses. `endpoint`, `endpoint6`: what is known of these now."""
        counted = self._counted(answered=answered, seconds=seconds)
        return replace(counted, endpoint=endpoint, endpoint6=endpoint6)

    def _counted(self, *, answered: bool, seconds: float) -> NodeHealth:
        if answered:
            answers = self.answers + 1
            back = not self.silent or answers >= ANSWERS
            return replace(self, failures=0, answers=answers, answered=True, silent=not back, seconds=seconds)
        failures = self.failures + 1
        return replace(self, failures=failures, answers=0, silent=self.silent or failures >= FAILURES)


@dataclass(frozen=True, slots=True)
class ClusterHealth:
    """What probes say of one peer."""

    data_plane: DataPlane = DataPlane.UNKNOWN
    nodes: int = 0  # that are probed
    withdrawn: Mapping[str, str] = field(default_factory=dict)  # node address -> reason
    backends: int = 0  # that are withdrawn
    states: Mapping[str, int] = field(default_factory=dict)  # state -> how many nodes
    endpoint_states: Mapping[str, int] = field(default_factory=dict)  # state -> how many health endpoints


class NodeHealths:
    """Keyed by node address. Knows nothing of backends: who asks does."""

    def __init__(self) -> None:
        self._nodes: dict[str, NodeHealth] = {}
        self._heard: set[str] = set()  # clusters of which a node answered at some time

    @property
    def nodes(self) -> Mapping[str, NodeHealth]:
        return dict(self._nodes)

    @property
    def are_placed(self) -> bool:
        """Whether every node's cluster is known."""
        return all(node.cluster for node in self._nodes.values())

    def keep(self, wanted: Mapping[str, str]) -> None:
        """The nodes to probe, and their clusters, "" where that is not known yet; others are forgotten.

        A node whose cluster becomes known keeps what its probes said; one that changes clusters does not.
        """
        self._nodes = {address: self._kept(address, cluster) for address, cluster in wanted.items()}
        self._heard &= set(wanted.values())
        self._heard |= {node.cluster for node in self._nodes.values() if node.answered}

    def _kept(self, address: str, cluster: str) -> NodeHealth:
        known = self._nodes.get(address)
        if known is None or (known.cluster and cluster and known.cluster != cluster):
            return NodeHealth(cluster)
        return replace(known, cluster=cluster or known.cluster)

    def probed(
        self, address: str, answer: Answer, endpoint: Answer | None = None, endpoint6: Answer | None = None
    ) -> None:
        """One round's answers of the node and of its health endpoint, at its IPv4 address and at that of
        IPv6; None: that was not asked."""
        node = self._nodes.get(address)
        if node is None:
            return
        asked = [each for each in (answer, endpoint, endpoint6) if each is not None]
        heard = next((each for each in asked if each.came), answer)
        self._nodes[address] = node.after(
            answered=heard.came,
            seconds=heard.seconds,
            endpoint=_after(node.endpoint, endpoint),
            endpoint6=_after(node.endpoint6, endpoint6),
        )
        if heard.came:
            self._heard.add(node.cluster)

    def withdrawn(self, lost: Collection[str]) -> dict[str, str]:
        """Nodes whose backends should not be used, and why. `lost`: clusters without a control plane."""
        return {
            address: reason
            for address, node in self._nodes.items()
            if (reason := self._reason(node, control_lost=node.cluster in lost))
        }

    def data_plane(self, cluster: str, withdrawn: Collection[str]) -> DataPlane:
        members = [address for address, node in self._nodes.items() if node.cluster == cluster]
        gone = [address for address in members if address in withdrawn]
        if gone:
            return DataPlane.LOST if len(gone) == len(members) else DataPlane.PARTIAL
        return DataPlane.OK if cluster in self._heard and members else DataPlane.UNKNOWN

    def _reason(self, node: NodeHealth, *, control_lost: bool) -> str:
        if not node.silent:
            is_cut = node.endpoint is not None and node.endpoint.is_cut
            return "it answers, but its health endpoint does not any more" if is_cut else ""
        if node.answered:
            return "it does not answer any more"
        if node.failures < UNHEARD_FAILURES:
            return ""
        if node.cluster in self._heard:
            return "it never answered, others of its cluster did"
        return "it never answered, and its control plane is lost" if control_lost else ""


def _after(known: EndpointHealth | None, answer: Answer | None) -> EndpointHealth | None:
    if answer is None:
        return None
    return (known or EndpointHealth()).after(answered=answer.came, seconds=answer.seconds)


def interval(silence: float, nodes: int) -> float:
    """Seconds between two probes of one node: so that `silence` is noticed, within the budget."""
    return max(silence / FAILURES, nodes / PROBES_PER_SECOND)


def patience(pause: float) -> float:
    """Seconds that one probe may take, with so many between two of one node."""
    return min(MAX_TIMEOUT, TIMEOUT_SHARE * pause)
