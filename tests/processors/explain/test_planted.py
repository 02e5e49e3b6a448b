"""A cause whose place is known: every method that may be configured must point at it."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
from planted_bundle import Planted, planted

from config.settings import ExplainMethod
from processors.explain import METHODS
from processors.explain.compare import maps
from processors.runtime import Bundle
from processors.training.studies.marker_measure import near, points_inside
from processors.vae.latent import margin

FILMS = 20
LEAST = 0.9  # of the films: largest inside the patch, and for the finding there
SIGNED = ("occlusion", "lime", "shap")
LONG = ("lime", "shap")  # a thousand pictures and more for each map
ALL = [pytest.param(m, marks=[pytest.mark.slow] * (m in LONG), id=m) for m in METHODS]


@pytest.fixture(scope="module")
def films(planted_bundle: Bundle) -> list[Planted]:
    return [planted(planted_bundle, seed) for seed in range(FILMS)]


def test_the_patch_decides(films: list[Planted]) -> None:
    """Else there would be nothing to point at."""
    for one in films:
        film, row = one.subject.film, one.subject.row
        bare = np.where(one.bright, np.float32(0.5), film.network)
        assert margin(film.latent, row) > 1
        assert one.subject.margins(bare[None])[0] < -1


def test_what_may_be_configured_is_what_is_tested_here() -> None:
    assert get_args(ExplainMethod) == tuple(METHODS)


@pytest.mark.parametrize("method", ALL)
def test_the_map_is_largest_at_the_cause(method: str, films: list[Planted]) -> None:
    found = [maps(one.subject, [method])[method] for one in films]
    pairs = list(zip(found, films, strict=True))
    hits = np.mean([points_inside(each, near(one.bright)) for each, one in pairs])
    signs = np.mean([each[one.bright].sum() > 0 for each, one in pairs])
    upside_down = np.mean(
        [points_inside(each.max() - each, near(one.bright)) for each, one in pairs]
    )
    print(f"{method}: pointing {hits:.2f}, right sign {signs:.2f}, upside down {upside_down:.2f}")
    assert hits >= LEAST
    assert signs >= LEAST
    assert upside_down < 1 - LEAST  # a map turned over would be noticed


@pytest.mark.parametrize("method", [one for one in ALL if one.id != "traversal"])
def test_what_speaks_against_the_finding_is_never_for_it(
    method: str, planted_bundle: Bundle
) -> None:
    """A dark patch lowers the answer: negative in a signed map, next to nothing in Grad-CAM."""
    against = []
    for seed in range(100, 106):
        one = planted(planted_bundle, seed, both=True)
        found = maps(one.subject, [method])[method]
        dark, bright = found[one.dark].sum(), found[one.bright].sum()
        against.append(dark < 0 < bright if method in SIGNED else 0 <= dark < 0.1 * bright)
    print(f"{method}: right about the dark patch {np.mean(against):.2f}")
    assert np.mean(against) >= LEAST
