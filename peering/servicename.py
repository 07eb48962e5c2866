"""In-cluster names like `clustermesh-apiserver.kube-system.svc`, resolved without DNS (spec 3.1). Pure."""

from __future__ import annotations

import re

_NAME = re.compile(r"([^.]+)\.([^.]+)\.svc(?:\.cluster\.local)?\.?")


def service_key(host: str) -> str:
    """The Service (namespace/name) that `host` names; empty when it is no Service's name."""
    match = _NAME.fullmatch(host)
    return f"{match[2]}/{match[1]}" if match else ""
