"""The figures of impressions evaluate, for a terminal and for scripts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.table import Table

from dicom_node.cli.common import out

if TYPE_CHECKING:
    from processors.training.impressions.evaluation import Measured
    from processors.training.impressions.floors import Held


def record_of(measured: Sequence[Measured], held: Sequence[tuple[str, Held]]) -> dict[str, Any]:
    """What `--json` and the folder hold."""
    return {
        "data": [one.record for one in measured],
        "floors": [
            {
                "data": data,
                "system": each.system,
                "group": each.group,
                "figure": each.figure,
                "judge": each.judge,
                "value": each.value,
                "limit": f"{each.sign} {each.limit:g}",
                "passed": each.passed,
            }
            for data, each in held
        ],
    }


def show(measured: Sequence[Measured], held: Sequence[tuple[str, Held]]) -> None:
    """Tables for a terminal: words and findings of each group, the ceiling, the floors."""
    for one in measured:
        for name, group in one.record["groups"].items():
            title = f"{one.record['data']}, {name}: {group['n']} reports"
            out.print(_words(group, title), _findings(one, group))
            tops = ", ".join(f"{j}: {c['nowhere']:.1%}" for j, c in group["ceiling"].items())
            out.print(f"Of the references' findings stand nowhere in the findings: {tops}\n")
        for system, n in one.record["lacking"].items():
            if n:
                out.print(f"{system} has no draft for {n} reports; they score 0.")
        for system, cut in one.record["cut"].items():
            out.print(
                f"{system}: findings of {cut['inputs']} reports cut, {cut['tokens']} tokens lost; "
                f"{cut['outputs']} drafts ended at the limit."
            )
    for data, each in held:
        value = "not measured" if each.value is None else f"{each.value:.3f}"
        state = "ok" if each.passed else "RED"
        judge = f" by {each.judge}" if each.judge else ""
        out.print(
            f"{data}: {each.system}, {each.group}, {each.figure}{judge}: {value}, "
            f"floor {each.sign} {each.limit:g}: {state}"
        )


def _words(group: dict[str, Any], title: str) -> Table:
    table = Table("system", "ROUGE-1 [95 %]", "2", "L", "Lsum", title=title, title_justify="left")
    for system, told in group["systems"].items():
        first = told["rouge1"]
        table.add_row(
            system,
            f"{first['mean']:.3f} [{first['low']:.3f}, {first['high']:.3f}]",
            *(f"{told[kind]['mean']:.3f}" for kind in ("rouge2", "rougeL", "rougeLsum")),
        )
    return table


def _findings(one: Measured, group: dict[str, Any]) -> Table:
    judges = one.record["judges"]
    heads = [f"{name} (own)" if about["own"] else name for name, about in judges.items()]
    caption = "F1/false normals/not in the findings, by judge; critical: certain ones left out"
    table = Table("system", *heads, "critical", caption=caption, caption_justify="left")
    for system, told in group["systems"].items():
        found = [told["findings"][judge] for judge in judges]
        table.add_row(
            system,
            *(f"{f['f1']:.2f}/{f['false_normal']:.2f}/{f['unsupported']:.2f}" for f in found),
            f"{told['critical']['left_out']:.3f}",
        )
    return table
