"""The mesh's certificates as Kubernetes Secrets: kept while they are good, issued anew otherwise. Pure.

The time is passed in. Bodies hold base64, as Kubernetes wants; nothing here is ever printed whole.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from certs import bundle, profile, reissue
from certs.bundle import TrustBundle
from certs.check import Purpose, check, load_chain, require_pair
from certs.errors import CertificateError
from certs.issue import Authority
from certs.profile import Profile
from cli.errors import CommandError
from cli.settings import CA_SECRET
from k8s.resource import SECRET

__all__ = ["SECRET", "Secrets", "authority_of", "bodies", "empty", "leaf_secrets", "redacted"]

Data = Mapping[str, bytes]
Secrets = Mapping[str, Data]

SERVER = "clustermesh-apiserver-server-cert"
ADMIN = "clustermesh-apiserver-admin-cert"
REMOTE = "clustermesh-apiserver-remote-cert"
LOCAL = "clustermesh-apiserver-local-cert"
LEAVES = (SERVER, ADMIN, REMOTE, LOCAL)
CERTIFICATE, KEY, TRUST = "tls.crt", "tls.key", "ca.crt"
CA_KEY = "ca.key"
RENEW_BEFORE = timedelta(days=30)


def profiles(cluster: str, namespace: str, *, own_name: bool = False) -> dict[str, Profile]:
    """`own_name`: other clusters know us by a name of our own, and not by the one that all share."""
    return {
        SERVER: profile.server(namespace),
        ADMIN: profile.admin(cluster),
        REMOTE: profile.remote(cluster if own_name else None),
        LOCAL: profile.local(cluster),
    }


def authority_of(data: Data | None, now: datetime) -> Authority:
    """The cluster's authority: the one it has, or a new one where there is none."""
    if data is None:
        return Authority.create(now)
    if TRUST not in data or CA_KEY not in data:
        raise CommandError(
            f"Secret {CA_SECRET} has no {TRUST} or no {CA_KEY}: put both there, "
            f"or delete the Secret so that 'clustermesh enable' makes a new one"
        )
    return Authority.load(data[TRUST], data[CA_KEY])


def is_intermediate(data: Data) -> bool:
    """Whether the cluster's authority is signed by another one."""
    try:
        return not bundle.is_root(load_chain(data.get(TRUST, b""))[0])
    except CertificateError:
        return False


def leaf_secrets(
    authority: Authority, wanted: Mapping[str, Profile], have: Secrets, now: datetime
) -> Secrets:
    """All leaves' data. Every bundle holds our authority and those that it held before (`connect` adds)."""
    trust = bundle.merge([authority.anchors, *_trusted(have.values())])
    return {name: _leaf(authority, of, have.get(name), trust, now) for name, of in wanted.items()}


def with_trust(have: Secrets, trust: TrustBundle) -> Secrets:
    """The same leaves, accepting `trust` too."""
    merged = bundle.merge([*_trusted(have.values()), trust])
    return {name: {**data, TRUST: merged.pem} for name, data in have.items()}


def bodies(namespace: str, secrets: Secrets) -> list[dict[str, Any]]:
    return [_body(namespace, name, data, _type(data)) for name, data in secrets.items()]


def files(namespace: str, name: str, content: Mapping[str, str]) -> dict[str, Any]:
    """A Secret of text files."""
    return _body(namespace, name, {file: text.encode() for file, text in content.items()}, "Opaque")


def empty(namespace: str, name: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": namespace}}


def redacted(body: Mapping[str, Any]) -> dict[str, Any]:
    """For printing: private keys replaced by a word."""
    data = {key: "<not shown>" if key.endswith(".key") else text for key, text in body["data"].items()}
    return {**body, "data": data}


def ca_data(authority: Authority) -> Data:
    return {TRUST: authority.issued.certificate_pem, CA_KEY: authority.issued.key_pem}


def _leaf(authority: Authority, of: Profile, have: Data | None, trust: TrustBundle, now: datetime) -> Data:
    if have is not None and _is_good(have, of, authority, now):
        return {CERTIFICATE: have[CERTIFICATE], KEY: have[KEY], TRUST: trust.pem}
    issued = authority.issue(of, now)
    return {CERTIFICATE: issued.certificate_pem, KEY: issued.key_pem, TRUST: trust.pem}


def _is_good(have: Data, of: Profile, authority: Authority, now: datetime) -> bool:
    """Ours, for this use and these names, and not about to expire."""
    try:
        require_pair(have[CERTIFICATE], have[KEY])
        leaf = load_chain(have[CERTIFICATE])[0]
        own = authority.anchors
        names = [name.replace("*", "any", 1) for name in (*of.dns_names, *of.ip_addresses)] or [""]
        purpose = Purpose.SERVER if of.server else Purpose.CLIENT
        findings = [
            finding
            for name in names
            for finding in check(have[CERTIFICATE], own, purpose=purpose, now=now + RENEW_BEFORE, name=name)
        ]
    except (KeyError, CertificateError):
        return False
    if authority.chain and reissue.signer(leaf) != bundle.key_id(authority.certificate):
        return False  # by another of the root's authorities, or by the root itself
    return not findings and leaf.subject.rfc4514_string() == f"CN={of.common_name}"


def _type(data: Data) -> str:
    return "kubernetes.io/tls" if CERTIFICATE in data else "Opaque"


def _trusted(secrets: Iterable[Data]) -> list[TrustBundle]:
    found = []
    for data in secrets:
        try:
            found.append(bundle.parse(data.get(TRUST, b"")))
        except CertificateError:  # absent, or nothing that could be trusted: not ours to keep
            continue
    return found


def _body(namespace: str, name: str, data: Data, kind: str) -> dict[str, Any]:
    encoded = {key: base64.b64encode(content).decode() for key, content in data.items()}
    return {"metadata": {"name": name, "namespace": namespace}, "type": kind, "data": encoded}
