"""Letters whose shapes are kept look as Pillow draws them, wherever they stand."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw

from reports import lettering

COLOUR = (230, 159, 0)


@pytest.mark.parametrize("stroke", [0, 1, 2])
@pytest.mark.parametrize("at", [(40, 7), (40.3, 7.8), (41.96, 7.04), (12.5, 60.5), (300, 70.2)])
@pytest.mark.parametrize("text", ["%±4 → jgÑ", "", " ", "α −0.33: less", "Neumonía: presente 96 %"])
def test_a_text_looks_as_pillow_draws_it(text: str, at: tuple[float, float], stroke: int):
    drawn, expected = (Image.new("RGB", (320, 90), (9, 9, 9)) for _ in range(2))
    for size in (9, 23, 40):
        face = lettering.font(size)
        ImageDraw.Draw(expected).text(
            at, text, font=face, fill=COLOUR, stroke_width=stroke, stroke_fill=COLOUR
        )
        lettering.write(ImageDraw.Draw(drawn), at, text, size, COLOUR, stroke=stroke)
    assert np.array_equal(np.asarray(drawn), np.asarray(expected))


def test_one_shape_serves_every_colour():
    red, blue = (Image.new("RGB", (90, 40)) for _ in range(2))
    lettering.write(ImageDraw.Draw(red), (3, 2), "less", 20, (255, 0, 0))
    lettering.write(ImageDraw.Draw(blue), (3, 2), "less", 20, (0, 0, 255))
    assert np.asarray(red).any()
    assert np.array_equal(np.asarray(red)[..., 0], np.asarray(blue)[..., 2])
    assert not np.asarray(blue)[..., 0].any()
