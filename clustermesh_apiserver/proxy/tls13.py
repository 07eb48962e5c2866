"""TLS 1.3 and nothing older, for gRPC, which has no setting for that in Python.

What it has is a list of cipher suites, which only TLS 1.2 looks at: one that nobody can use (it wants keys
shared beforehand) leaves 1.3 alone and makes every older handshake fail.
"""

from __future__ import annotations

import os
import sys

_UNUSABLE = "ECDHE-PSK-AES128-CBC-SHA"
_VARIABLE = "GRPC_SSL_CIPHER_SUITES"


class TooLateError(Exception):
    """gRPC is loaded already, and has read its settings."""


def require() -> None:
    """For this whole process. Raises TooLateError."""
    if os.environ.get(_VARIABLE) == _UNUSABLE:
        return
    if "grpc" in sys.modules:
        raise TooLateError("gRPC was loaded before TLS 1.3 could be required")
    os.environ[_VARIABLE] = _UNUSABLE
