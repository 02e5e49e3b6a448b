"""What `make bench-intake` measured, beside what it should be: the page docs/evidence/intake.md.

  python tests/benchmarks/intake_floors.py [FILE] [--write PAGE]

FILE: what `intake_rates.py --json` wrote. Ratios are ours divided by the other's of the same round,
median with least and greatest; RED is a floor that is missed. CPU is ours divided by pynetdicom's,
all processes of each together. DCMTK's storescp is compared in memory (tmpfs), since it flushes
nothing. --write: make the page.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

FOUND = Path(__file__).parents[2] / "docs/evidence/intake.json"
PAGE = """# How fast the door is

Written by `make bench-intake` from `intake.json`. Ours is durable before the answer; Orthanc
flushes its file, pynetdicom and DCMTK flush nothing. Ratios are ours divided by the other's of the
same round: median (least-most) of alternating rounds, and the floor that was set before. "limit" is
a bare loop that appends the same bytes and calls fdatasync once an instance, or once a group of as
many as there are associations. The load is that of the machine: where it is above its cores, other
work was measured too.

{table}

{missed} floors missed.
"""
PEERS = ("limit", "orthanc", "pynetdicom", "storescp")
NAMES = {
    "ct:1": "CT 512 KB, 1 association", "ct:1:storescu": "CT, 1 association, storescu sends",
    "ct:8": "CT, 8 associations", "ct:16": "CT, 16 associations",
    "small:1": "5 KB, 1 association", "small:8": "5 KB, 8 associations",
    "small:16": "5 KB, 16 associations", "dx:1": "DX 10 MB, 1 association",
}  # fmt: skip
# least ratio to each peer; cpu: greatest share of pynetdicom's
FLOORS: dict[str, dict[str, float]] = {
    "ct:1": {"limit": 0.7, "orthanc": 1.8, "pynetdicom": 2.5, "storescp": 1.0, "cpu": 1 / 3},
    "ct:1:storescu": {"orthanc": 1.2, "pynetdicom": 1.5, "storescp": 0.9, "cpu": 1 / 2.5},
    "ct:8": {"limit": 0.6, "orthanc": 2.5, "pynetdicom": 4.0, "storescp": 0.8, "cpu": 1 / 6},
    "ct:16": {"limit": 0.6, "orthanc": 2.5, "storescp": 0.8},
    "small:1": {"limit": 0.6, "orthanc": 0.8, "pynetdicom": 0.8, "storescp": 0.5, "cpu": 1 / 3},
    "small:8": {"limit": 0.5, "orthanc": 2.0, "pynetdicom": 4.0, "storescp": 0.5, "cpu": 1 / 6},
    "small:16": {"limit": 0.5, "orthanc": 2.0, "storescp": 0.5},
    "dx:1": {"limit": 0.7, "orthanc": 2.2, "pynetdicom": 2.4, "storescp": 1.0, "cpu": 1 / 3.5},
}


def table(found: list[dict[str, Any]]) -> str:
    """Markdown: a row a case."""
    heads = ("", "× limit", "× Orthanc", "× pynetdicom", "× storescp (tmpfs)", "CPU / pynetdicom",
             "instances/s", "set-up ms", "RSS MB", "load")  # fmt: skip
    lines = [f"| {' | '.join(heads)} |", f"|{' --- |' * len(heads)}"]
    for one in found:
        case, peers = str(one["case"]), one["peers"]
        floors, ours = FLOORS[case], one["peers"]["node"]
        cells = [NAMES[case]]
        for name in PEERS:
            cells.append(_ratio(peers.get(name), floors.get(name)))
        share = peers["pynetdicom"]["cpu_share"] if "pynetdicom" in peers else None
        cells.append(_share(share, floors.get("cpu")))
        cells += [f"{ours['rate']:.0f}", f"{ours['setup_ms']:.1f}" if ours["setup_ms"] else "",
                  f"{ours['resident_mb']:.0f}", f"{one['load']:.1f}"]  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def missed(found: list[dict[str, Any]]) -> int:
    """How many floors of the table are missed."""
    return table(found).count("RED")


def _ratio(peer: dict[str, Any] | None, floor: float | None) -> str:
    if peer is None:
        return ""
    least, middle, most = peer["ratio"]
    said = f"{middle:.2f} ({least:.2f}-{most:.2f})"
    return said if floor is None else f"{said} of {floor:.2g} {_mark(middle >= floor)}"


def _share(share: float | None, floor: float | None) -> str:
    if share is None or floor is None:
        return ""
    return f"{share:.2f} of {floor:.2f} {_mark(share <= floor)}"


def _mark(good: bool) -> str:
    return "ok" if good else "**RED**"


def page(found: list[dict[str, Any]]) -> str:
    """The table as a page of its own."""
    return PAGE.format(table=table(found), missed=missed(found))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path, nargs="?", default=FOUND)
    parser.add_argument("--write", type=Path, help="a page to make of it")
    args = parser.parse_args()
    found = json.loads(args.file.read_text())
    print(f"{table(found)}\n\n{missed(found)} floors missed")
    if args.write:
        args.write.write_text(page(found))


if __name__ == "__main__":
    main()
