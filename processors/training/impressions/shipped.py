"""Makes the shipped bundle: trees over numbers, and the card that says what they are worth.

In: pairs, those to learn from and those to be judged by. Out: a bundle folder: four LightGBM models
as text, the columns they were trained on, a generated card, checksums. Never: a report text, a word
of one, a figure that was not measured by this run.
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightgbm

from processors.impressions import scoring
from processors.impressions.corpus import Pair
from processors.impressions.drafter import RankedDrafter
from processors.impressions.drafting import Request
from processors.impressions.features import FEATURES
from processors.impressions.statements import SCENE, TRAITS
from processors.training.files import write_checksums, write_json
from processors.training.impressions.card import words_of
from processors.training.impressions.examples import examples, folds
from processors.training.impressions.figures import by_group
from processors.training.impressions.recipe import NEW, Tell, learn

_ABOUT = Path(__file__).with_name("shipped.toml")


def train(learned: Sequence[Pair], held: Sequence[Pair], target: Path, tell: Tell) -> Path:
    """Writes the bundle. held: reports to judge it by; none of them is learnt from."""
    about = tomllib.loads(_ABOUT.read_text(encoding="utf-8"))
    learners = examples(learned)
    recipe = learn(learners, folds([e.pair for e in learners]), tell)
    for name, model in recipe.models.items():
        file = target / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(model, encoding="ascii")
    pairs = [e.pair for e in learners]
    measured = {"cross-validated": by_group(pairs, recipe.chosen)}
    if held:
        measured["held out"] = by_group(held, _drafts(target, recipe.caution, held, tell), pairs)
    content: dict[str, Any] = {
        **about,
        "reports": {"learnt from": len(pairs), "held out": len(held)},
        "caution": recipe.caution,
        "new": NEW,
        "lightgbm": lightgbm.__version__,
        "columns": {"traits": TRAITS, "scene": SCENE, "features": FEATURES},
        "figures": measured,
    }
    (target / "configs").mkdir(exist_ok=True)
    (target / "docs").mkdir(exist_ok=True)
    write_json(target / scoring.CARD, content)
    (target / "docs" / "README.md").write_text(words_of(content), encoding="utf-8")
    write_checksums(target)
    return target


def _drafts(target: Path, caution: float, held: Sequence[Pair], tell: Tell) -> list[str]:
    files = {name: (target / name).read_bytes() for name in scoring.MODELS}
    drafter = RankedDrafter(scoring.assembled(files, caution))
    found = []
    for i, pair in enumerate(held):
        tell("held out", i, len(held))
        request = Request(pair.findings, pair.language, pair.indication)
        found.append(drafter.draft(request).impression.text)
    return found
