"""`calm consent`: records of who allows which voice to be used, for what, until when."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Annotated

import typer

from calm.cli.errors import console, printable
from calm.errors import ConsentError, InputError

__all__ = ["app"]

app = typer.Typer(help="Consent records for reference voices.", no_args_is_help=True)

Record = Annotated[Path, typer.Argument(metavar="FILE", help="Record written by `calm consent new`.")]


@app.command()
def new(
    ref_audio: Annotated[Path, typer.Option(help="The clip of the voice.")],
    who: Annotated[str, typer.Option(help="Whose voice it is.")],
    purpose: Annotated[str, typer.Option(help="What the person agreed to; several with commas between.")],
    expires: Annotated[str, typer.Option(help="Last day of the consent, YYYY-MM-DD.")],
    statement: Annotated[Path | None, typer.Option(help="A recording in which the person says so.")] = None,
    output: Annotated[Path, typer.Option("-o", "--output", help="File to write.")] = Path("consent.json"),
) -> None:
    """Record that a speaker agreed to the use of their voice."""
    from calm.safety import Consent

    record = Consent.new(ref_audio, who=who, purpose=purpose, expires=_date(expires), statement=statement)
    record.save(output)
    console().print(f"{output}: consent of {record.who} for {ref_audio}, until {record.expires}")


@app.command()
def show(file: Record) -> None:
    """Show a record, and whether it holds today.

    Example: calm consent show me.consent.json
    """
    from calm.safety import Consent

    record, today = Consent.load(file), date.today()
    lines = {
        "who": record.who,
        "purpose": record.purpose,
        "granted": record.granted,
        "expires": record.expires,
        "today": _today(record, today),
        "clip": f"SHA-256 of its samples {record.audio_sha256}",
        "statement": _statement(record),
        "id": record.id or "none (a record of an earlier version)",
        "record": f"version {record.version}, SHA-256 {record.sha256}",
    }
    for name, value in lines.items():
        console().print(f"{name:<10} {printable(value)}")


@app.command()
def verify(
    file: Record,
    ref_audio: Annotated[Path, typer.Option(help="The clip of the voice.")],
    purpose: Annotated[str | None, typer.Option(help="What the voice is to be used for.")] = None,
    statement: Annotated[Path | None, typer.Option(help="The recording in which the person says so.")] = None,
) -> None:
    """Check that a record allows the use of a clip today: exit code 0, or 2 with the reason.

    Example: calm consent verify me.consent.json --ref-audio me.wav
    """
    from calm.safety import Consent

    record, today = Consent.load(file), date.today()
    record.verify(ref_audio, today=today, where=file, purpose=purpose, statement=statement)
    allowed = f"{record.who} allows {ref_audio} for {purpose or record.purpose}; {_today(record, today)}"
    console().print(printable(f"{file}: {allowed}"))


def _today(record, today: date) -> str:
    try:
        record.check_day(today)
    except ConsentError as error:
        return f"does not hold: {error.what}"
    days = (record.expires - today).days + 1
    return f"holds, {days:,} day{'s' if days > 1 else ''} left with today"


def _statement(record) -> str:
    if record.statement_sha256 is None:
        return "none recorded"
    return f"{record.statement_file or 'a recording'}, SHA-256 of its samples {record.statement_sha256}"


def _date(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise InputError(f"'{text}' is not a date", where="--expires", allowed="YYYY-MM-DD") from None
