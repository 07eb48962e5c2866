"""How long one waits for a peer, and how often it is asked."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PeerTimes:
    """Seconds. The defaults are those of the wire reference; tests shorten them."""

    connect: float = 900.0  # until the first answer
    config: float = 180.0  # until the cluster configuration is found
    config_retry: float = 1.0
    config_retry_cap: float = 30.0
    silence: float = 120.0  # the writer beats every 60 s
    heartbeat_check: float = 30.0
    heartbeat_check_failing: float = 5.0
    retry_step: float = 1.0
    retry_cap: float = 60.0
    stream_retry: float = 0.05
    stream_retry_cap: float = 60.0
    cache_ttl: float = 0.0  # a peer away for longer loses its services; 0: never


def check_interval(times: PeerTimes, silent: float, nodes: int | None) -> float:
    """Seconds until the next look at a heartbeat that is `silent` seconds old (spec 3.5).

    Stretched by the size of the mesh, whose nodes all look at the same few etcds; `nodes` None: not known,
    not stretched.
    """
    interval = times.heartbeat_check_failing if silent > times.silence / 2 else times.heartbeat_check
    return interval if nodes is None else interval * math.log1p(max(1, nodes))
