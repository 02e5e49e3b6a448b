"""Reads image sets in the layouts others publish: MedMNIST's npz and MedIMeta's folders.

In: a file or folder and the network's size. Out: an ImageSet of the `train` part whose one question
is the set's own (the first task of a MedIMeta folder), for pre-training; nothing is evaluated on
them. Colour becomes grey. Never: val or test images; labels that hold more than one answer.
Sources: Yang et al. (MedMNIST v2), arXiv:2110.14795; Woerner et al. (MedIMeta), arXiv:2404.16000.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Picture
from ruamel.yaml import YAML

from processors.training.data import UNKNOWN, ImageSet, Question, Sample
from processors.training.trivial import TRIVIAL
from processors.vae.normalise import Image, network_input

_Rows = Iterator[tuple[str, Image, int]]  # name, grey image 0..1, number of its answer or UNKNOWN


def read_layout(source: Path, size: int) -> tuple[ImageSet, Question]:
    """The set and its question.

    Raises ValueError for what is neither layout or has no training image.
    """
    if source.suffix == ".npz":
        rows, answers = _medmnist(source)
    elif (source / "info.yaml").is_file():
        rows, answers = _medimeta(source)
    else:
        raise ValueError(f"{source} is neither a MedMNIST npz nor a MedIMeta folder (info.yaml)")
    samples, inputs = [], []
    for name, image, target in rows:
        samples.append(Sample(f"{source.stem}/{name}", "train", name, (target,)))
        inputs.append(np.rint(network_input(image, size)[0] * 255).astype(np.uint8))
    if not samples:
        raise ValueError(f"{source} has no training image")
    nowhere = np.zeros((len(samples), size, size), bool)
    trivial = np.zeros((len(samples), TRIVIAL), np.float32)
    question = Question(source.stem, 0, 200, answers, tuple((a,) for a in answers))
    return ImageSet(tuple(samples), np.stack(inputs), trivial, nowhere), question


def _grey(pixels: NDArray[np.uint8]) -> Image:
    grey = Picture.fromarray(pixels).convert("L")
    return np.asarray(grey, dtype=np.float32) / np.float32(255)


def _target(label: NDArray[np.generic]) -> int:
    """One number per image; a row of several yes-or-no labels has no single answer."""
    return int(label.item()) if label.size == 1 else UNKNOWN


def _medmnist(file: Path) -> tuple[_Rows, tuple[str, ...]]:
    try:
        with np.load(file, allow_pickle=False) as held:
            images, labels = held["train_images"], held["train_labels"]
    except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
        raise ValueError(f"{file} is no MedMNIST file: {error}") from error
    numbers = [_target(label) for label in np.asarray(labels)]
    rows = ((str(i), _grey(image), numbers[i]) for i, image in enumerate(images))
    return rows, tuple(str(n) for n in range(max(numbers) + 1))


def _medimeta(folder: Path) -> tuple[_Rows, tuple[str, ...]]:
    """info.yaml names the tasks; splits/train.txt the images; task_labels/NAME.npy the answers."""
    info = YAML(typ="safe", pure=True).load((folder / "info.yaml").read_text(encoding="utf-8"))
    task = info["tasks"][0]
    labels = np.load(folder / "task_labels" / f"{task['task_name']}.npy", allow_pickle=False)
    listed = (folder / "splits" / "train.txt").read_text(encoding="utf-8").split()
    numbers = [int(Path(name).stem) for name in listed]

    def rows() -> _Rows:
        for number in numbers:
            file = folder / "images" / f"{number:06d}.tiff"
            yield str(number), _grey(np.asarray(Picture.open(file))), _target(labels[number])

    answers = task["labels"]
    named = [answers[key] for key in sorted(answers)] if isinstance(answers, dict) else answers
    return rows(), tuple(str(name) for name in named)
