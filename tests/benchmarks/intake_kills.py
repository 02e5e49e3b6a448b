"""SIGKILL in flight: every instance that was answered 0000 is there, byte for byte, with its row.

  python tests/benchmarks/intake_kills.py [--kills 20] [--senders 8] [--instances 10000]

Kills in turn a receiving process and the whole intake while senders go on, then compares all that
was answered with disk and database. Prints one line, exit 1 if anything was lost or altered.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))
import intake_node
import raw_sender

from dicom_node.intake.reception import data_set_offset
from storage import open_storage

ROOT = Path(__file__).parents[2]


@dataclass
class Round:
    """What the senders know. answered: UID -> bytes of pixels, for all that heard 0000."""

    port: int
    over: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)
    answered: dict[str, int] = field(default_factory=dict)
    postponed: int = 0  # heard another status and would send again

    def send(self, seed: int) -> None:
        """One sender: associates again whenever its association is lost."""
        sizes = random.Random(seed)
        while not self.over.is_set():
            try:
                sender = raw_sender.Sender(self.port, patience=10)
            except (OSError, raw_sender.Refused):
                time.sleep(0.05)
                continue
            try:
                while not self.over.is_set():
                    self._one(sender, sizes)
                sender.release()
            except OSError:
                sender.close()

    def _one(self, sender: raw_sender.Sender, sizes: random.Random) -> None:
        uid, pixels = raw_sender.new_uid(), sizes.choice((4_000, 4_000, 60_000, 520_000, 5_000_000))
        pixels = pixels if pixels < 5_000_000 or sizes.random() < 0.05 else 4_000
        status = sender.store(uid, raw_sender.data_set(uid, pixels, study=f"{uid[:40]}"))
        with self.lock:
            if status == 0:
                self.answered[uid] = pixels
            else:
                self.postponed += 1


def start(port: int, folder: Path, processes: str = "2") -> subprocess.Popen[bytes]:
    """An intake in `folder`; returns once it listens."""
    log = (folder / "intake.log").open("ab")
    began = log.tell()
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "tests/benchmarks/intake_node.py"), str(port), str(folder),
         "--processes", processes],
        stderr=log, stdout=log, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    log.close()
    until = time.monotonic() + 120
    while time.monotonic() < until:
        if b"intake.started" in (folder / "intake.log").read_bytes()[began:]:
            return process
        time.sleep(0.05)
    raise RuntimeError(f"the intake does not start: {(folder / 'intake.log').read_text()[-2000:]}")


def receivers(process: subprocess.Popen[bytes]) -> list[int]:
    """The process ids of those who receive."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    return [int(word) for word in children.read_text().split()]


def run(kills: int, senders: int, instances: int, folder: Path, port: int) -> tuple[int, list[str]]:
    """How many instances were answered, and what is wrong with them."""
    process, round_ = start(port, folder), Round(port)
    threads = [threading.Thread(target=round_.send, args=(n,)) for n in range(senders)]
    for thread in threads:
        thread.start()
    chance = random.Random(kills)
    for kill in range(kills):
        goal = instances * (kill + 1) // kills
        while len(round_.answered) < goal or not (hands := receivers(process)):
            time.sleep(0.05)
        time.sleep(chance.random() * 0.2)
        if kill % 2:
            process.kill()
            process.wait()
            process = start(port, folder)
        else:
            os.kill(chance.choice(hands), signal.SIGKILL)
    time.sleep(1.0)
    round_.over.set()
    for thread in threads:
        thread.join()
    process.terminate()
    process.wait(60)
    print(f"{round_.postponed} were answered with another status than 0000", file=sys.stderr)
    return len(round_.answered), compare(folder, round_.answered)


def compare(folder: Path, answered: dict[str, int]) -> list[str]:
    """What of the answered instances is not there as it was sent."""
    used = intake_node.settings(1, folder, "2")
    storage = open_storage(used.node.database_url, used.node.data_dir, intake_node.KEY, who="kills")
    wrong = []
    try:
        for uid, pixels in answered.items():
            study = uid[:40]
            rows = [row for row in storage.studies.instances(study) if row.sop_uid == uid]
            if len(rows) != 1:
                wrong.append(f"{uid}: {len(rows)} rows")
                continue
            raw = storage.spool.read(rows[0].path)
            if raw[data_set_offset(raw) :] != raw_sender.data_set(uid, pixels, study=study):
                wrong.append(f"{uid}: other bytes")
        wrong += storage.audit.verify()
    finally:
        storage.close()
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--senders", type=int, default=8)
    parser.add_argument("--instances", type=int, default=10_000)
    parser.add_argument("--scratch", type=Path, help="where the disk to be used is")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="dictamen-kills-", dir=args.scratch) as folder:
        began = time.monotonic()
        answered, wrong = run(args.kills, args.senders, args.instances, Path(folder), 21_117)
    print(
        f"{args.kills} kills, {args.senders} senders: {answered} instances answered 0000, "
        f"{len(wrong)} lost or altered, {time.monotonic() - began:.0f} s"
    )
    for line in wrong[:20]:
        print(" ", line)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
