"""An intake under load for an hour: does memory, descriptors or threads of any process grow?

  python tests/benchmarks/intake_soak.py [--minutes 60] [--picture soak.png] [--json FILE]
      [--scratch FOLDER] [--peak SECONDS] [--short]

First the same senders go as fast as they are answered, for --peak seconds; then at half that rate
until the time is up: instances from 4 KB to 5 MB, associations of many and of few, some aborted
inside a message, and sockets that connect and say nothing. Each process is weighed all along; what
grows is RED and the exit status 1. In the end every answered instance must have its row. Files of
instances are removed after a while, as retention would; rows stay.
--short: some seconds, and growth is only shown.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import socket
import statistics
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))
import intake_kills
import intake_node
import raw_sender

from storage import open_storage

SENDERS = 6
SIZES = ((4_000, 60), (60_000, 25), (520_000, 13), (5_000_000, 2))  # bytes of pixels, share in %
KEPT = 60.0  # seconds that the file of an instance stays
GROWTH = {"rss": 8.0, "fds": 4.0, "threads": 2.0}  # MB or pieces, see `growth`
UNITS = {"rss": "MB", "fds": "descriptors", "threads": "threads"}
Curves = Mapping[str, Mapping[str, Sequence[float]]]  # process -> what -> one value a look


@dataclass
class Load:
    """What the senders know. pause: seconds between two instances of one sender."""

    port: int
    pause: float = 0.0
    over: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)
    times: list[float] = field(default_factory=list)  # seconds from the first byte to the answer
    answered: int = 0
    refused: int = 0
    aborted: int = 0
    touched: int = 0
    faults: list[str] = field(default_factory=list)

    def send(self, seed: int) -> None:
        """Association after association until it is over."""
        chance = random.Random(seed)
        while not self.over.is_set():
            try:
                self._associate(chance)
            except (OSError, raw_sender.Refused) as error:
                with self.lock:
                    self.faults.append(f"{type(error).__name__}: {error}")
                time.sleep(0.2)

    def _associate(self, chance: random.Random) -> None:
        sender = raw_sender.Sender(self.port, patience=60)
        study = raw_sender.new_uid()
        for _ in range(chance.choice((1, 4, 40, 200))):
            if self.over.is_set():
                break
            uid, pixels = raw_sender.new_uid(), chance.choices(*zip(*SIZES, strict=True))[0]
            packed = sender.packed(uid, raw_sender.data_set(uid, pixels, study=study))
            if chance.random() < 0.01:
                sender.push(packed[: len(packed) // 2])
                sender.close()
                with self.lock:
                    self.aborted += 1
                return
            began = time.perf_counter()
            status = sender.send(packed)
            took = time.perf_counter() - began
            with self.lock:
                self.times.append(took)
                self.answered += status == 0
                self.refused += status != 0
            self.over.wait(max(0.0, self.pause - took))
        sender.release()

    def touch(self) -> None:
        """Connect, say nothing, leave: a load balancer's health check, a scanner."""
        while not self.over.wait(0.2):
            with socket.create_connection(("127.0.0.1", self.port), 5):
                self.touched += 1

    def run(self, seconds: float, look: float, pid: int) -> dict[str, dict[str, list[float]]]:
        """Send for so long; what each process had, every `look` seconds."""
        threads = [threading.Thread(target=self.send, args=(n,)) for n in range(SENDERS)]
        threads.append(threading.Thread(target=self.touch))
        for thread in threads:
            thread.start()
        curves: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            for number, one in enumerate([pid, *_children(pid)]):
                name = f"receiver {number}" if number else "intake"
                for what, value in _weighed(one).items():
                    curves[name][what].append(value)
            time.sleep(look)
        self.over.set()
        for thread in threads:
            thread.join()
        return curves


def _children(pid: int) -> list[int]:
    """Of all its threads: any of them may have started one."""
    found: list[int] = []
    for thread in Path(f"/proc/{pid}/task").glob("*/children"):
        found += [int(word) for word in thread.read_text().split()]
    return sorted(found)


def _weighed(pid: int) -> dict[str, float]:
    status = dict(
        line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines()
    )
    return {
        "rss": int(status["VmRSS"].split()[0]) / 1024,
        "fds": float(len(list(Path(f"/proc/{pid}/fd").iterdir()))),
        "threads": float(status["Threads"]),
    }


def _sweep(objects: Path, over: threading.Event) -> None:
    """Remove what is old; a soak needs no disk of terabytes."""
    while not over.wait(KEPT / 4):
        for path in objects.rglob("*.dcm"):
            try:
                if path.stat().st_mtime < time.time() - KEPT:
                    path.unlink()
            except FileNotFoundError:
                continue


def growth(values: Sequence[float]) -> float:
    """From the least of the first third to the least of the last, the first fifth left out.

    The least, because a collector that runs now and then makes a saw of memory.
    """
    steady = values[len(values) // 5 :]
    third = max(1, len(steady) // 3)
    return min(steady[-third:]) - min(steady[:third])


def slope(values: Sequence[float], look: float) -> float:
    """Growth an hour by least squares, the first fifth left out."""
    steady = list(values[len(values) // 5 :])
    if len(steady) < 2:
        return 0.0
    hours = [n * look / 3600 for n in range(len(steady))]
    return statistics.linear_regression(hours, steady).slope


def soak(args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """The whole run; see `_lines` for what is found."""
    port = free_port()
    process, over = intake_kills.start(port, folder, "auto"), threading.Event()
    raw_sender.Sender(port, patience=60).release()  # those who receive are up
    objects = folder / "data/spool/objects"
    threading.Thread(target=_sweep, args=(objects, over), daemon=True).start()
    try:
        peak = Load(port)
        peak.run(args.peak, args.look, process.pid)
        rate = peak.answered / args.peak
        if not rate:
            raise SystemExit(f"nothing was answered in {args.peak:g} s: {peak.faults[:3]}")
        load = Load(port, pause=2 * SENDERS / rate)
        began = time.monotonic()
        curves = load.run(args.minutes * 60, args.look, process.pid)
        seconds = time.monotonic() - began
    finally:
        over.set()
        process.terminate()
        process.wait(60)
    times = sorted(load.times)
    answered = peak.answered + load.answered
    return {
        "minutes": seconds / 60, "peak_per_second": rate,
        "per_second": load.answered / seconds, "answered": answered,
        "rows": _rows(folder), "refused": peak.refused + load.refused, "aborted": load.aborted,
        "touched": load.touched, "faults": sorted({*peak.faults, *load.faults}),
        "answer_ms": {
            "p50": times[len(times) // 2] * 1e3, "p99": times[int(len(times) * 0.99)] * 1e3,
            "most": times[-1] * 1e3,
        },
        "curves": curves, "look": args.look, "load": list(os.getloadavg()),
    }  # fmt: skip


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _rows(folder: Path) -> int:
    used = intake_node.settings(1, folder, "2")
    storage = open_storage(used.node.database_url, used.node.data_dir, intake_node.KEY, who="soak")
    try:
        return sum(study.instances for study in storage.studies.list(limit=10_000_000))
    finally:
        storage.close()


def red(found: Mapping[str, Any]) -> list[str]:
    """What is not as it should be, in words."""
    wrong = [
        f"{name}: {UNITS[what]} grow by {growth(values):.1f}"
        for name, curves in found["curves"].items()
        for what, values in curves.items()
        if growth(values) > GROWTH[what]
    ]
    if found["rows"] != found["answered"]:
        wrong.append(f"{found['answered']} were answered, {found['rows']} have a row")
    return [*wrong, *found["faults"]]


def _lines(found: Mapping[str, Any]) -> list[str]:
    answer, load = found["answer_ms"], " ".join(f"{one:.1f}" for one in found["load"])
    said = [
        f"{found['minutes']:.1f} minutes at {found['per_second']:.0f} instances a second "
        f"(peak {found['peak_per_second']:.0f}), load {load}",
        f"{found['answered']} answered, {found['rows']} with a row, {found['refused']} refused, "
        f"{found['aborted']} aborted inside a message, {found['touched']} bare connections",
        f"answer: p50 {answer['p50']:.1f} ms, p99 {answer['p99']:.1f} ms, most "
        f"{answer['most']:.0f} ms",
    ]
    for name, curves in found["curves"].items():
        for what, values in curves.items():
            said.append(
                f"{'ok ' if growth(values) <= GROWTH[what] else 'RED'}  {name:12} {what:8}"
                f"{statistics.median(values):8.1f}  least {min(values):.1f}  most {max(values):.1f}"
                f"  grew {growth(values):+.1f}  slope {slope(values, found['look']):+.1f} an hour"
            )
    return said


def draw(curves: Curves, look: float, picture: Path) -> None:
    """One panel for memory, one for descriptors, one for threads."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(3, 1, sharex=True, figsize=(9, 8), layout="constrained")
    for panel, what in zip(panels, UNITS, strict=True):
        for name, found in curves.items():
            minutes = [n * look / 60 for n in range(len(found[what]))]
            panel.plot(minutes, found[what], label=name)
        panel.set_ylabel(UNITS[what])
        panel.set_ylim(bottom=0)
        panel.grid(alpha=0.3)
    panels[0].legend(loc="lower right", fontsize="small")
    panels[-1].set_xlabel("minutes")
    figure.savefig(picture, dpi=120)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--peak", type=float, default=30, help="seconds at full speed before")
    parser.add_argument("--look", type=float, default=5, help="seconds between two looks")
    parser.add_argument("--picture", type=Path, help="PNG of the curves")
    parser.add_argument("--json", type=Path, help="write everything there, too")
    parser.add_argument("--scratch", type=Path, help="where the disk to be used is")
    parser.add_argument("--short", action="store_true")
    args = parser.parse_args()
    if args.short:
        args.minutes, args.peak, args.look = 0.25, 4.0, 0.5
    with tempfile.TemporaryDirectory(prefix="dictamen-soak-", dir=args.scratch) as folder:
        found = soak(args, Path(folder))
    print("\n".join(_lines(found)))
    wrong = red(found)
    for line in wrong:
        print(f"RED  {line}")
    if args.json:
        args.json.write_text(json.dumps(found, indent=1) + "\n")
    if args.picture:
        draw(found["curves"], args.look, args.picture)
    if args.short:  # too short for growth to mean anything
        return 1 if found["faults"] or found["rows"] != found["answered"] else 0
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
