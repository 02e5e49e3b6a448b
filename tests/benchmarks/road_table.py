"""What `pipeline_road.py` found, beside what is asked for: the page docs/evidence/road.md.

  python tests/benchmarks/road_table.py [FILE] [--write PAGE]

FILE: what `pipeline_road.py --json` wrote. --write: make the page.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

FOUND = Path(__file__).parents[2] / "docs/evidence/road.json"
PAGE = """# What a radiologist waits for

Written by `make bench-pipeline` from `road.json`: radiographs of 2500 x 2048 through the whole node
(SQL audit, durable queue, four reports, the message to the RIS) to Orthanc, and through a node that
does nothing else (no disk, no queue, no message, one picture of 64 x 64), in alternating rounds.
Seconds from an image's last byte to the last result in the PACS; `expect` ends the node's wait, so
no quiet time is taken off. {workers} workers, {cores} cores. The load is that of the machine:
where it is above its cores, other work was measured too. **RED**: the floor that was set before is
missed.

## Floors

| | measured | floor | |
| --- | --- | --- | --- |
{floors}

## Waits

| at once | p50 s | p95 s | other node p50, p95 | ratio of medians (least-most) | a minute | load |
| --- | --- | --- | --- | --- | --- | --- |
{waits}

## Where the milliseconds go

Median of each stage, and 95th percentile, by what the node itself records.

| stage | {heads} |
| --- |{rule}
{stages}
"""

RATIO, P95_SECONDS, PER_MINUTE, CPU_MS, RESIDENT_MB = 1.5, 3.0, 150, 300, 1200


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


def table(found: Mapping[str, Any]) -> Iterator[str]:
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


def page(found: Mapping[str, Any]) -> str:
    """The same as a page of its own."""
    cases = found["cases"]
    met = [
        f"| {words} | {value:.2f} | {floor:g} | {'ok' if ok else '**RED**'} |"
        for words, value, floor, ok in floors(found)
    ]
    waits = [
        f"| {at_once} | {one['p50_s']:.2f} | {one['p95_s']:.2f} | {one['baseline_p50_s']:.2f}, "
        f"{one['baseline_p95_s']:.2f} | {one['ratio'][1]:.1f} ({one['ratio'][0]:.1f}-"
        f"{one['ratio'][2]:.1f}) | {one['per_minute'][1]:.0f} | {one['load'][0]:.1f} |"
        for at_once, one in cases.items()
    ]
    names = list(dict.fromkeys(name for one in cases.values() for name in one["stages_ms"]))
    stages = [
        f"| {name} | "
        + " | ".join(_milliseconds(one["stages_ms"].get(name)) for one in cases.values())
        + " |"
        for name in names
    ]
    return PAGE.format(
        workers=found["workers"], cores=found["cores"], floors="\n".join(met),
        waits="\n".join(waits), heads=" | ".join(f"{one} at once" for one in cases),
        rule=" --- |" * len(cases), stages="\n".join(stages),
    )  # fmt: skip


def _milliseconds(stage: Mapping[str, float] | None) -> str:
    return f"{stage['p50']:.0f}, {stage['p95']:.0f}" if stage else ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path, nargs="?", default=FOUND)
    parser.add_argument("--write", type=Path, help="a page to make of it")
    args = parser.parse_args()
    found = json.loads(args.file.read_text())
    print("\n".join(table(found)))
    if args.write:
        args.write.write_text(page(found))


if __name__ == "__main__":
    main()
