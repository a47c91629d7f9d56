"""`python -m calm` is the `calm` command."""

from __future__ import annotations

from calm.cli import main

if __name__ == "__main__":
    main()
