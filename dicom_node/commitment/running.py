"""Storage commitment beside the courier: a thread for each peer that is asked, one that answers."""

from __future__ import annotations

import threading
from collections.abc import Callable

from config import Settings
from config.settings import DicomDestination
from dicom_node.commitment.answering import Answerer
from dicom_node.commitment.asking import Asker, keep_on
from dicom_node.commitment.line import Party
from storage import Storage

PAUSE = 1.0  # seconds between two looks


def run(
    settings: Settings, storage: Storage, stopping: threading.Event, on_event: Callable[[str], None]
) -> None:
    """Start the threads; they end with `stopping`."""
    us = settings.node.ae_title
    answerer = Answerer(us, settings.intake.accept_from, storage, on_event)
    steps = {"commitment": answerer.step}
    for name, peer in settings.destinations.items():
        if isinstance(peer, DicomDestination) and peer.commitment:
            party = Party(us, peer.ae_title, peer.host, peer.port, peer.timeout)
            asker = Asker(name, party, peer.commitment_wait, storage, on_event)
            steps[f"commitment of {name}"] = asker.step
    for thread, step in steps.items():
        threading.Thread(
            target=keep_on, args=(step, stopping, PAUSE), name=thread, daemon=True
        ).start()
