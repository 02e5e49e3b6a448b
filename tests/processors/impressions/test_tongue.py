"""The language of a findings section that nobody announced, or announced wrongly."""

from __future__ import annotations

import pytest

from processors.impressions.tongue import spoken


@pytest.mark.parametrize(
    ("text", "expected", "language"),
    [
        ("Large left tension pneumothorax.", "es", "en"),
        ("Cardiomegaly.", "es", "en"),
        ("Neumotórax a tensión izquierdo.", "en", "es"),
        ("Derrame pleural derecho. Corazón normal.", "en", "es"),
        ("Edema.", "es", "es"),
        ("Edema.", "en", "en"),
        ("Sin alteraciones.", "es", "es"),
        ("No abnormality.", "en", "en"),
        ("XXXX.", "es", "es"),
        ("", "en", "en"),
    ],
)
def test_which_language_a_text_speaks(text: str, expected: str, language: str) -> None:
    assert spoken(text, expected) == language


def test_a_third_language_is_nobodys() -> None:
    with pytest.raises(ValueError, match="fr"):
        spoken("Épanchement.", "fr")
