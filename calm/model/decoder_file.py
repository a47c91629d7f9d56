"""A VAE's decoder as one file for another runtime (`torch.export` or ONNX), checked, with a record beside it."""

from __future__ import annotations

import hashlib
import importlib.metadata
import io
import json
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from calm import __version__
from calm.audio import write_together
from calm.errors import CheckpointError, ConfigError, InputError
from calm.model.build import load_pretrained
from calm.model.identity import identify
from calm.vae import VAE

__all__ = ["FORMS", "DecoderFile", "export_decoder"]

#: form -> what its files are called
FORMS = {"torch": ".pt2", "onnx": ".onnx"}
#: what writes and checks a form, for the record
PACKAGES = {"torch": ("torch",), "onnx": ("torch", "onnx", "onnxscript", "onnxruntime")}
FORMAT = 1
MAX_ERROR = 1e-4
#: latents of the clip that is traced, and of those that are compared; which axis may have which lengths
TRACED, COMPARED = 12, (1, 3, 8, 61)
FRAMES_AXIS, MAX_FRAMES = 1, 1_000_000

Run = Callable[[Tensor], Tensor]


@dataclass(frozen=True, kw_only=True)
class DecoderFile:
    """What was written: the file, the record beside it, and the largest difference from the model's own audio."""

    path: Path
    record_path: Path
    num_bytes: int
    largest_error: float


def export_decoder(source: str | Path, path: Path, *, form: str) -> DecoderFile:
    """Write the decoder of a model to ``path``, and its record beside it, to the same name with ``.json`` added.

    The file maps ``latents`` [1, F, C], normalised as generators make them, any F, to ``audio`` [1, A, F * hop].

    Args:
        source: a run's folder, an exported model, or a shipped one. form: one of ``FORMS``.

    Raises InputError for another form or ending, or a VAE that has no such form; ConfigError where a package is
    missing; CheckpointError, and writes nothing, where the file sounds different from the model by more than 1e-4
    (of the peak, where that is above 1).
    """
    if form not in FORMS:
        raise InputError(f"'{form}' is no form of a decoder", where="form", allowed=FORMS)
    if path.suffix != FORMS[form]:
        raise InputError(f"'{path}' does not end in {FORMS[form]}", where=f"form {form}", allowed=f"NAME{FORMS[form]}")
    root, config = load_pretrained(source)
    vae: VAE = root.vae.eval()
    decoder = vae.whole_decoder().eval().requires_grad_(False)
    _check(vae, decoder, where=source)  # before the seconds that tracing takes
    with _quiet():
        content, run = {"torch": _to_torch, "onnx": _to_onnx}[form](decoder)
    error = _check(vae, run, where=source)
    record = {
        "format": FORMAT,
        "form": form,
        "file": path.name,
        "sha256": hashlib.sha256(content).hexdigest(),
        "model": config.name,
        **vars(identify(source)),
        **_shapes(vae),
        "largest_error": error,
        "versions": {"audiocalm": __version__} | {name: importlib.metadata.version(name) for name in PACKAGES[form]},
    }
    beside = path.with_name(f"{path.name}.json")
    written = write_together({path: content, beside: json.dumps(record, indent=1).encode() + b"\n"})
    return DecoderFile(path=written[0], record_path=written[1], num_bytes=len(content), largest_error=error)


def _shapes(vae: VAE) -> dict[str, Any]:
    return {
        "sample_rate": vae.sample_rate,
        "channels": vae.channels,
        "hop": vae.hop,
        "latent_dim": vae.latent_dim,
        "frame_rate": vae.frame_rate,
        "input": {"name": "latents", "dtype": "float32", "shape": [1, "F", vae.latent_dim]},
        "output": {"name": "audio", "dtype": "float32", "shape": [1, vae.channels, f"F * {vae.hop}"]},
    }


def _dynamic_shapes() -> dict[str, dict[int, Any]]:
    """Built where it is needed: a `Dim` imports sympy, for which loading a model would wait half a second."""
    return {"latents": {FRAMES_AXIS: torch.export.Dim("F", min=1, max=MAX_FRAMES)}}


def _trace(decoder: nn.Module) -> torch.export.ExportedProgram:
    latents = torch.zeros(1, TRACED, len(decoder.mean))
    return torch.export.export(decoder, (latents,), dynamic_shapes=_dynamic_shapes())


def _to_torch(decoder: nn.Module) -> tuple[bytes, Run]:
    file = io.BytesIO()
    torch.export.save(_trace(decoder), file)
    content = file.getvalue()
    return content, torch.export.load(io.BytesIO(content)).module()


def _to_onnx(decoder: nn.Module) -> tuple[bytes, Run]:
    try:
        import onnxruntime
        import onnxscript  # noqa: F401  torch.onnx says in many more words that it is missing
    except ImportError as error:
        raise ConfigError(
            f"An export to ONNX needs the package {error.name}", where="form onnx", hint='pip install "audiocalm[export]"'
        ) from error
    names = {"input_names": ["latents"], "output_names": ["audio"], "dynamic_shapes": _dynamic_shapes()}
    program = torch.onnx.export(_trace(decoder), **names, dynamo=True, external_data=False, verbose=False)
    content = program.model_proto.SerializeToString()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    return content, lambda latents: torch.from_numpy(session.run(["audio"], {"latents": latents.numpy()})[0])


@torch.no_grad()
def _check(vae: VAE, run: Run, *, where: str | Path) -> float:
    """Largest difference between what ``run`` makes of random latents and what the model does."""
    random, errors = torch.Generator().manual_seed(0), []
    for num_frames in COMPARED:
        latents = torch.randn(1, num_frames, vae.latent_dim, generator=random)
        audio = vae.to_audio(latents)
        errors.append(float((run(latents) - audio).abs().max() / audio.abs().max().clamp_min(1)))
    if not max(errors) <= MAX_ERROR:
        raise CheckpointError(
            f"The decoder for export differs from the model by {max(errors):.2g}", where=where, allowed=f"at most {MAX_ERROR:g}"
        )
    return max(errors)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's notes on itself: they name neither the model nor anything that one can change."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            logger.setLevel(level)
