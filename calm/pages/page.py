"""`render_run`: one HTML file that shows a run and opens from disk, with everything inside it."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np

from calm.audio import write_bytes
from calm.errors import DataError
from calm.pages.frame import asset, head, header
from calm.pages.history import load_history
from calm.pages.html import Element, h, to_html
from calm.pages.load import load_page, resolve
from calm.pages.records import Page
from calm.pages.sections import Files, clips_section, overfit_section, reconstruction_section, stages_section
from calm.pages.sound import PAGE_WAV_BYTES, Sound, load_sound
from calm.pages.training import training_section

__all__ = ["render_page", "render_run"]


def render_run(run_dir: Path, *, out: Path | None = None) -> Path:
    """Write the page of a run and return its path.

    Args:
        run_dir: folder with page.json (see `calm.pages.records`), or of an ordinary training run.
        out: the file to write; ``index.html`` in the run's folder by default.
    Raises InputError where the folder holds no run, DataError where something that it names cannot be read.
    """
    run_dir = Path(run_dir)
    document = render_page(load_page(run_dir), run_dir=run_dir)
    return write_bytes(out or run_dir / "index.html", document.encode("utf-8"))


def render_page(page: Page, *, run_dir: Path) -> str:
    """Return the document that shows ``page``, whose files lie in ``run_dir``."""
    files = _files(page, run_dir)
    sections = [
        clips_section(page, files),
        reconstruction_section(page.reconstructions, files),
        overfit_section(page.overfit, files),
        training_section(page.curves, lambda name: load_history(resolve(run_dir, name))),
        stages_section(page.stages),
    ]
    shown = [item for item in sections if item is not None]
    top = header(page.title, lead=page.lead, notes=page.notes, facts=page.facts, sections=shown)
    body = h("body", top, h("main", shown, id="main"), _footer(), h("script", asset("page.js")))
    return to_html(h("html", head(page.title), body, lang="en"))


def _footer() -> Element:
    text = (
        "Every generated file carries a record of its origin. This page is one file: it loads nothing from the network."
    )
    return h("footer", h("p", text))


def _files(page: Page, run_dir: Path) -> Files:
    names = [clip.audio for clip in page.clips]
    names += [name for pair in page.reconstructions for name in (pair.original, pair.reconstruction)]
    if page.overfit is not None:
        names += [name for pair in page.overfit.pairs for name in (pair.target_audio, pair.sampled_audio)]
    paths = {name: resolve(run_dir, name) for name in names}
    total = sum(path.stat().st_size for path in paths.values())
    format = "wav" if total <= PAGE_WAV_BYTES else "mp3"

    def sound(name: str) -> Sound:
        return load_sound(paths[name], format=format)

    return Files(sound, functools.partial(_load_array, run_dir))


def _load_array(run_dir: Path, name: str) -> np.ndarray:
    path = resolve(run_dir, name)
    try:
        values = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise DataError(f"The latents cannot be read ({error})", where=path, hint="run the demo again") from error
    if values.ndim != 2 or not values.size or not np.isfinite(values).all():
        raise DataError(f"The latents are {values.dtype} {list(values.shape)}", where=path, allowed="finite, [F, C]")
    return values
