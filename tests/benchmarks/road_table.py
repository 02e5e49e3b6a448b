"""How `pipeline_road.py` tells what it found, and what is asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

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
