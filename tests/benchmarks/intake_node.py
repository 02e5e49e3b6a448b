"""The intake alone, as a peer of the benchmarks: no supervisor, no model, any sender.

  python tests/benchmarks/intake_node.py PORT FOLDER [--processes auto]

Durable as in service: bytes and row's data are on disk before the answer. It loads what the node's
own intake loads.
"""

from __future__ import annotations

import argparse
import signal
import threading
from pathlib import Path

from dicom_node import interpreter

if __name__ == "__main__":  # before anything else is loaded, and not where it is imported
    interpreter.spare("intake")
from config.settings import Settings
from dicom_node import intake, logs
from storage import open_storage, upgrade

KEY = b"a key of the benchmarks"


def settings(port: int, folder: Path, processes: str) -> Settings:
    """Settings as `node.yaml` would hold them."""
    key = folder / "audit.key"
    key.write_bytes(KEY)
    document = {
        "node": {
            "ae_title": "DICTAMEN",
            "listen": f"127.0.0.1:{port}",
            "data_dir": folder / "data",
            "audit_key_file": key,
        },
        "intake": {
            "accept_from": "anyone",
            "disk_reserve": "0B",
            "limits": {"associations": 600, "per_address": 600},
            "processes": processes if processes == "auto" else int(processes),
        },
        "processors": (),
    }
    return Settings.model_validate(document)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("port", type=int)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--processes", default="auto")
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    used = settings(args.port, args.folder, args.processes)
    used.node.data_dir.mkdir(exist_ok=True)
    upgrade(used.node.database_url)
    logs.configure("json", KEY, process="intake")
    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    storage = open_storage(used.node.database_url, used.node.data_dir, KEY, who="intake")
    try:
        intake.serve(used, storage, stopping)
    finally:
        storage.close()


if __name__ == "__main__":
    main()
