"""What can go wrong in the agent, classed by what the caller can do about it."""

from __future__ import annotations


class AgentError(Exception):
    """Base of every error this package raises."""


class ConfigError(AgentError):
    """The settings are wrong: somebody must change them."""


class NotReadyError(AgentError):
    """Something this request needs is not there yet: ask again."""


class StorageError(NotReadyError):
    """The disk does not take what the next life of the agent must know."""


class RequestError(AgentError):
    """The request itself is wrong: asking again does not help."""


class NotFoundError(AgentError):
    """There is no such thing."""


class ExhaustedError(AgentError):
    """A pool of numbers or addresses has none left."""
