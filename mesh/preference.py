"""What a Service's annotations say of the mesh: is it global, is it shared, whom does it prefer (spec 5.1).

Pure and total: a value that cannot be read counts as absent, as in Cilium; `problems` names it.
Three annotations are our own and are ignored by Cilium's agents (docs/global-services.md).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum

# the first name that is present counts, whatever it says
GLOBAL = ("service.cilium.io/global", "io.cilium/global-service")
SHARED = ("service.cilium.io/shared", "io.cilium/shared-service")
AFFINITY = ("service.cilium.io/affinity", "io.cilium/service-affinity")

WEIGHTS = ("service.clustermesh.io/weights",)
MINIMUM = ("service.clustermesh.io/minimum-local-backends",)
ORDER = ("service.clustermesh.io/cluster-preference",)

OWN = "local"  # names the cluster where the Service is, so that one manifest fits all clusters
OTHERS = "*"
MAX_WEIGHT = 1000
MAX_MINIMUM = 65535


class Affinity(Enum):
    """Which backends a global service prefers."""

    NONE = "none"
    LOCAL = "local"
    REMOTE = "remote"


@dataclass(frozen=True, slots=True)
class Preference:
    """Whom new connections go to. `weights` and `order` are by cluster name, None where nothing is said.

    `minimum` active local backends are needed before the others are left out.
    """

    is_global: bool = False
    affinity: Affinity = Affinity.NONE
    minimum: int = 1
    order: tuple[str, ...] | None = None
    weights: Mapping[str, int] | None = None
    problems: tuple[str, ...] = field(default=(), compare=False)


def is_global(annotations: Mapping[str, str]) -> bool:
    return _first(annotations, GLOBAL, "").lower() == "true"


def is_shared(annotations: Mapping[str, str]) -> bool:
    """Whether our backends are exported. The trap is the field's own: "yes" means no."""
    return is_global(annotations) and _first(annotations, SHARED, "true").lower() == "true"


def affinity(annotations: Mapping[str, str]) -> Affinity:
    """An unknown value is none; so is any value while the service is not global."""
    return read(annotations).affinity


def read(annotations: Mapping[str, str]) -> Preference:
    """All of it. A service that is not global has no preference."""
    if not is_global(annotations):
        return Preference()
    problems: list[str] = []

    def parsed(names: tuple[str, ...], parse: Callable[[str], object]) -> object:
        text = _first(annotations, names, "").strip()
        if not text:
            return None
        try:
            return parse(text)
        except ValueError as error:
            problems.append(f"{names[0]}: {error}")
            return None

    wish = parsed(AFFINITY, _affinity)
    minimum = parsed(MINIMUM, _minimum)
    order = parsed(ORDER, _order)
    weights = parsed(WEIGHTS, _weights)
    side = wish if isinstance(wish, Affinity) else Affinity.NONE
    if isinstance(minimum, int) and side is Affinity.NONE:
        side = Affinity.LOCAL  # a minimum only makes sense for who stays at home while it can
    return Preference(
        is_global=True,
        affinity=side,
        minimum=minimum if isinstance(minimum, int) else 1,
        order=order if isinstance(order, tuple) else None,
        weights=weights if isinstance(weights, dict) else None,
        problems=tuple(problems),
    )


def _affinity(text: str) -> Affinity:
    try:
        return Affinity(text.lower())
    except ValueError:
        raise ValueError(f"{text[:64]!r} is not local, remote or none") from None


def _minimum(text: str) -> int:
    return _number(text, 1, MAX_MINIMUM)


def _order(text: str) -> tuple[str, ...]:
    names = tuple(part.strip() for part in text.split(","))
    if "" in names or len(set(names)) < len(names):
        raise ValueError(f"{text[:64]!r} is not a list of different cluster names")
    return names


def _weights(text: str) -> dict[str, int]:
    weights: dict[str, int] = {}
    for part in text.split(","):
        name, equals, number = (piece.strip() for piece in part.partition("="))
        if not name or not equals or name in weights:
            raise ValueError(f"{part[:64]!r} is not <cluster>=<weight>, each cluster once")
        weights[name] = _number(number, 0, MAX_WEIGHT)
    return weights


def _number(text: str, low: int, high: int) -> int:
    if not (text.isascii() and text.isdecimal() and low <= int(text[:9]) <= high and len(text) < 9):
        raise ValueError(f"{text[:64]!r} is not a number from {low} to {high}")
    return int(text)


def _first(annotations: Mapping[str, str], names: tuple[str, ...], default: str) -> str:
    return next((annotations[name] for name in names if name in annotations), default)
