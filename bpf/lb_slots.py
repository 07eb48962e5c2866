"""In which slot of a service's list each backend stands. Pure.

A backend keeps its slot where possible: one endpoint's change in a long list costs a few writes, not a
rewritten list. A slot's number is a backend's id, or, negative, the scope of a group; 0 where a slot is
missing.
"""

from collections import Counter
from collections.abc import Iterable, Sequence

from bpf import lb_map


def pack(number: int, rev_nat: int) -> bytes:
    """A slot's value in the services map."""
    if number < 0:
        return lb_map.pack_service_value(rev_nat=rev_nat, group=-number)
    return lb_map.pack_service_value(number, rev_nat=rev_nat)


def unpack(raw: bytes) -> int:
    """The number of a slot's value."""
    value = lb_map.unpack_service_value(raw)
    return -value.group or value.backend_id


def arrange(current: Sequence[int], wanted: Sequence[int]) -> list[int]:
    """Wanted ids in slots, each where it is if it can stay there. Comprehensions: lists have ten thousand."""
    cut = current[: len(wanted)]
    if len(set(wanted)) < len(wanted):
        return _arrange_shares(cut, wanted)
    free = set(wanted)
    if len(set(cut)) < len(cut):  # half a list, after a crash
        cut = _each_once(cut)
    slots = [number if number in free else 0 for number in cut]
    slots += [0] * (len(wanted) - len(slots))
    placed = set(slots)
    if len(placed) == len(wanted) and 0 not in placed:
        return slots
    newcomers = iter([number for number in wanted if number not in placed])
    return [number or next(newcomers) for number in slots]


def _each_once(numbers: Iterable[int]) -> list[int]:
    seen: set[int] = set()
    kept = []
    for number in numbers:
        kept.append(0 if number in seen else number)
        seen.add(number)
    return kept


def _arrange_shares(current: Sequence[int], wanted: Sequence[int]) -> list[int]:
    missing = Counter(wanted)
    slots = []
    for number in current:
        slots.append(number if missing[number] > 0 else 0)
        missing[number] -= 1
    slots += [0] * (len(wanted) - len(slots))
    newcomers = Counter(wanted)
    newcomers.subtract(number for number in slots if number)
    rest = newcomers.elements()
    return [number or next(rest) for number in slots]
