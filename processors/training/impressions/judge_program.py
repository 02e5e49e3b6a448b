"""A judge that is somebody else's program, such as a labeller of another house.

In: a command line. The program reads JSON lines {"text", "language"} on standard input and answers
each with {"findings": [names]} on standard output: what the text asserts, certain or hedged.
Out: a Judge. Each text is asked once. Never: a shell; an answer that is short of lines.
"""

from __future__ import annotations

import json
import shlex
import subprocess
from collections.abc import Sequence
from pathlib import Path

from processors.training.impressions.cases import UnusableCases
from processors.training.impressions.judging import Findings, Judge


def by_program(command: str) -> Judge:
    """The judge behind a command line; its name is that of the last file in it."""
    parts = shlex.split(command)
    known: dict[tuple[str, str], Findings] = {}

    def reads(texts: Sequence[tuple[str, str]]) -> list[Findings]:
        new = [text for text in dict.fromkeys(texts) if text not in known]
        if new:
            known.update(zip(new, _asked(parts, new), strict=True))
        return [known[text] for text in texts]

    names = [part for part in parts if not part.startswith("-")]
    return Judge(Path(names[-1]).stem if names else command, False, reads)


def _asked(parts: Sequence[str], texts: Sequence[tuple[str, str]]) -> list[Findings]:
    """Raises UnusableCases when the program fails or answers something else."""
    lines = "".join(json.dumps({"text": t, "language": lang}) + "\n" for t, lang in texts)
    try:
        done = subprocess.run(parts, input=lines, capture_output=True, text=True, check=True)
        found = [
            frozenset(map(str, json.loads(line)["findings"])) for line in done.stdout.splitlines()
        ]
    except (OSError, IndexError, subprocess.CalledProcessError) as error:
        said = getattr(error, "stderr", "") or str(error)
        raise UnusableCases(f"The judge {shlex.join(parts)!r} fails: {said.strip()}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise UnusableCases(
            f"The judge {shlex.join(parts)!r} answers no findings ({type(error).__name__}).",
            then='Each line must be a JSON object: {"findings": ["..."]}.',
        ) from error
    if len(found) != len(texts):
        raise UnusableCases(
            f"The judge {shlex.join(parts)!r} answers {len(found)} of {len(texts)} texts."
        )
    return found
