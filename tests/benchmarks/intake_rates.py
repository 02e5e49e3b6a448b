"""Our intake beside pynetdicom's, DCMTK's and Orthanc's, and beside what the disk can do.

  python tests/benchmarks/intake_rates.py [--case ct:1 small:8 ...] [--rounds 5] [--seconds 1.5]
      [--scratch FOLDER] [--memory FOLDER] [--json FILE] [--isolate]

One table row a case (workload:associations) and peer, from alternating rounds of the same sender.
Ours is durable before the answer; Orthanc flushes its file, the others flush nothing. "limit" is a
bare loop that appends the same bytes and calls fdatasync once an instance, or once a group of as
many as there are associations. Ratios are ours divided by the other of the same round, min - median
- max; CPU is of all processes of a peer, the clerk's work behind the answer included. The load
average stands with each row: with other work on the machine only the ratios say anything.
storescp is compared in memory (--memory, a tmpfs), in rounds of its own. `intake_floors` makes the
table with what the figures should be.
--isolate: in a network of its own (needs root). With DICTAMEN_SHARED set, the shared tool
`bench_store.py` is run on the same cases afterwards.
"""

from __future__ import annotations

import argparse
import ctypes
import fcntl
import json
import os
import shutil
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))
import intake_floors
import raw_sender

ROOT = Path(__file__).parents[2]
SIZES = {"small": 4_800, "ct": 524_288, "dx": 10_485_760}
CASES = ("ct:1", "ct:8", "ct:16", "small:1", "small:8", "small:16", "dx:1", "ct:1:storescu")
PEERS = ("limit", "orthanc", "pynetdicom", "storescp")
MOST = {"pynetdicom": 8}  # associations that it takes by default: ten
ENVIRONMENT = {**os.environ, "TCP_NODELAY": "1", "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


@dataclass
class Peer:
    """A server under test and what its rounds gave. pid 0: the bare loop."""

    name: str
    port: int
    called: str
    process: subprocess.Popen[bytes] | None = None
    rates: list[float] = field(default_factory=list)
    cpu_ms: list[float] = field(default_factory=list)
    slowest_ms: list[float] = field(default_factory=list)
    setup_ms: list[float] = field(default_factory=list)
    resident_mb: float = 0.0
    faults: list[str] = field(default_factory=list)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start(name: str, folder: Path) -> Peer:
    """Start a peer with its files in `folder`; returns once it takes associations."""
    port, out = free_port(), folder / name
    out.mkdir()
    titles = {"node": "DICTAMEN", "orthanc": "ORTHANC", "pynetdicom": "PYNET", "storescp": "SCP"}
    peer = Peer(name, port, titles.get(name, ""))
    if name == "limit":
        return peer
    python = sys.executable
    commands = {
        "node": [python, str(ROOT / "tests/benchmarks/intake_node.py"), str(port), str(out)],
        "pynetdicom": [python, "-m", "pynetdicom", "storescp", str(port), "-aet", "PYNET", "-ba",
                       "127.0.0.1", "-q", "-od", str(out)],
        "storescp": ["storescp", "--fork", "-aet", "SCP", "+B", "-od", str(out), str(port)],
        "orthanc": [shutil.which("Orthanc") or "/usr/sbin/Orthanc", str(out / "orthanc.json")],
    }  # fmt: skip
    if name == "orthanc":
        _orthanc(out, port)
    with (folder / f"{name}.log").open("wb") as log:
        peer.process = subprocess.Popen(
            commands[name], stdout=log, stderr=log, cwd=out, env=ENVIRONMENT
        )
    until = time.monotonic() + 60
    while True:
        try:
            raw_sender.Sender(port, peer.called).release()
            return peer
        except (OSError, raw_sender.Refused) as error:
            if time.monotonic() > until or peer.process.poll() is not None:
                raise SystemExit(f"{name} does not answer: {error}") from error
            time.sleep(0.1)


def _orthanc(out: Path, port: int) -> None:
    settings = {
        "Name": "bench", "StorageDirectory": str(out), "IndexDirectory": str(out),
        "DicomAet": "ORTHANC", "DicomPort": port, "HttpServerEnabled": False,
        "DicomAlwaysAllowStore": True, "DicomServerEnabled": True, "RemoteAccessAllowed": False,
        "Plugins": [],
    }  # fmt: skip
    (out / "orthanc.json").write_text(json.dumps(settings))


def tree(pid: int) -> list[int]:
    """A process and all below it."""
    found = [pid]
    for one in found:
        for thread in Path(f"/proc/{one}/task").glob("*/children"):
            try:
                found += [int(word) for word in thread.read_text().split()]
            except OSError:
                continue
    return found


def cpu_seconds(peer: Peer) -> float:
    """Of the whole tree, ended children included."""
    total = 0
    for pid in tree(peer.process.pid) if peer.process else []:
        try:
            words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        total += sum(int(word) for word in words[11:15])
    return total / os.sysconf("SC_CLK_TCK")


def resident_mb(peer: Peer) -> float:
    """Of the largest process."""
    most = 0
    for pid in tree(peer.process.pid) if peer.process else []:
        try:
            status = Path(f"/proc/{pid}/status").read_text()
        except OSError:
            continue
        words = status.partition("VmRSS:")[2].split()  # none: it has just ended
        most = max(most, int(words[0]) if words else 0)
    return most / 1024


def limit_round(folder: Path, size: int, group: int, seconds: float) -> tuple[int, float]:
    """Append and fdatasync; instances and seconds."""
    data, count = os.urandom(4096) * (size // 4096 + 1), 0
    file = os.open(folder / "limit.bin", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_TRUNC)
    try:
        began = time.perf_counter()
        while time.perf_counter() - began < seconds:
            for _ in range(group):
                os.write(file, data[:size])
            os.fdatasync(file)
            count += group
        return count, time.perf_counter() - began
    finally:
        os.close(file)


def raw_round(peer: Peer, pixels: int, associations: int, seconds: float) -> tuple[int, float]:
    """All associations send as fast as they are answered; instances and seconds."""
    class_, done, ends = raw_sender.DX if pixels > 1 << 20 else raw_sender.CT, [0], [0.0]
    lock, gate = threading.Lock(), threading.Barrier(associations + 1)
    mark = raw_sender.new_uid()
    made = raw_sender.data_set(mark, pixels, sop_class=class_)

    def send() -> None:
        began = time.perf_counter()
        sender = raw_sender.Sender(peer.port, peer.called, "BENCH", 60, class_)
        taken = time.perf_counter() - began
        ready = bytearray(sender.packed(mark, made))
        spots = [at for at in range(min(len(ready), 2000)) if ready[at : at + 44] == mark.encode()]
        gate.wait()
        count, slowest, until = 0, 0.0, time.perf_counter() + seconds
        while (now := time.perf_counter()) < until:
            uid = raw_sender.new_uid().encode()
            for at in spots:
                ready[at : at + 44] = uid
            if status := sender.send(ready):
                raise ConnectionError(f"status {status:04X}")
            count, slowest = count + 1, max(slowest, time.perf_counter() - now)
        with lock:
            done[0], ends[0] = done[0] + count, max(ends[0], time.perf_counter())
            peer.slowest_ms.append(slowest * 1000)
            peer.setup_ms.append(taken * 1000)
        sender.release()

    def guarded() -> None:
        try:
            send()
        except (OSError, raw_sender.Refused, threading.BrokenBarrierError) as error:
            peer.faults.append(str(error))
            gate.abort()

    threads = [threading.Thread(target=guarded) for _ in range(associations)]
    for thread in threads:
        thread.start()
    try:
        gate.wait()
    except threading.BrokenBarrierError:
        peer.faults.append("an association did not open")
    began = time.perf_counter()
    for thread in threads:
        thread.join()
    return done[0], max(ends[0] - began, 1e-9)


def storescu_round(peer: Peer, folder: Path, associations: int, count: int) -> tuple[int, float]:
    """DCMTK's sender, its start included."""
    file, uid = folder / "send.dcm", raw_sender.new_uid()
    meta = struct.pack("<HH2sH", 2, 0x10, b"UI", 20) + raw_sender.EXPLICIT.encode() + b"\0"
    for number, text in ((3, uid), (2, raw_sender.CT)):
        value = text.encode() + b"\0" * (len(text) % 2)
        meta = struct.pack("<HH2sH", 2, number, b"UI", len(value)) + value + meta
    meta = struct.pack("<HH2sHL", 2, 0, b"UL", 4, len(meta)) + meta
    file.write_bytes(bytes(128) + b"DICM" + meta + raw_sender.data_set(uid, SIZES["ct"]))
    words = ["storescu", "-aec", peer.called, "-aet", "BENCH", "--invent-instance", "--repeat",
             str(count), "-xe", "127.0.0.1", str(peer.port), str(file)]  # fmt: skip
    began = time.perf_counter()
    sent = [
        subprocess.Popen(words, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        for _ in range(associations)
    ]
    peer.faults += [said.decode()[:100] for one in sent if (said := one.communicate()[1])]
    return count * associations, time.perf_counter() - began


def measure(case: str, peers: list[Peer], folder: Path, rounds: int, seconds: float) -> None:
    """Alternating rounds; the first one warms up and is not counted."""
    workload, associations, *how = case.split(":")
    size, number = SIZES[workload], int(associations)
    for turn in range(-1, rounds):
        for peer in peers:
            os.sync()
            before, lasts = cpu_seconds(peer), seconds if turn >= 0 else 0.3
            if peer.name == "limit":
                count, took = limit_round(folder, size, number, lasts)
            elif how:
                count, took = storescu_round(peer, folder, number, 20 if turn >= 0 else 2)
            else:
                count, took = raw_round(peer, size, number, lasts)
            time.sleep(0.3)  # what works behind the answer ends
            if turn < 0:
                peer.slowest_ms, peer.setup_ms = [], []
                continue
            peer.rates.append(count / took)
            if peer.process:
                peer.cpu_ms.append((cpu_seconds(peer) - before) * 1000 / max(count, 1))
                peer.resident_mb = max(peer.resident_mb, resident_mb(peer))


def told(case: str, peers: list[Peer]) -> dict[str, object]:
    """One case as a table on the screen, and as it goes into the file."""
    ours = peers[0]
    print(f"\n{case}   load average {os.getloadavg()[0]:.1f}")
    print(
        f"{'':11}{'inst/s':>9}{'CPU ms':>8}{'RSS MB':>8}{'set-up':>8}{'slowest':>9}   ours / this"
    )
    rows = {}
    for peer in peers:
        ratios = [one / other for one, other in zip(ours.rates, peer.rates, strict=True) if other]
        spread = (min(ratios), statistics.median(ratios), max(ratios)) if ratios else (0, 0, 0)
        cpu = statistics.median(peer.cpu_ms) if peer.cpu_ms else 0.0
        row = {
            "rate": statistics.median(peer.rates), "cpu_ms": cpu, "resident_mb": peer.resident_mb,
            "setup_ms": statistics.median(peer.setup_ms) if peer.setup_ms else 0.0,
            "slowest_ms": max(peer.slowest_ms, default=0.0), "ratio": spread, "rates": peer.rates,
            "cpu_share": statistics.median(ours.cpu_ms) / cpu if cpu else 0.0,
            "faults": sorted(set(peer.faults)),
        }  # fmt: skip
        rows[peer.name] = row
        print(
            f"{peer.name:11}{row['rate']:9.1f}{cpu:8.2f}{peer.resident_mb:8.0f}"
            f"{row['setup_ms']:8.1f}{row['slowest_ms']:9.0f}   "
            f"{spread[0]:.2f} - {spread[1]:.2f} - {spread[2]:.2f}   CPU x {row['cpu_share']:.2f}"
            + (f"   {row['faults']}" if row["faults"] else ""),
            flush=True,
        )
    return {"case": case, "load": os.getloadavg()[0], "peers": rows}


def isolate() -> None:
    """A network of our own, so that nobody else's packets are in it."""
    if ctypes.CDLL(None, use_errno=True).unshare(0x40000000):  # CLONE_NEWNET
        sys.exit(f"--isolate: {os.strerror(ctypes.get_errno())}")
    with socket.socket() as one:  # bring lo up
        fcntl.ioctl(one, 0x8914, struct.pack("16sH14x", b"lo", 0x1 | 0x40))


def both(case: str, args: argparse.Namespace) -> dict[str, object]:
    """One case: on the disk with those who can be compared there, in memory with storescp."""
    on_disk = [name for name in args.peer if name != "storescp"]
    found = run_case(case, ["node", *on_disk], args.scratch, args) if on_disk else {}
    if "storescp" not in args.peer:
        return found
    print("in memory:", end="")
    memory = run_case(case, ["node", "storescp"], args.memory, args)
    if not found:
        return memory
    found["peers"]["storescp"] = memory["peers"]["storescp"]  # type: ignore[index]
    return found


def run_case(
    case: str, names: list[str], scratch: Path | None, args: argparse.Namespace
) -> dict[str, object]:
    with tempfile.TemporaryDirectory(prefix="dictamen-bench-", dir=scratch) as folder:
        peers: list[Peer] = []
        try:
            associations = int(case.split(":")[1])
            for name in names:
                if associations <= MOST.get(name, associations):
                    peers.append(start(name, Path(folder)))
            measure(case, peers, Path(folder), args.rounds, args.seconds)
            return told(case, peers)
        finally:
            for peer in peers:
                if peer.process:
                    peer.process.terminate()
            for peer in peers:
                if peer.process:
                    peer.process.wait(30)


def shared_tool(args: argparse.Namespace) -> int:
    """The same cases through the shared tool."""
    tool = Path(os.environ["DICTAMEN_SHARED"]) / "tools/bench_store.py"
    node = (
        f"node=21112:DICTAMEN:{sys.executable} {ROOT}/tests/benchmarks/intake_node.py 21112 {{dir}}"
    )
    worst = 0
    for case in args.case:
        workload, associations, *how = case.split(":")
        words = [sys.executable, str(tool), "--isolate", "--start", node, "--workload", workload]
        words += ["--assoc", associations, "--rounds", str(args.rounds)]
        words += ["--seconds", str(args.seconds), "--sender", how[0] if how else "raw"]
        words += ["--scratch", str(args.scratch)] if args.scratch else []
        for name in args.peer:
            if name != "limit" and int(associations) <= MOST.get(name, 99):
                words += ["--peer", name]
        worst = max(worst, subprocess.run(words, env=ENVIRONMENT, check=False).returncode)
    return worst


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--case", nargs="+", default=list(CASES))
    parser.add_argument("--peer", nargs="+", default=list(PEERS), choices=PEERS)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.5)
    parser.add_argument("--scratch", type=Path, help="on the disk to measure")
    parser.add_argument("--memory", type=Path, default=Path("/dev/shm"), help="on a tmpfs")
    parser.add_argument("--json", type=Path, default=Path("bench-intake.json"))
    parser.add_argument("--isolate", action="store_true")
    args = parser.parse_args()
    if args.isolate:
        isolate()
    there = {"storescp": "storescp", "orthanc": "/usr/sbin/Orthanc"}
    missing = [name for name in args.peer if name in there and not shutil.which(there[name])]
    if missing:
        print(f"not installed, left out: {', '.join(missing)}", file=sys.stderr)
    args.peer = [name for name in args.peer if name not in missing]
    cases = [both(case, args) for case in args.case]
    args.json.write_text(json.dumps(cases, indent=1) + "\n")
    print(f"\nwritten: {args.json}\n\n{intake_floors.table(cases)}")
    print(f"\n{intake_floors.missed(cases)} floors missed")
    failed = any(row["faults"] for one in cases for row in one["peers"].values())  # type: ignore[attr-defined]
    if "DICTAMEN_SHARED" in os.environ:
        failed = bool(shared_tool(args)) or failed
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
