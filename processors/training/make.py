"""From labelled images to a bundle: fit, calibrate, average donors, write.

In: a plan, tables with images, a working folder for checkpoints. Out: a bundle folder that the
runtime opens; its card is written by the evaluation that follows. Reads `train` alone.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import monai
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from processors.gate._card import Terms, terms
from processors.runtime import SHIPPED
from processors.training import fit
from processors.training.bundle import Pieces, write_bundle
from processors.training.calibrate import Calibration, calibrate
from processors.training.crew import ALONE, Crew
from processors.training.data import (
    ImageSet,
    Sample,
    is_tuning,
    join,
    licences_of,
    load,
    read_table,
)
from processors.training.donors import average, noise
from processors.training.places import place_of
from processors.training.plan import Plan, PlanError
from processors.training.privacy import harmless
from processors.training.stopping import Best
from processors.training.table import TRAINED
from processors.vae.network import SIZES, Shape, SpatialVAE

MOST_DONORS = 48  # averages per class: enough to match, small to ship
NONE = "none"  # the class "no finding" in the names of donors
CHECKPOINT_EVERY = 250
Tell = Callable[[int, int, Mapping[str, float]], None]  # step, of how many, terms of the loss
Sources = Sequence[tuple[Path, Path]]


def load_training(sources: Sources, plan: Plan) -> tuple[ImageSet, ImageSet]:
    """The films that fit and the films that choose and calibrate; patients are in one of them.

    PlanError, before an image is read, when one of the two lacks a class.
    """
    size = int(plan.raw["size"])
    place = place_of(plan.raw.get("place", {}), size)
    twin = bool(plan.raw.get("twins"))
    rows = [s for t, _ in sources for s in read_table(t, plan.questions) if s.split == TRAINED]
    if rows:
        _enough(rows, plan, made=(NONE,) if twin else ())
    training = join([load(t, i, plan.questions, size, TRAINED, place, twin) for t, i in sources])
    _enough(training.samples, plan)
    tuning = np.array([is_tuning(s.patient) for s in training.samples])
    return training.where(~tuning), training.where(tuning)


def _enough(samples: Sequence[Sample], plan: Plan, made: Collection[str] = ()) -> None:
    """PlanError for a class that no patient fits or none calibrates. made: classes of which images
    are made when they are read."""
    for number, question in enumerate(plan.questions):
        for target, label in enumerate([*question.labels, NONE][: question.classes]):
            there = {is_tuning(s.patient) for s in samples if s.targets[number] == target}
            if len(there) < 2 and label not in made:
                what = f"{question.name}/{label}"
                raise PlanError(f"Too few patients of {what}: some must fit, others calibrate.")


def recipe_of(plan: Plan) -> fit.Recipe:
    given: dict[str, Any] = dict(plan.raw["recipe"])
    if "shares" in given:
        given["shares"] = tuple(given["shares"])
    unknown = set(given) - {f.name for f in fields(fit.Recipe)}
    if unknown:
        raise PlanError(f"The recipe has no field {sorted(unknown)[0]!r}.")
    return fit.Recipe(**given)


def _widths(given: str | Mapping[str, int]) -> tuple[int, int]:
    if not isinstance(given, str):
        return int(given["narrow"]), int(given["wide"])
    if given not in SIZES:
        raise PlanError(f"The widths are one of {', '.join(SIZES)}, or narrow and wide.")
    return SIZES[given]


def shape_of(plan: Plan) -> Shape:
    narrow, wide = _widths(plan.raw["widths"])
    channels = int(plan.raw["channels"])
    size = int(plan.raw["size"])
    frame = int(plan.raw.get("frame", 2))
    questions = tuple((len(q.answers), q.none) for q in plan.questions)
    return Shape(questions, size, channels, narrow, wide, frame)


@dataclass(frozen=True, slots=True)
class Setting:
    """Around a training: the checkpoint's folder, weights to start from, who shares the work.

    patience: checkpoints without a better loss on the tuning part after which it stops, keeping
    the best; 0: never, since by the last step the rate has fallen to nothing.
    """

    work: Path
    learnt: Mapping[str, Tensor] | None = None
    crew: Crew = ALONE
    patience: int = 0


def fit_network(
    parts: tuple[ImageSet, ImageSet], plan: Plan, setting: Setting, tell: Tell
) -> SpatialVAE:
    """The averaged network; continues from work/checkpoint.pt when it is there.

    parts: images that fit, images that tune. Raises ValueError where several processes would have
    to agree when to stop early, and for the checkpoint of another training.
    """
    images, tuning = parts
    if setting.patience and setting.crew.count > 1:
        raise ValueError("early stopping is for one process: leave patience out")
    recipe, file = recipe_of(plan), setting.work / "checkpoint.pt"
    run = fit.start(shape_of(plan), recipe, setting.learnt, setting.crew.device)
    run.lesson = fit.lesson(images, recipe, setting.learnt)
    if file.exists():
        fit.resume(run, file)
    best = Best(setting.patience)

    def each(now: fit.Run, terms: dict[str, float]) -> bool:
        tell(now.step, recipe.steps, terms)
        if now.step % CHECKPOINT_EVERY and now.step < recipe.steps:
            return True
        if not setting.crew.rank:
            fit.save(now, file)
        return not setting.patience or best.goes_on(now.mean, tuning)

    fit.train(run, images, recipe, each, setting.crew)
    return best.network(run.mean).cpu().eval()


def calibrations(model: SpatialVAE, tuning: ImageSet) -> list[Calibration]:
    """One per question, from images that did not fit."""
    totals, found = fit.totals(model, tuning).astype(np.float64), []
    for number, (_, none) in enumerate(model.shape.questions):
        known = tuning.answers(number) >= 0
        own = totals[known][:, fit.rows_of(model.shape, number)]
        found.append(calibrate(own, tuning.answers(number)[known], none))
    return found


def _images(images: ImageSet) -> NDArray[np.float32]:
    return images.inputs.astype(np.float32) / np.float32(255)


def _safe(model: SpatialVAE, latents: NDArray[np.float32], known: NDArray[np.float32],
          strangers: NDArray[np.float32]) -> NDArray[np.bool_]:  # fmt: skip
    """Which donors, decoded, give no fitted film away; all when there is no stranger to ask."""
    if not len(strangers):
        return np.ones(len(latents), bool)
    with torch.no_grad():
        decoded = model.decode(torch.from_numpy(latents))[:, 0].numpy()
    return harmless(decoded, known, strangers)


def telling(
    model: SpatialVAE, latents: NDArray[np.float32], found: Calibration, rows: slice, target: int
) -> NDArray[np.bool_]:
    """Which donors of a class, decoded and read again, clearly have its finding and no other; all
    where none does. What a blur is called must not speak for the class it was averaged from.
    """
    if not len(latents):
        return np.zeros(0, bool)
    with torch.no_grad():
        again, _ = model.encode(model.decode(torch.from_numpy(latents)))
        totals = torch.logsumexp(model.cells(again)[:, rows], 2).numpy().astype(np.float64)
    said, low, high = found.probabilities(totals), *np.array([o.band for o in found.operating]).T
    good = said < low
    if target < said.shape[1]:
        good[:, target] = said[:, target] >= high[target]
    clear = good.all(1)
    return np.asarray(clear if clear.any() else np.ones(len(latents), bool))


def donor_arrays(
    model: SpatialVAE,
    parts: tuple[ImageSet, ImageSet],
    plan: Plan,
    found: Sequence[Calibration],
) -> dict[str, NDArray[Any]]:
    """latents_, patients_ and noise_ of every class of every question."""
    images, tuning = parts
    arrays: dict[str, NDArray[Any]] = {}
    weight = model.head.weight.detach().flatten(1).numpy()
    for number, question in enumerate(plan.questions):
        rows = weight[fit.rows_of(model.shape, number)]
        asked = images.answers(number)
        known = _images(images.where(asked >= 0))
        strangers = _images(tuning.where(tuning.answers(number) >= 0))
        for target, label in enumerate([*question.labels, NONE][: question.classes]):
            part = images.where(asked == target)
            means, spreads = fit.encode_both(model, part.inputs)
            patients = [s.patient for s in part.samples]
            answer = target if target < len(rows) else None
            latents, counts = average(means, patients, rows, answer)
            clear = telling(model, latents, found[number], fit.rows_of(model.shape, number), target)
            latents, counts = latents[clear][:MOST_DONORS], counts[clear][:MOST_DONORS]
            safe = _safe(model, latents, known, strangers)
            name = f"{question.name}_{label}"
            arrays[f"latents_{name}"] = latents[safe].astype(np.float16)
            arrays[f"patients_{name}"] = counts[safe]
            arrays[f"noise_{name}"] = noise(spreads).astype(np.float16)
    return arrays


def metadata(
    plan: Plan, found: Sequence[Calibration], images: ImageSet, seen: Sequence[str] = ()
) -> dict[str, Any]:
    """MONAI's fields and, under "dictamen", all that the processor needs to know.

    seen: licences of what the network saw before this training.
    """
    raw, size = plan.raw, int(plan.raw["size"])
    licences = sorted({*licences_of(images), *seen})
    image = {
        "type": "image",
        "format": "magnitude",
        "modality": raw.get("modality", ""),
        "num_channels": 1,
        "spatial_shape": [size, size],
        "dtype": "float32",
        "value_range": [0, 1],
        "is_patch_data": False,
        "channel_def": {"0": "image"},
    }
    named = [f"{label} ({q.name})" for q in plan.questions for label in q.labels]
    labels = {str(i): name for i, name in enumerate(named)}
    answer = {
        "type": "probabilities",
        "format": "classification",
        "num_channels": len(labels),
        "spatial_shape": [1],
        "dtype": "float32",
        "value_range": [0, 1],
        "is_patch_data": False,
        "channel_def": labels,
    }
    return {
        "schema": "https://github.com/Project-MONAI/MONAI-extra-test-data/releases/download/"
        "0.8.1/meta_schema_20240725.json",
        "version": raw["version"],
        "changelog": raw.get("changelog", {raw["version"]: "first version"}),
        "monai_version": monai.__version__,
        "pytorch_version": torch.__version__.split("+")[0],
        "numpy_version": np.__version__,
        "required_packages_version": {},
        "name": raw["name"],
        "task": raw.get("task", ""),
        "description": raw.get("description", ""),
        "authorship": "The dictamen contributors",
        "copyright": "Apache-2.0 (weights and code); data: see data_source",
        "data_source": "; ".join(licences),
        "data_type": "dicom, png, jpeg",
        "intended_use": "Preliminary results for a radiologist. Not for diagnostic use.",
        "network_data_format": {"inputs": {"image": image}, "outputs": {"pred": answer}},
        "dictamen": _card(plan, found, licences) | _unnamed(images),
    }


def _card(plan: Plan, found: Sequence[Calibration], licences: Sequence[str]) -> dict[str, Any]:
    raw, shape = plan.raw, shape_of(plan)
    return {
        "kind": "vae",
        "size": raw["size"],
        "channels": raw["channels"],
        "widths": {"narrow": shape.narrow, "wide": shape.wide},
        "frame": raw.get("frame", 2),
        "field": raw.get("field", ""),
        "normalisation": "square resize by area, then histogram equalisation (256 bins)",
        "labels": raw["labels"],
        "questions": [
            calibrated(entry, one) for entry, one in zip(raw["questions"], found, strict=True)
        ],
        "gate": raw.get("gate", {}),
        "limits": raw.get("limits", {}),
        "notes": raw.get("notes", []),
        "place": raw.get("place", {}),
        "twins": bool(raw.get("twins")),
        "licences": list(licences),
        "recipe": asdict(recipe_of(plan)),
        "evaluation": None,
    }


def _unnamed(images: ImageSet) -> dict[str, int]:
    """How many images taught, and of how many of them the table names no patient."""
    nameless = sum(sample.nameless for sample in images.samples)
    return {"images": len(images.samples), "nameless": nameless}


def calibrated(entry: Mapping[str, Any], found: Calibration) -> dict[str, Any]:
    """A question of the plan with its calibration, as it stands in the card."""
    answers = [
        {
            **answer,
            "offset": round(offset, 5),
            "threshold": _said(point.threshold),
            "band": [_said(end) for end in point.band],
            "clear": round(point.clear, 5),
            "tuned": list(point.tuned),
        }
        for answer, offset, point in zip(
            entry["answers"], found.offsets, found.operating, strict=True
        )
    ]
    return {
        **entry,
        "none": found.none,
        "temperature": round(found.temperature, 5),
        "answers": answers,
    }


def _said(p: float) -> float:
    """A probability as it stands in the card: never 0, which all reach, nor 1, which none does."""
    return round(min(max(p, 1e-5), 1 - 1e-5), 5)


def inference(plan: Plan) -> dict[str, Any]:
    """configs/inference.json: what `python -m monai.bundle run` executes."""
    size = int(plan.raw["size"])
    reader = {"_target_": "PILReader", "reverse_indexing": False}
    # of more than 8 bits the values: as 8 they would be white; the range is equalised away
    grey = "image if image.mode[0] in 'IF' else image.convert('L')"
    reader["converter"] = f"$lambda image: ImageOps.exif_transpose({grey})"
    transforms = [
        {"_target_": "LoadImage", "image_only": True, "reader": reader},
        {"_target_": "EnsureChannelFirst", "channel_dim": "no_channel"},
        {"_target_": "Resize", "spatial_size": [size, size], "mode": "area"},
        {"_target_": "HistogramNormalize", "num_bins": 256, "min": 0, "max": 1},
        {"_target_": "EnsureType", "dtype": "$torch.float32", "track_meta": False},
    ]
    return {
        "imports": ["$import torch", "$from PIL import ImageOps"],
        "bundle_root": ".",
        "image": "image.png",
        "device": "$torch.device('cpu')",
        "network_def": {
            "_target_": "processors.vae.bundle_network.load_network",
            "bundle_root": "@bundle_root",
        },
        "network": "$@network_def.to(@device)",
        "preprocessing": {"_target_": "Compose", "transforms": transforms},
        "inferer": {"_target_": "SimpleInferer"},
        "initialize": [],
        "run": [
            "$print(@inferer(@preprocessing(@image)[None].to(@device), @network).tolist())",
        ],
    }


def gate_files(plan: Plan) -> Mapping[str, bytes]:
    """The gate of pixels that goes into the bundle: the one that ships for the plan's organ.

    By file name; none where the plan names a file of its own, or has no pixels asked. Raises
    PlanError where no gate ships for the organ, BundleError for terms that cannot be meant.
    """
    asked = terms(plan.raw)
    if asked.file != Terms().file:
        return {}
    models = SHIPPED / asked.organ.name / "models"
    found = {file.name: file.read_bytes() for file in sorted(models.glob("gate*"))}
    if not found:
        raise PlanError(
            f"No gate of pixels ships for the organ {asked.organ.name!r} of the plan: add "
            '"file": "" to its "gate", so that headers alone are asked.'
        )
    return found


def make_bundle(
    model: SpatialVAE,
    parts: tuple[ImageSet, ImageSet],
    plan: Plan,
    folder: Path,
    seen: Sequence[str] = (),
) -> Path:
    """Writes the bundle of a trained network; parts: films that fitted, films that tune.

    seen: licences of what the network saw before this training.
    """
    fitted, tuning = parts
    found = calibrations(model, tuning)
    pieces = Pieces(
        metadata(plan, found, fitted, seen),
        inference(plan),
        donor_arrays(model, parts, plan, found),
        gate_files(plan),
    )
    return write_bundle(folder, model, pieces)
