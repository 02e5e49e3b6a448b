"""Judges one drawn study with one bundle and says how: the process that may have to be ended.

python -m processors.conformance KIND BUNDLE
"""

from __future__ import annotations

import sys
import time

from processors import kinds
from processors.analysis import ProcessorError
from processors.conformance.subject import Subject


def main(kind: str, bundle: str) -> None:
    subject = Subject(kind, kinds.Wanted("check", bundle, device="cpu"))
    try:
        study, processor = subject.example, subject.build()
        began = time.perf_counter()
        analysis = processor.analyse(study)
    except ProcessorError as error:
        sys.exit(str(error))
    print(f"{analysis.status} in {time.perf_counter() - began:.1f} s")


if __name__ == "__main__":
    main(*sys.argv[1:3])
