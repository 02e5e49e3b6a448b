"""Builds the rooms that need no model: storage and destinations.

Apart from `dicom_node.wiring`, so that intake and courier never load a model's runtime.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from config import Settings
from config.settings import DicomDestination
from storage import Storage, open_storage

if TYPE_CHECKING:
    from dicom_node.destinations import Destination


def audit_key(settings: Settings) -> bytes:
    """The key of the audit chain and of hashed identifiers."""
    return settings.node.audit_key_file.read_bytes().strip()


def storage(settings: Settings, who: str, *, check: bool = False) -> Storage:
    """The node's memory; `who` stands in the audit rows.

    check: look for damage first; it takes longer the bigger the database is, so once a start.
    """
    node = settings.node
    node.data_dir.mkdir(parents=True, exist_ok=True)
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
