"""The table of `evidence.py`: what is claimed, its floor, and where the measured figure stands.

A row names a file of docs/evidence, written by a command of this repository, and the path of a
figure in it. `at`: which end of the figure must clear the floor; a row without a floor is stated.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

CHILDREN, ADULTS = "children/pneumonia", "adults/pneumonia"
TUMOURS = ("glioma", "meningioma", "pituitary_tumor")
MARKS = ("tag", "spot", "obstruction")
METHODS = (("exchange", "strip's map"), ("move", "closed form"), ("gradcam", "Grad-CAM"),
           ("occlusion", "occlusion"), ("lime", "LIME"), ("shap", "SHAP"))  # fmt: skip
AUDITED = (
    ("children", "audit-chest", CHILDREN), ("adults", "audit-chest", ADULTS),
    *((t, "audit-brain", f"tumour/{t}") for t in TUMOURS),
    ("benign", "audit-breast", "lesion/benign_lesion"),
    ("malignant", "audit-breast", "lesion/malignant_lesion"),
)  # fmt: skip


@dataclass(frozen=True)
class Row:
    """least: whether the floor is the least (True) or the most that is allowed."""

    what: str
    file: str
    path: tuple[str, ...]
    floor: float | None = None
    least: bool = True
    at: str = "value"


def _auc(what: str, file: str, task: str, floor: float) -> Row:
    return Row(what, file, ("answers", task, "auc"), floor)


def _strips(name: str, file: str, place: str, flips: float, witness: float) -> tuple[Row, ...]:
    path = ("strips", place)
    return (
        Row(f"{name}: last frame, read again, flips", file, (*path, "own_flips"), flips),
        Row(f"{name}: share of cells exchanged", file, (*path, "cells"), 0.4, False),
        Row(f"{name}: independent network gives the finding up", file,
            (*path, "witness_flips"), witness),
        Row(f"{name}: the same after the control", file,
            (*path, "witness_control_flips"), 0.05, False),
        Row(f"{name}: gain over random cells of equal change", file,
            (*path, "witness_gain_over_random"), 0.0, at="low"),
        Row(f"{name}: class direction against random ones", file, (*path, "specificity"), 4.0),
    )  # fmt: skip


def _shown(name: str, file: str, place: str) -> Row:
    return Row(f"{name}: strips shown", file, ("explanations", place, "shown"), 0.7)


def _planted() -> Iterator[Row]:
    """Shares of the map on a planted mark, of the strip's map and of the other methods."""
    for mark in MARKS:
        cause = f"markers-cause-{mark}"
        for what, file, share, floor in (
            ("always", cause, "100%", 0.8),
            ("four in five, nothing else tells", "markers-lot", "80%", 0.6),
            ("four in five, lungs tell too", f"markers-eighty-{mark}", "80%",
             0.6 if mark == "tag" else None),
        ):  # fmt: skip
            for method, name in METHODS:
                place = ("planted", mark, share, "pooled", "share", method)
                least = floor if method == "exchange" else None
                yield Row(f"planted {mark}, {what}: {name}", file, place, least)
        half = ("planted", mark, "50%", "pooled")
        yield Row(f"planted {mark}, on every second film of either answer: decides",
                  f"markers-half-{mark}", (*half, "decides"))  # fmt: skip
        yield Row("films without the finding that it turns positive", f"markers-half-{mark}",
                  (*half, "negatives_called_positive", "with_marker"))  # fmt: skip
        yield Row("the same films without it", f"markers-half-{mark}",
                  (*half, "negatives_called_positive", "without"))  # fmt: skip
        clean = ("clean", mark, "pooled")
        yield Row(f"{mark} pasted on films of a clean model: strip's map", cause,
                  (*clean, "share", "exchange"), 0.01, False)  # fmt: skip
        yield Row("the same place before it was pasted", cause, (*clean, "bare", "exchange"))
        yield Row("its part of the image", cause, (*clean, "fair_share"))


def _audited() -> Iterator[Row]:
    """What the audit says of the shipped bundles."""
    for name, file, answer in AUDITED:
        place = ("answers", answer)
        for mark in MARKS:
            yield Row(f"{name}: AUC lost to a {mark} on films without the finding", file,
                      (*place, "marks", mark, "raises"))  # fmt: skip
        yield Row(f"{name}: accused of a bias", file, (*place, "biased"))
        for attribute in ("sex", "age", "view", "geometry"):
            yield Row(f"{name}: gap in AUC by {attribute}", file,
                      (*place, "gaps", attribute, "gap"))  # fmt: skip
        for test in ("influence", "realism", "disentangling", "preservation", "stability"):
            yield Row(f"{name}: {test} (DISSECT)", file, (*place, "five", test))
        yield Row(f"{name}: calibration error of a perfectly calibrated model on as many images",
                  file, (*place, "ece_fair"))  # fmt: skip


SECTIONS: tuple[tuple[str, tuple[Row, ...]], ...] = (
    ("Chest radiographs", (
        _auc("children: pneumonia, AUC", "chest", CHILDREN, 0.99),
        Row("children: gain over trivial statistics, equalised input", "chest",
            ("answers", CHILDREN, "gain_equalised"), 0.0, at="low"),
        _auc("children, another seed: AUC", "chest-seed1", CHILDREN, 0.99),
        _auc("adults: pneumonia, AUC", "chest", ADULTS, 0.8),
        _auc("adults, another seed: AUC", "chest-seed1", ADULTS, 0.8),
        _auc("children, a third seed: AUC", "chest-seed2", CHILDREN, 0.99),
        _auc("adults, a third seed: AUC", "chest-seed2", ADULTS, 0.8),
        Row("adults, five folds by patient: AUC", "folds-chest",
            ("questions", "adults", "auc"), 0.8),
        Row("adults, five folds by patient: gain over trivial statistics", "folds-chest",
            ("questions", "adults", "gain_over_trivial"), 0.0, at="low"),
        Row("children: calibration error", "chest", ("answers", CHILDREN, "ece"), 0.04, False),
        Row("adults: calibration error", "chest", ("answers", ADULTS, "ece"), 0.04, False),
        Row("reconstruction, SSIM", "chest-probe", ("ssim",), 0.75),
        *_strips("children", "chest-probe", CHILDREN, 0.95, 0.7),
        *_strips("adults", "chest-probe", ADULTS, 0.95, 0.7),
        _shown("children", "chest", CHILDREN),
        _shown("adults", "chest", ADULTS),
    )),
    ("Head MR", (
        _auc("three tumours, macro AUC", "brain", "tumour/macro", 0.975),
        _auc("another seed: macro AUC", "brain-seed1", "tumour/macro", 0.975),
        *(Row(f"{t}: calibration error", "brain", ("answers", f"tumour/{t}", "ece"), 0.04, False)
          for t in TUMOURS),
        Row("reconstruction, SSIM", "brain-probe", ("ssim",), 0.75),
        Row("AUC lost when the tumour's box is greyed", "brain-probe",
            ("box_greyed", "auc_lost_box"), 0.08),
        Row("AUC lost when an equal box elsewhere is", "brain-probe",
            ("box_greyed", "auc_lost_elsewhere"), 0.01, False),
        Row("slices that keep their answer without the box", "brain-probe",
            ("box_greyed", "keeps_answer"), 0.6, False),
        Row("strongest evidence lies at the tumour", "brain-probe",
            ("pointing", "evidence"), 0.66),
        Row("version 1.2.0 with boxes on 20 % of the training slices", "brain-boxes20-probe",
            ("pointing", "evidence"), 0.66),
        Row("version 1.2.0 with no boxes (centre prior .25)", "brain-boxes0-probe",
            ("pointing", "evidence"), 0.25),
        *(row for t in TUMOURS
          for row in _strips(t, "brain-probe", f"tumour/{t}", 0.9, 0.5)),
    )),
    ("Breast ultrasound", (
        _auc("malignant against benign, AUC", "breast",
             "lesion/malignant_lesion against benign_lesion", 0.82),
        _auc("any lesion against none, AUC", "breast", "lesion/any", 0.9),
        _auc("another seed: malignant against benign", "breast-seed1",
             "lesion/malignant_lesion against benign_lesion", 0.82),
        _auc("another seed: any lesion against none", "breast-seed1", "lesion/any", 0.9),
        Row("benign: calibration error", "breast",
            ("answers", "lesion/benign_lesion", "ece"), 0.04, False),
        Row("malignant: calibration error", "breast",
            ("answers", "lesion/malignant_lesion", "ece"), 0.04, False),
        *_strips("benign", "breast-probe", "lesion/benign_lesion", 0.95, 0.7),
        *_strips("malignant", "breast-probe", "lesion/malignant_lesion", 0.95, 0.7),
        _shown("benign", "breast", "lesion/benign_lesion"),
        _shown("malignant", "breast", "lesion/malignant_lesion"),
    )),
    ("Milliseconds on one core (chest, 128 px)", (
        Row("encoder and head, fp32, median", "time-chest", ("fp32", "answer", "median"), 2, False),
        Row("encoder and head, int8, median", "time-chest", ("int8", "answer", "median"), 1, False),
        Row("strip, maps and checks, 95th percentile", "time-chest",
            ("fp32", "explanation", "p95"), 120, False),
    )),
    ("The node", (
        Row("chest studies a minute, two workers on two cores: strip, overlay, reports written",
            "throughput", ("studies_per_minute", "median"), 150),
        Row("CPU seconds of a worker for one study", "throughput",
            ("cpu_seconds_per_study", "worker")),
    )),
    ("The method", (
        Row("joint minus supervised alone: children", "joint-chest",
            ("questions", "children", "joint_minus_alone"), -0.01, at="low"),
        Row("joint minus supervised alone: adults", "joint-chest",
            ("questions", "adults", "joint_minus_alone"), -0.01, at="low"),
        Row("joint minus supervised alone: tumours", "joint-brain",
            ("questions", "tumour", "joint_minus_alone"), -0.01, at="low"),
        *(Row(f"gain of pre-training at {share} of the labels: {name}", f"transfer-{file}",
              ("shares", share, "questions", question, "gain"), 0.0, at="low")
          for share in ("1%", "10%")
          for name, file, question in (("children", "chest", "children"),
                                       ("adults", "chest", "adults"),
                                       ("tumours", "brain", "tumour"),
                                       ("lesions", "breast", "lesion"))),
        *(Row(f"hidden quarter, {organ}: SSIM in the hole, ours minus Telea's",
              f"erased-{organ}", ("ssim", "bundle less telea"), 0.0, at="low")
          for organ in ("chest", "brain")),
        *(Row(f"hidden quarter: AUC lost, {name}{how}", f"erased-{organ}", (part, task, "lost"),
              0.01, False)
          for part, how in (("auc", ""), ("auc_filled", ", filled by the network"))
          for name, organ, task in (("children", "chest", CHILDREN), ("adults", "chest", ADULTS),
                                    *((t, "brain", f"tumour/{t}") for t in TUMOURS))),
    )),
    ("Planted marks", tuple(_planted())),
    ("The bias audit", (
        Row("21 small models with a planted cause: found", "audits", ("found",), 0.95),
        Row("20 clean small models: accused", "audits", ("false_alarms",), 0.0, False),
        *(Row(f"mended by {way}, mean and range over models: part of the lost AUC that comes back",
              "audits", ("mended", way, "back"), 0.6) for way in ("projection", "augmentation")),
        *(Row(f"mended by {way}: AUC lost on films without marks", "audits",
              ("mended", way, "cost"), 0.01, False) for way in ("projection", "augmentation")),
        Row("a model taught COVID-19 on collections that tell it by source: accused",
            "audit-covid", ("biased",), 1.0),
        *_audited(),
    )),
)  # fmt: skip
