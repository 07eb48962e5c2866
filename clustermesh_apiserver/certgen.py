"""`clustermesh-apiserver certgen`: renew this cluster's leaf certificates before they expire.

Once, for a CronJob, or with `--watch` for as long as the process runs. Reads the authority's Secret and the
leaves' and patches only leaves, so a Role for exactly these Secrets is enough. Renewing keeps the signer, the
names and the uses; where the authority's key is not in the cluster nothing is done, and said.
"""

from __future__ import annotations

import asyncio
import base64
import logging
from collections.abc import Mapping
from datetime import UTC, datetime

from certs import reissue
from certs.errors import CertificateError
from certs.issue import Authority
from k8s import objects
from k8s.client import Client
from k8s.errors import KubernetesError
from k8s.objects import Secret
from k8s.resource import SECRET

CA_SECRET = "cilium-ca"
LEAVES = (  # spec 4.6
    "clustermesh-apiserver-server-cert",
    "clustermesh-apiserver-admin-cert",
    "clustermesh-apiserver-remote-cert",
    "clustermesh-apiserver-local-cert",
)
INTERVAL_SECONDS = 3600.0  # leaves are due for a third of their life: an hour is soon enough for any
CA_KEY = "ca.key"

log = logging.getLogger(__name__)


async def watch(client: Client, namespace: str, interval: float = INTERVAL_SECONDS) -> None:
    """Renew whatever is due, again and again, until cancelled."""
    while True:
        try:
            await renew(client, namespace, datetime.now(UTC))
        except (KubernetesError, TimeoutError) as error:
            log.error("certificates cannot be read or written, tried again later error=%s", error)
        await asyncio.sleep(interval)


async def renew(client: Client, namespace: str, now: datetime) -> list[str]:
    """One round. What could not be renewed, in words; a bad Secret does not hold back the others.

    Raises KubernetesError.
    """
    authority, objection = _authority(await _data(client, CA_SECRET, namespace))
    if authority is None:
        log.warning("nothing is renewed: secret=%s reason=%s", CA_SECRET, objection)
        return [f"Secret {CA_SECRET}: {objection}"]
    problems = []
    for name in LEAVES:
        data = await _data(client, name, namespace)
        if data is None:
            continue
        try:
            new = reissue.renewed(data, authority, now)
        except CertificateError as error:
            log.error("certificate cannot be renewed secret=%s error=%s", name, error)
            problems.append(f"Secret {name}: {error}")
            continue
        if new is not None:
            changed = {key: base64.b64encode(new[key]).decode() for key in (reissue.CERTIFICATE, reissue.KEY)}
            await client.merge_patch(SECRET, name, {"data": changed}, namespace)
            log.info("certificate renewed secret=%s", name)
    return problems


def _authority(data: Mapping[str, bytes] | None) -> tuple[Authority | None, str]:
    if data is None:
        return None, "it is not there"
    if CA_KEY not in data or reissue.TRUST not in data:
        return None, f"it has no {CA_KEY} or no {reissue.TRUST}: whoever holds the key must renew"
    try:
        return Authority.load(data[reissue.TRUST], data[CA_KEY]), ""
    except CertificateError as error:
        return None, str(error)


async def _data(client: Client, name: str, namespace: str) -> Mapping[str, bytes] | None:
    raw = await client.get(SECRET, name, namespace)
    return objects.decode(raw, Secret).data if raw else None
