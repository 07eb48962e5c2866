"""Refusals of the lab's Kubernetes API, as the `Status` objects that clients know. Pure."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]


class StatusError(Exception):
    """A request ends here; `body()` is what the client reads."""

    def __init__(self, code: int, reason: str, message: str, details: Json | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.details = details

    def body(self) -> Json:
        status: Json = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            "code": self.code,
        }
        if self.details:
            status["details"] = self.details
        return status


def success(details: Json | None = None) -> Json:
    """The answer to a completed delete, and the end of an exec."""
    status: Json = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}
    if details:
        status["details"] = details
    return status


def qualified(plural: str, group: str) -> str:
    """How messages name a resource: `pods`, `deployments.apps`."""
    return f"{plural}.{group}" if group else plural


def bad_request(message: str) -> StatusError:
    return StatusError(400, "BadRequest", message)


def not_found(plural: str, group: str, name: str) -> StatusError:
    message = f'{qualified(plural, group)} "{name}" not found'
    return StatusError(404, "NotFound", message, {"name": name, "group": group, "kind": plural})


def no_such_path() -> StatusError:
    return StatusError(404, "NotFound", "the server could not find the requested resource")


def method_not_allowed() -> StatusError:
    return StatusError(
        405, "MethodNotAllowed", "the server does not allow this method on the requested resource"
    )


def already_exists(plural: str, group: str, name: str) -> StatusError:
    message = f'{qualified(plural, group)} "{name}" already exists'
    return StatusError(409, "AlreadyExists", message, {"name": name, "group": group, "kind": plural})


def conflict(plural: str, group: str, name: str, why: str = "") -> StatusError:
    why = why or "the object has been modified; please apply your changes to the latest version and try again"
    message = f'Operation cannot be fulfilled on {qualified(plural, group)} "{name}": {why}'
    return StatusError(409, "Conflict", message, {"name": name, "group": group, "kind": plural})


def expired(message: str) -> StatusError:
    return StatusError(410, "Expired", message)


def invalid(kind: str, name: str, field: str, why: str) -> StatusError:
    causes = [{"reason": "FieldValueInvalid", "message": why, "field": field}]
    details = {"name": name, "kind": kind, "causes": causes}
    return StatusError(422, "Invalid", f'{kind} "{name}" is invalid: {field}: {why}', details)


def unavailable(message: str) -> StatusError:
    return StatusError(503, "ServiceUnavailable", message)
