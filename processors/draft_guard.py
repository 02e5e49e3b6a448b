"""Says why a draft impression must not leave: the last look at sentences, whoever wrote them.

In: a draft, the findings that it is about, the labels' names, the texts that it was given, what
identifies the patient. Out: a reason, or "". Found are: nothing said; the same said again; a
finding that the classifier denied; a number, a date or a name that was not given. Sentences by rule
are our own templates and are only asked whether they say something, once.
Never: a changed sentence, a sentence in the reason (it goes into log and audit). Not found: a wrong
sentence made of right words, a name that stands alone in lower case.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import pairwise

from pydicom.dataset import Dataset

from processors.analysis import Finding, Impression, State

Names = Mapping[str, Mapping[str, str]]

REASONS = {
    "es": {
        "empty": "no dice nada",
        "repeats": "se repite",
        "denied": "nombra un hallazgo que el modelo niega ({what})",
        "number": "contiene un número que no estaba en sus datos",
        "date": "contiene una fecha que no estaba en sus datos",
        "patient": "contiene datos que identifican al paciente",
        "name": "contiene un nombre propio que no estaba en sus datos",
    },
    "en": {
        "empty": "it says nothing",
        "repeats": "it repeats itself",
        "denied": "it names a finding that the model denies ({what})",
        "number": "it holds a number that was not in its input",
        "date": "it holds a date that was not in its input",
        "patient": "it holds what identifies the patient",
        "name": "it holds a name that was not in its input",
    },
}
RUN, TIMES = 3, 3  # words in a row that, so many times in one sentence, are rambling
SHORTEST = 3  # letters of a part of the patient's name that is looked for
PARTICLES = frozenset({"del", "las", "los", "san", "santa", "van", "von", "der", "den"})
# a finding is named as denied if one of these stands before it in its clause (after NegEx)
DENIALS = re.compile(
    r"\b(no|not|without|sin|ning[uú]n|ninguna|neither|nor|ni|absence|ausencia|negative|negativo|"
    r"negativa|free of|descarta|excluye|excluded?|ruled? out)\b"
)
CLAUSE = re.compile(r"[;:.]\s|,?\s\b(?:but|however|pero|aunque|sin embargo)\b")
DATE = re.compile(
    r"\b(?:\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}|(?:19|20)\d{2}(?:0[1-9]|1[0-2])[0-3]\d"
    r"|\d{1,2}(?:\s+de)?\s+[a-záéíóú]{3,10}\.?(?:\s+(?:de|del))?,?\s+(?:19|20)\d{2})\b",
    re.IGNORECASE,
)
NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
TITLED = re.compile(
    r"\b(?:Dr|Dra|Sr|Sra|D|Dña|Mr|Mrs|Ms|Prof|[Pp]aciente|[Pp]atient|[Dd]octora?)\.?\s+"
    r"([A-ZÁÉÍÓÚÑ][a-záéíóúñü]+)"
)
CAPITALS = re.compile(r"(?<![.!?:]\s)(?<!^)\b[A-ZÁÉÍÓÚÑ][a-záéíóúñü]+\b")


def why_withheld(
    draft: Impression,
    findings: Sequence[Finding],
    names: Names,
    given: Collection[str] = (),
    patient: Iterable[str] = (),
) -> str:
    """Why the draft must not go out, in its own language, or "" if it may.

    names: label -> language -> name. given: the texts whose numbers, dates and names the draft may
    use. patient: as `identifying` finds it; the parts of a name are looked for one by one.
    """
    texts = [sentence.text.strip() for sentence in draft.sentences]
    words = REASONS[draft.language if draft.language in REASONS else "en"]
    if not any(texts):
        return words["empty"]
    own = [sentence.text.strip() for sentence in draft.sentences if sentence.source != "rule"]
    if _repeats(texts, own):
        return words["repeats"]
    if _identifies(own, patient):
        return words["patient"]
    for text in own:
        if label := _denied(text, findings, names):
            return words["denied"].format(what=names.get(label, {}).get(draft.language, label))
    source = [*given, *(name for each in names.values() for name in each.values())]
    for text in own:
        if kind := _foreign(text, source, findings):
            return words[kind]
    return ""


def identifying(headers: Iterable[Dataset]) -> set[str]:
    """What the headers say of patient and staff, as text, for `why_withheld`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they quote what they warn of
        found = {_said(header, word) for header in headers for word in IDENTIFYING}
    return found - {""}


IDENTIFYING = (
    "PatientName", "PatientID", "OtherPatientIDs", "PatientBirthDate", "AccessionNumber",
    "ReferringPhysicianName", "PerformingPhysicianName", "OperatorsName", "PatientAddress",
)  # fmt: skip


def _said(header: Dataset, word: str) -> str:
    try:
        return str(header.get(word) or "").strip()
    except Exception:  # noqa: BLE001 - pydicom raises many kinds; what nobody can read is not quoted
        return ""


def _folded(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.lower()))


def _repeats(texts: Sequence[str], own: Sequence[str]) -> bool:
    """A sentence twice, or within one of `own` the same words in a row again and again."""
    folded = [_folded(text) for text in texts if text]
    if len(folded) > len(set(folded)):
        return True
    for text in own:
        words = _folded(text).split()
        runs = [tuple(words[i : i + RUN]) for i in range(len(words) - RUN + 1)]
        if any(runs.count(run) >= TIMES for run in set(runs)):
            return True
    return False


def _denied(text: str, findings: Sequence[Finding], names: Names) -> str:
    """The label of a finding that is absent on every image and yet affirmed here, or ""."""
    held = {f.label for f in findings if f.state is not State.ABSENT}
    for clause in CLAUSE.split(text.lower()):
        for label in sorted({f.label for f in findings} - held):
            for name in {label, *names.get(label, {}).values()}:
                found = re.search(rf"\b{re.escape(name.lower())}\b", clause)
                if found and not DENIALS.search(clause[: found.start()]):
                    return label
    return ""


def _identifies(texts: Sequence[str], patient: Iterable[str]) -> bool:
    said = f" {_folded(' '.join(texts))} "
    parts = {part for value in patient for part in _parts(value)}
    return any(f" {part} " in said for part in parts)


def _parts(value: str) -> list[str]:
    """The parts of a name one by one, anything else whole."""
    pieces = re.split(r"[\^=\s]+", value) if re.search(r"[^\W\d]", value) else [value]
    folded = map(_folded, pieces)
    return [piece for piece in folded if len(piece) >= SHORTEST and piece not in PARTICLES]


def _foreign(text: str, source: Sequence[str], findings: Sequence[Finding]) -> str:
    """date, number or name if the text holds one that neither source nor findings have."""
    known = " ".join(source)
    if any(date not in known for date in DATE.findall(text)):
        return "date"
    numbers = {*NUMBER.findall(known), *map(str, range(len(findings) + 1))}
    numbers |= {str(min(99, max(1, round(100 * f.probability)))) for f in findings}
    if any(number not in numbers for number in NUMBER.findall(text)):
        return "number"
    vocabulary = set(_folded(known).split())
    proper = [*TITLED.findall(text), *_in_a_row(text)]
    return "name" if any(_folded(word) not in vocabulary for word in proper) else ""


def _in_a_row(text: str) -> list[str]:
    """Capitalised words within a sentence that stand side by side, as in a full name."""
    spots = list(CAPITALS.finditer(text))
    return [
        second[0] for first, second in pairwise(spots) if text[first.end() : second.start()] == " "
    ]
