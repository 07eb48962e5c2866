"""Writes to the service maps by kind, and the order that keeps every service whole. Pure.

No connection may see a half-written service, so: backends before the slots that name
them, slots before the master entry that counts them, removals last and from the
outside in. A look-up during the writes finds the old list, the new one, or a mixture
of both, but never a slot without its backend.

Groups are written before the slots that name them. Matches of session affinity are written before a client
can be sent to their backend, and go before the backend does. Networks that a service is for are written
before the master entry that says that there are some.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum


class Table(Enum):
    SERVICES = "services"
    BACKENDS = "backends"
    REVERSE_NAT = "reverse_nat"
    MATCHES = "matches"
    RANGES = "ranges"


@dataclass(frozen=True, slots=True)
class Step:
    """Writes to one map; all of a step's writes may happen in any order."""

    table: Table
    upserts: tuple[tuple[bytes, bytes], ...] = ()
    deletes: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class Dumps:
    """The maps of one family as they stand; the matches are those of both."""

    services: Mapping[bytes, bytes] = field(default_factory=dict)
    backends: Mapping[bytes, bytes] = field(default_factory=dict)
    reverse_nat: Mapping[bytes, bytes] = field(default_factory=dict)
    matches: Mapping[bytes, bytes] = field(default_factory=dict)
    ranges: Mapping[bytes, bytes] = field(default_factory=dict)


@dataclass(slots=True)
class Writes:
    """Writes by kind, collected service by service."""

    backends: list[tuple[bytes, bytes]] = field(default_factory=list)
    rev_nats: list[tuple[bytes, bytes]] = field(default_factory=list)
    slots: list[tuple[bytes, bytes]] = field(default_factory=list)  # that name a backend
    group_masters: list[tuple[bytes, bytes]] = field(default_factory=list)
    group_slots: list[tuple[bytes, bytes]] = field(default_factory=list)  # that name a group
    masters: list[tuple[bytes, bytes]] = field(default_factory=list)
    old_masters: list[bytes] = field(default_factory=list)
    old_slots: list[bytes] = field(default_factory=list)
    old_rev_nats: list[bytes] = field(default_factory=list)
    matches: list[tuple[bytes, bytes]] = field(default_factory=list)
    old_matches: list[bytes] = field(default_factory=list)
    ranges: list[tuple[bytes, bytes]] = field(default_factory=list)
    old_ranges: list[bytes] = field(default_factory=list)
    old_backends: list[bytes] = field(default_factory=list)

    def steps(self) -> list[Step]:
        """In the order of writing; only those that write something."""
        ordered = [
            Step(Table.BACKENDS, upserts=tuple(self.backends)),
            Step(Table.REVERSE_NAT, upserts=tuple(self.rev_nats)),
            Step(Table.MATCHES, upserts=tuple(self.matches)),
            Step(Table.RANGES, upserts=tuple(self.ranges)),
            Step(Table.SERVICES, upserts=tuple(self.slots)),
            Step(Table.SERVICES, upserts=tuple(self.group_masters)),
            Step(Table.SERVICES, upserts=tuple(self.group_slots)),
            Step(Table.SERVICES, upserts=tuple(self.masters)),
            Step(Table.SERVICES, deletes=tuple(self.old_masters)),
            Step(Table.SERVICES, deletes=tuple(self.old_slots)),
            Step(Table.MATCHES, deletes=tuple(self.old_matches)),
            Step(Table.RANGES, deletes=tuple(self.old_ranges)),
            Step(Table.REVERSE_NAT, deletes=tuple(self.old_rev_nats)),
            Step(Table.BACKENDS, deletes=tuple(self.old_backends)),
        ]
        return [step for step in ordered if step.upserts or step.deletes]
