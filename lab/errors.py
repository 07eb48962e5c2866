"""What can go wrong in the lab, by what the caller can do about it."""

from __future__ import annotations


class LabError(Exception):
    """The request cannot be done as asked; the text says why in words for the user."""


class MissingRequirementError(LabError):
    """The machine lacks something the lab needs. `missing` holds one plain line each."""

    def __init__(self, missing: list[str]) -> None:
        super().__init__("; ".join(missing))
        self.missing = missing


class NetworkNotReadyError(LabError):
    """The node's agent does not answer (yet): try again later."""


class PodConfigError(LabError):
    """The pod cannot start as it is written, or something it names is absent: try again after a change."""
