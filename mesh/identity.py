"""Security identities: a number for a set of labels, valid in the whole mesh (spec 2.7).

Wire form: `source:key=value;` per label, sorted by key, under `cilium/state/identities/v1/id/<decimal>`.
Wire freeze: the texts are compared as opaque keys elsewhere. Not JSON, and nothing is escaped.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from operator import attrgetter

from mesh import gojson
from mesh.addressing import MAX_IDENTITY, Identity, PeerScope, ReservedIdentity
from mesh.errors import DecodeError, MeshError

CLUSTER_LABEL = "io.cilium.k8s.policy.cluster"
SERVICE_ACCOUNT_LABEL = "io.cilium.k8s.policy.serviceaccount"
NAMESPACE_LABEL = "io.kubernetes.pod.namespace"
NAMESPACE_NAME_LABEL = "io.cilium.k8s.namespace.labels.kubernetes.io/metadata.name"
K8S = "k8s"
RESERVED = "reserved"
UNSPECIFIED = "unspec"

_RESERVED_KEY_PREFIX = "reserved."
_by_key = attrgetter("key")


@dataclass(frozen=True, slots=True, order=True)
class Label:
    """One label; `source` says who put it there."""

    source: str
    key: str
    value: str = ""

    def __str__(self) -> str:
        return f"{self.source}:{self.key}={self.value}"


Labels = tuple[Label, ...]


@dataclass(frozen=True, slots=True)
class SecurityIdentity:
    id: Identity
    labels: Labels


def labels_text(labels: Iterable[Label]) -> str:
    """The wire text. Source and value take no part in the order, as in Cilium."""
    return "".join(f"{label};" for label in sorted(labels, key=_by_key))


def parse_labels(text: str) -> Labels:
    """Read a wire text as Cilium does: items without a key are dropped. Sorted by key; never fails."""
    return tuple(sorted(filter(_by_key, map(parse_label, text.split(";"))), key=_by_key))


def parse_label(text: str) -> Label:
    """One item: the source up to the first ':', the key up to the first '=' after it."""
    source, rest = _split_source(text)
    key, equals, value = rest.partition("=")
    if equals and not key and source == RESERVED:
        key, value = value, ""
    return Label(source or UNSPECIFIED, key, value)


def _split_source(text: str) -> tuple[str, str]:
    if text.startswith("$"):
        return RESERVED, text[1:]
    source, colon, rest = text.partition(":")
    if colon:
        return source, rest
    if text.startswith(_RESERVED_KEY_PREFIX):
        return RESERVED, text.removeprefix(_RESERVED_KEY_PREFIX)
    return "", text


def reserved_labels(identity: int) -> Labels:
    """The labels of an identity that is never stored; empty for any other number."""
    try:
        reserved = ReservedIdentity(identity)
    except ValueError:
        return ()
    labels = [Label(RESERVED, reserved.text)]
    if reserved is ReservedIdentity.KUBE_APISERVER:
        labels.append(Label(RESERVED, ReservedIdentity.REMOTE_NODE.text))
    return tuple(labels)


def decode(suffix: str, value: bytes) -> SecurityIdentity:
    """Read one pair; `suffix` is the decimal number."""
    if len(value) > gojson.MAX_VALUE_BYTES:
        raise DecodeError(suffix[:64], f"value of {len(value)} bytes exceeds {gojson.MAX_VALUE_BYTES}")
    if not (suffix.isascii() and suffix.isdecimal()) or len(suffix) > 10 or int(suffix) > MAX_IDENTITY:
        raise DecodeError(suffix[:64], "key is not a numeric identity")
    if str(int(suffix)) != suffix:
        raise DecodeError(suffix, "key is not the identity's decimal text")
    try:
        return SecurityIdentity(Identity(int(suffix)), parse_labels(value.decode()))
    except UnicodeDecodeError as error:
        raise DecodeError(suffix, "labels are not UTF-8") from error


def encode(identity: SecurityIdentity) -> tuple[str, bytes]:
    """MeshError when a label would read as another one, or as several."""
    for label in identity.labels:
        if ";" in str(label) or not label.key or parse_label(str(label)) != label:
            raise MeshError(f"label {str(label)[:128]!r} cannot be written")
    return str(identity.id), labels_text(identity.labels).encode()


def admit(identity: SecurityIdentity, scope: PeerScope) -> SecurityIdentity:
    """The identity, or DecodeError unless it is `scope`'s own and says so in its labels."""
    key = str(identity.id)
    if not scope.owns(identity.id):
        raise DecodeError(key, f"identity is outside the range of cluster {scope.name}")
    cluster = next((label for label in identity.labels if label.key == CLUSTER_LABEL), None)
    if cluster is None:
        raise DecodeError(key, f"label {CLUSTER_LABEL} is missing")
    if cluster != Label(K8S, CLUSTER_LABEL, scope.name):
        raise DecodeError(key, f"label {str(cluster)[:128]!r} is not of cluster {scope.name}")
    return identity
