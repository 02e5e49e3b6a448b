"""What a result says, before any format: the facts that all writers share.

Decides: which finding stands for a label when several images were judged (the gravest state, then
the highest probability, house rule "from instances to a study's answer"), which pictures and
strips exist, which regions become measurement groups, and the lines of the text report.
Never: a code, an encoding, a pixel. A finding without a verified code is said in text alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from textwrap import wrap

from processors.analysis import Analysis, Explanation, Finding, Region, State, Status, Study
from reports import codes
from reports.model import Options
from reports.wording import Words, not_assessed, percent, words

MOST_PICTURES = 3  # of one study
STRIP = "traversal"  # the method that makes frames; where it is the only one it is not named
LINE_WIDTH = 90  # OHIF sets TEXT 121071 in fixed width and does not wrap it
_RANK = {State.PRESENT: 0, State.UNDETERMINED: 1, State.ABSENT: 2}


def leading(analysis: Analysis) -> tuple[Finding, ...]:
    """One finding per label: what the model says of the study. Gravest first."""
    best: dict[str, Finding] = {}
    for finding in sorted(analysis.findings, key=_order):
        best.setdefault(finding.label, finding)
    return tuple(best.values())


def _order(finding: Finding) -> tuple[int, float, str, str, int]:
    place = (finding.label, finding.instance_uid, finding.frame)
    return (_RANK[finding.state], -finding.probability, *place)


def shows_something(analysis: Analysis) -> bool:
    """Whether anything is present or undetermined, so that a picture goes out."""
    return any(finding.state is not State.ABSENT for finding in analysis.findings)


def pictures(analysis: Analysis) -> tuple[tuple[str, int], ...]:
    """The images (instance, frame) with something to show: of each label the gravest, then others.

    At most MOST_PICTURES: a series of slices would give one for each. Labels come first, so that
    one finding on many images does not leave the only image of another out.
    """
    found: dict[tuple[str, int], None] = {}
    for finding in (*leading(analysis), *sorted(analysis.findings, key=_order)):
        if finding.state is State.ABSENT:
            continue
        places = [(r.instance_uid, r.frame) for r in finding.regions]
        for place in places or [(finding.instance_uid, finding.frame)]:
            found.setdefault(place)
    return tuple(found)[:MOST_PICTURES]


def findings_on(analysis: Analysis, place: tuple[str, int]) -> tuple[Finding, ...]:
    """What is present or undetermined on one image, the gravest first."""
    return tuple(
        finding
        for finding in sorted(analysis.findings, key=_order)
        if finding.state is not State.ABSENT
        and place
        in (
            [(r.instance_uid, r.frame) for r in finding.regions]
            or [(finding.instance_uid, finding.frame)]
        )
    )


def groups(analysis: Analysis) -> tuple[tuple[Finding, tuple[Region, ...]], ...]:
    """The findings that a TID 1500 report holds as measurement groups: present, coded, outlined."""
    return tuple(
        (finding, finding.regions)
        for finding in sorted(analysis.findings, key=_order)
        if finding.state is State.PRESENT and finding.regions and codes.usable(finding.code)
    )


def ungrouped(analysis: Analysis) -> tuple[Finding, ...]:
    """The coded findings that stand as evaluations: everything a group does not hold."""
    held = {finding.label for finding, _ in groups(analysis)}
    return tuple(f for f in leading(analysis) if f.label not in held and codes.usable(f.code))


def explanations(analysis: Analysis, finding: Finding) -> tuple[Explanation, ...]:
    """Why the model says this of this image, by each method that was asked, in their order."""
    return tuple(
        one
        for one in analysis.explanations
        if (one.finding, one.instance_uid) == (finding.label, finding.instance_uid)
    )


def is_map(found: Explanation) -> bool:
    """Whether it is a map alone: its method makes no frames."""
    return found.method != STRIP and not found.frames


def _passed(analysis: Analysis) -> Iterator[tuple[Explanation, Finding]]:
    """The explanations that passed their tests, of findings that are not absent and are drawn."""
    places = pictures(analysis)
    for finding in sorted(analysis.findings, key=_order):
        drawn = (finding.instance_uid, finding.frame) in places
        if finding.state is not State.ABSENT and drawn:
            yield from ((e, finding) for e in explanations(analysis, finding) if e.shown)


def strips(analysis: Analysis) -> tuple[tuple[Explanation, Finding], ...]:
    """The explanations that are shown as a strip of frames."""
    return tuple((one, finding) for one, finding in _passed(analysis) if one.frames)


def maps(analysis: Analysis) -> tuple[tuple[Explanation, Finding], ...]:
    """The explanations that are shown as one map over the film."""
    return tuple(
        (one, finding)
        for one, finding in _passed(analysis)
        if is_map(one) and one.difference is not None
    )


def sources(analysis: Analysis, study: Study) -> tuple[str, ...]:
    """The instances that the result is about, in the study's order; the first if none is named."""
    named = {finding.instance_uid for finding in analysis.findings}
    named |= {region.instance_uid for f in analysis.findings for region in f.regions}
    found = tuple(i.uid for i in study.instances if i.uid in named)
    return found or (study.instances[0].uid,)


def written(options: Options, analysis: Analysis) -> frozenset[str]:
    """The kinds of documents that go out together, as far as the analysis gives them."""
    kinds = set(options.companions)
    if not shows_something(analysis):
        kinds.discard("secondary_capture")
    if not groups(analysis):
        kinds.discard("structured_report")
    return frozenset(kinds)


def name_of(finding: Finding, options: Options) -> str:
    return codes.display(finding.label, finding.code, options.language)


def numbers(finding: Finding, language: Words) -> tuple[str, str, str, str]:
    """Probability, lower and upper end of the band, threshold, as texts."""
    own, (low, high) = finding.probability, finding.band
    return (
        percent(own, language, near=(low, high, finding.threshold)),
        percent(low, language, near=(own,)),
        percent(high, language, near=(own,)),
        percent(finding.threshold, language, near=(own,)),
    )


def band_decided(finding: Finding) -> bool:
    """Whether the band says why the state is what it is. Where two calibrations of one model
    disagree (an unknown age), a finding is undetermined whatever the band of one of them says.
    """
    low, high = finding.band
    inside = low <= finding.probability <= high
    return low != high and inside is (finding.state is State.UNDETERMINED)


def why_undetermined(finding: Finding, options: Options) -> str:
    """The reason of an undetermined finding, in one sentence."""
    language = words(options.language)
    probability, low, high, threshold = numbers(finding, language)
    name = name_of(finding, options)
    if not finding.band[0] <= finding.probability <= finding.band[1]:
        said = language.certainty.format(probability)
        return f"{name}: {language.states[State.UNDETERMINED].lower()}, {said}."
    return language.undetermined_why.format(name, probability, low, high, threshold)


def finding_line(finding: Finding, options: Options) -> str:
    """A finding in one line of text."""
    language = words(options.language)
    probability, low, high, threshold = numbers(finding, language)
    state = language.states[finding.state]
    said = [language.certainty.format(probability), language.threshold.format(threshold)]
    if band_decided(finding):
        said.append(language.band.format(low, high))
    return f"{name_of(finding, options)}: {state} ({', '.join(said)})"


def explanation_line(found: Explanation | None, language: Words) -> str:
    """What became of the explanation; a failed one is said as loudly as a passed one."""
    if found is None:
        return language.not_tested
    if not found.shown:
        return language.not_shown.format(found.reason or "-")
    if not found.faithfulness:
        return language.not_tested
    passed = sum(check.passed for check in found.faithfulness)
    tested = language.tested.format(passed, len(found.faithfulness))
    if found.distance is None:
        return tested
    return f"{tested}; {language.distance.format(percent(found.distance, language))}"


def explanation_lines(analysis: Analysis, finding: Finding, language: Words) -> list[str]:
    """What became of each method's explanation, one text a method."""
    found = explanations(analysis, finding)
    if not found:
        return [explanation_line(None, language)]
    if [one.method for one in found] == [STRIP]:
        return [explanation_line(found[0], language)]
    return [f"{method_name(one, language)}: {explanation_line(one, language)}" for one in found]


def method_name(found: Explanation, language: Words) -> str:
    return language.methods.get(found.method, found.method)


def told_apart(one: float, other: float) -> tuple[str, str]:
    """Two numbers with two decimals, or with as many as show which is larger."""
    digits = 2
    while digits < 6 and one != other and f"{one:.{digits}f}" == f"{other:.{digits}f}":
        digits += 1
    return f"{one:.{digits}f}", f"{other:.{digits}f}"


def map_lines(found: Explanation, language: Words) -> list[str]:
    """Of a map: how it was made, and each number that was asked of it with its pass mark."""
    numbers = []
    for check in found.faithfulness:
        mark = language.at_least if check.at_least else language.at_most
        value, limit = (
            one.replace(".", language.decimal) for one in told_apart(check.value, check.limit)
        )
        name = language.checks.get(check.name, check.name)
        said = f"{name} {value} ({mark.format(limit)})"
        numbers.append(said if check.passed else f"{said} {language.failed}")
    return [line for line in (found.how, "; ".join(numbers)) if line]


def report_lines(analysis: Analysis, options: Options) -> Iterator[str]:
    """The findings section of the text report, without the label."""
    language = words(options.language)
    if analysis.status is not Status.COMPLETED:
        yield not_assessed(analysis.reason, language)
    elif not analysis.findings and not analysis.dictated:
        yield language.no_findings
    if analysis.dictated:
        yield language.dictated
        yield from (f"  {line.strip()}" for line in analysis.dictated.splitlines() if line.strip())
    for finding in leading(analysis):
        yield finding_line(finding, options)
        if finding.state is not State.ABSENT:
            yield from (f"  {line}" for line in explanation_lines(analysis, finding, language))
            for found in filter(is_map, explanations(analysis, finding)):
                name = method_name(found, language)
                yield from (f"    {name}: {line}" for line in map_lines(found, language))
    for note in analysis.notes:
        yield language.note.format(note)
    yield model_line(analysis, options)
    if older := options.predecessors.get("text_report"):
        yield language.replaces.format(older)


def model_line(analysis: Analysis, options: Options) -> str:
    algorithm = analysis.algorithm
    return words(options.language).model.format(
        f"{algorithm.name} {algorithm.version}",
        f"dictamen {options.version}",
        algorithm.sha256[:12] or words(options.language).unknown,
    )


def folded(lines: Iterator[str]) -> str:
    """Lines broken at the width that viewers show, continuation lines indented."""
    found: list[str] = []
    for line in lines:
        indent = " " * (len(line) - len(line.lstrip()))
        found += wrap(
            line.strip(),
            LINE_WIDTH,
            initial_indent=indent,
            subsequent_indent=indent + "    ",
            break_long_words=True,
            break_on_hyphens=False,
        ) or [""]
    return "\n".join(found)
