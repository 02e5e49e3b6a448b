"""What the denoising decoder knows of what it cannot see, and what the answers lose by it.

A quarter of each picture is hidden under rectangles. Structural similarity *in the holes alone* of
what the bundle puts there, beside Telea's classical inpainting and the bare grey on the same holes;
and, per task, the AUC that is lost when the bundle sees the spoilt picture in place of the whole,
or the picture that it filled itself.
In: a bundle, labelled images. Out: figures with 95 % intervals by patient.
Never: an image as one fixed set of holes would suit it: they follow from its name.

Training hides less and otherwise: on most images one to three rectangles of the same sides, of a
random grey or of noise (`processors.vae.corruption`). Here there are as many as a quarter takes, of
the picture's own mean grey, which is the hardest to tell from tissue.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from skimage.metrics import structural_similarity

from processors.explain.inpainting import filled, smooth
from processors.runtime import Bundle
from processors.training.data import ImageSet
from processors.training.evaluate import Task, score, tasks
from processors.training.measure import area, auc, estimate
from processors.training.places import lot
from processors.training.studies.figures import mean, patients_of, ratio
from processors.vae.latent import Array

SHARE = 0.25  # of the pixels
SIDES = (0.10, 0.25)  # of the picture's side
RADIUS = 3  # pixels around a pixel from which Telea fills it
Bytes = NDArray[np.uint8]
Mask = NDArray[np.bool_]


def holes(path: str, size: int) -> Mask:
    """What is hidden of the image of this name, (size, size): boxes until SHARE is covered."""
    generator = np.random.default_rng(int(lot(path) * 2**32))
    hidden = np.zeros((size, size), bool)
    shortest, longest = int(np.ceil(SIDES[0] * size)), int(SIDES[1] * size)
    while hidden.mean() < SHARE:
        high, wide = (int(side) for side in generator.integers(shortest, longest + 1, 2))
        top, left = (int(generator.integers(0, size - side + 1)) for side in (high, wide))
        hidden[top : top + high, left : left + wide] = True
    return hidden


def erase(pixels: Bytes, hidden: Mask) -> Bytes:
    """The holes filled with the mean grey of what is still seen, uint8."""
    grey = np.rint(pixels[~hidden].mean()).astype(np.uint8)
    return np.where(hidden, grey, pixels)


def telea(spoilt: Bytes, hidden: Mask) -> Bytes:
    """Filled from the rim inwards (Telea, J Graphics Tools 9:23, 2004; OpenCV), uint8."""
    made = cv2.inpaint(spoilt, hidden.astype(np.uint8), RADIUS, cv2.INPAINT_TELEA)
    return np.asarray(made, dtype=np.uint8)


def fillings(bundle: Bundle, spoilt: Bytes, hidden: Mask) -> dict[str, Array]:
    """Every way of filling the holes of one network input, floats 0..1 (size, size).

    `bundle` is told where the holes are and keeps what was seen, as Telea does; `decoded` is the
    decoder's whole picture of the spoilt one; `smooth` fills from the rim without any network.
    """
    seen = _floats(spoilt)
    return {
        "bundle": filled(bundle, seen, hidden),
        "decoded": bundle.decode(bundle.encode(seen[None]))[0],
        "smooth": smooth(seen, hidden),
        "telea": _floats(telea(spoilt, hidden)),
        "grey": seen,
    }


def _floats(pixels: Bytes) -> Array:
    return np.asarray(pixels, dtype=np.float32) / np.float32(255)


def similarity(whole: Array, filled: Array, hidden: Mask) -> float:
    """Mean structural similarity over the hidden pixels (Wang et al. 2004, 7 x 7 window)."""
    _, local = structural_similarity(whole, filled, data_range=1.0, full=True)
    return float(local[hidden].mean())


def erased(bundle: Bundle, images: ImageSet) -> dict[str, Any]:
    """Both figures. Raises ValueError for fewer than two images: there is no interval."""
    if len(images.samples) < 2:
        raise ValueError("erasing needs at least two images")
    hidden = np.stack([holes(sample.path, bundle.size) for sample in images.samples])
    spoilt = np.stack([erase(*pair) for pair in zip(images.inputs, hidden, strict=True)])
    mended = np.stack([_mended(bundle, *pair) for pair in zip(spoilt, hidden, strict=True)])
    return {
        "n": len(images.samples),
        "hidden": round(float(hidden.mean()), 4),
        "ssim": _in_holes(bundle, images, spoilt, hidden),
        "auc": _lost(bundle, images, replace(images, inputs=spoilt)),
        "auc_filled": _lost(bundle, images, replace(images, inputs=mended)),
    }


def _mended(bundle: Bundle, spoilt: Bytes, hidden: Mask) -> Bytes:
    return np.rint(filled(bundle, _floats(spoilt), hidden) * 255).astype(np.uint8)


def _in_holes(bundle: Bundle, images: ImageSet, spoilt: Bytes, hidden: Mask) -> dict[str, Any]:
    """unspoilt: the same pixels decoded with nothing hidden, the most that this decoder draws."""
    rows = []
    for whole, seen, mask in zip(images.inputs, spoilt, hidden, strict=True):
        image = _floats(whole)
        made = fillings(bundle, seen, mask)
        made["unspoilt"] = bundle.decode(bundle.encode(image[None]))[0]
        rows.append({k: similarity(image, v, mask) for k, v in made.items()})
    held = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    return {
        **{name: mean(values, images.samples) for name, values in held.items()},
        "bundle less telea": mean(held["bundle"] - held["telea"], images.samples),
        "bundle less smooth": mean(held["bundle"] - held["smooth"], images.samples),
        "bundle over telea": ratio(held["bundle"], held["telea"], images.samples),
    }


def _lost(bundle: Bundle, whole: ImageSet, spoilt: ImageSet) -> dict[str, Any]:
    """Per task of the bundle's questions; nothing of a task that has one class alone."""
    before, after = score(bundle, whole).logits, score(bundle, spoilt).logits
    found: dict[str, Any] = {}
    first = 0
    for q, question in enumerate(bundle.card["questions"]):
        part = slice(first, first + len(question["answers"]))
        first = part.stop
        pairs = (tasks(whole.answers(q), logits[:, part], question) for logits in (before, after))
        for ours, theirs in zip(*pairs, strict=True):
            if len(set(ours.labels.tolist())) == 2:
                found[ours.name] = _task(ours, theirs, whole)
    return found


def _task(whole: Task, spoilt: Task, images: ImageSet) -> Mapping[str, Any]:
    labels, patients = whole.labels, patients_of(images.where(whole.keep).samples)

    def lost(i: NDArray[np.intp]) -> float:
        return area(labels[i], whole.scores[i]) - area(labels[i], spoilt.scores[i])

    return {
        "n": len(labels),
        "positive": int(labels.sum()),
        "whole": auc(labels, whole.scores, patients).record(),
        "erased": auc(labels, spoilt.scores, patients).record(),
        "lost": estimate(lost, patients, labels).record(),
    }
