"""What every call passes first: is the client let in, and has it not asked too often?"""

from __future__ import annotations

import asyncio

from clustermesh_apiserver.proxy.authz import Refuse, RoleKind
from clustermesh_apiserver.proxy.caller import Caller
from clustermesh_apiserver.proxy.gate import Gate
from clustermesh_apiserver.proxy.metric import Metrics
from clustermesh_apiserver.proxy.quota import Account, Limits, Quotas

# This cluster's own control plane: it fills etcd, in as many requests as that takes.
_UNLIMITED = Limits(2**31, 2**31, 2**31, 1e9, 1.0, 2**62)


class Door:
    def __init__(self, gate: Gate, limits: Limits, metrics: Metrics) -> None:
        self._gate = gate
        self._quotas = Quotas(limits)
        self._own = Account(_UNLIMITED)
        self._metrics = metrics
        self.views = gate.views

    def enter(self, caller: Caller) -> Account | Refuse:
        """The client's account, one request lighter."""
        if objection := self._gate.objection(caller):
            return Refuse(objection)
        if caller.role.kind is RoleKind.ADMIN:
            return self._own
        now = asyncio.get_running_loop().time()
        account = self._quotas.account(caller.role.name, caller.address, now)
        if account is None:
            return Refuse("quota", "clients")
        return account if account.may_ask(now) else Refuse("quota", "requests")

    def shut_out(self, caller: Caller, path: str) -> bool:
        """Whether a client that was let in is not any more; that is counted and written down."""
        objection = self._gate.objection(caller)
        if objection:
            self._metrics.refuse(caller, path, Refuse(objection, "open stream ended"))
        return bool(objection)
