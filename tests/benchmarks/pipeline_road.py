"""What a radiologist waits for: from an image's last byte to the last result in the PACS.

  DICTAMEN_SHARED=FOLDER python tests/benchmarks/pipeline_road.py [--rounds 5] [--at-once 1 4 30]
      [--studies N] [--workers N] [--short] [--json FILE]

Radiographs of 2500 x 2048 go through the real node (SQL audit, durable queue, four reports, the
message to the RIS) and through the baseline that a morning's work gives (no disk, no queue, no
message), to the same Orthanc, in alternating rounds. At once 4: four senders, each with its next
study once the last one's results are in the PACS; 30: thirty at the same moment. `expect` ends the
node's wait, so no quiet time is taken off. Prints waits and ratios with their spread, the stages,
CPU, memory and the load of the machine; what misses its floor is RED, and the exit status is 1.
--short: a minute or two, and floors are only shown.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))
import raw_sender
import road_lab
from road_lab import Film, Pacs
from system.node import NodeUnderTest, wait_for

from storage import Run, RunState, Storage

RATIO, P95_SECONDS, PER_MINUTE, CPU_MS, RESIDENT_MB = 1.5, 3.0, 150, 300, 1200
DIFFERENT = 4  # films; each is sent many times under other names
PATIENCE = 120.0
TICK = os.sysconf("SC_CLK_TCK")
STAGES = (
    "receive", "settle", "queue", "decode", "gate", "inference", "explanation",
    "secondary_capture", "structured_report", "text_report", "hl7_oru", "load and file", "send",
)  # fmt: skip
_JUDGING = ("decode", "inference", "explanation")


@dataclass(frozen=True)
class Sent:
    """One study on its way, in seconds of the wall clock."""

    study: str
    last_byte: float
    answered: float
    in_pacs: float

    @property
    def wait(self) -> float:
        return self.in_pacs - self.last_byte


@dataclass
class Rounds:
    """What all rounds of one case gave for one peer."""

    sent: list[list[Sent]] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    cpu_ms: list[float] = field(default_factory=list)

    def waits(self) -> list[float]:
        return [one.wait for turn in self.sent for one in turn]

    def medians(self) -> list[float]:
        return [statistics.median(one.wait for one in turn) for turn in self.sent]


# ---- sending ------------------------------------------------------------------------------------
def send(port: int, called: str, pacs: Pacs, study: tuple[str, str, bytes], results: int) -> Sent:
    """Send one study over its own association and wait for its results."""
    uid, instance, raw = study
    sender = raw_sender.Sender(port, called, "TRIALPACS", PATIENCE, raw_sender.DX)
    sender.push(sender.packed(instance, raw))
    last_byte = time.time()
    status, answered = sender.answer(), time.time()
    assert status == 0, f"status {status:04X}"
    sender.release()
    return Sent(uid, last_byte, answered, pacs.until(uid, results, PATIENCE))


def round_of(
    port: int, called: str, pacs: Pacs, films: Sequence[Film], names: Sequence[str], at_once: int,
) -> tuple[list[Sent], float]:  # fmt: skip
    """Send a study of each name, so many at once; what came of it, and seconds in all."""
    results = [1 if called == "BASELINE" else film.results for film in films]
    ready = [
        (films[n % len(films)].study(name), results[n % len(films)]) for n, name in enumerate(names)
    ]
    done: list[Sent] = []
    faults: list[BaseException] = []
    gate, lock = threading.Barrier(at_once + 1), threading.Lock()

    def work() -> None:
        gate.wait()
        while True:
            with lock:
                if not ready:
                    return
                study, expected = ready.pop()
            try:
                done.append(send(port, called, pacs, study, expected))
            except (OSError, AssertionError, raw_sender.Refused) as error:
                faults.append(error)
                return

    threads = [threading.Thread(target=work, daemon=True) for _ in range(at_once)]
    for thread in threads:
        thread.start()
    gate.wait()
    began = time.monotonic()
    for thread in threads:
        thread.join()
    if faults:
        raise faults[0]
    return done, time.monotonic() - began


def chosen(
    shared: Path, folder: Path, under: NodeUnderTest, storage: Storage, number: int
) -> list[Film]:
    """The first films for which the node makes every kind of report; this warms the node too."""
    found: list[Film] = []
    for turn, film in enumerate(road_lab.wrapped(shared, folder)):
        study, instance, raw = film.study(f"CHOOSE{turn}-{time.time_ns()}")
        sender = raw_sender.Sender(under.port, "DICTAMEN", "TRIALPACS", 30, raw_sender.DX)
        assert sender.store(instance, raw) == 0
        sender.release()
        run = wait_for(partial(_ended, storage, study), 60, under.tail())
        kinds = [report.kind for report in storage.runs.reports(run.id)]
        if {"overlay", "strip", "structured_report", "text_report", "hl7_oru"} <= set(kinds):
            found.append(replace(film, results=sum(kind != "hl7_oru" for kind in kinds)))
        if len(found) == number:
            return found
    raise SystemExit("no films that give every kind of report")


def _ended(storage: Storage, study: str) -> Run | None:
    over = (RunState.COMPLETED, RunState.UNSUITABLE, RunState.FAILED)
    return next((run for run in storage.runs.list(study_uid=study) if run.state in over), None)


# ---- what a node costs --------------------------------------------------------------------------
def tree(pid: int) -> list[int]:
    """A process and all below it."""
    found = [pid]
    for one in found:
        for thread in Path(f"/proc/{one}/task").glob("*/children"):
            found += [int(word) for word in thread.read_text().split()]
    return found


def cpu_seconds(pid: int) -> float:
    total = 0
    for one in tree(pid):
        words = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
        total += sum(int(word) for word in words[11:15])
    return total / TICK


def memory_mb(pid: int) -> tuple[float, float]:
    """Of the whole tree: resident, and with shared pages counted once (PSS)."""
    resident = once = 0
    for one in tree(pid):
        try:
            text = Path(f"/proc/{one}/smaps_rollup").read_text()
        except OSError:
            continue
        lines = {line.split()[0]: line.split()[1] for line in text.splitlines()[1:]}
        resident += int(lines["Rss:"])
        once += int(lines["Pss:"])
    return resident / 1024, once / 1024


class Scales:
    """The most memory that a node had while this was open. `most`: as `memory_mb` tells it."""

    def __init__(self, pid: int) -> None:
        self.pid, self.most, self._over = pid, (0.0, 0.0), threading.Event()
        self._thread = threading.Thread(target=self._weigh, daemon=True)

    def __enter__(self) -> Scales:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _weigh(self) -> None:
        while not self._over.wait(0.5):
            self.most = max(self.most, memory_mb(self.pid))


def stages(storage: Storage, sent: Sequence[Sent]) -> dict[str, dict[str, float]]:
    """Milliseconds of each stage, by what the node itself recorded: median and 95th percentile."""
    found: dict[str, list[float]] = defaultdict(list)
    for one in sent:
        run = storage.runs.list(study_uid=one.study)[0]
        analysis = storage.runs.analysis(run.id)
        if analysis is None or run.started_at is None or run.ended_at is None:
            raise AssertionError(f"{run} has no result")
        told = {name: value / 1e3 for name, value in analysis["timings_ms"].items()}
        whole, started = (run.ended_at - run.started_at).total_seconds(), run.started_at.timestamp()
        here = {name: told[name] for name in STAGES if name in told}
        here |= {
            "receive": one.answered - one.last_byte,
            "settle": run.created_at.timestamp() - one.answered,
            "queue": started - run.created_at.timestamp(),
            "gate": told["analyse"] - sum(told[name] for name in _JUDGING),
            "load and file": whole - told["analyse"] - told["write"],
            "send": one.in_pacs - run.ended_at.timestamp(),
        }
        for name, value in here.items():
            found[name].append(value * 1e3)
    return {
        name: {"p50": statistics.median(found[name]), "p95": percentile(found[name], 95)}
        for name in STAGES
        if found[name]
    }


def percentile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share / 100))]


# ---- the whole ----------------------------------------------------------------------------------
def measure(args: argparse.Namespace, shared: Path, folder: Path) -> dict[str, Any]:
    """Alternating rounds of every case; see `_table` for what is found."""
    with ExitStack() as stack:
        pacs = stack.enter_context(Pacs(shared, folder / "pacs"))
        (folder / "ris").mkdir()
        ris_port = stack.enter_context(road_lab.ris(shared, folder / "ris"))
        naive = stack.enter_context(road_lab.baseline(shared, folder, pacs))
        under = stack.enter_context(road_lab.node(folder / "node", pacs, ris_port, args.workers))
        storage = stack.enter_context(under.storage())
        films = chosen(shared, folder, under, storage, DIFFERENT if not args.short else 1)
        assert under.process is not None
        pid, cases = under.process.pid, {}
        for at_once in args.at_once:
            number = args.studies or (at_once if at_once > 4 else 4 * at_once if args.short else 12)
            ours, theirs = Rounds(), Rounds()
            with Scales(pid) as scales:
                for turn in range(args.rounds):
                    names = [f"{at_once}-{turn}-{n}-{time.time_ns()}" for n in range(number)]
                    for kept, port, called in (
                        (theirs, naive, "BASELINE"), (ours, under.port, "DICTAMEN"),
                    ):  # fmt: skip
                        before = cpu_seconds(pid)
                        of_peer = [f"{called[0]}{name}" for name in names]
                        sent, seconds = round_of(port, called, pacs, films, of_peer, at_once)
                        under.until_done(0, PATIENCE)
                        kept.sent.append(sent)
                        kept.seconds.append(seconds)
                        kept.cpu_ms.append((cpu_seconds(pid) - before) * 1e3 / number)
            all_sent = [one for turn in ours.sent for one in turn]
            cases[at_once] = case(ours, theirs, scales.most, stages(storage, all_sent))
        orders = storage.outbox.counts()
    cases_told = {str(at_once): told for at_once, told in cases.items()}
    delivered = {f"{name} {state.value}": n for (name, state), n in sorted(orders.items())}
    return {"cases": cases_told, "deliveries": delivered, "workers": args.workers,
            "cores": os.cpu_count()}  # fmt: skip


def case(
    ours: Rounds, theirs: Rounds, most: tuple[float, float], of_stages: Mapping[str, Any]
) -> dict[str, Any]:
    ratios = [a / b for a, b in zip(ours.medians(), theirs.medians(), strict=True)]
    rates = [60 * len(turn) / s for turn, s in zip(ours.sent, ours.seconds, strict=True)]
    return {
        "p50_s": statistics.median(ours.waits()),
        "p95_s": percentile(ours.waits(), 95),
        "baseline_p50_s": statistics.median(theirs.waits()),
        "baseline_p95_s": percentile(theirs.waits(), 95),
        "ratio": [min(ratios), statistics.median(ratios), max(ratios)],
        "per_minute": [min(rates), statistics.median(rates), max(rates)],
        "cpu_ms": statistics.median(ours.cpu_ms),
        "resident_mb": most[0],
        "resident_once_mb": most[1],
        "stages_ms": dict(of_stages),
        "load": list(os.getloadavg()),
    }


def floors(found: Mapping[str, Any]) -> Iterator[tuple[str, float, float, bool]]:
    """What is asked for: words, what was measured, the floor, whether it is met."""
    for at_once, told in found["cases"].items():
        ratio, p95 = told["ratio"][1], told["p95_s"]
        yield f"{at_once} at once: p50 x the baseline's", ratio, RATIO, ratio <= RATIO
        yield f"{at_once} at once: p95, s", p95, P95_SECONDS, p95 < P95_SECONDS
        cpu = told["cpu_ms"]
        yield f"{at_once} at once: CPU a study, ms", cpu, CPU_MS, cpu <= CPU_MS
        if at_once == "4":
            rate = told["per_minute"][1]
            yield "4 at once: studies a minute", rate, PER_MINUTE, rate >= PER_MINUTE
        if at_once == "30":
            held = told["resident_mb"]
            yield "30 at once: RSS of all processes, MB", held, RESIDENT_MB, held <= RESIDENT_MB


def _table(found: Mapping[str, Any]) -> Iterator[str]:
    yield f"{found['workers']} workers, {found['cores']} cores; deliveries {found['deliveries']}"
    for at_once, told in found["cases"].items():
        low, middle, high = told["ratio"]
        rate = told["per_minute"]
        load = " ".join(f"{one:.1f}" for one in told["load"])
        yield f"\n{at_once} at once   load {load}"
        yield (
            f"  wait   p50 {told['p50_s']:.3f} s  p95 {told['p95_s']:.3f} s   baseline "
            f"{told['baseline_p50_s']:.3f} s, {told['baseline_p95_s']:.3f} s   "
            f"ratio {low:.2f} - {middle:.2f} - {high:.2f}"
        )
        yield (
            f"  {rate[1]:.0f} studies a minute ({rate[0]:.0f} - {rate[2]:.0f}), CPU "
            f"{told['cpu_ms']:.0f} ms a study, RSS {told['resident_mb']:.0f} MB "
            f"({told['resident_once_mb']:.0f} MB with shared pages counted once)"
        )
        for name, stage in told["stages_ms"].items():
            yield f"    {name:18}{stage['p50']:9.1f} ms   p95 {stage['p95']:9.1f}"
    yield ""
    for words, value, floor, met in floors(found):
        yield f"{'ok ' if met else 'RED'}  {words}: {value:.2f} (floor {floor:g})"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--at-once", type=int, nargs="+", default=[1, 4, 30])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--studies", type=int, default=0, help="of each round")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 2)
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--json", type=Path, help="write everything there, too")
    args = parser.parse_args()
    if args.short:
        args.rounds, args.at_once, args.studies = 1, [1, 2], args.studies or 3
    shared = os.environ.get("DICTAMEN_SHARED")
    if not shared:
        parser.error("DICTAMEN_SHARED names no folder with the shared tools and images")
    with tempfile.TemporaryDirectory(prefix="dictamen-road-") as folder:
        found = measure(args, Path(shared), Path(folder))
    print("\n".join(_table(found)))
    if args.json:
        args.json.write_text(json.dumps(found, indent=1) + "\n")
    return 0 if args.short or all(met for *_, met in floors(found)) else 1


if __name__ == "__main__":
    sys.exit(main())
