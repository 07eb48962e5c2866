"""`clustermesh-apiserver certgen`: renew this cluster's leaf certificates before they expire.

Once, for a CronJob, or with `--watch` for as long as the process runs. Reads the authority's Secret and the
leaves' and patches only leaves, so a Role for exactly these Secrets is enough. Renewing keeps the signer, the
names and the uses; where the authority's key is not in the cluster nothing is done, and said. Told a
cluster's name, it also issues leaves that are missing, gives the leaf for other clusters the name that the
authentication mode asks for, and on demand makes the authority: for installations that no command line has
prepared.
"""

from __future__ import annotations

import asyncio
import base64
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial

from certs import profile, reissue
from certs.errors import CertificateError
from certs.issue import VALIDITY, Authority
from certs.profile import Profile
from certs.renew import Life
from k8s import clock, objects
from k8s.client import Client
from k8s.core import Secret
from k8s.errors import KubernetesError
from k8s.resource import SECRET

CA_SECRET = "cilium-ca"
SERVER, ADMIN, REMOTE, LOCAL = LEAVES = (  # spec 4.6
    "clustermesh-apiserver-server-cert",
    "clustermesh-apiserver-admin-cert",
    "clustermesh-apiserver-remote-cert",
    "clustermesh-apiserver-local-cert",
)
INTERVAL_SECONDS = 3600.0  # leaves are due for a third of their life: an hour is soon enough for any
CA_KEY = "ca.key"

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to issue. Without `cluster_name` what is missing stays missing, and leaves are only renewed."""

    cluster_name: str = ""
    creates_authority: bool = False
    validity: timedelta = VALIDITY
    dns_names: tuple[str, ...] = ()
    ip_addresses: tuple[str, ...] = ()
    own_name: bool = False  # other clusters know us by a name of our own, and not by the one that all share

    def profiles(self, namespace: str) -> dict[str, Profile]:
        if not self.cluster_name:
            return {}
        return {
            SERVER: profile.server(namespace, dns_names=self.dns_names, ip_addresses=self.ip_addresses),
            ADMIN: profile.admin(self.cluster_name),
            REMOTE: profile.remote(self.cluster_name if self.own_name else None),
            LOCAL: profile.local(self.cluster_name),
        }


async def watch(
    client: Client, namespace: str, wanted: Wanted | None = None, interval: float = INTERVAL_SECONDS
) -> None:
    """Renew whatever is due, again and again, until cancelled."""
    while True:
        try:
            await renew(client, namespace, await common_now(client), wanted)
        except (KubernetesError, TimeoutError) as error:
            log.error("certificates cannot be read or written, tried again later error=%s", error)
        await asyncio.sleep(interval)


async def common_now(client: Client) -> datetime:
    """What this node and the API server agree on: who is ahead must not issue into the future."""
    now, ahead = datetime.now(UTC), await client.ahead()
    if ahead is None:
        return now
    if text := clock.warning(ahead, "this cluster"):
        log.warning("%s", text)
    return clock.common(now, ahead)


async def renew(client: Client, namespace: str, now: datetime, wanted: Wanted | None = None) -> list[str]:
    """One round. What could not be renewed, in words; a bad Secret does not hold back the others.

    Raises KubernetesError.
    """
    wanted = wanted or Wanted()
    data = await _data(client, CA_SECRET, namespace)
    if data is None and wanted.creates_authority:
        data = await _create_authority(client, namespace, now)
    authority, objection = _authority(data)
    if authority is None:
        log.error("nothing is renewed: secret=%s reason=%s", CA_SECRET, objection)
        return [f"Secret {CA_SECRET}: {objection}"]
    problems = _ending(authority, now)
    leaf = partial(
        _renew,
        client,
        namespace,
        authority=authority,
        now=now,
        validity=wanted.validity,
        cluster=wanted.cluster_name,
    )
    profiles = wanted.profiles(namespace)
    for name in LEAVES:
        try:
            await leaf(name, profiles.get(name))
        except CertificateError as error:
            log.error("certificate cannot be renewed secret=%s error=%s", name, error)
            problems.append(f"Secret {name}: {error}")
    return problems


async def _renew(
    client: Client,
    namespace: str,
    name: str,
    wanted: Profile | None,
    *,
    authority: Authority,
    now: datetime,
    validity: timedelta,
    cluster: str,
) -> None:
    """One leaf, if it is due or has its other name, or missing and wanted. Raises CertificateError and
    KubernetesError."""
    data = await _data(client, name, namespace)
    if data is None:
        if wanted is not None:
            issued = authority.issue(wanted, now, validity=validity)
            pair = {reissue.CERTIFICATE: issued.certificate_pem, reissue.KEY: issued.key_pem}
            await _create(client, namespace, name, {**pair, reissue.TRUST: authority.anchors.pem})
            log.info("certificate issued secret=%s", name)
        return
    new = reissue.renewed(data, authority, now, validity=validity)
    if name == REMOTE and wanted is not None and _is_renamed(data, wanted, cluster):
        new = reissue.renamed(wanted, authority, data, now, validity=validity)
    if new is not None:
        changed = {key: base64.b64encode(new[key]).decode() for key in (reissue.CERTIFICATE, reissue.KEY)}
        await client.merge_patch(SECRET, name, {"data": changed}, namespace)
        log.info("certificate renewed secret=%s", name)


def _is_renamed(data: Mapping[str, bytes], wanted: Profile, cluster: str) -> bool:
    """Whether it has that of the cluster's two names which is not wanted. Any other was somebody's choice."""
    present = reissue.profile_of(reissue.leaf_of(data)).common_name
    both = {profile.remote().common_name, profile.remote(cluster).common_name}
    return present != wanted.common_name and {present, wanted.common_name} == both


async def _create_authority(client: Client, namespace: str, now: datetime) -> Mapping[str, bytes]:
    """Raises KubernetesError, also when somebody else was faster: the next round takes theirs."""
    issued = Authority.create(now).issued
    data = {reissue.TRUST: issued.certificate_pem, CA_KEY: issued.key_pem}
    await _create(client, namespace, CA_SECRET, data)
    log.info("authority made secret=%s", CA_SECRET)
    return data


async def _create(client: Client, namespace: str, name: str, data: Mapping[str, bytes]) -> None:
    body = {
        "metadata": {"name": name, "namespace": namespace},
        "type": "kubernetes.io/tls" if reissue.CERTIFICATE in data else "Opaque",
        "data": {key: base64.b64encode(content).decode() for key, content in data.items()},
    }
    await client.create(SECRET, body)


def _ending(authority: Authority, now: datetime) -> list[str]:
    """Nothing here can renew an authority: whoever can must hear of it long before it ends."""
    late = [
        each
        for each in (authority.certificate, *authority.chain)
        if Life(each.not_valid_before_utc, each.not_valid_after_utc).is_late(now)
    ]
    for each in late:
        subject, ends = each.subject.rfc4514_string(), each.not_valid_after_utc.isoformat()
        log.error("the authority must be replaced secret=%s subject=%s expires=%s", CA_SECRET, subject, ends)
    remedy = "'clustermesh certs intermediate'" if authority.chain else "'clustermesh certs rotate-ca'"
    return [
        f"Secret {CA_SECRET}: {each.subject.rfc4514_string()} expires at "
        f"{each.not_valid_after_utc.isoformat()} and certificates with it: replace it with {remedy}"
        for each in late
    ]


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
