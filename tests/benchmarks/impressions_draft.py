"""How long the shipped bundle takes for a draft on one core, guard on, and how much memory.

  OMP_NUM_THREADS=1 python tests/benchmarks/impressions_draft.py --in FILE.csv [--rows 500] \
      [--corpus DIR] [--json]

Rows of uid, findings and optional indication, each drafted once in a fresh process; the first
draft, which opens the phrase lists, is timed apart. CPU time tells more than the clock where other
programs share the core (see the load). Exit 1 when p95 by the clock is above 100 ms or the resident
memory above 400 MB (the shipped bundle; a site's corpus adds its own size), or torch was loaded.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from processors.impressions.corpus import read
from processors.impressions.drafter import open_drafter
from processors.impressions.drafting import Request

SLOWEST_MS = 100.0
LARGEST_MB = 400.0


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--in", dest="source", type=Path, required=True)
    parser.add_argument("--rows", type=int, default=500)
    parser.add_argument("--corpus", type=Path)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args(words)
    pairs = read(asked.source, impressions=False).pairs[: asked.rows]
    drafter = open_drafter(asked.corpus)
    clock, cpu = [], []
    for pair in pairs:
        begun, used = time.perf_counter(), time.process_time()
        drafter.draft(Request(pair.findings, pair.language, pair.indication))
        clock.append(1000 * (time.perf_counter() - begun))
        cpu.append(1000 * (time.process_time() - used))
    told = {
        "drafts": len(pairs),
        "first_ms": round(clock[0], 1),
        **{f"clock_p{p}_ms": round(float(np.percentile(clock[1:], p)), 1) for p in (50, 95, 99)},
        **{f"cpu_p{p}_ms": round(float(np.percentile(cpu[1:], p)), 1) for p in (50, 95, 99)},
        "memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
        "torch": "torch" in sys.modules,
        "load": round(os.getloadavg()[0], 1),
    }
    print(json.dumps(told) if asked.json else "\n".join(f"{k}: {v}" for k, v in told.items()))
    slow = told["clock_p95_ms"] > SLOWEST_MS or told["memory_mb"] > LARGEST_MB
    return int(slow or bool(told["torch"]))


if __name__ == "__main__":
    sys.exit(main())
