"""The results page: tables with the best figure in bold, and cards to listen to, for any static host."""

from __future__ import annotations

from calm.report.records import LoadedResults
from calm.report.site import load_results, write_site

__all__ = ["LoadedResults", "load_results", "write_site"]
