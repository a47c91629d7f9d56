"""`calm detect`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from calm.cli.errors import console, printable
from calm.errors import CalmError

if TYPE_CHECKING:
    from calm.safety import Finding, Report

__all__ = ["detect"]

#: exit codes, beside those of ``calm.cli.errors``: 2 is also that of a wrong input
INTACT, NOTHING, BROKEN = 0, 1, 2
WORDS = {
    "intact": "intact",
    "broken": "BROKEN: it cannot be read, or does not fit what it says of its origin",
    "nothing": "nothing that can be checked",
}


def detect(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Audio files; a sidecar lies beside its file.")],
    trust: Annotated[
        list[Path] | None, typer.Option(metavar="PEM", help="Public key or authority to know; may be given again.")
    ] = None,
    require_known: Annotated[
        bool, typer.Option("--require-known", help="A signer who is not known here counts as broken.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a file.")] = False,
) -> None:
    """Say where files are from, who signed that, and whether they are as they were signed.

    Exit code 0: something was found and all of it is intact; 1: nothing was found that can be checked (a tag alone
    can be written by anyone); 2: something does not fit, or the file cannot be read. Of several files, the worst.

    Example: calm detect hello.wav
    """
    from calm.safety import detect as look

    worst = INTACT
    for file in files:
        try:
            report = look(file, trust=trust or ())
        except CalmError as error:
            console(stderr=True).print(str(error), style="red")
            worst = BROKEN
            continue
        _show(report, as_json=as_json)
        code = {"intact": INTACT, "nothing": NOTHING, "broken": BROKEN}[report.state]
        worst = max(worst, BROKEN if require_known and not report.known else code)
    raise typer.Exit(worst)


def _show(report: Report, *, as_json: bool) -> None:
    if as_json:
        console().print(json.dumps(report.as_json()))
        return
    console().print(f"{printable(report.file)}: {WORDS[report.state]}")
    for finding in report.findings:
        console().print(f"  {finding.part:<10} {printable(finding.message)}")
    if said := _said(report):
        console().print(f"  says       {', '.join(f'{name} {printable(value)}' for name, value in said.items())}")


def _said(report: Report) -> dict[str, object]:
    """The origin as the strongest part tells it: signed before unsigned."""
    order = {"sidecar": 0, "c2pa": 1, "tag": 2}

    def rank(finding: Finding) -> tuple[bool, int]:
        return finding.state != "intact", order[finding.part]

    telling = [each for each in report.findings if each.part in order and each.says]
    if not telling:
        return {}
    says = min(telling, key=rank).says
    names = ("generator", "model", "task", "seed", "created", "consent_id", "source_type")
    return {name: says[name] for name in names if says.get(name) not in (None, "")}
