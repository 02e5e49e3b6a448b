"""The pictures of a result: the overlay of one image, a map over it, a strip's frames, a mosaic.

Decides what stands in them and how large; drawing.py draws. The rule: whoever stands two metres
away reads what the model says, how sure it is, that it is a draft, and what is no picture of the
patient. Never: text over anatomy (a contour's number apart), a synthetic frame without the word.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from PIL import Image, ImageDraw
from pydicom.dataset import Dataset

from processors.analysis import Analysis, Explanation, Finding, Frame, Pixels, State, Study
from reports import content, drawing
from reports.drawing import BLUE, GREY, ORANGE, OUTLINES, WARNING, WHITE, YELLOW, Line
from reports.identity import quiet
from reports.lettering import ems, font, write
from reports.model import Options
from reports.wording import Words, percent, words

PANEL = 768  # longest side of a panel in pixels; smaller sources are enlarged to LEAST
LEAST = 640
MOSAIC = 440
STRIP = 360  # side of a strip's panels; a model's pictures are small
WIDE = 1.5  # wider images stand above each other
MOST_FINDINGS, MOST_LARGE, MOST_NOTES = 4, 2, 2


def overlay(
    analysis: Analysis, study: Study, options: Options, place: tuple[str, int]
) -> Image.Image:
    """The original beside the same with the contours, and what the model says below."""
    language = words(options.language)
    film, (rows, columns) = study.film(*place)
    stored, ratio = (columns, rows), _aspect(study.header(place[0]))
    side = _side(max(columns, rows * ratio))
    clean = drawing.panel(drawing.grey(film), (side, side), ratio)
    findings = content.findings_on(analysis, place)
    outlines = _outlines(findings[:MOST_FINDINGS], place)
    panels: tuple[Image.Image, ...] = (clean,)
    titles: tuple[str, ...] = (_sized(language.no_outline, clean, stored, language),)
    if outlines:
        panels = (clean, drawing.outlined(clean, (columns, rows), outlines))
        titles = (
            _sized(language.original, clean, stored, language),
            _meaning(findings, language),
        )
    wide = clean.width > WIDE * clean.height
    layout = drawing.Layout(panels, titles, stacked=wide, least_width=round(1.25 * clean.height))
    caption = drawing.yielding(layout, _caption(analysis, findings, options, bool(outlines)))
    return drawing.compose(layout, caption, drawing.fit(layout, [caption]))


def _side(longest: float) -> int:
    return round(min(PANEL, max(LEAST, longest)))


def _aspect(header: Dataset) -> float:
    """Height of a pixel over its width (PixelAspectRatio, else the spacing); 1 if unknown."""
    with quiet():
        for keyword in ("PixelAspectRatio", "PixelSpacing", "ImagerPixelSpacing"):
            try:
                high, wide = (float(value) for value in header.get(keyword) or ())
            except (TypeError, ValueError):
                continue
            if high > 0 and wide > 0 and 0.2 < high / wide < 5:
                return high / wide
    return 1.0


def _sized(title: str, shown: Image.Image, source: tuple[int, int], language: Words) -> str:
    """source: the stored columns and rows."""
    if shown.size == source:
        return title
    grown = shown.width > source[0]
    return f"{title} ({language.enlarged if grown else language.reduced})"


def _outlines(findings: tuple[Finding, ...], place: tuple[str, int]) -> tuple[drawing.Outline, ...]:
    """Contours in the colour and with the number of their finding's line in the caption."""
    return tuple(
        drawing.Outline(region.points, _colour(position), _number(position, findings))
        for position, finding in enumerate(findings)
        for region in finding.regions
        if (region.instance_uid, region.frame) == place
    )


def _meaning(findings: tuple[Finding, ...], language: Words) -> str:
    """What the outlines are: the least that is true of all of them."""
    shown = {region.shows for finding in findings for region in finding.regions}
    return language.extent if shown == {"extent"} else language.outline


def _number(position: int, findings: tuple[Finding, ...]) -> str:
    """What ties contour and line on a grey monitor; a single finding needs none."""
    return str(position + 1) if len(findings) > 1 else ""


def _colour(position: int) -> drawing.Colour:
    return OUTLINES[position % len(OUTLINES)]


def _caption(
    analysis: Analysis, findings: tuple[Finding, ...], options: Options, marked: bool
) -> list[Line]:
    language = words(options.language)
    lines: list[Line] = []
    for position, finding in enumerate(findings[:MOST_FINDINGS]):
        marker = _colour(position) if marked and finding.regions else None
        number = _number(position, findings) if marker else ""
        lines += _finding_lines(finding, (marker, number), analysis, options)
    if len(findings) > MOST_LARGE:
        lines = _compact(lines)
    hidden = len(findings) - MOST_FINDINGS
    elsewhere = "text_report" in content.written(options, analysis)
    if hidden > 0:
        said = language.more_findings if elsewhere else language.more_findings_alone
        lines.append(Line(said.format(hidden), colour=GREY))
    shown = analysis.notes[:MOST_NOTES]
    lines += [Line(note, 1 / 40, GREY, most=2, yields=True) for note in shown]
    if len(analysis.notes) > MOST_NOTES:
        left = len(analysis.notes) - MOST_NOTES
        said = language.more_notes if elsewhere else language.more_notes_alone
        lines.append(Line(said.format(left), 1 / 40, GREY))
    model = Line(content.model_line(analysis, options), 1 / 42, GREY, most=2)
    return [*lines, *_label(options), model]


def _finding_lines(
    finding: Finding,
    mark: tuple[drawing.Colour | None, str],
    analysis: Analysis,
    options: Options,
) -> list[Line]:
    language = words(options.language)
    probability, low, high, threshold = content.numbers(finding, language)
    said = f"{content.name_of(finding, options)}: {language.states[finding.state]}  {probability}"
    limits = language.threshold.format(threshold)
    if finding.state is State.UNDETERMINED and content.band_decided(finding):
        limits = language.band.format(low, high)
    found = content.explanations(analysis, finding)
    proven = bool(found) and all(one.shown and one.faithfulness for one in found)
    told = content.explanation_lines(analysis, finding, language)
    marker, number = mark
    return [
        Line(said, 1 / 24, WHITE, bold=True, marker=marker, number=number, right=limits, most=2),
        Line(
            " · ".join(told),
            colour=WHITE if proven else WARNING,
            most=3 * len(told),
            yields=True,
        ),
    ]


def _compact(lines: list[Line]) -> list[Line]:
    """Many findings: their lines first and smaller, then what became of their explanations."""
    findings, explanations = lines[::2], lines[1::2]
    said: dict[Line, list[str]] = {}
    for number, line in enumerate(explanations, 1):
        said.setdefault(line, []).append(str(number))
    return [
        *(
            replace(line, size=1 / 31, number=str(n), marker=line.marker or GREY)
            for n, line in enumerate(findings, 1)
        ),
        *(replace(line, text=f"({', '.join(n)}) {line.text}") for line, n in said.items()),
    ]


def _label(options: Options) -> list[Line]:
    return [
        Line(words(options.language).draft, 1 / 30, YELLOW, bold=True, most=2),
        Line(options.label, 1 / 38, YELLOW, most=5),
    ]


def map_overlay(
    explanation: Explanation, finding: Finding, analysis: Analysis, study: Study, options: Options
) -> Image.Image:
    """The original beside the same under the map of one method, and what was asked of the map."""
    if explanation.difference is None:
        raise ValueError(f"the explanation {explanation.method} has no map")
    language = words(options.language)
    place = (explanation.instance_uid, finding.frame)
    film, (rows, columns) = study.film(*place)
    stored, ratio = (columns, rows), _aspect(study.header(place[0]))
    side = _side(max(columns, rows * ratio))
    clean = drawing.panel(drawing.grey(film), (side, side), ratio)
    name = content.method_name(explanation, language)
    signed = bool((explanation.difference < 0).any())
    titles = (
        _sized(language.original, clean, stored, language),
        f"{name}: {language.map if signed else language.map_for}",
    )
    panels = (clean, drawing.tinted(clean, explanation.difference))
    wide = clean.width > WIDE * clean.height
    layout = drawing.Layout(panels, titles, stacked=wide, least_width=round(1.25 * clean.height))
    caption = drawing.yielding(layout, _map_caption(explanation, finding, analysis, options))
    return drawing.compose(layout, caption, drawing.fit(layout, [caption]))


def _map_caption(
    explanation: Explanation, finding: Finding, analysis: Analysis, options: Options
) -> list[Line]:
    """The finding, the method and its numbers, all of them; then the label."""
    language = words(options.language)
    probability, _, _, threshold = content.numbers(finding, language)
    said = f"{content.name_of(finding, options)}: {language.states[finding.state]}  {probability}"
    limits = language.threshold.format(threshold)
    name = content.method_name(explanation, language)
    tested = f"{name}: {content.explanation_line(explanation, language)}"
    told = content.map_lines(explanation, language)
    return [
        Line(said, 1 / 24, WHITE, bold=True, right=limits, most=2),
        Line(tested, colour=WHITE if explanation.faithfulness else WARNING),
        *(Line(line, 1 / 40, GREY, most=6, yields=True) for line in told),
        Line(language.map_note, 1 / 40, GREY, most=3),
        *_label(options),
        Line(content.model_line(analysis, options), 1 / 42, GREY, most=2),
    ]


def frame_label(alpha: float) -> str:
    """One entry of the Frame Label Vector (SH, 16 characters)."""
    return f"SYNTHETIC a{alpha:+.2f}"


def strip(explanation: Explanation, finding: Finding, options: Options) -> tuple[Image.Image, ...]:
    """One picture per frame: the synthetic image beside the map of what carries the answer."""
    shown = [_synthetic(frame) for frame in explanation.frames]
    language = words(options.language)
    panels: tuple[Image.Image, ...] = ()
    titles: tuple[str, ...] = (language.synthetic,)
    if explanation.difference is not None:
        middle = min(range(len(shown)), key=lambda n: abs(explanation.frames[n].alpha))
        panels = (drawing.tinted(shown[middle], explanation.difference),)
        titles = (language.synthetic, _evidence(explanation.difference, language))
    wide = shown[0].width > WIDE * shown[0].height
    captions = [_strip_caption(frame, finding, options) for frame in explanation.frames]
    layouts = [
        drawing.Layout((picture, *panels), titles, stacked=wide, least_width=2 * STRIP)
        for picture in shown
    ]
    size = drawing.fit(layouts[0], captions, bar=True)
    return tuple(
        drawing.compose(layout, caption, size, partial(_slider, frame.alpha, language))
        for layout, caption, frame in zip(layouts, captions, explanation.frames, strict=True)
    )


def _evidence(difference: Pixels, language: Words) -> str:
    """What the colours of a strip's map mean: no blue is explained where there is none."""
    return language.evidence if (difference < 0).any() else language.evidence_for


def _synthetic(frame: Frame, side: int = STRIP) -> Image.Image:
    return drawing.panel(Image.fromarray(frame.pixels), (side, side))


def _alpha(alpha: float, language: Words) -> str:
    if abs(alpha) < 0.005:
        return f"α 0: {language.unchanged}"
    direction = language.more if alpha > 0 else language.less
    return f"α {alpha:+.2f}: {direction}".replace(".", language.decimal)


def _strip_caption(frame: Frame, finding: Finding, options: Options) -> list[Line]:
    language = words(options.language)
    name = content.name_of(finding, options)
    answer = f"{name}: {percent(frame.probability, language, near=(finding.threshold,))}"
    return [
        Line(language.synthetic, 1 / 20, YELLOW, bold=True, right=_alpha(frame.alpha, language)),
        Line(language.answer.format(answer), 1 / 27, WHITE, bold=True, most=2),
        *_label(options),
    ]


def _slider(
    alpha: float, language: Words, pen: ImageDraw.ImageDraw, at: tuple[int, int, int], tall: int
) -> None:
    """Where this frame stands between less and more."""
    left, middle, right = at
    size = round(tall * 0.62)
    face = font(size)
    start = left + face.getlength(language.less) + size
    end = right - face.getlength(language.more) - size
    write(pen, (left, middle - size * 0.6), language.less, size, BLUE)
    write(pen, (end + size, middle - size * 0.6), language.more, size, ORANGE)
    pen.line((start, middle, end, middle), fill=GREY, width=4)
    centre = (start + end) / 2
    pen.line((centre, middle - size * 0.4, centre, middle + size * 0.4), fill=GREY, width=4)
    spot = centre + max(-1.0, min(1.0, alpha)) * (end - start) / 2
    colour = ORANGE if alpha > 0.005 else BLUE if alpha < -0.005 else WHITE
    radius = size * 0.5
    pen.ellipse((spot - radius, middle - radius, spot + radius, middle + radius), fill=colour)


def mosaic(explanation: Explanation, finding: Finding, options: Options) -> Image.Image:
    """All frames in one picture, for viewers without multi-frame; each with the word and alpha."""
    language = words(options.language)
    shown = [_synthetic(frame, MOSAIC) for frame in explanation.frames]
    cells = [
        _cell(picture, _said(frame, finding, language), language)
        for picture, frame in zip(shown, explanation.frames, strict=True)
    ]
    if explanation.difference is not None:
        middle = min(range(len(shown)), key=lambda n: abs(explanation.frames[n].alpha))
        evidence = drawing.tinted(shown[middle], explanation.difference)
        said = _evidence(explanation.difference, language)
        cells.append(_cell(evidence, said, language))
    columns = (len(cells) + 1) // 2
    wide, tall = cells[0].size
    sheet = Image.new("RGB", (columns * (wide + 8), 2 * (tall + 8)))
    for number, cell in enumerate(cells):
        sheet.paste(cell, ((number % columns) * (wide + 8), (number // columns) * (tall + 8)))
    name = content.name_of(finding, options)
    layout = drawing.Layout((sheet,), ("",), least_width=LEAST)
    title = f"{language.synthetic}: {language.less} → {language.more} {name}"
    caption = [Line(title, 1 / 24, YELLOW, bold=True), *_label(options)]
    return drawing.compose(layout, caption, drawing.fit(layout, [caption]))


def _said(frame: Frame, finding: Finding, language: Words) -> str:
    answer = percent(frame.probability, language, near=(finding.threshold,))
    alpha = "0" if abs(frame.alpha) < 0.005 else f"{frame.alpha:+.2f}"
    return f"α {alpha.replace('.', language.decimal)}   {answer}"


def _cell(picture: Image.Image, said: str, language: Words) -> Image.Image:
    """One picture of the mosaic over the word and what belongs to it."""
    size = picture.width // 14
    letters = min(size, int((picture.width - 8) / ems(said)))
    made = Image.new("RGB", (picture.width, picture.height + round(size * 2.6)))
    made.paste(picture, (0, 0))
    pen = ImageDraw.Draw(made)
    write(pen, (4, picture.height), language.synthetic, size, YELLOW)
    write(pen, (4, picture.height + size * 1.2), said, letters, WHITE)
    return made
