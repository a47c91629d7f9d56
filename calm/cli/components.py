"""`calm components`."""

from __future__ import annotations

from typing import Annotated

import typer

__all__ = ["components"]


def components(
    kind: Annotated[str | None, typer.Argument(help="Only this kind, for example backbone.")] = None,
    imports: Annotated[
        list[str] | None, typer.Option("--import", help="Module that registers further components.")
    ] = None,
) -> None:
    """List every part that a configuration can choose."""
    import importlib

    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from calm import registry
    from calm.errors import UnknownNameError

    for module in imports or []:
        try:
            importlib.import_module(module)
        except ImportError as error:
            raise UnknownNameError(f"'{module}' cannot be imported: {error}", where="--import") from error
    table = Table("kind", "name", "what it is", box=None)
    for each in registry.KINDS if kind is None else [kind]:
        for name in registry.names(each):
            table.add_row(each, name, escape(registry.describe(each, name)))
    Console().print(table)
