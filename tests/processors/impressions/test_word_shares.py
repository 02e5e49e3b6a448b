"""Words that moved a score: a score whose words are known, then the product's own."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tiny_language import chat_shaped, flan_shaped
from typer.testing import CliRunner

from dicom_node.cli.app import app
from processors.impressions import scoring
from processors.impressions.corpus import Pair
from processors.impressions.language_model import open_language_model
from processors.impressions.word_shares import Explained, choice, explain, likelihood, reading

TEXT = "The heart is normal. No evidence of pneumothorax, but a small left effusion is seen."
SPANISH = "Corazón normal. No se observa neumotórax. Pequeño derrame pleural izquierdo."


def planted(texts: Sequence[str]) -> NDArray[np.float64]:
    """Two words count, one for and one against; a word that occurs twice counts once."""
    said = [set(re.findall(r"\w+", text)) for text in texts]
    return np.array([2.0 * ("effusion" in words) - 1.0 * ("normal" in words) for words in said])


def by_word(found: Explained, method: str) -> dict[str, float]:
    return {share.word: getattr(share, method) for share in found.shares}


def strongest(found: Explained, method: str) -> str:
    return max(found.shares, key=lambda share: abs(getattr(share, method))).word


@pytest.mark.parametrize("method", ["lime", "shap"])
def test_planted_words_are_found_with_their_sign(method: str) -> None:
    told = by_word(explain(TEXT, planted, 300), method)
    assert told["effusion"] == pytest.approx(2, abs=0.2)
    assert told["normal"] == pytest.approx(-1, abs=0.2)
    others = [value for word, value in told.items() if word not in ("effusion", "normal")]
    assert max(map(abs, others)) < 0.2


def test_shares_stand_where_their_words_stand_and_add_up() -> None:
    found = explain(TEXT, planted, 300)
    assert [TEXT[s.start : s.start + len(s.word)] for s in found.shares] == [
        s.word for s in found.shares
    ]
    total = sum(share.shap for share in found.shares)
    assert total == pytest.approx(found.score - found.empty)
    assert found.fit > 0.9
    assert explain(TEXT, planted, 300) == found


def test_lines_without_a_stop_stay_sentences_of_their_own() -> None:
    asked: set[str] = set()

    def spy(texts: Sequence[str]) -> NDArray[np.float64]:
        asked.update(texts)
        return planted(texts)

    found = explain("Normal heart\nNo effusion", spy, 60)
    assert found.text == "Normal heart. No effusion."
    assert found.text in asked


def test_a_text_without_words_is_refused() -> None:
    with pytest.raises(ValueError, match="no words"):
        explain(" ... ", planted)


@pytest.mark.parametrize(
    ("text", "language", "finding", "word", "sign"),
    [
        (TEXT, "en", "pneumothorax", "No", -1),
        (TEXT, "en", "pleural_effusion", "effusion", 1),
        (SPANISH, "es", "pleural_effusion", "derrame", 1),
    ],
)
def test_the_labeller_follows_the_words_it_should(
    text: str, language: str, finding: str, word: str, sign: int
) -> None:
    found = explain(text, reading(finding, language), 300)
    assert found.score == sign
    assert strongest(found, "shap") == word
    assert by_word(found, "shap")[word] * sign > 0


def test_the_choice_follows_what_the_draft_says() -> None:
    said = "Small left effusion."
    found = explain(TEXT, choice(scoring.open_shipped(), said, Pair("x", TEXT)), 300)
    assert strongest(found, "shap") == "effusion"
    assert by_word(found, "shap")["effusion"] > 0


def test_a_model_tells_how_likely_an_impression_is(tmp_path: Path) -> None:
    model = open_language_model(flan_shaped(tmp_path / "flan"), "cpu")
    found = explain("Left effusion.", likelihood(model, "Effusion.", Pair("x", "")), 60)
    assert found.score < 0
    total = sum(share.shap for share in found.shares)
    assert total == pytest.approx(found.score - found.empty, abs=1e-5)


def test_a_model_that_tells_no_likelihood_is_refused(tmp_path: Path) -> None:
    model = open_language_model(chat_shaped(tmp_path / "chat"), "cpu")
    with pytest.raises(ValueError, match="its kind is another"):
        likelihood(model, "Effusion.", Pair("x", ""))


def invoke(*more: str) -> Any:
    return CliRunner().invoke(app, ["impressions", "explain", "--samples", "60", *more])


@pytest.mark.parametrize(
    ("more", "of"),
    [
        (("--finding", "pneumothorax"), "labeller: pneumothorax"),
        (("--impression", "Left effusion."), "worth of: Left effusion."),
        ((), "worth of: "),
    ],
)
def test_the_command_explains(more: tuple[str, ...], of: str) -> None:
    done = invoke("--text", TEXT, "--json", *more)
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert told["of"].startswith(of)
    assert [share["word"] for share in told["shares"]] == re.findall(r"\w+", TEXT)
    shown = invoke("--text", TEXT, *more)
    assert "pneumothorax" in shown.output
    assert "R²" in shown.output


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--text", TEXT, "--finding", "happiness"), "is none of"),
        (("--text", TEXT, "--language", "fr"), "is none of en, es"),
        (("--text", "...", "--finding", "edema"), "no words"),
    ],
)
def test_what_cannot_be_explained_is_said(more: tuple[str, ...], said: str) -> None:
    done = invoke(*more)
    assert (done.exit_code, said in done.output) == (1, True), done.output
