"""What can go wrong between us and a Kubernetes API server, classed by what the caller can do about it."""

from __future__ import annotations

import msgspec


class KubernetesError(Exception):
    """Base of every error this package raises."""


class AccessError(KubernetesError):
    """The kubeconfig or the in-cluster credentials cannot be used: tell the operator."""


class UnreachableError(KubernetesError):
    """No answer (connection, TLS, time-out): the same call may succeed later."""


class APIError(KubernetesError):
    """The server answered with a failure; the fields are those of its `Status` body."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(f"{status} {reason}: {message}")
        self.status = status
        self.reason = reason
        self.message = message


class NotFoundError(APIError):
    """The object, its namespace or its kind does not exist."""


class ConflictError(APIError):
    """The object exists already, or has changed since it was read: read again and retry."""


class GoneError(APIError):
    """The history asked for was compacted: list again and compare."""


class _Status(msgspec.Struct):
    message: str = ""
    reason: str = ""
    code: int = 0


_MESSAGE_LIMIT = 300  # of a body that is no `Status`, such as a proxy's HTML page
_CLASSES: dict[int, type[APIError]] = {404: NotFoundError, 409: ConflictError, 410: GoneError}


def from_answer(status: int, body: bytes | msgspec.Raw) -> APIError:
    """The error for an HTTP answer, or for the object of an in-stream ERROR event (status 0)."""
    try:
        told = msgspec.json.decode(body, type=_Status)
    except msgspec.MsgspecError:
        told = _Status(message=bytes(body)[:_MESSAGE_LIMIT].decode("utf-8", "replace"))
    code = status or told.code or 500
    return _CLASSES.get(code, APIError)(code, told.reason or "Unknown", told.message)
