"""Splits a table of images anew by patient: more films to judge, where few were kept for it.

    python scripts/resplit.py films.csv --judged 0.4 > films-anew.csv

In: a table as `dictamen models train` reads it. Out: the same rows on standard output, `split`
train or val; which, follows from the patient's name alone. Never: for a model that will judge
patients, whose makers have seen the figures of the films that would fit it now.
"""

from __future__ import annotations

import argparse
import csv
import sys
from pathlib import Path

from processors.training.places import lot


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("table", type=Path)
    parser.add_argument("--judged", type=float, default=0.4, help="share of patients for val")
    args = parser.parse_args()
    with args.table.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    writer = csv.DictWriter(sys.stdout, rows[0].keys())
    writer.writeheader()
    for row in rows:
        judged = lot(f"resplit/{row.get('patient') or row['path']}") < args.judged
        writer.writerow({**row, "split": "val" if judged else "train"})
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
