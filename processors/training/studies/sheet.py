"""One picture for the eye: what the model shows of some images of every answer.

A row an image: the original with the organ and the place that the table marks; the evidence
outline as the node draws it; the seven frames of the strip with the model's own probability under
each; beside them what the table says, what the model says, and whether the node shows the strip or
withholds it, and why.
In: a bundle, tables with images, a font. Out: one PNG.
Never: an image chosen for its strip. The names of the files choose, among the ill that the model
calls present, and among those without a finding whatever the model says of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from skimage.measure import find_contours

from processors.analysis import Explanation, State
from processors.explain import faithfulness
from processors.explain.regions import regions
from processors.explain.subject import Film, Scale, Subject, organ_of, read_film, scale_of
from processors.explain.traversal import explain
from processors.gate import picture_refusal
from processors.runtime import Bundle
from processors.training.data import UNKNOWN, Sample, read_images, read_table
from processors.training.explained import subject_of
from processors.training.places import lot, place_of
from processors.training.plan import questions_of
from processors.training.studies.choice import Sources, mixes
from processors.training.studies.sheet_drawing import (
    EVIDENCE,
    GREY,
    ORGAN,
    TABLE,
    WARNING,
    WHITE,
    Colour,
    Group,
    Letters,
    Outline,
    Panel,
    Row,
    draw,
)
from processors.vae.latent import evidence, probability
from processors.vae.normalise import Image

NEGATIVES = 2  # images without a finding, of each question
ANYWAY = "whatever the model says of them; its likeliest answer"
MARKS = {State.PRESENT: "●", State.UNDETERMINED: "◐", State.ABSENT: "○"}
LEGEND: tuple[tuple[str, Colour], ...] = (
    ("thin blue: the organ as measured, never shown by the node", ORGAN),
    ("thin green: where the table says the finding is, if it says so", TABLE),
    ("orange: where the model's evidence lies, as the node draws it; no outline of a lesion",
     EVIDENCE),
    ("under each frame: the model's own probability of the answer set in white, reading that frame "
     "anew;  ● present  ◐ undetermined  ○ absent", WHITE),
    ("all frames but the middle one are synthetic; framed in red: withheld by the node", WARNING),
)  # fmt: skip
Said = tuple[tuple[str, Colour], ...]
Place = tuple[int, int]  # question, answer
Tell = Callable[[str], None]


def _state(found: float, scale: Scale) -> State:
    low, high = scale.band
    if found >= high:
        return State.PRESENT
    return State.ABSENT if found < low else State.UNDETERMINED


def contours(mask: NDArray[np.bool_]) -> tuple[Outline, ...]:
    """The outlines of a mask, as parts of the picture."""
    padded = np.pad(mask.astype(np.float64), 1)
    return tuple((c - 0.5)[:, ::-1] / mask.shape[::-1] for c in find_contours(padded, 0.5))


def _evidence(subject: Subject) -> tuple[Outline, ...]:
    """The regions of a finding, as parts of the picture."""
    rows, columns = subject.film.picture.shape
    cells = evidence(subject.film.latent, subject.row)
    found = regions(cells, subject.film.instance_uid, (rows, columns))
    return tuple(np.array(region.points, np.float64) / (columns, rows) for region in found)


def _percent(value: float) -> str:
    """Never a certainty that the model does not have."""
    if 0.995 <= value < 1:
        return ">99 %"
    return "<1 %" if 0 < value < 0.005 else f"{100 * value:.0f} %"


def _answers(bundle: Bundle, film: Film, question: int) -> Iterator[tuple[str, float, State]]:
    """Each answer of the question: its name, probability and state."""
    names = {entry["label"]: str(entry["name"]["en"]) for entry in bundle.card["labels"]}
    for k, answer in enumerate(bundle.card["questions"][question]["answers"]):
        found = probability(film.latent, bundle.row(question, k))
        yield names[answer["label"]], found, _state(found, scale_of(answer))


def _fate(strip: Explanation | None) -> tuple[str, Colour]:
    """What the node does with the strip."""
    if strip is None:
        return "absent: the node draws no outline and no strip", GREY
    if strip.shown:
        return "strip shown", WHITE
    return f"strip withheld: {strip.reason}", WARNING


def _placed(subject: Subject) -> bool:
    return subject.inside is None or faithfulness.organ(subject.inside).passed


def _said(subject: Subject, strip: Explanation | None, place: Place, refused: str) -> Said:
    """What the model says, and what the node does with it."""
    lines: list[tuple[str, Colour]] = []
    for k, (name, value, state) in enumerate(_answers(subject.bundle, subject.film, place[0])):
        lines.append((f"{MARKS[state]} {name} {_percent(value)}", WHITE if k == place[1] else GREY))
    lines.append(_fate(strip))
    if refused:
        lines.append((f"the gate refuses it: {refused}", WARNING))
    return tuple(lines)


def _panels(
    subject: Subject, strip: Explanation | None, marked: NDArray[np.bool_]
) -> tuple[Panel, ...]:
    film = subject.film
    seen = np.rint(film.picture * 255).astype(np.uint8)
    organ = organ_of(film, subject.bundle.card["field"])
    thin = [(line, ORGAN, 1.0) for line in contours(organ)] if organ is not None else []
    thin += [(line, TABLE, 1.0) for line in contours(marked)]
    drawn = _evidence(subject) if strip is not None and _placed(subject) else ()
    strong = [(line, EVIDENCE, 2.0) for line in drawn]
    return (
        Panel(seen, tuple(thin)),
        Panel(seen, tuple(strong), _within(subject, strip)),
        *_frames(strip, subject.scale),
    )


def _within(subject: Subject, strip: Explanation | None) -> str:
    """How much of the evidence lies in the organ: why the outline is drawn, or is not."""
    if strip is None or subject.inside is None:
        return ""
    share = f"{_percent(subject.inside)} in organ"
    return share if _placed(subject) else f"withheld: {share}"


def _frames(strip: Explanation | None, scale: Scale) -> tuple[Panel, ...]:
    return tuple(
        Panel(
            frame.pixels,
            under=f"{MARKS[_state(frame.probability, scale)]} {_percent(frame.probability)}",
            withheld=strip is not None and not strip.shown,
        )
        for frame in (strip.frames if strip else ())
    )


@dataclass(frozen=True, slots=True)
class _Entry:
    """A row of one of the tables. source: the table's number, which has the images."""

    sample: Sample
    source: int


@dataclass(frozen=True, slots=True)
class _Tables:
    """Where the images are, and how a table's boxes become places."""

    bundle: Bundle
    sources: Sources

    def pixels(self, entries: Sequence[_Entry]) -> Iterator[Image]:
        """In the order of the entries; each tar is opened once."""
        opened = {
            number: read_images(images, [e.sample.path for e in entries if e.source == number])
            for number, (_, images) in enumerate(self.sources)
        }
        return (next(opened[entry.source]) for entry in entries)

    def marked(self, entry: _Entry, film: Film, shape: tuple[int, ...]) -> NDArray[np.bool_]:
        place, sample = place_of({"boxes": 1.0}, self.bundle.size), entry.sample
        images = self.sources[entry.source][1]
        mask = next(read_images(images, [sample.mask])) if sample.mask else None
        if place is None or not (sample.boxes or sample.mask):
            return np.zeros(film.network.shape, bool)
        return place(sample, shape, mask, film.network)

    def named(self, entry: _Entry) -> str:
        """The image's path, after its table's name where there are several."""
        table, path = self.sources[entry.source][0], entry.sample.path
        return path if len(self.sources) == 1 else f"{table.stem}: {path}"


def _row(tables: _Tables, entry: _Entry, pixels: Image, film: Film, place: Place) -> Row:
    subject = subject_of(tables.bundle, film, place)
    present = probability(film.latent, subject.row)
    absent = _state(present, subject.scale) is State.ABSENT
    strip = None if absent else explain(subject, "en")
    refused = picture_refusal(pixels, tables.bundle.card, tables.bundle.folder, "en")
    named = (
        (tables.named(entry), GREY),
        (f"table: {', '.join(entry.sample.labels).replace('_', ' ')}", TABLE),
    )
    return Row(
        said=(*named, *_said(subject, strip, place, refused or "")),
        panels=_panels(subject, strip, tables.marked(entry, film, pixels.shape)),
    )


def _place(bundle: Bundle, sample: Sample, film: Film) -> Place | None:
    """The answer that the table names if the model calls it present, else None; where the table
    names none, the model's likeliest."""
    known = [q for q, target in enumerate(sample.targets) if target != UNKNOWN]
    question = known[0] if known else max(sample.group, 0)
    answers, wanted = bundle.card["questions"][question]["answers"], sample.targets[question]
    values = [probability(film.latent, bundle.row(question, k)) for k in range(len(answers))]
    if wanted == UNKNOWN or wanted == len(answers):
        return question, int(np.argmax(values))
    present = _state(values[wanted], scale_of(answers[wanted])) is State.PRESENT
    return (question, wanted) if present else None


def _rows(
    tables: _Tables, entries: Sequence[_Entry], count: int, tell: Tell
) -> tuple[tuple[Row, ...], int]:
    """At most `count` rows, and how many images were read for them."""
    found: list[Row] = []
    read = 0
    for entry, pixels in zip(entries, tables.pixels(entries), strict=True):
        read += 1
        tell(tables.named(entry))
        film = read_film(entry.sample.path, pixels, tables.bundle)
        place = _place(tables.bundle, entry.sample, film)
        if place is not None:
            found.append(_row(tables, entry, pixels, film, place))
        if len(found) == count:
            break
    return tuple(found), read


def _group(tables: _Tables, entries: Sequence[_Entry], count: int, tell: Tell) -> Group:
    """The rows of one mix of answers, whose name the first entry tells."""
    targets, many = entries[0].sample.targets, len(entries)
    question = next((q for q, target in enumerate(targets) if target != UNKNOWN), None)
    if question is None:
        rows, _ = _rows(tables, entries, NEGATIVES, tell)
        return Group(
            f"no question is asked (age or label), {len(rows)} of {many} images; {ANYWAY}", rows
        )
    asked = tables.bundle.card["questions"][question]
    if targets[question] == len(asked["answers"]):
        rows, _ = _rows(tables, entries, NEGATIVES, tell)
        return Group(f"{asked['name']}: none, {len(rows)} of {many} images; {ANYWAY}", rows)
    rows, read = _rows(tables, entries, count, tell)
    label = str(asked["answers"][targets[question]]["label"]).replace("_", " ")
    called = f"called present among the first {read} by the digest of their names"
    return Group(f"{asked['name']}: {label}, {len(rows)} of {many} images, {called}", rows)


def _groups(tables: _Tables, entries: Sequence[_Entry], count: int, tell: Tell) -> list[Group]:
    samples = [entry.sample for entry in entries]
    held = [[entries[i] for i in each] for each in mixes(samples).values()]
    rest = [e for e in entries if all(target == UNKNOWN for target in e.sample.targets)]
    held += [sorted(rest, key=lambda entry: lot(entry.sample.path))] if rest else []
    return [_group(tables, each, count, tell) for each in held]


def sheet(
    bundle: Bundle,
    sources: Sources,
    split: str,
    count: int,
    file: Path,
    font: Letters,
    tell: Tell = lambda _: None,
) -> int:
    """Draws one sheet of all tables into `file` (PNG) and returns the number of its rows.

    count: images of each answer, beside NEGATIVES without a finding and NEGATIVES of which no
    question is asked (age or label). font: the letters of a size in pixels (the reports' font,
    which is shipped). tell: hears which image is drawn. Raises ValueError for a table without a
    row of the split.
    """
    questions, entries = questions_of(bundle.card["questions"]), []
    for number, (table, _) in enumerate(sources):
        rows = [s for s in read_table(table, questions) if s.split == split]
        if not rows:
            raise ValueError(f"{table} has no row of the split {split!r}")
        entries += [_Entry(sample, number) for sample in rows]
    groups = _groups(_Tables(bundle, sources), entries, count, tell)
    name, version = bundle.algorithm.name, bundle.algorithm.version
    on = ", ".join(table.name for table, _ in sources)
    title = f"{name} {version} ({bundle.algorithm.sha256[:12]}) on {on}, split {split}"
    draw(title, LEGEND, groups, font).save(file, format="PNG")
    return sum(len(group.rows) for group in groups)
