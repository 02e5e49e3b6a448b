"""Which words of a findings section moved a score: LIME and SHAP on text, on request.

In: a text and a function from texts to scores (the labeller's reading of a finding, the choice
among drafts, how likely a language model finds an impression). Out: each word with its share by
either method, in the units of the score. Both ask about the text with words taken out, so they say
what the score follows, not what is true. Needs the extra `explain`. Never: chance without a seed.
Sources: Ribeiro et al., KDD 2016 (lime.lime_text); Lundberg & Lee, NeurIPS 2017 (shap, Owen values
over neighbouring words).
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from processors.impressions.assertion import Assertion
from processors.impressions.corpus import Pair
from processors.impressions.drafting import Candidate, Request
from processors.impressions.labeller import read, summary
from processors.impressions.scoring import Judge
from processors.impressions.seq2seq import Seq2Seq
from processors.impressions.statements import case
from processors.impressions.written import LanguageModel

Score = Callable[[Sequence[str]], NDArray[np.float64]]
"""From texts to one number each."""

STATES = {Assertion.PRESENT: 1.0, Assertion.UNCERTAIN: 0.5, Assertion.ABSENT: -1.0}
_WORD = re.compile(r"\w+")
_APART = r"\W+"
_TAKEN = "_"  # stands for a word that was taken out until the score is asked


@dataclass(frozen=True, slots=True)
class Share:
    """A word at its place in the text, and what it adds to the score by either method."""

    word: str
    start: int
    lime: float
    shap: float


@dataclass(frozen=True, slots=True)
class Explained:
    """text: as the score was asked, on one line. score: of it; empty: of no text. shares: in the
    order of the text; those by SHAP add up to the difference of the two. fit: R squared of LIME's
    surrogate."""

    text: str
    score: float
    empty: float
    fit: float
    shares: tuple[Share, ...]


def explain(text: str, score: Score, samples: int = 500, seed: int = 0) -> Explained:
    """samples: texts that either method may ask about.

    Raises ValueError for a text without words, ImportError without the extra `explain`.
    """
    text = _one_line(text)
    places = list(_WORD.finditer(text))
    if not places:
        raise ValueError("The text has no words to explain.")
    by_lime, fit = _lime(text, score, len(places), samples, seed)
    by_shap = _shap(text, score, samples)
    whole, empty = score([text, ""])
    shares = tuple(
        Share(m[0], m.start(), by_lime.get(m.start(), 0.0), by_shap.get(m.start(), 0.0))
        for m in places
    )
    return Explained(text, float(whole), float(empty), fit, shares)


def _one_line(text: str) -> str:
    """The text as SHAP's masks leave it, every sentence still one: line breaks become stops."""
    lines = (" ".join(line.split()) for line in text.splitlines())
    return " ".join(line if line[-1] in ".!?;:," else f"{line}." for line in lines if line)


def _lime(
    text: str, score: Score, words: int, samples: int, seed: int
) -> tuple[dict[int, float], float]:
    """Weights of the linear surrogate by place, and its R squared."""
    from lime.lime_text import LimeTextExplainer

    explainer = LimeTextExplainer(
        split_expression=_APART, bow=False, mask_string="", random_state=seed
    )

    def columns(texts: Sequence[str]) -> NDArray[np.float64]:
        found = score(texts)
        return np.stack([-found, found], axis=1)

    found = explainer.explain_instance(
        text, columns, labels=(1,), num_features=words, num_samples=samples
    )
    indexed = found.domain_mapper.indexed_string
    weights = {
        int(indexed.string_position(number)[0]): float(weight)
        for number, weight in found.as_map()[1]
    }
    return weights, float(found.score[1] if isinstance(found.score, dict) else found.score)


def _shap(text: str, score: Score, samples: int) -> dict[int, float]:
    """Owen values by place."""
    import shap

    def pieces(told: str, **_: object) -> dict[str, list[object]]:
        found = list(_WORD.finditer(told))
        # what follows a word goes with it
        ends = [*(m.start() for m in found[1:]), *([len(told)] if found else [])]
        return {
            "input_ids": [m[0] for m in found],
            "offset_mapping": [(m.start(), end) for m, end in zip(found, ends, strict=True)],
        }

    def without(texts: Sequence[object]) -> NDArray[np.float64]:
        return score([" ".join(str(told).replace(_TAKEN, " ").split()) for told in texts])

    masker = shap.maskers.Text(pieces, mask_token=_TAKEN, collapse_mask_token=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # shap's, of numpy
        explainer = shap.PartitionExplainer(without, masker)
        found = explainer([text], max_evals=samples, silent=True)
    values = np.asarray(found.values[0], dtype=np.float64).ravel()
    return dict(zip((m.start() for m in _WORD.finditer(text)), values.tolist(), strict=True))


def reading(finding: str, language: str) -> Score:
    """How the labeller reads one of the fourteen findings: 1 present, .5 possible, -1 denied, 0
    not named."""

    def score(texts: Sequence[str]) -> NDArray[np.float64]:
        found = (summary(read(text, language)).get(finding) for text in texts)
        return np.array([STATES[state] if state else 0.0 for state in found])

    return score


def choice(judge: Judge, impression: str, pair: Pair) -> Score:
    """How much an impression is worth to the choice among drafts, by the findings it is for."""
    offered = (Candidate(impression, "rule"),)

    def score(texts: Sequence[str]) -> NDArray[np.float64]:
        cases = (case(Request(text, pair.language, pair.indication)) for text in texts)
        return np.array([float(judge.worth(one, offered)[0]) for one in cases])

    return score


def likelihood(model: LanguageModel, impression: str, pair: Pair) -> Score:
    """How likely a sequence-to-sequence model finds an impression: nats a token.

    Raises ValueError for a model of another kind.
    """
    writer = model.writer
    if not isinstance(writer, Seq2Seq):
        raise ValueError(f"{model.name} does not tell how likely a text is; its kind is another.")

    def score(texts: Sequence[str]) -> NDArray[np.float64]:
        asked = (Request(text, pair.language, pair.indication) for text in texts)
        prompts = [writer.prompt(one, model.asking).text for one in asked]
        return np.array(writer.likelihoods(prompts, impression, model.asking))

    return score
