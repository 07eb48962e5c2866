"""Whether policy is enforced at all (Cilium's `enable-policy`, spec 6.4). Pure."""

from __future__ import annotations

from enum import Enum


class Enforcement(Enum):
    DEFAULT = "default"  # a direction of an endpoint, once a policy selects the endpoint in it
    ALWAYS = "always"  # both directions of every endpoint, whatever policies say of default deny
    NEVER = "never"
