"""cilium_metrics: packets forwarded and dropped, by reason and direction.

The byte layout, and the words for Cilium's numbers.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from bpf.layout import METRICS_KEY, METRICS_VALUE

FORWARDED = 0
FIRST_DROP = 130  # reasons from here on: a packet was dropped; before it, other things that happened
BIND_REFUSED = 100  # ours: Cilium does not count these
DIRECTIONS = {1: "ingress", 2: "egress", 3: "service"}
REASONS = {
    FORWARDED: "forwarded",
    5: "no backend slot",
    6: "no backend",
    BIND_REFUSED: "bind to a service's number refused",
    132: "invalid source ip",
    133: "policy denied",
    134: "invalid packet",
    137: "unknown L4 protocol",
    139: "unsupported L3 protocol",
    141: "error writing to packet",
    146: "unknown ICMPv6 type",
    147: "no tunnel key",
    152: "no matching local endpoint",
    156: "invalid IPv6 extension header",
    160: "no tunnel",
    165: "no configuration",
    167: "no mapping for NAT",
    171: "invalid identity",
    175: "first fragment not found",
    177: "not in the service's source ranges",
    181: "policy denied by denylist",
}


@dataclass(frozen=True, slots=True)
class Metric:
    number: int  # of the reason
    reason: str
    direction: str
    packets: int
    bytes: int

    @property
    def is_drop(self) -> bool:
        return self.reason != REASONS[FORWARDED]


def read(dump: Mapping[bytes, bytes]) -> list[Metric]:
    """A dump's values hold one counter per CPU: their sums."""
    return [_metric(key, raw) for key, raw in sorted(dump.items())]


def _metric(key: bytes, raw: bytes) -> Metric:
    reason, direction, *_ = METRICS_KEY.unpack(key)
    packets, size = map(sum, zip(*_per_cpu(raw), strict=True))
    words = REASONS.get(reason, f"reason {reason}")
    return Metric(reason, words, DIRECTIONS.get(direction, str(direction)), packets, size)


def _per_cpu(raw: bytes) -> Iterable[tuple[int, int]]:
    for at in range(0, len(raw), METRICS_VALUE.size):
        packets, size = METRICS_VALUE.unpack(raw[at : at + METRICS_VALUE.size])
        yield packets, size
