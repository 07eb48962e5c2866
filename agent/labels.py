"""The forms in which identity labels stand in objects and APIs. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from mesh.identity import Label, Labels, parse_labels


def security_labels(labels: Labels) -> dict[str, str]:
    """As a CiliumIdentity object carries them."""
    return {f"{label.source}:{label.key}": label.value for label in labels}


def from_security_labels(pairs: Mapping[str, str]) -> Labels:
    labels = []
    for name, value in pairs.items():
        source, _, key = name.partition(":")
        labels.append(Label(source, key, value))
    return tuple(sorted(labels, key=lambda label: label.key))


def texts(labels: Labels) -> list[str]:
    """One "source:key=value" a label, as APIs show them."""
    return [f"{label.source}:{label.key}={label.value}" for label in labels]


def from_texts(items: list[str]) -> Labels:
    return parse_labels("".join(f"{item};" for item in items))
