#!/usr/bin/env python3
"""Switches each defence off and sees its test fail: a test that cannot fail proves nothing.

For every row of `defence_rows.py` a copy of the tree gets the defence's source text replaced, and
the one test that must then fail is run there. Each test is run once unchanged first: it must pass
with the defence and fail without it. The checkout itself is never changed.

  python scripts/defences.py [--only FAULT]... [--jobs 2]

Prints fault, defence, test, result; exit 1 if any test still passes, or any row no longer fits.
"""

from __future__ import annotations

import argparse
import os
import queue
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from defence_rows import ROWS, Row

ROOT = Path(__file__).resolve().parents[1]
LEFT_OUT = shutil.ignore_patterns(
    ".git", ".venv", "var", "runs", "__pycache__", ".*_cache", "*.egg-info", "build", "dist"
)
PASSED, FAILED = 0, 1  # of pytest; anything else means that the test did not run
LONGEST = 240  # seconds for one test; without its defence it may well hang
Answer = tuple[Row, str, float]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", action="append", help="fault id; may be repeated")
    parser.add_argument("--jobs", type=int, default=2)
    args = parser.parse_args()
    rows = [row for row in ROWS if not args.only or row.fault in args.only]
    if not rows:
        parser.error("no row has that id")
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="defences-") as folder:
        answers = _all(rows, _copies(Path(folder), args.jobs))
    wrong = sum(result != "fails" for _, result, _ in answers)
    print(f"{len(answers)} defences, {wrong} wrong, {time.monotonic() - began:.0f} s")
    return 1 if wrong else 0


def _copies(folder: Path, jobs: int) -> queue.Queue[Path]:
    copies: queue.Queue[Path] = queue.Queue()
    for number in range(jobs):
        copy = folder / f"tree{number}"
        shutil.copytree(ROOT, copy, ignore=LEFT_OUT, symlinks=True)
        copies.put(copy)
    return copies


def _all(rows: Iterable[Row], copies: queue.Queue[Path]) -> list[Answer]:
    def one(row: Row) -> Answer:
        copy, began = copies.get(), time.monotonic()
        try:
            return row, _judge(row, copy), time.monotonic() - began
        finally:
            copies.put(copy)

    answers = []
    with ThreadPoolExecutor(copies.qsize()) as pool:
        for row, result, seconds in pool.map(one, rows):
            mark = "ok   " if result == "fails" else "WRONG"
            place = row.test.removeprefix("tests/")
            print(
                f"{mark} {row.fault:20} {row.file:36} {place}: {result} ({seconds:.0f} s)",
                flush=True,
            )
            answers.append((row, result, seconds))
    return answers


def _judge(row: Row, copy: Path) -> str:
    file = copy / row.file
    source = file.read_text(encoding="utf-8")
    if source.count(row.old) != 1:
        return f"the defence's text stands {source.count(row.old)} times in the file"
    if _test(row, copy) != PASSED:
        return "fails with the defence too"
    file.write_text(source.replace(row.old, row.new), encoding="utf-8")
    try:
        code = _test(row, copy)
    finally:
        file.write_text(source, encoding="utf-8")
    if code == FAILED:
        return "fails"
    return "still passes" if code == PASSED else f"did not run (pytest {code})"


def _test(row: Row, copy: Path) -> int:
    command = [sys.executable, "-B", "-m", "pytest", row.test, "-q", "-x", "--no-header"]
    command += ["-p", "no:cacheprovider", "--timeout", str(LONGEST)]
    environment = {**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(
            command, cwd=copy, env=environment, timeout=LONGEST + 30, check=False,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return FAILED
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
