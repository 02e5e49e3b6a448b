"""A courier process that kills itself at a named moment: `DATA_DIR PORT before|after|never`."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from config.settings import DicomDestination
from dicom_node import courier
from dicom_node.destinations import Outcome, Parcel
from dicom_node.destinations.dicom import DicomSender
from storage import open_storage


class Mortal(DicomSender):
    """Dies between claim and send, or between send and record."""

    moment = "never"

    def send(self, parcels: Sequence[Parcel], stopping: Callable[[], bool]) -> tuple[Outcome, ...]:
        if self.moment == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        outcomes = super().send(parcels, stopping)
        if self.moment == "after":
            os.kill(os.getpid(), signal.SIGKILL)
        return outcomes


def main(folder: Path, port: int, moment: str) -> None:
    settings = DicomDestination.model_validate(
        {"kind": "dicom", "ae_title": "PACS", "host": "127.0.0.1", "port": port, "timeout": "5s"}
    )
    sender = Mortal("pacs", settings, "DICTAMEN")
    sender.moment = moment
    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    storage = open_storage(
        f"sqlite:///{folder / 'dictamen.db'}", folder, b"a key for tests", who="courier"
    )
    courier.run(storage, {"pacs": (sender, 86400.0)}, stopping, poll=0.05)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
