"""Errors of this package, one class for each thing that a caller can do about it."""


class BPFError(Exception):
    """Base of all errors of this package."""


class BPFUnavailableError(BPFError):
    """This machine cannot run the data path. The message says what is missing; nothing was changed."""


class NotLoadedError(BPFError):
    """The data path has not been loaded below this path: call `loader.load` first."""


class SchemaError(BPFError):
    """A pin is not what this version would make: it is neither reused nor replaced."""


class CompileError(BPFError):
    """The programs were refused by the compiler or by the kernel's verifier."""


class AttachError(BPFError):
    """A program could not be attached to, or detached from, its hook."""


class MapError(BPFError):
    """A map operation failed; `done` of its entries had been made before."""

    def __init__(self, message: str, done: int = 0) -> None:
        super().__init__(message)
        self.done = done


class MapFullError(MapError):
    """The map holds as many entries as it may."""
