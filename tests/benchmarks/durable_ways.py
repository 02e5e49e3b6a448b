"""Three ways to make an arriving instance durable, in alternating rounds on one disk.

  python tests/benchmarks/durable_ways.py [--rounds 5] [--seconds 1] [--scratch DIR] [--json FILE]

log: our lane of segments, one flush a group; files and rows are made behind, by a second thread
that is part of the measurement, and put on disk by syncfs. files: final name by link(), file fsync,
folder fsync, rows in group commit (SQLite, FULL), all before the answer. own file + record: what a
large instance does in service. limit: append and fdatasync, once an instance (1 sender) or a group.
Printed: instances a second, and the ratio to `files` of the same round, min - median - max.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import queue
import sqlite3
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from storage import Arrivals, Lane, LogFull, Place, Spool

SIZES = {"5 KB": 5_000, "512 KB": 524_288, "2 MB": 2 << 20, "10 MB": 10 << 20}
SENDERS = (1, 8)
SEGMENT = 64 << 20
_number = itertools.count()


class Rows:
    """A table of rows, committed for all who wait (FULL: one flush a commit)."""

    def __init__(self, path: Path) -> None:
        self._path, self._jobs = path, queue.SimpleQueue[threading.Event | None]()
        database = sqlite3.connect(path)
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("CREATE TABLE row (id INTEGER PRIMARY KEY, uid TEXT UNIQUE, path TEXT)")
        database.close()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def add(self) -> None:
        """Durable when it returns."""
        done = threading.Event()
        self._jobs.put(done)
        done.wait()

    def close(self) -> None:
        self._jobs.put(None)
        self._thread.join()

    def _run(self) -> None:
        database = sqlite3.connect(self._path, isolation_level=None)
        database.execute("PRAGMA synchronous=FULL")
        while True:
            batch = [self._jobs.get()]
            while not self._jobs.empty():
                batch.append(self._jobs.get())
            waiting = [one for one in batch if one is not None]
            insert(database, len(waiting))
            for one in waiting:
                one.set()
            if None in batch:
                database.close()
                return


def insert(database: sqlite3.Connection, count: int) -> None:
    database.execute("BEGIN IMMEDIATE")
    uids = [(f"1.2.3.{next(_number)}", "objects/ab/cd") for _ in range(count)]
    database.executemany("INSERT INTO row (uid, path) VALUES (?, ?)", uids)
    database.execute("COMMIT")


class Files:
    """link, fsync, fsync, then the row."""

    def __init__(self, folder: Path) -> None:
        self._spool, self._rows = Spool(folder / "spool"), Rows(folder / "rows.db")

    def keep(self, data: bytes) -> None:
        keep_file(self._spool, data)
        self._rows.add()

    def close(self) -> None:
        self._rows.close()


def keep_file(spool: Spool, data: bytes) -> None:
    incoming = spool.incoming()
    for at in range(0, len(data), 1 << 17):
        incoming.write(data[at : at + (1 << 17)])
    name = f"{next(_number)}"
    spool.keep(incoming, "objects", f"{int(name) % 256:02x}/{name}.dcm")


class Log:
    """The lane, with a clerk behind it. own: a file of its own and a record without payload."""

    def __init__(self, folder: Path, own: bool = False) -> None:
        self._own, self._spool = own, Spool(folder / "spool")
        self._arrivals = Arrivals(self._spool.arrivals)
        self._lane = Lane(self._spool.arrivals, 0, SEGMENT)
        self._lane.largest = SEGMENT // 4
        self._lane.widen()
        self._places = queue.SimpleQueue[Place | None]()
        self._rows = sqlite3.connect(
            folder / "rows.db", isolation_level=None, check_same_thread=False
        )
        self._rows.execute("PRAGMA journal_mode=WAL")
        self._rows.execute("CREATE TABLE row (id INTEGER PRIMARY KEY, uid TEXT UNIQUE, path TEXT)")
        self._thread = threading.Thread(target=self._file)
        self._thread.start()

    def keep(self, data: bytes) -> None:
        self._places.put(self._record(data))

    def close(self) -> None:
        self._places.put(None)
        self._thread.join()
        self._lane.close()
        self._arrivals.close()
        self._rows.close()

    def _record(self, data: bytes) -> Place:
        if self._own:
            keep_file(self._spool, data)
            return self._lane.append(b"words" * 100)
        while True:
            with suppress(LogFull):
                draft = self._lane.draft()
                try:
                    for at in range(0, len(data), 1 << 17):
                        draft.write(data[at : at + (1 << 17)])
                    return draft.seal(b"words" * 100)
                finally:
                    draft.discard()
            time.sleep(0.001)  # in service: a file of its own

    def _file(self) -> None:
        while True:
            batch = [self._places.get()]
            time.sleep(0.02)
            while not self._places.empty():
                batch.append(self._places.get())
            found = [self._arrivals.read(place) for place in batch if place is not None]
            records = [record for record in found if record is not None]
            for record in records:
                if record.extents:
                    name = next(_number)
                    path = f"objects/{name % 256:02x}/{name}.dcm"
                    self._spool.make(path, lambda file, one=record: self._arrivals.copy(one, file))
            insert(self._rows, len(records))
            self._arrivals.filed(records)
            if self._arrivals.unsafe_bytes > SEGMENT // 2 or None in batch:
                self._arrivals.safe()
            if None in batch:
                return


class Limit:
    """The bare loop; senders are a group."""

    def __init__(self, folder: Path, group: int) -> None:
        self._file = os.open(folder / "limit", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self._group = group

    def keep(self, data: bytes) -> None:
        for _ in range(self._group):
            os.write(self._file, data)
        os.fdatasync(self._file)

    def close(self) -> None:
        os.close(self._file)


def rate(keep: Callable[[bytes], None], size: int, senders: int, seconds: float) -> float:
    """Instances a second; each sender waits for its own."""
    data, counts = os.urandom(size), [0] * senders
    began = time.perf_counter()

    def send(number: int) -> None:
        while time.perf_counter() - began < seconds:
            keep(data)
            counts[number] += 1

    threads = [threading.Thread(target=send, args=(n,)) for n in range(senders)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / (time.perf_counter() - began)


def measure(size: int, senders: int, args: argparse.Namespace) -> dict[str, list[float]]:
    """Way -> instances a second of each round."""
    rates: dict[str, list[float]] = {}
    for _ in range(args.rounds):
        for name in ("files", "log", "own file + record", "limit"):
            with tempfile.TemporaryDirectory(prefix="dictamen-ways-", dir=args.scratch) as folder:
                way: Files | Log | Limit
                if name == "files":
                    way = Files(Path(folder))
                elif name == "limit":
                    way = Limit(Path(folder), senders)
                else:
                    way = Log(Path(folder), own=name != "log")
                os.sync()
                at_once = 1 if name == "limit" else senders
                found = rate(way.keep, size, at_once, args.seconds)
                way.close()
                rates.setdefault(name, []).append(found * (senders if name == "limit" else 1))
    return rates


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--scratch", type=Path)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    told = []
    for label, size in SIZES.items():
        for senders in SENDERS:
            rates = measure(size, senders, args)
            print(f"\n{label}, {senders} sender(s)   load average {os.getloadavg()[0]:.1f}")
            for name, found in rates.items():
                ratios = [a / b for a, b in zip(found, rates["files"], strict=True)]
                spread = f"{min(ratios):.2f} - {statistics.median(ratios):.2f} - {max(ratios):.2f}"
                print(f"  {name:18}{statistics.median(found):9.1f}/s   {spread}", flush=True)
            told.append({"size": size, "senders": senders, "rates": rates})
    if args.json:
        args.json.write_text(json.dumps(told, indent=1) + "\n")


if __name__ == "__main__":
    main()
