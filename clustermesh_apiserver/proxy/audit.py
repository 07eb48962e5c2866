"""Which refusals get a line in the audit log: all, until one client (or all together) would fill it. Pure.

What was left out is counted and said in the client's next line; the counters of `/metrics` miss nothing.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

from clustermesh_apiserver.proxy.quota import Bucket

CLIENT_RATE, CLIENT_BURST = 1.0, 20.0  # lines: enough to see what a client is after
TOTAL_RATE, TOTAL_BURST = 50.0, 500.0
MAX_CLIENTS = 1024  # remembered; the one refused longest ago is forgotten


@dataclass(slots=True)
class _Client:
    bucket: Bucket = field(default_factory=lambda: Bucket(CLIENT_RATE, CLIENT_BURST))
    left_out: int = 0


class AuditBudget:
    def __init__(self) -> None:
        self._clients: OrderedDict[str, _Client] = OrderedDict()
        self._total = Bucket(TOTAL_RATE, TOTAL_BURST)

    def line(self, client: str, now: float) -> int | None:
        """Whether this refusal gets a line (None: no), and how many of the client's did not before it."""
        known = self._clients.setdefault(client, _Client())
        self._clients.move_to_end(client)
        if len(self._clients) > MAX_CLIENTS:
            self._clients.popitem(last=False)
        if not known.bucket.take(now) or not self._total.take(now):
            known.left_out += 1
            return None
        left_out, known.left_out = known.left_out, 0
        return left_out
