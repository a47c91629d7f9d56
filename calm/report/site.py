"""`write_site`: result files become a folder that opens from disk and lies on any static host."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path

from calm.errors import InputError, did_you_mean
from calm.evaluation.results import read_results
from calm.pages.frame import asset, head, header
from calm.pages.html import h, to_html
from calm.pages.records import Fact
from calm.report.media import Media
from calm.report.merge import merge
from calm.report.parse import parse, without_places
from calm.report.records import Board, LoadedResults
from calm.report.sections import files_section, listen_section, results_sections
from calm.report.words import counted

__all__ = ["load_results", "write_site"]

FORMAT = "calm-site-1"
#: by this file a folder is known as a site of ours, which may be replaced
MARK = "calm-site.json"
#: nothing from elsewhere. Firefox does not count a page's own folder as 'self' where it is opened from disk.
POLICY = (
    "default-src 'none'; img-src 'self' file: data:; media-src 'self' file:; style-src '{style}'; script-src '{script}'; "
    "base-uri 'none'; form-action 'none'"
)


def load_results(path: str | Path) -> LoadedResults:
    """Read a result file, or the ``results.json`` of a folder. Raises DataError where it is none."""
    path = Path(path)
    path = path / "results.json" if path.is_dir() else path
    return LoadedResults(results=read_results(path), folder=path.parent)


def write_site(
    results: Sequence[LoadedResults], out: Path, *, title: str, ours: str | None = None, lead: str = "", cards: int = 6
) -> Path:
    """Write the results page of an evaluation and return the path of its ``index.html``.

    Files of one benchmark and one manifest are merged. The folder is complete or as it was before.

    Args:
        results: result files, the later ones winning where a system was evaluated again.
        out: the folder to write; an earlier site in it is replaced.
        ours: the system to set off from the others; by default the first whose source is a model.
        lead: a sentence under the title.
        cards: prompts to listen to, at most, of each benchmark.
    Raises InputError where ``out`` holds something else, or no system is called ``ours``; DataError where a result
    file cannot be used.
    """
    out = Path(out).resolve()
    if not results:
        raise InputError("There is no result file to show", where="results", hint="`calm evaluate` writes them")
    if cards < 0:
        raise InputError(f"'cards' is {cards}", where="cards", allowed="0 or more")
    _check_place(out)
    boards = sorted(merge([parse(each) for each in results]), key=_is_elsewhere)
    ours = _ours(boards, ours)
    out.parent.mkdir(parents=True, exist_ok=True)
    site = out.with_name(f".{out.name[:80]}.{uuid.uuid4().hex}.part")
    try:
        site.mkdir()
        document = _document(boards, results, Media(site), title=title, ours=ours, lead=lead, cards=cards)
        # Half a surrogate pair, which JSON can hold, is no character: it is shown as a question mark.
        (site / "index.html").write_bytes(document.encode("utf-8", errors="replace"))
        (site / MARK).write_text(json.dumps({"format": FORMAT}) + "\n", encoding="utf-8")
        _replace(out, site)
    finally:
        shutil.rmtree(site, ignore_errors=True)
    return out / "index.html"


def _document(
    boards: Sequence[Board],
    results: Sequence[LoadedResults],
    media: Media,
    *,
    title: str,
    ours: str | None,
    lead: str,
    cards: int,
) -> str:
    tables = results_sections(boards, ours=ours)
    listen = listen_section(boards, media, ours=ours, cards=cards)
    sections = [*tables, *([] if listen is None else [listen]), files_section(_copies(results, media.site))]
    style = asset("page.css") + asset("report.css", package="calm.report")
    script = asset("page.js") + asset("report.js", package="calm.report")
    policy = POLICY.format(style=_digest(style), script=_digest(script))
    top = header(title, lead=lead, facts=_facts(boards, media, ours=ours), sections=sections)
    foot = h("footer", h("p", "This page loads nothing but the files beside it. Clips keep their record of origin."))
    body = h("body", top, h("main", sections, id="main"), foot, h("script", script))
    return to_html(h("html", head(title, policy=policy, style=style), body, lang="en"))


def _is_elsewhere(board: Board) -> bool:
    """Whether nothing of a benchmark was measured here: it stands behind what was."""
    return all(system.published for system in board.systems)


def _digest(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode('ascii')}"


def _facts(boards: Sequence[Board], media: Media, *, ours: str | None) -> list[Fact]:
    systems = {(system.name, system.published): system for board in boards for system in board.systems}
    ranked = [system for system in systems.values() if system.ranked]
    published = sum(system.published for system in ranked)
    told = f"{len(ranked) - published} measured here" + (f", {published} as published" if published else "")
    facts = [
        Fact(label="Ours", value=ours or ""),
        Fact(label="Systems", value=told),
        Fact(label="Benchmarks", value=", ".join(dict.fromkeys(board.title for board in boards))),
        Fact(label="To listen to", value=counted(media.num_clips, "clip") if media.num_clips else ""),
    ]
    return [fact for fact in facts if fact.value]


def _copies(results: Sequence[LoadedResults], site: Path) -> list[tuple[str, Mapping]]:
    """Write the result files under ``results/``, without the folders of this machine; return their addresses."""
    (site / "results").mkdir()
    copies = []
    for number, loaded in enumerate(results, start=1):
        name = f"results/{number}.json"
        found = without_places(loaded.results)
        (site / name).write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        copies.append((name, found))
    return copies


def _ours(boards: Sequence[Board], ours: str | None) -> str | None:
    systems = [system for board in boards for system in board.systems]
    names = list(dict.fromkeys(system.name for system in systems if not system.published and system.ranked))
    if ours is None:
        return next((system.name for system in systems if system.kind == "model"), None)
    if ours not in names:
        raise InputError(f"No system is called '{ours}'", where="ours", allowed=names, hint=did_you_mean(ours, names))
    return ours


def _check_place(out: Path) -> None:
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    try:
        mark = json.loads((out / MARK).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        mark = None
    if not isinstance(mark, dict) or mark.get("format") != FORMAT:
        hint = "name a new folder, or remove this one"
        raise InputError(
            "There is something else where the site should go", where=out, allowed="an earlier site", hint=hint
        )


def _replace(out: Path, site: Path) -> None:
    """Put ``site`` in the place of ``out``; the earlier one comes back where that fails."""
    earlier = out.with_name(f"{site.name}.earlier")
    if out.exists():
        _check_place(out)  # it may have changed since
        os.rename(out, earlier)
    try:
        os.rename(site, out)
    except OSError:
        if earlier.exists():
            os.rename(earlier, out)
        raise
    shutil.rmtree(earlier, ignore_errors=True)
