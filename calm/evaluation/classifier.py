"""The sound and music classifier: trained on original clips of the corpus's training split alone, in minutes.

It never hears a generated clip in training. A figure made with it stands beside the same figure of originals.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor
from torch.nn import functional

from calm.audio import write_bytes
from calm.corpus.events_struck import STRUCK
from calm.corpus.instruments import INSTRUMENTS
from calm.corpus.scenes import KINDS
from calm.errors import CheckpointError, DataError
from calm.evaluation.lists import ClipItem, load_clips
from calm.evaluation.network import SILENCE, Heard, Listener, log_mel
from calm.types import Task, Waveform

__all__ = ["LABELS", "Classifier", "ClassifierConfig", "Verdict", "judge", "labels_of"]

#: kinds of sound, then instruments; "drums" is a part of music, "drum" a kind of sound
LABELS: tuple[str, ...] = (*KINDS, *(f"music:{name}" for name in (*INSTRUMENTS, "drums")))
FORMAT = "calm-listener-2"


@dataclass(frozen=True, kw_only=True)
class ClassifierConfig:
    """Size of the training: 18 minutes on one idle core, whatever the size of the corpus.

    Counts need most of it. After 2,400 steps on sounds and music of one corpus, a third of the sequences were
    miscounted, and half of the VAE's reconstructions (docs/DECISIONS.md).
    """

    steps: int = 8000
    batch_size: int = 32
    learning_rate: float = 3e-3
    weight_decay: float = 1e-2
    #: frames of 20 ms that training clips are cut to; counts are learnt from whole sounds only
    sound_frames: int = 400
    music_frames: int = 200
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """How one clip compares with what was asked for.

    ``all_named``: the labels asked for are exactly the likeliest ones (as many as were asked for). ``first_named``:
    the first label asked for is among these. ``counts_right``: every countable kind is heard as often as asked
    for; None where nothing is to be counted.
    """

    all_named: bool
    first_named: bool
    counts_right: bool | None


class Classifier:
    """A trained `Listener` with its labels."""

    def __init__(self, listener: Listener) -> None:
        self.listener = listener.eval()

    @torch.no_grad()
    def hear(self, clip: Waveform) -> Heard:
        """Listen to one clip; the record's tensors have B = 1."""
        mel = log_mel(clip)
        return self.listener(mel[None], torch.tensor([mel.shape[-1]]))

    def embed(self, clips: Sequence[Waveform]) -> np.ndarray:
        """Embeddings float64 [N, 64] of clips, for Frechet distances: the layer before the labels, without its ReLU."""
        return torch.cat([self.hear(clip).embedding for clip in clips]).double().numpy()

    def save(self, path: Path) -> Path:
        metadata = {"format": FORMAT, "labels": json.dumps(LABELS)}
        return write_bytes(path, save(self.listener.state_dict(), metadata))

    @classmethod
    def load(cls, path: Path) -> Classifier:
        """Read a saved classifier. Raises CheckpointError where it is damaged or knows other labels."""
        try:
            with safe_open(path, framework="pt") as file:
                header = file.metadata() or {}
                state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
            if header.get("format") != FORMAT or json.loads(header["labels"]) != list(LABELS):
                raise CheckpointError("The classifier knows other labels", where=path, hint="delete it: it is trained again")
            listener = Listener(len(LABELS))
            listener.load_state_dict(state)
        except (SafetensorError, OSError, RuntimeError, ValueError, KeyError) as error:
            if isinstance(error, CheckpointError):
                raise
            raise CheckpointError(f"The classifier cannot be read ({error})", where=path, hint="delete it") from None
        return cls(listener)

    @classmethod
    def train(
        cls, *corpora: Path, config: ClassifierConfig | None = None, progress: Callable[[float], None] | None = None
    ) -> Classifier:
        """Train on the training splits' sound and music. ``progress`` is told the finished share, 0..1."""
        config = config or ClassifierConfig()
        items = [c for corpus in corpora for c in load_clips(corpus, split="train") if c.task is not Task.SPEECH]
        if not items:
            raise DataError("There is no sound or music to train the classifier on", where=", ".join(map(str, corpora)))
        clips = [log_mel(item.audio()).half() for item in items]
        targets = torch.stack([labels_of(item) for item in items])
        most = [config.sound_frames if item.task is Task.SOUND else config.music_frames for item in items]
        lengths = [min(clip.shape[-1], limit) for clip, limit in zip(clips, most, strict=True)]
        listener = _new_listener(config.seed)
        optimizer = torch.optim.AdamW(
            listener.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
        )
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, config.learning_rate, total_steps=config.steps)
        batches = _batches(np.random.default_rng([config.seed, 0]), lengths, config.batch_size)
        rng = np.random.default_rng([config.seed, 1])
        for step, rows in enumerate(itertools.islice(batches, config.steps)):
            mel, frames = _collate(rng, [clips[i] for i in rows], [lengths[i] for i in rows])
            whole = torch.tensor([clips[i].shape[-1] <= most[i] for i in rows])
            optimizer.zero_grad()
            _loss(listener.train()(mel, frames), targets[rows], whole).backward()
            optimizer.step()
            schedule.step()
            if progress is not None:
                progress((step + 1) / config.steps)
        return cls(listener)


def labels_of(item: ClipItem) -> Tensor:
    """How often each label is heard in an original, float32 [L]; lasting sounds and instruments once."""
    target = torch.zeros(len(LABELS))
    names = item.attributes.get("kinds") or [f"music:{name}" for name in item.attributes.get("instruments", ())]
    counts = item.attributes.get("counts") or [1] * len(names)
    for name, count in zip(names, counts, strict=True):
        if name not in LABELS:
            raise DataError(f"The classifier knows no '{name}'", where=item.path, allowed=LABELS)
        target[LABELS.index(name)] += count
    return target


def judge(heard: Heard, asked: Tensor) -> Verdict:
    """Compare what was heard in one clip with what was asked for [L] (``labels_of`` of the prompt's original)."""
    wanted = [i for i in range(len(LABELS)) if asked[i] > 0]
    # What is asked for decides between sounds and instruments.
    music = LABELS[wanted[0]].startswith("music:")
    logits = heard.presence[0].clone()
    logits[[name.startswith("music:") != music for name in LABELS]] = -math.inf
    named = set(logits.topk(len(wanted)).indices.tolist())
    counted = [i for i in wanted if LABELS[i] in STRUCK]
    right = [round(float(heard.counts[0, i])) == int(asked[i]) for i in counted]
    return Verdict(
        all_named=named == set(wanted), first_named=wanted[0] in named, counts_right=all(right) if counted else None
    )


def _new_listener(seed: int) -> Listener:
    """Weights depend on the seed alone; biases start at 0, but for the low density of events."""
    generator, listener = torch.Generator().manual_seed(seed), Listener(len(LABELS))
    for name, parameter in listener.named_parameters():
        if parameter.ndim > 1:
            torch.nn.init.kaiming_uniform_(parameter, nonlinearity="relu", generator=generator)
        elif name.endswith("bias") and not name.startswith("density"):
            torch.nn.init.zeros_(parameter)
    return listener


def _batches(rng: np.random.Generator, lengths: Sequence[int], size: int) -> Iterator[list[int]]:
    """Batches of clips of similar length in random order, every clip once an epoch, without end."""
    while True:
        order = np.argsort(np.asarray(lengths) * rng.uniform(0.8, 1.25, len(lengths)))
        starts = np.arange(0, len(order), size)
        for start in rng.permutation(starts):
            yield order[start : start + size].tolist()


def _collate(rng: np.random.Generator, clips: list[Tensor], lengths: list[int]) -> tuple[Tensor, Tensor]:
    """Random excerpts of these lengths, padded with silence: log-mel [B, 64, N] and frames [B]."""
    mel = torch.full((len(clips), clips[0].shape[0], max(lengths)), SILENCE)
    for row, clip, length in zip(mel, clips, lengths, strict=True):
        start = int(rng.integers(clip.shape[-1] - length + 1))
        row[:, :length] = clip[:, start : start + length].float()
    return mel, torch.tensor(lengths)


def _loss(heard: Heard, targets: Tensor, whole: Tensor) -> Tensor:
    """Cross entropy of presence, and absolute error of the counts of struck kinds in clips that were not cut."""
    present = (targets > 0).float()
    named = functional.binary_cross_entropy_with_logits(heard.presence, present, reduction="none").sum(dim=-1).mean()
    struck = torch.tensor([name in STRUCK for name in LABELS])
    error = functional.smooth_l1_loss(heard.counts, targets, reduction="none", beta=0.5)
    weights = (0.1 + 0.9 * present) * struck * whole[:, None]
    return named + (error * weights).sum(dim=-1).mean()
