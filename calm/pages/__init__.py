"""Pages to look at and listen to: a run as one self-contained HTML file."""

from __future__ import annotations

from calm.pages.page import render_run
from calm.pages.records import Page

__all__ = ["Page", "render_run"]
