"""What clusters' Secrets say of a rotation, and what each step writes there. Pure: the time is passed in.

The record is Secret `cilium-ca-rotation`: old.crt, ca.crt (the next authority), ca.key (only where the next
authority will sign), and in the first cluster the moments trusted-at and reissued-at.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from cryptography import x509

from certs import bundle, own, reissue
from certs.bundle import TrustBundle
from certs.check import load_chain
from certs.errors import MaterialError
from certs.issue import Authority
from certs.rotation import Cluster, Leaf, Record, RotationError, Step
from cli import secret
from cli.secret import Data
from cli.settings import CA_SECRET, ROTATION_SECRET

OLD, TRUSTED_AT, REISSUED_AT = "old.crt", "trusted-at", "reissued-at"
Change = Callable[[TrustBundle, Data], TrustBundle]


@dataclass(frozen=True, slots=True)
class Member:
    """One cluster's Secrets. `leaves` are those that exist."""

    name: str
    ca: Data = field(repr=False)
    leaves: secret.Secrets = field(repr=False)
    record: Data | None = field(repr=False, default=None)

    @property
    def authority(self) -> x509.Certificate:
        pem = self.ca.get(secret.TRUST) or self.ca.get(secret.CERTIFICATE)
        if pem is None:
            raise MaterialError(f"{self.name}: Secret {CA_SECRET} has no certificate")
        return load_chain(pem)[0]

    def as_cluster(self) -> Cluster:
        """Raises CertificateError."""
        leaves = {name: _leaf(data) for name, data in self.leaves.items()}
        record = None if self.record is None else _record(self.record)
        return Cluster(self.name, bundle.key_id(self.authority), leaves, record)


@dataclass(frozen=True, slots=True)
class Write:
    """Data of one Secret of cluster `member`; None: the Secret goes."""

    member: str
    secret: str
    data: Data | None = field(repr=False)


def writes(step: Step, members: Sequence[Member], now: datetime) -> list[Write]:
    """What `step` writes, in this order: an interruption between any two is made good by going on."""
    match step:
        case Step.PREPARE:
            return _prepare(members, now)
        case Step.TRUST:
            return [*_leaves(members, _trusting), _mark(members, TRUSTED_AT, now)]
        case Step.REISSUE:
            return _reissue(members, now)
        case Step.FORGET:
            return _leaves(members, _forgetting)
        case Step.FINISH:  # the first cluster's record last: it has the moments
            return [Write(each.name, ROTATION_SECRET, None) for each in reversed(members) if each.record]


def _prepare(members: Sequence[Member], now: datetime) -> list[Write]:
    """The first cluster's record first: it holds the key from which the others' are copied."""
    found = [each.record for each in members if each.record is not None]
    with_key = next((record for record in found if secret.CA_KEY in record), None)
    if with_key is None:
        if found:
            raise RotationError(
                "none of these clusters has the next authority's key: name the one that began"
            )
        leader = members[0].authority
        name = leader.subject.rfc4514_string().removeprefix("CN=")
        with_key = {
            **secret.ca_data(Authority.create(now, name=name)),
            OLD: TrustBundle((leader,)).pem,
        }
    old = bundle.key_id(load_chain(with_key[OLD])[0])
    public = {key: with_key[key] for key in (OLD, secret.TRUST)}
    return [
        Write(
            each.name,
            ROTATION_SECRET,
            {**public, secret.CA_KEY: with_key[secret.CA_KEY]} if each.as_cluster().uses(old) else public,
        )
        for each in members
        if each.record is None
    ]


def _reissue(members: Sequence[Member], now: datetime) -> list[Write]:
    """Leaves first, then the authority that signs: in between, `enable` still finds one that is accepted."""
    found: list[Write] = []
    for each in members:
        assert each.record is not None
        old = _record(each.record).old
        if not each.as_cluster().uses(old):
            continue
        if secret.CA_KEY not in each.record:
            raise RotationError(f"{each.name}: Secret {ROTATION_SECRET} has no {secret.CA_KEY}")
        coming = Authority.load(each.record[secret.TRUST], each.record[secret.CA_KEY])
        found += [
            Write(each.name, name, reissue.signed_by(coming, data, now))
            for name, data in each.leaves.items()
            if reissue.signer(reissue.leaf_of(data)) == old
        ]
        if bundle.key_id(each.authority) == old:
            found.append(Write(each.name, CA_SECRET, secret.ca_data(coming)))
    return [*found, _mark(members, REISSUED_AT, now)]


def _mark(members: Sequence[Member], key: str, now: datetime) -> Write:
    first = members[0]
    return Write(first.name, ROTATION_SECRET, {**(first.record or {}), key: now.isoformat().encode()})


def _leaves(members: Sequence[Member], change: Change) -> list[Write]:
    """The bundles that are not yet as `change` wants them."""
    found = []
    for each in members:
        if each.record is None:  # FINISH has begun; nothing to change any more
            continue
        for name, data in each.leaves.items():
            present = bundle.parse(data.get(secret.TRUST, b""))
            wanted = change(present, each.record)
            more = _owned(each, change) if name == secret.SERVER else {}
            if wanted != present or more.items() - data.items():
                found.append(Write(each.name, name, {**data, secret.TRUST: wanted.pem, **more}))
    return found


def _owned(each: Member, change: Change) -> Data:
    """Whose signature makes a client this cluster's own: while one authority replaces the other, both's."""
    assert each.record is not None
    authorities = TrustBundle((each.authority,))
    coming = bundle.parse(each.record[secret.TRUST])
    if each.as_cluster().uses(_record(each.record).old):
        return {own.OWN: change(authorities, each.record).pem}
    return {own.OWN: authorities.pem} if each.authority in coming.certificates else {}


def _trusting(present: TrustBundle, record: Data) -> TrustBundle:
    return bundle.merge([present, bundle.parse(record[secret.TRUST])])


def _forgetting(present: TrustBundle, record: Data) -> TrustBundle:
    old = _record(record).old
    return TrustBundle(tuple(each for each in present.certificates if bundle.key_id(each) != old))


def _leaf(data: Data) -> Leaf:
    leaf = reissue.leaf_of(data)
    return Leaf(reissue.signer(leaf), bundle.parse(data.get(secret.TRUST, b"")).key_ids)


def _record(data: Data) -> Record:
    if OLD not in data or secret.TRUST not in data:
        raise RotationError(f"Secret {ROTATION_SECRET} has no {OLD} or no {secret.TRUST}")
    old, coming = (bundle.key_id(load_chain(data[key])[0]) for key in (OLD, secret.TRUST))
    return Record(old, coming, _moment(data, TRUSTED_AT), _moment(data, REISSUED_AT))


def _moment(data: Data, key: str) -> datetime | None:
    if key not in data:
        return None
    try:
        moment = datetime.fromisoformat(data[key].decode())
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise RotationError(f"Secret {ROTATION_SECRET}: {key} is not a time with its zone")
    return moment
