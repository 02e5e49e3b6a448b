"""Draws what a report shows: panels, outlines and captions, on one dark canvas.

The rules of legibility (standards.md A): the upper part of every picture stays free, because
viewers lay a cine bar and the series' name there, and text at the foot keeps clear of both corners,
where they write window and number (measured with OHIF, of a picture that fills its height);
captions stand below the anatomy; letters are at least 1/40 of the picture's height; colours are
told apart by colour-blind people (Okabe and Ito 2008) and, on a grey monitor, by number. The font
is shipped, so that the same result has the same pixels everywhere. Never: a name, a number or a
date of a patient.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from reports.lettering import cut, ems, font, text_size, wrapped, write

Colour = tuple[int, int, int]
WHITE: Colour = (255, 255, 255)
GREY: Colour = (200, 200, 200)
YELLOW: Colour = (240, 228, 66)
ORANGE: Colour = (230, 159, 0)
WARNING: Colour = (255, 130, 71)
BLUE: Colour = (86, 180, 233)
OUTLINES: tuple[Colour, ...] = (ORANGE, BLUE, (0, 158, 115), (204, 121, 167), (213, 94, 0))
FREE = 0.095  # of the height, at the top
FOOT = 0.065  # of the height, at the bottom: text there keeps clear of
CORNERS = (0.08, 0.05)  # of the width, left and right
LEADING = 1.26  # line height in ems
TITLE = 1 / 42  # letters of a panel's title, as part of the height
NARROWEST = 1.35  # width over height at least: long lines leave the anatomy its room
LEAST_SHARE = 0.25  # of the height, for the panels: paragraphs that yield are cut before that
GAP = 12
_LINES = 64  # of a film that are brought to grey together: they stay at hand from step to step
_BLEND = 8  # pixels beside a contour that are drawn finer too, so that no edge shows


@dataclass(frozen=True, slots=True)
class Line:
    """A paragraph of a caption. size: of its letters (1 em) as part of the picture's height.

    yields: cut further where the caption would leave the panels too little room.
    """

    text: str
    size: float = 1 / 36
    colour: Colour = WHITE
    bold: bool = False
    marker: Colour | None = None
    number: str = ""
    most: int = 3  # lines after wrapping; the rest is cut with an ellipsis
    right: str = ""  # set flush right in the first line
    yields: bool = False


def grey(pixels: NDArray[np.float32]) -> Image.Image:
    """Values 0..1 as an 8-bit picture; what is not a number is dark."""
    made = np.empty(pixels.shape, np.uint8)
    for start in range(0, len(pixels), _LINES):
        scaled = np.clip(pixels[start : start + _LINES], 0, 1)
        scaled *= np.float32(255)
        if np.isnan(scaled.min()):
            scaled[np.isnan(scaled)] = 0
        made[start : start + _LINES] = np.rint(scaled, out=scaled)
    return Image.fromarray(made)


def panel(picture: Image.Image, box: tuple[int, int], aspect: float = 1.0) -> Image.Image:
    """A picture resized into a box, as RGB. aspect: height of a pixel over its width."""
    width, height = picture.size
    scale = min(box[0] / width, box[1] / (height * aspect))
    size = (max(1, round(width * scale)), max(1, round(height * aspect * scale)))
    method = Image.Resampling.BICUBIC if scale > 1 else Image.Resampling.LANCZOS
    return picture.resize(size, method, reducing_gap=1.5).convert("RGB")


@dataclass(frozen=True, slots=True)
class Outline:
    """A closed contour in the pixel grid of the source frame."""

    points: tuple[tuple[float, float], ...]
    colour: Colour
    number: str = ""


def outlined(base: Image.Image, grid: tuple[int, int], outlines: Sequence[Outline]) -> Image.Image:
    """The panel with closed contours, 3 px with a dark rim; drawn finer, then reduced."""
    fine, (columns, rows) = 2, grid
    width = max(3, round(max(base.size) / 225))
    contours = [
        [(x * base.width / columns, y * base.height / rows) for x, y in one.points]
        for one in outlines
    ]
    made = base.copy()
    box = _around(contours, width + 4 + _BLEND, base.size)
    part = base.crop(box)  # what lies off the contours stays as it is
    big = part.resize((part.width * fine, part.height * fine), Image.Resampling.BICUBIC)
    pen = ImageDraw.Draw(big)
    for rim, extra in ((True, 4), (False, 0)):
        for one, contour in zip(outlines, contours, strict=True):
            colour = (0, 0, 0) if rim else one.colour
            points = [((x - box[0]) * fine, (y - box[1]) * fine) for x, y in contour]
            stroke = (width + extra) * fine
            pen.line([*points, points[1]], fill=colour, width=stroke, joint="curve")
    made.paste(big.resize(part.size, Image.Resampling.LANCZOS), box[:2])
    for one in outlines:
        if one.number:
            _number(made, one, (made.width / columns, made.height / rows))
    return made


def _around(
    contours: Sequence[Sequence[tuple[float, float]]], margin: int, size: tuple[int, int]
) -> tuple[int, int, int, int]:
    """The box (left, upper, right, lower) of a picture that holds the contours and a margin."""
    xs, ys = ([point[axis] for contour in contours for point in contour] for axis in (0, 1))
    left, upper = max(0, int(min(xs)) - margin), max(0, int(min(ys)) - margin)
    right, lower = min(size[0], int(max(xs)) + margin + 1), min(size[1], int(max(ys)) + margin + 1)
    return min(left, size[0] - 1), min(upper, size[1] - 1), max(right, 1), max(lower, 1)


def _number(picture: Image.Image, one: Outline, scale: tuple[float, float]) -> None:
    """The number of a contour, outside of it at its upper right where there is room."""
    size = max(14, picture.height // 22)
    x = max(point[0] for point in one.points) * scale[0] + size * 0.3
    y = min(point[1] for point in one.points) * scale[1] - size * 0.4
    x, y = min(x, picture.width - size), min(max(y, 2), picture.height - size * 1.3)
    ImageDraw.Draw(picture).text(
        (x, y), one.number, font=font(size), fill=one.colour, stroke_width=3, stroke_fill=(0, 0, 0)
    )


def tinted(base: Image.Image, difference: NDArray[np.float32]) -> Image.Image:
    """A signed map over a picture: orange raises the answer, blue lowers it."""
    signed = np.nan_to_num(difference.astype(np.float32))
    top = float(np.percentile(np.abs(signed), 99.5)) or 1.0
    scaled = Image.fromarray(np.clip(signed / top, -1, 1)).resize(
        base.size, Image.Resampling.BILINEAR
    )
    weight = np.asarray(scaled, dtype=np.float32)[..., None]
    share = 0.8 * np.abs(weight) ** 0.8
    colours = np.where(weight > 0, np.array(ORANGE), np.array(BLUE)).astype(np.float32)
    mixed = np.asarray(base, dtype=np.float32) * 0.8 * (1 - share) + colours * share
    return Image.fromarray(np.round(np.clip(mixed, 0, 255)).astype(np.uint8))


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the panels stand: their boxes, and the least width of the canvas."""

    panels: tuple[Image.Image, ...]
    titles: tuple[str, ...]
    stacked: bool = False
    least_width: int = 900


Place = tuple[int, int, int]  # left, middle, right
Extra = Callable[[ImageDraw.ImageDraw, Place, int], None]  # pen, place, height


def compose(
    layout: Layout, lines: Sequence[Line], size: tuple[int, int], bar: Extra | None = None
) -> Image.Image:
    """Panels above, caption below, the upper part free, on a canvas of the size that fit() gave."""
    width, height = size
    canvas = Image.new("RGB", (width + width % 2, height + height % 2), (0, 0, 0))
    top = _panels(canvas, layout)
    _caption(canvas, lines, top, bar)
    return canvas


def _title_height(height: float) -> int:
    return round(text_size(TITLE, height) * LEADING)


def _inner(layout: Layout) -> int:
    widths = [one.width for one in layout.panels]
    return max(widths) if layout.stacked else sum(widths) + GAP * (len(widths) - 1)


def fit(
    layout: Layout, captions: Sequence[Sequence[Line]], *, bar: bool = False
) -> tuple[int, int]:
    """Width and height of the least canvas on which each of the captions fits.

    Letters grow with the canvas, so it is approached; frames of one series share one size.
    """
    width, height = _least_width(layout), _tall(layout)
    for _ in range(200):
        needed = _around_caption(layout, height, bar=bar)
        needed += max(sum(s.height for s in _set(lines, width, height)) for lines in captions)
        if needed <= height:
            return width, height
        height = int(np.ceil(min(max(needed, height * 1.01), height * 1.05)))
        width = max(width, round(height * NARROWEST))
    return width, height


def yielding(layout: Layout, lines: Sequence[Line]) -> list[Line]:
    """The caption that leaves the panels LEAST_SHARE of the height: the longest yields first.

    Letters are a part of the height, so a caption may outgrow every canvas.
    """
    found = list(lines)
    height = int(_tall(layout) / LEAST_SHARE)
    width = max(_least_width(layout), round(height * NARROWEST))
    room = height - _around_caption(layout, height, bar=False)
    while True:
        stand = _set(found, width, height)
        lengths = {n: len(one.texts) for n, one in enumerate(stand) if one.line.yields}
        longest = max(lengths, key=lambda n: lengths[n], default=0)
        if sum(one.height for one in stand) <= room or lengths.get(longest, 0) <= 1:
            return found
        found[longest] = replace(found[longest], most=lengths[longest] - 1)


def _tall(layout: Layout) -> int:
    tall = [one.height for one in layout.panels]
    return sum(tall) if layout.stacked else max(tall)


def _least_width(layout: Layout) -> int:
    return max(_inner(layout) + 2 * GAP, layout.least_width)


def _around_caption(layout: Layout, height: float, *, bar: bool) -> float:
    """What a canvas of that height holds besides its caption."""
    rows = len(layout.panels) if layout.stacked else 1
    taken = FREE * height + _tall(layout) + rows * (_title_height(height) + GAP) + GAP
    return taken + (_bar_height(height) if bar else 0)


@dataclass(frozen=True, slots=True)
class _Set:
    """A paragraph as it stands on the canvas. left, right: its margins in pixels."""

    line: Line
    size: int
    left: int
    right: int
    texts: tuple[str, ...]

    @property
    def height(self) -> int:
        return len(self.texts) * round(self.size * LEADING)


def _set(lines: Sequence[Line], width: int, height: float) -> list[_Set]:
    """The caption's paragraphs, wrapped; from the bottom, since the foot has less room."""
    found: list[_Set] = []
    below = GAP
    for line in reversed(lines):
        size = text_size(line.size, height)
        at_foot = below < FOOT * height
        left, right = (max(GAP, round(at_foot * share * width)) for share in CORNERS)
        room = _room(line, size, width - left - right)
        found.append(_Set(line, size, left, right, wrapped(line.text, size, room, line.most)))
        below += found[-1].height
    return found[::-1]


def _bar_height(height: float) -> int:
    return round(text_size(1 / 22, height) * 1.4)


def _beside(size: int) -> int:
    """Letters of what stands flush right of a large line."""
    return round(size * 0.75)


def _room(line: Line, size: int, width: float) -> float:
    taken = size * 1.1 if line.marker else 0.0
    taken += ems(line.right) * _beside(size) + size if line.right else 0.0
    return width - taken


def _panels(canvas: Image.Image, layout: Layout) -> int:
    """Pastes the panels, each centred in its column over its title; returns where they end."""
    pen, size = ImageDraw.Draw(canvas), text_size(TITLE, canvas.height)
    columns = _columns(canvas.width, layout, size)
    left = (canvas.width - sum(columns) - GAP * (len(columns) - 1)) // 2
    top = bottom = round(FREE * canvas.height)
    for number, (picture, title) in enumerate(zip(layout.panels, layout.titles, strict=True)):
        width = columns[0 if layout.stacked else number]
        canvas.paste(picture, (left + (width - picture.width) // 2, top))
        text = cut(title, width / size)
        middle = left + width / 2 - ems(text) * size / 2
        write(pen, (middle, top + picture.height + 2), text, size, GREY)
        bottom = max(bottom, top + picture.height + _title_height(canvas.height) + GAP)
        top, left = (bottom, left) if layout.stacked else (top, left + width + GAP)
    return bottom


def _columns(canvas: int, layout: Layout, size: int) -> list[int]:
    """The widths of the columns: of their panels, or of their titles where the canvas has room."""
    panels = [one.width for one in layout.panels]
    titled = [
        max(panel, int(np.ceil(ems(title) * size)))
        for panel, title in zip(panels, layout.titles, strict=True)
    ]
    if layout.stacked:
        panels, titled = [max(panels)], [max(titled)]
    room = canvas - GAP * (len(panels) + 1)
    return titled if sum(titled) <= room else panels


def _caption(canvas: Image.Image, lines: Sequence[Line], top: int, bar: Extra | None) -> None:
    pen = ImageDraw.Draw(canvas)
    if bar:
        tall = _bar_height(canvas.height)
        bar(pen, (GAP, top + tall // 2, canvas.width - GAP), tall)
        top += tall
    for one in _set(lines, canvas.width, canvas.height):
        line, size, left, right = one.line, one.size, one.left, canvas.width - one.right
        stroke = max(1, size // 28) if line.bold else 0
        indent = round(size * 1.1) if line.marker else 0
        if line.marker:
            _marker(pen, line, (left, top), size)
        if line.right:
            small = _beside(size)
            at = (right - font(small).getlength(line.right), top + (size - small) * 0.9)
            write(pen, at, line.right, small, WHITE)
        for text in one.texts:
            write(pen, (left + indent, top), text, size, line.colour, stroke=stroke)
            top += round(size * LEADING)


def _marker(pen: ImageDraw.ImageDraw, line: Line, at: tuple[int, int], size: int) -> None:
    """The square in the contour's colour, with its number, before a finding."""
    x, y = at
    side = round(size * 0.8)
    pen.rectangle((x, y + size * 0.2, x + side, y + size * 0.2 + side), fill=line.marker)
    if line.number:
        small = round(size * 0.7)
        middle = x + side / 2 - font(small).getlength(line.number) / 2
        write(pen, (middle, y + size * 0.2), line.number, small, (0, 0, 0))
