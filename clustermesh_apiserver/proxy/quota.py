"""How much one client may ask for at once. Pure: the time is passed in.

A client is a common name at an address: all nodes of a cluster may share a certificate, and one of them
that runs wild must not take the others' share. The bounds are far above what a well-behaved member needs
(a cluster's mirror has some ten watches, an agent the same for each peer); they keep one client from
taking the memory or the time of all.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

MAX_CLIENTS = 4096  # remembered at once; idle ones are forgotten first


@dataclass(frozen=True, slots=True)
class Limits:
    streams: int = 2048  # a thousand nodes behind one address, two streams each
    watches: int = 16_384  # and eight watches on each
    feeds: int = 4096  # of its watches nobody else has; half of what there is in all
    requests_per_second: float = 2000.0  # clients pace themselves at 20 to 100
    burst_seconds: float = 5.0  # everybody comes back at once after a restart
    bytes_in_flight: int = 512 << 20  # one unpaged list of 500,000 keys is 370 MiB


DEFAULT = Limits()


class Bucket:
    """At most `rate` a second over time, `burst` at once."""

    __slots__ = ("_as_of", "_burst", "_rate", "_tokens")

    def __init__(self, rate: float, burst: float) -> None:
        self._rate = rate
        self._burst = burst
        self._tokens = burst
        self._as_of: float | None = None

    def take(self, now: float) -> bool:
        self._refill(now)
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    def is_full(self, now: float) -> bool:
        self._refill(now)
        return self._tokens >= self._burst

    def _refill(self, now: float) -> None:
        if self._as_of is not None:
            self._tokens = min(self._burst, self._tokens + (now - self._as_of) * self._rate)
        self._as_of = now


@dataclass(slots=True)
class Account:
    """What one client holds now. Each `may_…` says whether there is room for one more, and takes it."""

    limits: Limits
    streams: int = 0
    watches: int = 0
    feeds: int = 0
    bytes_in_flight: int = 0
    _requests: Bucket = field(init=False)

    def __post_init__(self) -> None:
        rate = self.limits.requests_per_second
        self._requests = Bucket(rate, max(1.0, rate * self.limits.burst_seconds))

    def may_ask(self, now: float) -> bool:
        return self._requests.take(now)

    def may_fetch(self) -> bool:
        """Whether another answer may be made ready: one may be larger than the whole bound."""
        return self.bytes_in_flight < self.limits.bytes_in_flight

    def may_stream(self) -> bool:
        if self.streams >= self.limits.streams:
            return False
        self.streams += 1
        return True

    def may_watch(self) -> bool:
        if self.watches >= self.limits.watches:
            return False
        self.watches += 1
        return True

    def may_open_feed(self) -> bool:
        if self.feeds >= self.limits.feeds:
            return False
        self.feeds += 1
        return True

    def is_idle(self, now: float) -> bool:
        """Forgetting it now gives the client nothing."""
        return not (self.streams or self.watches or self.bytes_in_flight) and self._requests.is_full(now)


class Quotas:
    """The accounts of all clients."""

    def __init__(self, limits: Limits, most: int = MAX_CLIENTS) -> None:
        self._limits = limits
        self._most = most
        self._accounts: OrderedDict[tuple[str, str], Account] = OrderedDict()  # the last used is last

    def account(self, name: str, address: str, now: float) -> Account | None:
        """None: there are too many clients, and none of them is idle."""
        key = (name, address)
        account = self._accounts.get(key)
        if account is None:
            if len(self._accounts) >= self._most and not self._forget_one(now):
                return None
            account = self._accounts[key] = Account(self._limits)
        self._accounts.move_to_end(key)
        return account

    def _forget_one(self, now: float) -> bool:
        for key, account in self._accounts.items():
            if account.is_idle(now):
                del self._accounts[key]
                return True
        return False
