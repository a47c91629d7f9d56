"""Do rate, channels and latents of the shards fit the VAE?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from calm.data.latents import LatentFormat, check_hash
from calm.data.shards import ShardSet
from calm.doctor.case import Case
from calm.doctor.finding import Finding, Level
from calm.errors import CalmError
from calm.model.trained_vae import vae_hash
from calm.vae import VAE

__all__ = ["check_formats"]


def check_formats(case: Case) -> Iterator[Finding]:
    """Audio at another rate is converted, and said so; latents must be those of the model's own VAE."""
    if case.root is None:
        return
    vae: VAE = case.root.vae
    for name, shards in (("data.train", case.train), ("data.validation", case.validation)):
        if shards is None:
            continue
        if shards.latents is not None:
            yield _latents(case, shards.latents, vae, where=name)
        else:
            yield from _audio(shards, vae, where=name)


def _latents(case: Case, found: LatentFormat, vae: VAE, *, where: str) -> Finding:
    if not case.has_weights:
        return Finding(
            level=Level.WARNING,
            what="Whose latents the shards hold cannot be said without the VAE's weights",
            where=where,
            value=f"VAE {found.vae[:12]}",
            hint="set vae_ckpt_path to the VAE that made them",
        )
    try:
        check_hash(found, expected=vae_hash(vae) if case.generator is not None else None, where=where)
    except CalmError as error:
        return Finding.of_error(error)
    value = f"VAE {found.vae[:12]}, {found.sample_rate} Hz, {found.sample_rate / found.hop:g} frames/s, {found.dim} channels"
    return Finding(level=Level.OK, what="The latents are those of the model's VAE", where=where, value=value)


def _audio(shards: ShardSet, vae: VAE, *, where: str) -> Iterator[Finding]:
    kinds = Counter((row.clip.sample_rate, row.clip.channels) for row in shards.rows)
    for (rate, channels), count in sorted(kinds.items()):
        said, level, hint = [], Level.OK, ""
        if rate != vae.sample_rate:
            said.append(f"resampled to {vae.sample_rate} Hz while they are read")
        if rate < vae.sample_rate:
            level, hint = Level.WARNING, f"nothing is heard above {rate // 2} Hz in these clips; leave them out if that matters"
        if channels != vae.channels:
            said.append(f"made into {vae.channels} channel{'s' if vae.channels > 1 else ''}")
        yield Finding(
            level=level,
            what=f"{count} clips are {' and '.join(said)}" if said else f"{count} clips are as the VAE takes them",
            where=where,
            value=f"{rate} Hz, {channels} channel{'s' if channels > 1 else ''}; VAE {vae.sample_rate} Hz, {vae.channels}",
            hint=hint,
        )
