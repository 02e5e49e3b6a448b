"""Builds the rooms that need no model: storage and destinations.

Apart from `dicom_node.wiring`, so that intake and courier never load a model's runtime.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from config import Settings
from config.settings import DicomDestination
from storage import Storage, open_storage, upgrade

if TYPE_CHECKING:
    from dicom_node.destinations import Destination

_KEY = (
    " Restore it from your copy, or another key breaks the chain of the audit log; that of a new "
    "node is written by `dictamen init`."
)
_NOT_OURS = " Let the user that the node runs as read it, and nobody else."


class Unusable(Exception):
    """A file or folder that node.yaml names cannot be used; names its key and the way out."""


def audit_key(settings: Settings) -> bytes:
    """The key of the audit chain and of hashed identifiers. Raises Unusable."""
    file = settings.node.audit_key_file
    try:
        key = file.read_bytes().strip()
    except OSError as error:
        way_out = _NOT_OURS if isinstance(error, PermissionError) else _KEY
        raise Unusable(
            f"node.audit_key_file: {file} cannot be read: {error.strerror}.{way_out}"
        ) from error
    if not key:
        raise Unusable(f"node.audit_key_file: {file} is empty.{_KEY}")
    return key


def make_data_dir(settings: Settings) -> None:
    """See to it that `data_dir` is there. Raises Unusable."""
    folder = settings.node.data_dir
    try:
        folder.mkdir(mode=0o750, parents=True, exist_ok=True)
    except OSError as error:
        raise Unusable(f"node.data_dir: {folder} cannot be made: {error.strerror}.") from error


def make_database(settings: Settings, *, adopt: bool = False) -> None:
    """Make the database, or bring its schema up to date. Raises StorageError.

    None is made beside images that it would not know, but to adopt them: they are all judged and
    sent again then, and what persons decided about them is forgotten.
    """
    objects = settings.node.data_dir / "spool" / "objects"
    upgrade(settings.node.database_url, objects=None if adopt else objects)


def storage(settings: Settings, who: str, *, check: bool = False) -> Storage:
    """The node's memory; `who` stands in the audit rows.

    check: look for damage first; it takes longer the bigger the database is, so once a start.
    Raises Unusable, StorageError.
    """
    node = settings.node
    make_data_dir(settings)
    return open_storage(node.database_url, node.data_dir, audit_key(settings), who=who, check=check)


def destinations(settings: Settings) -> dict[str, tuple[Destination, float]]:
    """Each destination with the seconds after which a delivery is given up."""
    from dicom_node.destinations.build import build  # the network's libraries: not at every start

    return {
        name: (build(name, peer, settings.node.ae_title), peer.give_up_after)
        for name, peer in settings.destinations.items()
    }


def committing(settings: Settings) -> frozenset[str]:
    """The destinations that shall commit to what they stored."""
    return frozenset(
        name
        for name, peer in settings.destinations.items()
        if isinstance(peer, DicomDestination) and peer.commitment
    )
