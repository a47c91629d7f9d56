"""`calm serve`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from calm.cli.errors import console
from calm.errors import InputError

__all__ = ["serve"]

KEY_VARIABLE = "AUDIOCALM_API_KEY"
PACKAGES = ("fastapi", "uvicorn", "python_multipart", "prometheus_client")


def serve(
    model: Annotated[
        str | None, typer.Option(help="Shipped model (default mini), or folder of an exported model or of a run.")
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen at; 0.0.0.0 is open to the network.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 8000,
    device: Annotated[str, typer.Option(help="auto, cpu, mps or cuda:N.")] = "auto",
    precision: Annotated[str, typer.Option(help="auto, fp32, bf16; on a CPU also fp16, int8.")] = "auto",
    max_running: Annotated[int, typer.Option(min=1, help="Requests that are generated together.")] = 16,
    max_queued: Annotated[int, typer.Option(min=1, help="Requests that wait; further ones get status 429.")] = 128,
    max_seconds: Annotated[float, typer.Option(help="Longest clip, seconds.")] = 60.0,
    max_body_mib: Annotated[int, typer.Option(min=1, help="Largest request, MiB.")] = 16,
    drain_seconds: Annotated[float, typer.Option(min=0, help="After SIGTERM, running requests have so long.")] = 20.0,
    home: Annotated[Path | None, typer.Option(help="Folder of registered voices.")] = None,
    api_key_file: Annotated[
        Path | None, typer.Option(help=f"Keys, one a line; requests need one. Or one key in ${KEY_VARIABLE}.")
    ] = None,
    cors_origin: Annotated[list[str] | None, typer.Option(help="Pages of this origin may use the server; repeat it.")] = None,
    allowed_host: Annotated[
        list[str] | None,
        typer.Option(
            envvar="AUDIOCALM_ALLOWED_HOSTS",
            help="Name that the server is reached by; repeat it. Default: local names, or all where --host is open.",
        ),
    ] = None,
    provenance: Annotated[str, typer.Option(help="all, none, or of sidecar,c2pa,watermark; audio says what is off.")] = "all",
    show: Annotated[bool, typer.Option("--show", help="Show the settings, and serve nothing.")] = False,
) -> None:
    """Speech, sound and music over HTTP, for OpenAI's clients and others.

    Example: calm serve --port 8000
    """
    _check_packages()
    settings = _settings(
        host=host,
        port=port,
        home=home,
        api_keys=_keys(api_key_file),
        cors_origins=tuple(cors_origin or ()),
        allowed_hosts=_allowed(allowed_host, host),
        provenance=_parts(provenance),
        max_body_bytes=max_body_mib << 20,
        drain_seconds=drain_seconds,
    )
    limits = _limits(max_running=max_running, max_queued=max_queued, max_seconds=max_seconds)
    if show:
        _show(settings, limits)
    else:
        _run(_folder(model), settings, limits, device=device, precision=precision)


def _check_packages() -> None:
    from importlib.util import find_spec

    missing = [name for name in PACKAGES if find_spec(name) is None]
    if missing:
        raise InputError(f"Not installed: {', '.join(missing)}", where="calm serve", hint='pip install "audiocalm[serve]"')


def _settings(*, home: Path | None, **values: Any) -> Any:
    from calm.serving.settings import ServerSettings

    return ServerSettings(**values, **({} if home is None else {"home": home.expanduser().absolute()}))


def _limits(**values: Any) -> Any:
    from calm.serving.limits import Limits

    return Limits(**values)


def _parts(text: str) -> tuple[str, ...]:
    from calm.safety import parse_parts

    return parse_parts(text)


def _folder(model: str | None) -> Path:
    from calm.model.shipped import default_model, find_model

    return default_model() if model is None else find_model(model)


def _keys(file: Path | None) -> tuple[str, ...]:
    """Keys of a file, one a line, and that of the environment; no option takes a key, for everybody sees those."""
    lines = [os.environ.get(KEY_VARIABLE, "")]
    if file is not None:
        try:
            lines += file.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"The file of keys cannot be read ({error})", where="--api-key-file") from None
    keys = tuple(key for line in lines if (key := line.strip()) and not key.startswith("#"))
    if file is not None and not keys:
        raise InputError("The file has no key", where=file, allowed="one key a line")
    return keys


def _allowed(names: list[str] | None, host: str) -> tuple[str, ...]:
    local = ("localhost", "127.0.0.1", "[::1]")
    if names:
        # Health checks and the proxy of this machine ask by these, and no page can take them for its own name.
        return tuple(dict.fromkeys([*(name.lower() for name in names), *local]))
    return local if host in ("localhost", "127.0.0.1", "::1") else ("*",)


def _show(*records: Any) -> None:
    import dataclasses

    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table("setting", "value", box=box.SIMPLE_HEAD)
    for record in records:
        for field in dataclasses.fields(record):
            value = getattr(record, field.name)
            shown = f"{len(value)} keys" if field.name == "api_keys" else ", ".join(value) if isinstance(value, tuple) else value
            table.add_row(field.name, Text(str(shown)))
    console().print(table)


def _run(folder: Path, settings: Any, limits: Any, *, device: str, precision: str) -> None:
    import logging

    from calm.generation import AudioCALM
    from calm.generation.threads import fit_threads
    from calm.model.identity import identify
    from calm.serving.app import make_service
    from calm.serving.engine import Engine
    from calm.serving.server import Server, bind, url_of

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    bound = bind(settings)
    # Requests share passes: with one range for all rows, int8 would let each hear its neighbours.
    precision = "int8_rows" if precision == "int8" else precision
    model = AudioCALM.from_pretrained(folder, device=device, precision=precision)
    fit_threads(model.model)
    with Engine(model, limits) as engine:
        service = make_service(engine, settings, identity=identify(folder))
        ready = f"{model.name} at {url_of(bound)}; Ctrl-C or SIGTERM ends it"
        if not settings.api_keys and "*" in settings.allowed_hosts:
            ready += "\nNo API key: everybody who reaches this address may use it (--api-key-file)"
        Server(service, on_ready=lambda: console().print(ready)).run(sockets=[bound])
    console().print("Stopped.")
