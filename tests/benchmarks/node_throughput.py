"""How many chest studies a minute a node carries on this machine's CPU, and where the time goes.

  PYTHONPATH=tests python tests/benchmarks/node_throughput.py --table chest_paed.csv \
      --images chest_paed.tar [--studies 60] [--rounds 3] [--workers 2] [--deliver] [--json]

The real node on loopback with SQLite: films come in by C-STORE, each a study of its own that the
shipped chest model calls present and explains, so that overlay, strip, structured report, text
report and message are all written and filed. --side enlarges the films to a detector's size.
--deliver sends them to a folder too. The clock runs from the first C-STORE until the last run is
filed. CPU seconds are those of the node's own processes. Where other programs share the cores (see
the load), `by_cpu` says more: what all cores would carry if each second of theirs were the node's.
Exit 1 if the floor is missed by the clock.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import os
import statistics
import sys
import tarfile
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pydicom.dataset import Dataset
from system import films
from system.node import NodeUnderTest

from processors import Instance, Study
from processors.pixels import render
from processors.runtime import open_bundle
from processors.vae.processor import VaeBundleProcessor
from storage import RunState, Storage

DIFFERENT = 12  # films; each is sent many times under other names
FLOOR = 150  # studies a minute with two workers
TICK = os.sysconf("SC_CLK_TCK")


def main() -> int:
    args = _arguments()
    with tempfile.TemporaryDirectory(prefix="throughput-") as folder:
        found = measure(args, Path(folder))
    print(json.dumps(found, indent=1) if args.json else "\n".join(_table(found)))
    return 0 if found["studies_per_minute"]["median"] >= FLOOR else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--table", type=Path, required=True, help="CSV of the films")
    parser.add_argument("--images", type=Path, required=True, help="tar of the films")
    parser.add_argument("--studies", type=int, default=60, help="of each round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--side", type=int, default=0, help="pixels; default: the film's own")
    parser.add_argument("--deliver", action="store_true", help="send the results to a folder")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


# ---- films --------------------------------------------------------------------------------------
def _pictures(table: Path, images: Path) -> Iterator[np.ndarray]:
    """Films of children with pneumonia, uint8."""
    with table.open(newline="") as file:
        wanted = [r["path"] for r in csv.DictReader(file) if "pneumonia" in r["labels"]]
    with tarfile.open(images) as tar:
        for path in wanted:
            member = tar.extractfile(path)
            assert member is not None
            yield np.asarray(Image.open(io.BytesIO(member.read())).convert("L"))


def _film(picture: np.ndarray, side: int) -> Dataset:
    """A DX object of the film, 12 bits, as those of the demonstration."""
    if side:
        picture = np.asarray(
            Image.fromarray(picture).resize((side, side), Image.Resampling.BICUBIC)
        )
    film = films.ill("source")
    film.Rows, film.Columns = picture.shape
    film.PixelData = (picture.astype("<u2") * 16).tobytes()
    return film


def _explained(args: argparse.Namespace) -> list[Dataset]:
    """The first films of which the model makes and shows a strip."""
    processor, chosen = VaeBundleProcessor("chest", open_bundle("chest", "cpu"), "en"), []
    for picture in _pictures(args.table, args.images):
        film = _film(picture, args.side)
        uid = str(film.SOPInstanceUID)
        study = Study(
            "1.2", (Instance(uid, film),), lambda _, frame, film=film: render(film, frame)
        )
        if any(one.shown for one in processor.analyse(study).explanations):
            chosen.append(film)
        if len(chosen) == DIFFERENT:
            break
    return chosen


# ---- the node -----------------------------------------------------------------------------------
def measure(args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Studies a minute of each round, milliseconds of each stage, CPU seconds of each role."""
    sources, node = _explained(args), _node(args, folder)
    number = args.studies
    rates, cpu = [], Counter[str]()
    with node, node.storage() as storage:
        _round(node, storage, sources, [f"WARM{n}" for n in range(4)])
        for turn in range(args.rounds):
            before = _cpu(node)
            seconds = _round(node, storage, sources, [f"R{turn}N{n}" for n in range(number)])
            rates.append(60 * number / seconds)
            cpu.update({role: spent - before[role] for role, spent in _cpu(node).items()})
        stages, kinds = _stages(storage), _kinds(storage)
    total = number * args.rounds
    return {
        "studies_per_minute": {
            "median": round(statistics.median(rates), 1),
            "rounds": [round(rate, 1) for rate in rates],
            "by_cpu": round(60 * total * (os.cpu_count() or 1) / cpu.total(), 1),
        },
        "floor": FLOOR,
        "cpu_seconds_per_study": {role: round(spent / total, 4) for role, spent in cpu.items()},
        "stages_ms": stages,
        "reports_per_study": {kind: round(n / (total + 4), 2) for kind, n in kinds.items()},
        "workers": args.workers,
        "cores": os.cpu_count(),
        "load": [round(one, 2) for one in os.getloadavg()],
        "side": int(sources[0].Rows),
        "delivered": args.deliver,
    }


def _node(args: argparse.Namespace, folder: Path) -> NodeUnderTest:
    disk = {"disk": {"kind": "folder", "path": str(folder / "out")}}
    node = NodeUnderTest(
        folder,
        changes={
            "workers": {"processes": args.workers, "lease": "30s"},
            "destinations": disk if args.deliver else {},
        },
    )
    node.settings["processors"][0] |= {
        "settle": {"quiet": "500ms", "longest": "20s", "expect": {"instances": 1}},
        "send_to": ["disk"] if args.deliver else [],
    }
    node.write()
    return node


def _round(
    node: NodeUnderTest, storage: Storage, sources: list[Dataset], names: list[str]
) -> float:
    """Send one study of each name; seconds until the last is filed."""
    sent = [films.restamped(sources[n % len(sources)], name) for n, name in enumerate(names)]
    before, began = storage.runs.counts()[RunState.COMPLETED], time.monotonic()
    assert set(films.send(node.port, *sent)) == {0}
    while (done := storage.runs.counts())[RunState.COMPLETED] < before + len(names):
        assert not done[RunState.FAILED] + done[RunState.SET_ASIDE], node.tail()
        time.sleep(0.05)
    return time.monotonic() - began


def _cpu(node: NodeUnderTest) -> Counter[str]:
    """CPU seconds so far by role."""
    assert node.process is not None
    roles = {node.process.pid: "supervisor"} | {pid: r for pid, (r, _) in node.pids().items()}
    spent = Counter[str]()
    for pid, role in roles.items():
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        spent[role] += (int(fields[11]) + int(fields[12])) / TICK
    return spent


def _stages(storage: Storage) -> dict[str, dict[str, float]]:
    """Milliseconds of a run by stage: median, 95th percentile; `run` is from claim to filed."""
    found: dict[str, list[float]] = {}
    for run in storage.runs.list(limit=100_000):
        analysis = storage.runs.analysis(run.id)
        if analysis is None or run.started_at is None or run.ended_at is None:
            continue
        whole = (run.ended_at - run.started_at).total_seconds() * 1000
        told = analysis["timings_ms"]
        rest = whole - told["analyse"] - told["write"]
        for name, value in {**told, "load and file": rest, "run": whole}.items():
            found.setdefault(name, []).append(float(value))
    return {
        name: {
            "median": round(float(np.median(values)), 1),
            "p95": round(float(np.percentile(values, 95)), 1),
        }
        for name, values in found.items()
    }


def _kinds(storage: Storage) -> Counter[str]:
    runs = storage.runs.list(limit=100_000)
    return Counter(report.kind for run in runs for report in storage.runs.reports(run.id))


def _table(found: dict[str, Any]) -> Iterator[str]:
    rate = found["studies_per_minute"]
    yield f"{rate['median']} studies a minute (rounds {rate['rounds']}), floor {found['floor']}"
    yield f"{rate['by_cpu']} if all cores were the node's alone, by its CPU seconds"
    yield f"{found['workers']} workers, {found['cores']} cores, load {found['load']}"
    for role, spent in found["cpu_seconds_per_study"].items():
        yield f"  {role:14} {1000 * spent:8.1f} ms of CPU a study"
    for name, stage in found["stages_ms"].items():
        yield f"  {name:14} {stage['median']:8.1f} ms, p95 {stage['p95']:.1f}"
    yield f"  reports of a study: {found['reports_per_study']}"


if __name__ == "__main__":
    sys.exit(main())
