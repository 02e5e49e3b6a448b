"""Judges labelled images with a bundle and says how good it is, beside the trivial bar.

In: a bundle, a table with images, images of `train` for the trivial statistics. Out: scores per
image and an evaluation per task, machine-readable; the card is written from that alone. A task is
one answer against all others ("children/pneumonia"), one against another ("lesion/malignant_lesion
against benign_lesion"), any against none, or the mean over a question's answers ("tumour/macro").
Never: chooses anything by what it finds.
"""

from __future__ import annotations

import csv
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from processors.analysis import ModelOutputNotFinite
from processors.explain.subject import Scale, scale_of
from processors.runtime import Bundle
from processors.training.data import ImageSet
from processors.training.measure import (
    area,
    auc,
    auc_gain,
    calibration_error,
    estimate,
    share,
)
from processors.training.trivial import trivial_scores, trivial_statistics
from processors.vae.latent import probability, terms
from processors.vae.normalise import Image

Numbers = NDArray[np.float64]
# images of each class below which a subgroup has no figure; an answer is red, of patients too
LEAST = 15


@dataclass(frozen=True, slots=True)
class Scores:
    """Images in the table's order; logits (n, answers of all questions), calibrated."""

    images: ImageSet
    logits: Numbers
    probabilities: Numbers


def score(bundle: Bundle, images: ImageSet, inputs: Iterable[Image] | None = None) -> Scores:
    """Every answer of every question for every image, whatever its age.

    inputs: of the network, in the images' order, as they were before a set kept them in 8 bits.
    """
    questions = bundle.card["questions"]
    rows = [bundle.row(q, k) for q, e in enumerate(questions) for k in range(len(e["answers"]))]
    logits, found = [], []
    if inputs is None:
        inputs = (pixels.astype(np.float32) / 255 for pixels in images.inputs)
    for sample, seen in zip(images.samples, inputs, strict=True):
        try:
            latent = bundle.encode(seen[None])[0]
        except ModelOutputNotFinite as error:
            raise ModelOutputNotFinite(f"{sample.path}: {error}") from error
        cells = [terms(latent, row)[0].ravel() for row in rows]
        totals = [np.logaddexp.reduce(each.astype(np.float64)) for each in cells]
        logits.append(
            [t / row.temperature + row.offset[0] for t, row in zip(totals, rows, strict=True)]
        )
        found.append([probability(latent, row) for row in rows])
    return Scores(images, np.array(logits), np.array(found))


def answers(card: Mapping[str, Any]) -> list[tuple[int, int, str]]:
    """(question, answer, label) in the order of the head's rows."""
    return [
        (q, k, str(answer["label"]))
        for q, question in enumerate(card["questions"])
        for k, answer in enumerate(question["answers"])
    ]


def by_label(scores: Scores, card: Mapping[str, Any]) -> dict[str, Numbers]:
    """One probability per label and image: of the image's own questions, and where several are
    asked that of the gravest answer, as the node says it (`VaeBundleProcessor`): by state, then by
    log-odds above its own threshold."""
    found: dict[str, Numbers] = {}
    order = answers(card)
    points = [scale_of(card["questions"][q]["answers"][k]) for q, k, _ in order]
    every = zip(scores.probabilities.T, points, strict=True)
    gravity = np.stack([_gravity(p, point) for p, point in every], 1)
    asked = _asked(scores.images, card)
    for label in dict.fromkeys(name for _, _, name in order):
        columns = [c for c, (_, _, name) in enumerate(order) if name == label]
        fits = asked[:, columns]
        fits |= ~fits.any(1, keepdims=True)
        gravest = np.where(fits, gravity[:, columns], -np.inf).argmax(1)
        found[label] = scores.probabilities[np.arange(len(gravest)), np.array(columns)[gravest]]
    return found


def _gravity(p: Numbers, point: Scale) -> Numbers:
    """(n,): larger where graver; 100 log-odds part one state from the next."""
    state = (p >= point.band[0]).astype(np.float64) + (p >= point.band[1])
    odds = np.clip([p, np.full_like(p, point.threshold)], 1e-7, 1 - 1e-7)
    own, threshold = np.log(odds / (1 - odds))
    return np.asarray(100 * state + own - threshold)


def _asked(images: ImageSet, card: Mapping[str, Any]) -> NDArray[np.bool_]:
    """(n, answers): whether the answer's question is asked of an image of this age; all where
    none fits."""
    questions = [card["questions"][q] for q, _, _ in answers(card)]
    ages = [sample.age for sample in images.samples]
    fits = np.array([[a is None or q["low"] <= a < q["high"] + 1 for q in questions] for a in ages])
    return np.asarray(fits | ~fits.any(1, keepdims=True), dtype=np.bool_)


@dataclass(frozen=True, slots=True)
class Verdict:
    """Of one row. refused: why its picture is not judged by a node, empty where it is. read:
    whether there is a picture, and so a score."""

    path: str
    refused: str
    read: bool = True


def write_scores(
    scores: Scores, card: Mapping[str, Any], verdicts: Sequence[Verdict], file: Path
) -> None:
    """path, one probability per label (none of what cannot be read), gate: accepted or the reason
    of refusal. verdicts: of every row; scores: of those that could be read, in the same order."""
    columns = by_label(scores, card)
    scored = iter(np.stack(list(columns.values()), 1))
    with file.open("w", newline="", encoding="utf-8") as out:
        writer = csv.writer(out)
        writer.writerow(["path", *columns, "gate"])
        for one in verdicts:
            cells = [f"{p:.6f}" for p in next(scored)] if one.read else [""] * len(columns)
            writer.writerow([one.path, *cells, one.refused or "accepted"])


@dataclass(frozen=True, slots=True)
class Task:
    """A yes-or-no comparison. keep (n,) bool of all images; labels, scores of the kept ones."""

    name: str
    keep: NDArray[np.bool_]
    labels: NDArray[np.int64]
    scores: Numbers


def tasks(targets: NDArray[np.int64], logits: Numbers, question: Mapping[str, Any]) -> list[Task]:
    """All comparisons of one question. targets (n,), logits (n, its answers)."""
    name, none = str(question["name"]), bool(question["none"])
    labels = [str(answer["label"]) for answer in question["answers"]]
    every = np.pad(logits, ((0, 0), (0, 1))) if none else logits
    known = targets >= 0

    def task(what: str, keep: NDArray[np.bool_], ill: NDArray[np.bool_], score: Numbers) -> Task:
        return Task(f"{name}/{what}", keep, ill[keep].astype(np.int64), score[keep])

    def against_rest(k: int) -> Numbers:
        return np.asarray(every[:, k] - np.logaddexp.reduce(np.delete(every, k, 1), axis=1))

    found = [task(label, known, targets == k, against_rest(k)) for k, label in enumerate(labels)]
    for k, label in enumerate(labels):
        for other in range(k):
            both = (targets == k) | (targets == other)
            what = f"{label} against {labels[other]}"
            found.append(task(what, both, targets == k, logits[:, k] - logits[:, other]))
    if none and len(labels) > 1:
        ill = (targets >= 0) & (targets < len(labels))
        found.append(task("any", known, ill, np.logaddexp.reduce(logits, axis=1)))
    return found


def _age_group(age: float | None) -> str:
    if age is None:
        return "age unknown"
    for top in (2, 5, 17, 39, 59, 79):
        if age < top + 1:
            return f"age up to {top}"
    return "age 80 and over"


def subgroups(task: Task, images: ImageSet) -> dict[str, dict[str, float]]:
    """AUC by sex, age and view where the table gives them and both classes are large enough.

    images: the kept ones.
    """
    samples, found = images.samples, {}
    names = [
        {f"sex {s.sex}" if s.sex else "", f"view {s.view}" if s.view else "", _age_group(s.age)}
        for s in samples
    ]
    for name in sorted(set().union(*names) - {"", "age unknown"}):
        keep = np.array([name in n for n in names])
        labels = task.labels[keep]
        if min((labels == 0).sum(), (labels == 1).sum()) < LEAST or keep.all():
            continue
        patients = [s.patient for s, k in zip(samples, keep, strict=True) if k]
        figure = auc(labels, task.scores[keep], patients).record()
        found[name] = {**figure, "positive": int((labels == 1).sum()), "n": int(keep.sum())}
    return found


def _operating(
    labels: NDArray[np.int64], p: Numbers, names: Sequence[str], scale: Scale
) -> dict[str, Any]:
    """Sensitivity and specificity at the threshold over all images, and the undetermined share."""
    patients = np.array(names)
    ill, well = labels == 1, labels == 0
    undetermined = (p >= scale.band[0]) & (p < scale.band[1])
    return {
        "sensitivity": share(p[ill] >= scale.threshold, patients[ill].tolist()).record(),
        "specificity": share(p[well] < scale.threshold, patients[well].tolist()).record(),
        "undetermined": share(undetermined, patients.tolist()).record(),
        "ece": round(calibration_error(labels, p), 4),
    }


def _equalised(images: ImageSet) -> NDArray[np.float32]:
    """The trivial statistics of what the network sees."""
    return np.stack([trivial_statistics(i.astype(np.float32) / 255) for i in images.inputs])


def _bar(
    task: Task, known: Task, learnt: NDArray[np.float32], asked: NDArray[np.float32]
) -> tuple[str, Numbers]:
    """The better of two classifiers on trivial statistics, and its scores of the asked images."""
    found = trivial_scores(learnt[known.keep], known.labels, asked[task.keep])
    return max(found.items(), key=lambda item: area(task.labels, item[1]))


def _one(
    task: Task, known: Task | None, images: ImageSet, learnt: ImageSet | None
) -> dict[str, Any]:
    """The evaluation of one task; known: the same task on the images of `train`, where there are
    any to learn the trivial bar from."""
    kept = images.where(task.keep)
    patients = [s.patient for s in kept.samples]
    found: dict[str, Any] = {
        "n": len(task.labels),
        "positive": int(task.labels.sum()),
        "patients": len(set(patients)),
        "auc": auc(task.labels, task.scores, patients).record(),
    }
    if known is not None and learnt is not None:
        found |= _beside_bar(task, known, images, learnt)
    found["subgroups"] = subgroups(task, kept)
    return found


def _beside_bar(task: Task, known: Task, images: ImageSet, learnt: ImageSet) -> dict[str, Any]:
    """What trivial statistics reach, of pictures as they are and as the network sees them."""
    patients = [s.patient for s in images.where(task.keep).samples]
    bars = {
        "": (learnt.trivial, images.trivial),
        "_equalised": (_equalised(learnt), _equalised(images)),
    }
    found: dict[str, Any] = {}
    for name, features in bars.items():
        classifier, theirs = _bar(task, known, *features)
        reached = auc(task.labels, theirs, patients).record()
        found[f"trivial{name}"] = {"classifier": classifier, **reached}
        found[f"gain{name}"] = auc_gain(task.labels, task.scores, theirs, patients).record()
    return found


def _macro(ours: Sequence[Task], patients: Sequence[str]) -> dict[str, Any]:
    """Mean AUC of the answers against the rest, over the images whose answer is known.

    A draw without an image of one answer is the mean of the others.
    """

    def mean(i: NDArray[np.intp]) -> float:
        drawn = [t for t in ours if 0 < t.labels[i].mean() < 1]
        return float(np.mean([area(t.labels[i], t.scores[i]) for t in drawn]))

    first = ours[0].labels
    return {"n": len(first), "auc": estimate(mean, patients, first).record()}


def _has_both(task: Task) -> bool:
    return len(set(task.labels.tolist())) == 2


def evaluate(
    bundle: Bundle,
    scores: Scores,
    known: ImageSet | None,
    tell: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Every task that has both classes among the scored images.

    known: the images of `train`. The trivial bar stands beside a task that has both classes among
    them.
    """
    found: dict[str, Any] = {}
    first = 0
    for number, question in enumerate(bundle.card["questions"]):
        many = len(question["answers"])
        columns = slice(first, first + many)
        first += many
        targets = scores.images.answers(number)
        asked = tasks(targets, scores.logits[:, columns], question)
        lessons = _lessons(known, number, question)
        for task in filter(_has_both, asked):
            tell(task.name)
            found[task.name] = _one(task, lessons.get(task.name), scores.images, known)
        patients = [s.patient for s in scores.images.samples]
        for k, answer in enumerate(question["answers"]):
            name = f"{question['name']}/{answer['label']}"
            if name in found:
                keep = asked[k].keep
                names = [p for p, kept in zip(patients, keep, strict=True) if kept]
                p = scores.probabilities[keep, columns.start + k]
                found[name] |= _operating(asked[k].labels, p, names, scale_of(answer))
        if many > 1 and all(task.name in found for task in asked[:many]):
            names = [p for p, kept in zip(patients, asked[0].keep, strict=True) if kept]
            found[f"{question['name']}/macro"] = _macro(asked[:many], names)
    return found


def _lessons(known: ImageSet | None, number: int, question: Mapping[str, Any]) -> dict[str, Task]:
    """The tasks of a question on the images of `train` that have both classes there."""
    if known is None:
        return {}
    learnt = known.answers(number)
    taught = tasks(learnt, np.zeros((len(learnt), len(question["answers"]))), question)
    return {task.name: task for task in taught if _has_both(task)}


def other_labels(scores: Scores, card: Mapping[str, Any]) -> dict[str, Any]:
    """Of the images whose label, or whose age, no question knows, per label: how many are called
    present by a question that is asked of them.

    False positives where the label means a healthy organ; elsewhere what the model makes of a
    finding that it was never taught.
    """
    high = np.array([a["band"][1] for q in card["questions"] for a in q["answers"]])
    above = (scores.probabilities >= high) & _asked(scores.images, card)
    called = np.asarray(above.any(1))
    unknown = (scores.images.targets < 0).all(1)
    samples, found = scores.images.samples, {}
    for label in sorted({label for s in samples for label in s.labels}):
        keep = unknown & np.array([label in s.labels for s in samples])
        if keep.sum() >= LEAST:
            patients = [s.patient for s, kept in zip(samples, keep, strict=True) if kept]
            found[label] = {"n": int(keep.sum()), **share(called[keep], patients).record()}
    return found


def few(found: Mapping[str, Any]) -> bool:
    """Whether a task has too few images of a class, or patients, to say anything: six that are told
    apart have an AUC of 1, and what is drawn from one patient is always the same."""
    counts = (found["positive"], found["n"] - found["positive"], found["patients"])
    return bool(min(counts) < LEAST)


def red(name: str, found: Mapping[str, Any], floors: Mapping[str, float]) -> bool:
    """Whether a task misses its floor, does not clear the trivial bar, or has too few images.

    A task with a floor must reach it; any other must beat the trivial statistics by more than its
    interval.
    """
    if few(found):
        return True
    floor = floors.get(name)
    if floor is not None:
        return bool(found["auc"]["value"] < floor)
    return bool(found["gain"]["low"] <= 0)


def speed(bundle: Bundle, rounds: int = 20) -> dict[str, float]:
    """Median milliseconds of one encoder and one decoder pass on this machine."""
    image = np.random.default_rng(0).random((1, bundle.size, bundle.size)).astype(np.float32)
    latent = bundle.encode(image)

    def median(work: Callable[[], object]) -> float:
        times = []
        for _ in range(rounds):
            begin = time.perf_counter()
            work()
            times.append(time.perf_counter() - begin)
        return round(1000 * statistics.median(times), 2)

    return {
        "encoder": median(lambda: bundle.encode(image)),
        "decoder": median(lambda: bundle.decode(latent)),
    }
