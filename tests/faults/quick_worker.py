"""A worker process of the node whose processor answers at once: `quick_worker.py NODE_YAML`.

The claim, the beat, the pipeline and the end of a run are the product's; only the model is not.
"""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

from config import load
from dicom_node import logs, roles, rooms, wiring, worker
from processors import Algorithm, Analysis, Refusal, Study
from reports import Options


class Quick:
    """Refuses every study."""

    name = "chest"
    algorithm = Algorithm("quick", "1", "0" * 64)

    def accepts(self, study: Study) -> Refusal | None:
        return Refusal("view", "Not assessed because this is a test.")

    def analyse(self, study: Study) -> Analysis:
        raise AssertionError("every study is refused")


def main() -> None:
    settings = load(Path(sys.argv[1]), os.environ)
    logs.configure("json", rooms.audit_key(settings), process="worker")
    judge = wiring.Judge(
        processor=Quick(),
        options=Options(language="en", label=settings.node.label),
        kinds=lambda _status: (),
        destinations=lambda _report: (),
    )
    stopping = threading.Event()
    roles.stop_on_signals(stopping)
    storage = rooms.storage(settings, "worker")
    try:
        worker.serve(storage, wiring.Judges({"chest": judge}), stopping, lease=5.0)
    finally:
        storage.close()


if __name__ == "__main__":
    main()
