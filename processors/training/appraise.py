"""What the commands `models evaluate` and `models probe` do: judge a table, write what was found.

Runs the bundle as the node runs it (ONNX Runtime, no torch), so that what is measured is what
is shipped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import safe_open

from processors.gate import picture_refusal
from processors.runtime import Bundle, open_bundle
from processors.training.card import write_card
from processors.training.data import (
    ImageSet,
    Unreadable,
    join,
    load,
    read_table,
    tried_images,
)
from processors.training.evaluate import (
    Verdict,
    evaluate,
    other_labels,
    score,
    speed,
    write_scores,
)
from processors.training.explained import explained
from processors.training.places import place_of
from processors.training.plan import questions_of
from processors.training.probes import probe
from processors.training.table import JUDGED, TRAINED
from processors.training.witness import Witness, train_witness
from processors.vae.normalise import Image, network_input

Sources = Sequence[tuple[Path, Path]]
WITNESS_SEED = 101  # another than any bundle's


@dataclass(frozen=True, slots=True)
class Asked:
    """One evaluation: what is judged, what the trivial bar learns from, what is written.

    split: None judges every row that does not teach; all rows where every one does.
    witness_steps: training of an independent network that is shown the strips; 0: none.
    """

    judged: Sources
    known: Sources
    split: str | None
    scores: Path | None = None
    strips: int = 0
    witness_steps: int = 0
    variants: int | None = None
    write_card: bool = False


def _judged_images(sources: Sources, splits: frozenset[str], card: Mapping[str, Any]) -> ImageSet:
    """The rows of these splits whose pictures can be read."""
    questions, size = questions_of(card["questions"]), int(card["size"])
    return join(
        [
            load(t, i, questions, size, splits, needed=JUDGED, unreadable=lambda _: None)
            for t, i in sources
        ]
    )


def _splits(table: Path) -> frozenset[str]:
    return frozenset(one.split for one in read_table(table, (), JUDGED))


def _judged(asked: Asked) -> frozenset[str]:
    """The splits that are judged."""
    if asked.split is not None:
        return frozenset({asked.split})
    there = frozenset().union(*(_splits(table) for table, _ in asked.judged))
    return there - {TRAINED} or there


def _known(asked: Asked, splits: frozenset[str], card: Mapping[str, Any]) -> ImageSet | None:
    """The images of `train` that the trivial bar learns from; None where no table has any, or has
    none but those that are judged."""
    if TRAINED in splits and asked.known == asked.judged:
        return None
    taught = [source for source in asked.known if TRAINED in _splits(source[0])]
    questions, size = questions_of(card["questions"]), int(card["size"])
    held = [load(t, i, questions, size, TRAINED, needed=JUDGED) for t, i in taught]
    return join(held) if held else None


def witnesses(bundle: Bundle, known: Sources, steps: int) -> dict[int, Witness]:
    """An independent network per question, taught on the `train` rows as the bundle was: where it
    learnt synthetic slices without a tumour, so does the witness."""
    card, questions = bundle.card, questions_of(bundle.card["questions"])
    twin = bool(card.get("twins"))
    learnt = join([load(t, i, questions, bundle.size, "train", twin=twin) for t, i in known])
    return {
        number: train_witness(learnt, number, question.classes, steps, WITNESS_SEED)
        for number, question in enumerate(questions)
    }


def _taught(judged: ImageSet, known: ImageSet) -> int:
    """How many judged images the network sees as it sees one of `train`: the same picture under
    another name, or in another table, which no table can tell."""
    seen = {image.tobytes() for image in known.inputs}
    return sum(image.tobytes() in seen for image in judged.inputs)


def _asked_of(
    bundle: Bundle, sources: Sources, splits: frozenset[str]
) -> Iterator[tuple[Verdict, Image | None]]:
    """Of every row in the tables' order: what the gate says, or why the picture cannot be read; and
    the network's input where it can, to the last digit as the node makes it."""
    for table, images in sources:
        paths = [s.path for s in read_table(table, (), JUDGED) if s.split in splits]
        for path, picture in zip(paths, tried_images(images, paths), strict=True):
            if isinstance(picture, Unreadable):
                yield Verdict(path, f"Not assessed because {picture}", read=False), None
                continue
            reason = picture_refusal(picture, bundle.card, bundle.folder, "en")
            yield Verdict(path, reason or ""), network_input(picture, bundle.size)[0]


def evaluate_bundle(
    path_or_name: str, asked: Asked, tell: Callable[[str], None] = lambda _: None
) -> dict[str, Any]:
    """Judges every image of the split; writes what was asked for; returns the evaluation.

    A row whose picture cannot be read is counted, stands in the scores without a probability, and
    is in no figure. nameless: images of which no table names the patient; taught: images that stand
    in `train` as well. tell: hears what is done now. Raises ValueError for a card without strips,
    which would lose the warning of a one-sided model, or one of rows that taught, and for a card or
    a witness without images of `train`.
    """
    if asked.write_card and not asked.strips:
        raise ValueError("a card says what the strips are worth: add --strips 40")
    bundle = open_bundle(path_or_name, "cpu")
    tell("reading the images")
    splits = _judged(asked)
    if asked.write_card and TRAINED in splits:
        raise ValueError("a card is written of rows that taught nothing, and these are of `train`")
    images = _judged_images(asked.judged, splits, bundle.card)
    known = _known(asked, splits, bundle.card)
    asking = bool(asked.strips and asked.witness_steps)
    if known is None and (asked.write_card or asking):
        raise ValueError(
            "no table has rows of the split 'train' beside those judged, which a card and the "
            "network that judges the strips need: name them by --train-table and --train-images"
        )
    tell("asking the gate and the model")
    verdicts: list[Verdict] = []

    def inputs() -> Iterator[Image]:
        for verdict, seen in _asked_of(bundle, asked.judged, splits):
            verdicts.append(verdict)
            if seen is not None:
                yield seen

    scores = score(bundle, images, inputs())
    if asked.scores:
        write_scores(scores, bundle.card, verdicts, asked.scores)
    if asking:
        tell("training the network that judges the strips")
    shown_to = witnesses(bundle, asked.known, asked.witness_steps) if asking else None
    tell("measuring")
    measured = evaluate(bundle, scores, known, tell)
    if asked.strips:
        tell("testing the strips")
    found: dict[str, Any] = {
        "bundle": bundle.metadata["name"],
        "sha256": bundle.algorithm.sha256,
        "split": ", ".join(sorted(splits)),
        "sets": [table.name for table, _ in asked.judged],
        "images": len(images.samples),
        "nameless": sum(sample.nameless for sample in images.samples),
        "taught": _taught(images, known) if known else None,
        "answers": measured,
        "other_labels_called_present": other_labels(scores, bundle.card),
        "refused_by_gate": sum(bool(one.refused) and one.read for one in verdicts),
        "unreadable": sum(not one.read for one in verdicts),
        "explanations": explained(bundle, asked.judged, splits, asked.strips, shown_to),
        "variants_tried": asked.variants,
        "ms": speed(bundle),
        "parameters": _parameters(bundle.folder),
    }
    if asked.write_card:
        write_card(bundle, found)
    return found


def probe_bundle(
    path_or_name: str,
    judged: Sources,
    known: Sources,
    split: str,
    most: int,
    steps: int,
    tell: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """What the bundle's pictures and strips are worth; trains an independent network first.

    tell: hears what is done now.
    """
    bundle = open_bundle(path_or_name, "cpu")
    tell("reading the images")
    questions, size = questions_of(bundle.card["questions"]), bundle.size
    boxes = place_of({"boxes": 1.0}, size)
    images = join([load(t, i, questions, size, split, boxes) for t, i in judged])
    tell("training the independent network")
    taught = witnesses(bundle, known, steps)
    tell("asking both")
    return {"split": split, **probe(bundle, images, taught, most)}


def _parameters(folder: Path) -> int:
    with safe_open(str(folder / "models" / "model.safetensors"), framework="np") as weights:
        names = [n for n in weights.keys() if "running" not in n and "tracked" not in n]  # noqa: SIM118
        return int(sum(weights.get_tensor(n).size for n in names))
