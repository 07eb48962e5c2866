"""What ends a command: one line for the operator, exit status 1."""

from __future__ import annotations


class CommandError(Exception):
    """The text says what is wrong and, where there is one, which command mends it."""


class RefusedError(CommandError):
    """Checks before the first change failed; nothing was changed. One text a check."""

    def __init__(self, reasons: list[str]) -> None:
        super().__init__("\n".join(reasons))
        self.reasons = reasons
