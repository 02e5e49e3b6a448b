"""What a bundle's pictures and explanations are worth, on images that chose nothing.

Reconstruction (structural similarity); pointing (does the strongest evidence lie in the box); use
of the finding (what is lost when the box is greyed, beside an equal box elsewhere in the field);
and the strips: do they flip the model's own answer when read again, an independent network's, and
does the control leave it; what random cells of equal change do; how much more the class direction
moves the answer than random directions of equal length.
In: a bundle, labelled images. Out: numbers with 95 % intervals, machine-readable.
Never: a choice made by what is measured here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from skimage.metrics import structural_similarity

from processors.explain.field import FIELDS
from processors.explain.subject import Film, Subject, donors_of, in_organ, organ_of, scale_of
from processors.explain.traversal import changes, control, less, painted
from processors.runtime import Bundle
from processors.training.data import ImageSet, Sample
from processors.training.evaluate import score
from processors.training.measure import area, estimate, share
from processors.training.places import lot
from processors.training.twins import elsewhere
from processors.training.witness import Witness
from processors.vae.latent import Array, Row, evidence, margin, probability, shares, traverse
from processors.vae.normalise import Greys, network_input

DIRECTIONS = 4  # random ones, per image
Numbers = NDArray[np.float64]
SAME = Greys(np.array([0.0, 1.0]), np.array([0.0, 1.0]))  # frames stay in the network's greys


@dataclass(frozen=True, slots=True)
class Positive:
    """One image that is called what it is labelled, with its box mask if the table has one."""

    sample: Sample
    subject: Subject
    place: tuple[int, int]
    box: NDArray[np.bool_]


def _figure(values: Sequence[float], samples: Sequence[Sample]) -> dict[str, Any]:
    """Mean with its interval, by patient; images without a value (nan) are left out."""
    known = ~np.isnan(np.array(values, dtype=np.float64))
    held = np.array(values, dtype=np.float64)[known]
    if len(held) < 2:
        return {"n": len(held)}
    names = [s.patient for s, has in zip(samples, known, strict=True) if has]
    if set(held.tolist()) <= {0.0, 1.0}:
        return {"n": len(held), **share(held == 1, names).record()}
    return {"n": len(held), **estimate(lambda i: float(held[i].mean()), names).record()}


def _film(bundle: Bundle, sample: Sample, network: Array) -> Film:
    """The image at the network's size, in the network's greys."""
    return Film(sample.path, network, SAME, network, bundle.encode(network[None])[0])


def positives(bundle: Bundle, images: ImageSet, most: int) -> Iterator[Positive]:
    """Of each answer at most `most` images that are called present and are."""
    card = bundle.card
    for q, question in enumerate(card["questions"]):
        for k, answer in enumerate(question["answers"]):
            part, count, donors = images.where(images.answers(q) == k), 0, donors_of(bundle, q, k)
            row, scale = bundle.row(q, k), scale_of(answer)
            for i, sample in enumerate(part.samples):
                film = _film(bundle, sample, part.inputs[i].astype(np.float32) / np.float32(255))
                if count == most:
                    break
                if probability(film.latent, row) < scale.band[1]:
                    continue
                count += 1
                inside = in_organ(film, row, organ_of(film, card["field"]))
                subject = Subject(answer["label"], film, bundle, row, scale, *donors, inside)
                yield Positive(sample, subject, (q, k), part.places[i])


def reconstruction(bundle: Bundle, images: ImageSet) -> dict[str, Any]:
    """Structural similarity of decoded and seen image (Wang et al. 2004, 7 x 7 window)."""
    found = []
    for pixels in images.inputs:
        seen = pixels.astype(np.float32) / np.float32(255)
        decoded = bundle.decode(bundle.encode(seen[None]))[0]
        found.append(float(structural_similarity(seen, decoded, data_range=1.0)))
    return _figure(found, images.samples)


def pointing(found: Sequence[Positive]) -> dict[str, Any]:
    """How often the strongest cell of the evidence lies at the box, beside the image's centre."""
    boxed = [p for p in found if p.box.any()]
    hits, centre = [], []
    for one in boxed:
        cells = evidence(one.subject.film.latent, one.subject.row)
        factor = one.box.shape[0] // cells.shape[0]
        y, x = np.unravel_index(int(cells.argmax()), cells.shape)
        rows, columns = (slice(int(v) * factor, (int(v) + 1) * factor) for v in (y, x))
        hits.append(float(one.box[rows, columns].any()))
        middle = one.box.shape[0] // 2
        centre.append(float(one.box[middle, middle]))
    samples = [p.sample for p in boxed]
    return {"evidence": _figure(hits, samples), "centre": _figure(centre, samples)}


def _greyed(image: Array, mask: NDArray[np.bool_]) -> Array:
    """The mask filled with the mean grey of its rim."""
    rim = np.zeros_like(mask)
    rim[1:-1, 1:-1] = (mask[:-2, 1:-1] | mask[2:, 1:-1] | mask[1:-1, :-2] | mask[1:-1, 2:]) & ~mask[
        1:-1, 1:-1
    ]
    level = float(image[rim].mean()) if rim.any() else float(image.mean())
    return np.where(mask, np.float32(level), image)


def use_of_boxes(bundle: Bundle, images: ImageSet) -> dict[str, Any]:
    """AUC lost when the box is greyed and when an equal box elsewhere is, mean over the answers of
    the first question; share of the images called right that keep their answer without the box.
    Nothing where boxed images all have the same answer: there is no AUC, and no other to give."""
    generator = np.random.default_rng(0)
    known = images.answers(0) >= 0  # what a question is not asked of is no negative of it
    boxed = images.where(known & images.places.any((1, 2)))
    if not 0 < (boxed.answers(0) == 0).sum() < len(boxed.samples):
        return {}
    field = FIELDS.get(str(bundle.card["field"]))
    shown: dict[str, list[Array]] = {"whole": [], "box": [], "elsewhere": []}
    for pixels, box in zip(boxed.inputs, boxed.places, strict=True):
        image = pixels.astype(np.float32) / np.float32(255)
        inside = field(image) if field else None
        free = inside if inside is not None else np.ones(box.shape, bool)
        shown["whole"].append(image)
        shown["box"].append(_greyed(image, box))
        shown["elsewhere"].append(_greyed(image, elsewhere(box, free, generator)))
    logits = {name: _margins(bundle, boxed, pictures) for name, pictures in shown.items()}
    targets, patients = boxed.answers(0), [s.patient for s in boxed.samples]
    many = len(bundle.card["questions"][0]["answers"])

    def lost(name: str, i: NDArray[np.intp]) -> float:
        gaps = [
            area(labels, logits["whole"][i, k]) - area(labels, logits[name][i, k])
            for k in range(many)
            if 0 < (labels := (targets[i] == k).astype(np.int64)).mean() < 1
        ]
        return float(np.mean(gaps))

    right = logits["whole"].argmax(1) == targets
    keeps = (logits["box"].argmax(1) == targets)[right]
    kept = [s for s, good in zip(boxed.samples, right, strict=True) if good]
    first = (targets == 0).astype(np.int64)
    return {
        "n": len(targets),
        "auc_lost_box": estimate(lambda i: lost("box", i), patients, first).record(),
        "auc_lost_elsewhere": estimate(lambda i: lost("elsewhere", i), patients, first).record(),
        "keeps_answer": _figure(keeps.astype(float).tolist(), kept),
    }


def _margins(bundle: Bundle, images: ImageSet, pictures: Sequence[Array]) -> Numbers:
    """(n, answers of the first question) log-odds of these pictures in place of the images."""
    inputs = np.rint(np.stack(pictures) * 255).astype(np.uint8)
    changed = ImageSet(images.samples, inputs, images.trivial, images.places)
    p = score(bundle, changed).probabilities[:, : len(bundle.card["questions"][0]["answers"])]
    return np.asarray(np.log(p) - np.log1p(-p))


def specificity(subject: Subject, generator: np.random.Generator) -> float:
    """|change of the margin| along the class direction over that along random ones, as long.

    Decoded, added to the image and encoded again each time; random directions are orthogonal to
    the question's own.
    """
    film, row = subject.film, subject.row
    own = margin(film.latent, row)
    step = traverse(film.latent, row, subject.scale.goal) - film.latent
    steps = [step, *(_random_like(step, row, generator) for _ in range(DIRECTIONS))]
    moved = changes(subject, [film.latent + s for s in steps])
    frames = np.stack([painted(film, change) for change in moved])
    answers = np.clip(subject.judge(frames), 1e-7, 1 - 1e-7)
    gaps = np.abs(np.log(answers / (1 - answers)) - own)
    return float(gaps[0] / max(float(gaps[1:].mean()), 1e-3))


def _random_like(step: Array, row: Row, generator: np.random.Generator) -> Array:
    """A random latent step in the same cells, of equal length, without the question's rows."""
    cells = np.abs(step).sum(0, keepdims=True) > 0
    drawn = generator.standard_normal(step.shape).astype(np.float32) * cells
    basis = np.linalg.qr(row.weight.T)[0].astype(np.float32)
    drawn = drawn - np.einsum("ryx,cr->cyx", np.einsum("cyx,cr->ryx", drawn, basis), basis)
    length = float(np.linalg.norm(step)) / max(float(np.linalg.norm(drawn)), 1e-6)
    return np.asarray(drawn * length, dtype=np.float32)


def drawn_by(name: str) -> np.random.Generator:
    """Chance that depends on the image alone, and is another for every image."""
    return np.random.default_rng(int(lot(name) * 2**53))


def witnessed(subject: Subject, witness: Witness, frames: NDArray[np.uint8]) -> list[int]:
    """What the witness calls the film and each frame (n, rows, columns), equalised like films."""
    size, film = subject.bundle.size, subject.film
    shown = [film.picture, *(frame.astype(np.float32) / np.float32(255) for frame in frames)]
    return [int(k) for k in witness(np.stack([network_input(p, size)[0] for p in shown])).argmax(1)]


def at_random(subject: Subject, amount: float, generator: np.random.Generator) -> NDArray[np.uint8]:
    """Random cells, each with its neighbours, from an average without the finding, until the
    picture changes as much as `amount` (mean absolute grey)."""
    film = subject.film
    donor = subject.donors[int(generator.integers(len(subject.donors)))]
    grid = film.latent.shape[-1]
    taken, frame = np.zeros((grid, grid), bool), painted(film, np.zeros_like(film.network))
    for cell in generator.permutation(grid * grid):
        y, x = divmod(int(cell), grid)
        taken[max(0, y - 1) : y + 2, max(0, x - 1) : x + 2] = True
        mixed = np.where(taken[None], donor, film.latent)
        frame = painted(film, changes(subject, [mixed])[0])
        if float(np.abs(frame / 255 - film.picture).mean()) >= amount:
            break
    return frame


def strips(found: Sequence[Positive], witness: dict[int, Witness]) -> dict[str, Any]:
    """Per answer: flips of the model and of the witness, control, random cells, specificity.

    Nothing of an answer for which the bundle ships no averages: it has no strips.
    """
    results: dict[str, Any] = {}
    able = [p for p in found if len(p.subject.donors) and len(p.subject.doubles)]
    for place in dict.fromkeys(p.place for p in able):
        mine = [p for p in able if p.place == place]
        question = mine[0].subject.bundle.card["questions"][place[0]]
        name = f"{question['name']}/{mine[0].subject.label}"
        rows = [_strip(p, witness[place[0]]) for p in mine]
        samples = [p.sample for p in mine]
        results[name] = {key: _figure([row[key] for row in rows], samples) for key in rows[0]}
    return results


def _strip(one: Positive, witness: Witness) -> dict[str, float]:
    subject, generator = one.subject, drawn_by(one.sample.path)
    film, answer = subject.film, one.place[1]
    exchanged, change = less(subject)
    frame = painted(film, change)
    undone = painted(film, control(subject, exchanged.taken))
    amount = float(np.abs(frame / 255 - film.picture).mean())
    other = at_random(subject, amount, generator)
    last, kept, by_chance = subject.judge(np.stack([frame, undone, other]))
    told = witnessed(subject, witness, np.stack([frame, undone, other]))
    called = (np.array(told) != answer).astype(float)
    if called[0]:  # a witness that never saw the finding cannot lose it
        called[:] = np.nan
    low = subject.scale.band[0]
    whole = evidence(film.latent, subject.row)
    return {
        "own_flips": float(last < low),
        "own_control_flips": float(kept < low),
        "own_random_flips": float(by_chance < low),
        "witness_flips": float(called[1]),
        "witness_control_flips": float(called[2]),
        "witness_random_flips": float(called[3]),
        "witness_gain_over_random": float(called[1] - called[3]),
        "cells": float(exchanged.taken.mean()),
        "similarity": float(
            structural_similarity(film.picture, frame.astype(np.float32) / 255, data_range=1.0)
        ),
        "specificity": specificity(subject, generator),
        "strongest_cell": float(shares(whole).max()),
    }


def probe(
    bundle: Bundle, images: ImageSet, witness: dict[int, Witness], most: int
) -> dict[str, Any]:
    """Everything; images with boxes or masks as places, a witness per question."""
    found = list(positives(bundle, images, most))
    return {
        "bundle": bundle.name,
        "sha256": bundle.algorithm.sha256,
        "ssim": reconstruction(bundle, images),
        "pointing": pointing(found),
        "box_greyed": use_of_boxes(bundle, images),
        "strips": strips(found, witness),
    }
