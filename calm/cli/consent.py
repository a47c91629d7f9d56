"""`calm consent new`."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Annotated

import typer

from calm.cli.errors import console
from calm.errors import InputError

__all__ = ["app"]

app = typer.Typer(help="Consent records for reference voices.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Keep `new` a verb of its own: a group with one command would swallow its name."""


@app.command()
def new(
    ref_audio: Annotated[Path, typer.Option(help="The clip of the voice.")],
    who: Annotated[str, typer.Option(help="Whose voice it is.")],
    purpose: Annotated[str, typer.Option(help="What the person agreed to.")],
    expires: Annotated[str, typer.Option(help="Last day of the consent, YYYY-MM-DD.")],
    statement: Annotated[Path | None, typer.Option(help="A recording in which the person says so.")] = None,
    output: Annotated[Path, typer.Option("-o", "--output", help="File to write.")] = Path("consent.json"),
) -> None:
    """Record that a speaker agreed to the use of their voice."""
    from calm.safety import Consent

    record = Consent.new(ref_audio, who=who, purpose=purpose, expires=_date(expires), statement=statement)
    record.save(output)
    console().print(f"{output}: consent of {record.who} for {ref_audio}, until {record.expires}")


def _date(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise InputError(f"'{text}' is not a date", where="--expires", allowed="YYYY-MM-DD") from None
