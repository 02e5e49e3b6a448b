"""The page of an evaluation: one HTML file that needs nothing else, in Spanish or English.

In: what was measured, data set by data set; floors. Out: the page's text. Never: a number that is
not in the record; a word of a report.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from processors.training.impressions import evaluation_plots as plots
from processors.training.impressions.evaluation import NO_GUARD, YARDSTICK, Measured
from processors.training.impressions.evaluation_words import WORDS
from processors.training.impressions.floors import Held
from processors.training.impressions.scores import KINDS

_STYLE = """
body{background:#fff;color:#1b1f23;font:16px/1.5 system-ui,sans-serif;max-width:80rem;
 margin:2rem auto;padding:0 1rem}
.warn{border-left:.4rem solid #e69f00;padding:.6rem 1rem;background:#fff7e6}
.ceiling{border-left:.4rem solid #0072b2;padding:.4rem 1rem;background:#e8f2f9}
section{border-top:2px solid #ccc;margin-top:2rem}
svg{max-width:100%;height:auto}
.wide{overflow-x:auto}
table{border-collapse:collapse;font-size:.9rem;font-variant-numeric:tabular-nums}
td,th{padding:.2rem .7rem;border-bottom:1px solid #ddd;text-align:left}
td{white-space:nowrap}
tr.always td{color:#666}
.red{color:#b3400e;font-weight:600}
"""
_say = html.escape
_HARD = "unseen-and-abnormal"
_SHORT = KINDS[:3]
Words = Mapping[str, Any]


def page(
    measured: Sequence[Measured], held: Sequence[tuple[str, Held]], language: str, made_by: str
) -> str:
    """The whole page. held: floors, each with the name of its data set; made_by: which version."""
    words = WORDS[language]
    body = "".join(_data(one, words) for one in measured)
    foot = words["foot"].format(rounds=measured[0].record["rounds"])
    return (
        f'<!doctype html><html lang="{language}"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>{words['title']}</title><style>{_STYLE}</style><h1>{words['title']}</h1>"
        f"<p class=warn>{_say(words['warn'])}</p>{_overview(measured, words)}"
        f"{_floors(held, words)}{body}<p>{_say(foot)} {_say(made_by)}</p></html>\n"
    )


def _overview(measured: Sequence[Measured], words: Words) -> str:
    """Each system once, the data sets side by side."""
    blocks = [(m, g) for m in measured for g in ("all", _HARD) if g in m.record["groups"]]
    names = dict.fromkeys(name for m in measured for name in m.rouge)
    head = [words["system"], *(f"{m.record['data']}: {g} (ROUGE-1/2/L)" for m, g in blocks)]
    rows = []
    for name in names:
        cells = [name]
        for m, g in blocks:
            told = m.record["groups"][g]["systems"].get(name)
            cells.append("/".join(f"{told[k]['mean']:.3f}" for k in _SHORT) if told else "")
        rows.append(cells)
    return f"<h2>{words['overview']}</h2>{_table(head, rows)}"


def _floors(held: Sequence[tuple[str, Held]], words: Words) -> str:
    if not held:
        return ""
    rows = []
    for data, one in held:
        state = "met" if one.passed else "missed" if one.value is not None else "unmeasured"
        value = "" if one.value is None else f"{one.value:.3f}"
        rows.append(
            [one.system, f"{data}: {one.group}", one.figure, one.judge, value,
             f"{one.sign} {one.limit:g}", words[state]]
        )  # fmt: skip
    red = {n for n, (_, one) in enumerate(held) if not one.passed}
    return f"<h2>{words['floors']}</h2>{_table(words['floor_head'], rows, red=red)}"


def _data(one: Measured, words: Words) -> str:
    record = one.record
    said = f"{record['reports']} {words['reports']}; {record['copied_from']} {words['copied']}"
    lacking = "".join(
        f"<p class=red>{_say(words['lacking'].format(system=name, n=n))}</p>"
        for name, n in record["lacking"].items()
        if n
    )
    bad = f"<p>{len(record['bad_rows'])} {words['bad']}</p>" if record["bad_rows"] else ""
    groups = "".join(_group(one, name, words) for name in record["groups"])
    return (
        f"<section><h2>{_say(record['data'])}</h2><p>{_say(said)}</p>{lacking}{bad}"
        f"{_cut(record['cut'], words)}{groups}</section>"
    )


def _cut(cut: Mapping[str, Mapping[str, int]], words: Words) -> str:
    rows = [[n, str(c["inputs"]), str(c["tokens"]), str(c["outputs"])] for n, c in cut.items()]
    return f"<h3>{words['cut']}</h3>{_table(words['cut_head'], rows)}" if rows else ""


def _group(one: Measured, name: str, words: Words) -> str:
    told, mask = one.record["groups"][name], one.masks[name]
    entered = one.record["lacking"]
    always = {n for n in one.rouge if n.removesuffix(NO_GUARD) not in entered}
    drawn = plots.boxes({n: rouge[mask] for n, rouge in one.rouge.items()}, always)
    systems = told["systems"]
    means = [[n, *(_mean(s[k]) for k in KINDS)] for n, s in systems.items()]
    marks = {k for k, n in enumerate(systems) if n in always}
    return (
        f"<h3>{_say(words[name])} ({told['n']})</h3>"
        f"<h4>{words['words']}</h4>{_table([words['system'], *plots.TITLES], means, grey=marks)}"
        f"<p>{words['boxes']}</p><div class=wide>{drawn}</div>{_spread(systems, words)}"
        f"{_findings(one, told, marks, words)}{_against(one, told, words)}"
    )


def _spread(systems: Mapping[str, Any], words: Words) -> str:
    parts = ("n", "mean", "std", "min", "q1", "median", "q3", "max")
    rows = [
        [name, title, *(f"{s[kind][part]:.3f}" if part != "n" else str(s[kind][part])
                        for part in parts)]
        for name, s in systems.items()
        for kind, title in zip(KINDS, plots.TITLES, strict=True)
    ]  # fmt: skip
    head = [words["system"], words["measure"], *(words[part] for part in parts)]
    return f"<details><summary>{words['spread']}</summary>{_table(head, rows)}</details>"


def _findings(one: Measured, told: Mapping[str, Any], marks: set[int], words: Words) -> str:
    parts = ("omitted", "invented", "unsupported", "unfounded")
    head = [words[k] for k in ("system", "f1", "false_normal", *parts, "critical")]
    blocks = []
    for judge, about in one.record["judges"].items():
        rows = []
        for name, system in told["systems"].items():
            f, c = system["findings"][judge], system["critical"]
            normal = (f["false_normal"], f["false_normal_low"], f["false_normal_high"])
            rows.append(
                [name, _interval(f["f1"], f["low"], f["high"]), _interval(*normal),
                 *(f"{f[part]:.3f}" for part in parts), f"{c['left_out']:.3f} ({c['n']:.0f})"]
            )  # fmt: skip
        kind = words["own" if about["own"] else "labelled" if about["labels"] else "other"]
        blocks.append(
            f"<h4>{_say(words['findings'].format(judge=judge))} ({_say(kind)})</h4>"
            f"{_table(head, rows, grey=marks)}{_ceiling(told, judge, words)}"
        )
    return "".join(blocks)


def _ceiling(told: Mapping[str, Any], judge: str, words: Words) -> str:
    if not any(each["findings"][judge]["reference"] for each in told["systems"].values()):
        return ""  # no reference asserts a finding
    top = told["ceiling"][judge]
    said = words["ceiling"].format(nowhere=f"{top['nowhere']:.1%}", f1=f"{top['f1']:.3f}")
    return f"<p class=ceiling>{_say(said)}</p>"


def _against(one: Measured, told: Mapping[str, Any], words: Words) -> str:
    if not told["against"]:
        return ""
    judges = one.record["judges"]
    judge = next((name for name, about in judges.items() if not about["own"]), next(iter(judges)))
    rows = [
        [ours, theirs, *(_signed(d[k]) for k in _SHORT), _signed(d["f1"][judge])]
        for ours, others in told["against"].items()
        for theirs, d in others.items()
    ]
    dots = [
        (ours, others[YARDSTICK][KINDS[0]]["mean"], others[YARDSTICK][KINDS[0]]["low"],
         others[YARDSTICK][KINDS[0]]["high"])
        for ours, others in told["against"].items()
        if YARDSTICK in others
    ]  # fmt: skip
    head = [words["system"], words["other_system"], *plots.TITLES[:3], "F1"]
    drawn = plots.intervals(dots, 0, words["gain"].format(other=YARDSTICK)) if dots else ""
    return (
        f"<h4>{_say(words['against'].format(judge=judge))}</h4>{_table(head, rows)}"
        f"<div class=wide>{drawn}</div>"
    )


def _mean(told: Mapping[str, float]) -> str:
    return _interval(told["mean"], told["low"], told["high"])


def _interval(value: float, low: float, high: float) -> str:
    return f"{value:.3f} [{low:.3f}, {high:.3f}]"


def _signed(told: Mapping[str, float]) -> str:
    return f"{told['mean']:+.3f} [{told['low']:+.3f}, {told['high']:+.3f}]"


def _table(
    head: Iterable[str],
    lines: Sequence[Sequence[str]],
    grey: Iterable[int] = (),
    red: Iterable[int] = (),
) -> str:
    """grey, red: numbers of the lines of baselines, and of what missed its floor."""
    kinds = {**dict.fromkeys(grey, " class=always"), **dict.fromkeys(red, " class=red")}
    rows = "".join(
        f"<tr{kinds.get(n, '')}>{''.join(f'<td>{_say(cell)}</td>' for cell in line)}</tr>"
        for n, line in enumerate(lines)
    )
    top = "".join(f"<th>{_say(cell)}</th>" for cell in head)
    return f"<div class=wide><table><tr>{top}</tr>{rows}</table></div>"
