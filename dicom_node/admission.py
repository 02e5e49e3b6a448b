"""Decides who may come in: associations, presentation contexts, instances.

Pure: titles, addresses, numbers and UIDs in, an answer in the standard's own terms out. Nothing
here opens a socket, a file or a clock, and no path is ever built from a UID. PS3.8 9.3.4 (reasons
of an A-ASSOCIATE-RJ), PS3.4 B.2.3 and PS3.7 annex C (statuses of a C-STORE).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pydicom._uid_dict import UID_dictionary

from config.settings import Limits, Peer

SUCCESS = 0x0000
PROCESSING_FAILURE = 0x0110
INVALID_INSTANCE = 0x0117
CLASS_NOT_SUPPORTED = 0x0122
OUT_OF_RESOURCES = 0xA700
MISMATCH = 0xA900
CANNOT_UNDERSTAND = 0xC000
SYNTAX_NOT_SUPPORTED = 0xC122  # PS3.18 table I.2-2

VERIFICATION = "1.2.840.10008.1.1"
COMMITMENT = "1.2.840.10008.1.20.1"  # Storage Commitment Push Model

# Classes of the standard that are not stored by C-STORE for patients: everything that is not a
# storage class by name. A UID the dictionary does not know is private and taken as storage.
_STORED_BY_NAME = re.compile(r"Storage( - Trial)?( SOP Class)?$|Storage - For P|Waveform Storage")
_NEVER_STORED = re.compile(
    r"Storage Commitment|Media (Creation|Storage)|Management|Query|FIND|MOVE"
)
# Transfer syntaxes that frame something other than a DICOM data set.
_OTHER_FRAMING = re.compile(r"MIME|XML|SMPTE|Papyrus")
_UID = re.compile(r"[0-9]+(?:\.[0-9]+)+")
_LEADING_ZERO = re.compile(r"(?:^|\.)0[0-9]")

# Known to peers and to newer editions, not yet to pydicom's dictionary: JPEG XL, deflated frames.
_NEWER = {f"1.2.840.10008.1.2.{tail}" for tail in ("4.110", "4.111", "4.112", "8.1")}

_LITTLE_ENDIAN = frozenset(("1.2.840.10008.1.2", "1.2.840.10008.1.2.1"))

TRANSFER_SYNTAXES = _NEWER | {
    uid
    for uid, entry in UID_dictionary.items()
    if entry[1] == "Transfer Syntax" and not _OTHER_FRAMING.search(entry[0])
}


@dataclass(frozen=True, slots=True)
class Rejection:
    """An A-ASSOCIATE-RJ, and the words for our own log."""

    result: int
    source: int
    reason: int
    why: str


@dataclass(frozen=True, slots=True)
class Offer:
    """An association as it is asked for: `open_now` counts the others, all and from `address`.

    certified: whom its verified TLS certificate names.
    """

    calling: str
    called: str
    address: str
    open_now: int = 0
    open_from_address: int = 0
    stopping: bool = False
    certified: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Refused:
    """A C-STORE that is not stored: the status that the sender hears, and why."""

    status: int
    why: str


@dataclass(frozen=True, slots=True)
class Asked:
    """What the command of a C-STORE and its presentation context say.

    study_uid: the study that the instance must belong to; "": any.
    """

    sop_class: str
    sop_uid: str
    abstract_syntax: str
    has_data_set: bool = True
    study_uid: str = ""


@dataclass(frozen=True, slots=True)
class Contained:
    """What the data set itself says. fault: why it cannot be read, or "".

    repeated: identity attributes that occur twice, so that nobody knows which one counts.
    """

    sop_class: str = ""
    sop_uid: str = ""
    study_uid: str = ""
    size: int = 0
    fault: str = ""
    repeated: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Binding:
    """One entry of accept_from. addresses: None is any. certificate: the name it must bear."""

    addresses: frozenset[str] | None = None
    certificate: str | None = None


Bindings = Mapping[str, tuple[Binding, ...]]


def admit_association(
    offer: Offer, limits: Limits, us: str, peers: Bindings | None
) -> Rejection | None:
    """Whether this association may open.

    peers: AE title -> what it is bound to, one of which must fit; None instead of the whole
    mapping: anyone may come.
    """
    if offer.stopping:
        return Rejection(2, 3, 1, "stopping")
    if offer.open_now >= limits.associations:
        return Rejection(2, 3, 2, "too many associations")
    if offer.open_from_address >= limits.per_address:
        return Rejection(2, 3, 2, "too many associations from this address")
    if offer.called != us:
        return Rejection(1, 1, 7, "called AE title is not ours")
    if peers is None:
        return None
    if offer.calling not in peers:
        return Rejection(1, 1, 3, "calling AE title is not in accept_from")
    here = [
        bound
        for bound in peers[offer.calling]
        if bound.addresses is None or offer.address in bound.addresses
    ]
    if not here:
        return Rejection(1, 1, 3, "calling AE title comes from an address it is not bound to")
    if not any(b.certificate is None or b.certificate in offer.certified for b in here):
        return Rejection(1, 1, 3, "calling AE title comes without the certificate it is bound to")
    return None


def peers_by_title(
    accept_from: Sequence[Peer] | str, addresses: Mapping[str, frozenset[str]]
) -> Bindings | None:
    """accept_from of node.yaml as `admit_association` wants it; addresses: host -> its IPs."""
    if isinstance(accept_from, str):
        return None
    found: dict[str, tuple[Binding, ...]] = {}
    for peer in accept_from:
        bound = None if peer.host is None else addresses.get(peer.host, frozenset())
        found[peer.ae_title] = (
            *found.get(peer.ae_title, ()),
            Binding(bound, peer.certificate),
        )
    return found


def storable(abstract_syntax: str) -> bool:
    """Whether C-STORE may use this SOP class: a storage class, or one that nobody has named."""
    entry = UID_dictionary.get(abstract_syntax)
    if entry is None:
        return is_uid(abstract_syntax)
    name = entry[0]
    return bool(
        entry[1] == "SOP Class" and _STORED_BY_NAME.search(name) and not _NEVER_STORED.search(name)
    )


def transfer_syntaxes(abstract_syntax: str, proposed: Iterable[str]) -> tuple[str, ...] | None:
    """The proposed transfer syntaxes we take, in the peer's order; None: not this SOP class."""
    if abstract_syntax == COMMITMENT:
        return tuple(syntax for syntax in proposed if syntax in _LITTLE_ENDIAN)
    if abstract_syntax != VERIFICATION and not storable(abstract_syntax):
        return None
    return tuple(syntax for syntax in proposed if syntax in TRANSFER_SYNTAXES)


def is_uid(text: str) -> bool:
    """PS3.5 9.1, but for leading zeros, which real devices write (see `odd_uid`)."""
    return len(text) <= 64 and _UID.fullmatch(text) is not None


def odd_uid(text: str) -> bool:
    """A UID that is taken although a component begins with a zero."""
    return _LEADING_ZERO.search(text) is not None


NO_DATA_SET = Refused(CANNOT_UNDERSTAND, "C-STORE without a data set")


def admit_command(asked: Asked) -> Refused | None:
    """Whether the command alone already rules the instance out."""
    if not asked.has_data_set:
        return NO_DATA_SET
    if not is_uid(asked.sop_uid):
        return Refused(INVALID_INSTANCE, "SOP Instance UID is no valid UID")
    if asked.sop_class != asked.abstract_syntax:
        return Refused(MISMATCH, "SOP class is not the one of its presentation context")
    if asked.abstract_syntax in (VERIFICATION, COMMITMENT):
        return Refused(CLASS_NOT_SUPPORTED, "C-STORE on a context that is not storage")
    return None


def admit_instance(asked: Asked, contained: Contained) -> Refused | None:
    """Whether the data set is the instance that the command announced and can be filed."""
    if refused := admit_command(asked):
        return refused
    if not contained.size:
        return Refused(CANNOT_UNDERSTAND, "empty data set")
    if contained.fault:
        return Refused(CANNOT_UNDERSTAND, contained.fault)
    if contained.repeated:
        return Refused(CANNOT_UNDERSTAND, f"{contained.repeated[0]} occurs more than once")
    if contained.sop_uid != asked.sop_uid:
        return Refused(MISMATCH, "SOP Instance UID of data set and command differ")
    if contained.sop_class != asked.sop_class:
        return Refused(MISMATCH, "SOP Class UID of data set and command differ")
    if not contained.study_uid:
        return Refused(MISMATCH, "no Study Instance UID")
    if not is_uid(contained.study_uid):
        return Refused(MISMATCH, "Study Instance UID is no valid UID")
    if asked.study_uid not in ("", contained.study_uid):
        return Refused(MISMATCH, "Study Instance UID is not the one of the request")
    return None


def admit_file(sop_class: str, transfer_syntax: str) -> Refused | None:
    """What a presentation context would have ruled out; of a file that comes without one."""
    if is_uid(sop_class) and not storable(sop_class):
        return Refused(CLASS_NOT_SUPPORTED, "no SOP class of instances that are stored")
    if transfer_syntax not in TRANSFER_SYNTAXES:
        return Refused(SYNTAX_NOT_SUPPORTED, "a transfer syntax that we do not know")
    return None
