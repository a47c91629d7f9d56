"""Train a small CLAP on the captions of the corpus, in the layout of the published ones.

    python -c "from calm.corpus import generate_corpus; generate_corpus('runs/clap_corpus', seconds=24000, seed=9,
        split_shares={'train': 0.9, 'test': 0.1}, task_shares={'speech': 0.12, 'sound': 0.42, 'music': 0.46})"
    python benchmarks/clap_small.py runs/clap_corpus runs/clap_small [--minutes 6]
    calm evaluate --metric clap clap.folder=runs/clap_small ...

A `ClapModel` of transformers (HTSAT and RoBERTa, about 0.5 M parameters), a feature extractor and a byte-level tokenizer,
trained contrastively on the clips of the split ``train``. Half the clips of a batch are heard damaged as well: their own
text should still be the nearest, but be further away than from the clean clip, the further the louder the noise. Texts
are captions and descriptions, so that the model also knows speech from sounds from music. Whole captions are held out
from it by the corpus. Prints how often the right one of 50 held-out captions is the nearest to its clip.

It knows the corpus and nothing else: with it the metric `clap` can be tried without a download, and its figures
compare with no others.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import ByteLevelBPETokenizer
from tokenizers.processors import RobertaProcessing
from torch import Tensor
from torch.nn.functional import cross_entropy

from benchmarks.clap_damage import Damage, Ears
from calm import _torchaudio, audio
from calm.audio import resample, to_channels
from calm.evaluation.lists import ClipItem, load_clips
from calm.text.description import describe
from calm.types import Task

_torchaudio.install()
from transformers import AutoTokenizer, ClapConfig, ClapFeatureExtractor, ClapModel  # noqa: E402

__all__ = ["Batch", "batches_of", "new_extractor", "new_model", "retrieval", "train", "write_tokenizer"]

SPECIAL = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
BATCH, DAMAGED, RATE, WARMUP = 32, 12, 1e-3, 50
#: weight of how much nearer or further damaged clips are to their texts than they should be
RANKED = 3.0
CHOICES = 50


def write_tokenizer(captions: Sequence[str], folder: Path, *, size: int = 1000) -> None:
    """A byte-level tokenizer of RoBERTa's kind, trained on the captions."""
    tokenizer = ByteLevelBPETokenizer()
    tokenizer.train_from_iterator(captions, vocab_size=size, special_tokens=list(SPECIAL), show_progress=False)
    tokenizer.post_processor = RobertaProcessing(("</s>", 2), ("<s>", 0))
    tokenizer.save(str(folder / "tokenizer.json"))
    names = dict(zip(("bos_token", "pad_token", "eos_token", "unk_token", "mask_token"), SPECIAL, strict=True))
    settings = {"tokenizer_class": "RobertaTokenizer", "model_max_length": 77, "cls_token": "<s>", "sep_token": "</s>"}
    (folder / "tokenizer_config.json").write_text(json.dumps({**settings, **names}))


def new_model(vocab_size: int) -> ClapModel:
    """HTSAT on windows of 8 s at 16 kHz (16 x 16 patches, two stages) and one layer of RoBERTa."""
    text = {"vocab_size": vocab_size, "hidden_size": 96, "num_hidden_layers": 1, "num_attention_heads": 4}
    text |= {"intermediate_size": 192, "max_position_embeddings": 80, "projection_dim": 96}
    heard = {"spec_size": 128, "patch_size": 8, "patch_stride": [8, 8], "patch_embeds_hidden_size": 48}
    heard |= {"depths": [1, 2], "num_attention_heads": [2, 4], "num_hidden_layers": 2, "hidden_size": 96}
    heard |= {"projection_dim": 96, "hidden_dropout_prob": 0.0}
    return ClapModel(ClapConfig(text_config=text, audio_config=heard, projection_dim=96))


def new_extractor() -> ClapFeatureExtractor:
    return ClapFeatureExtractor(
        sampling_rate=16_000, max_length_s=8, hop_length=512, fft_window_size=1024, frequency_min=50, frequency_max=8000,
        truncation="rand_trunc", padding="repeatpad",
    )  # fmt: skip


def captioned(clips: Sequence[ClipItem]) -> list[ClipItem]:
    return [clip for clip in clips if clip.task is not Task.SPEECH]


def samples_of(extractor: ClapFeatureExtractor, clips: Sequence[ClipItem]) -> list[np.ndarray]:
    """Every clip's first window, mono, at the rate that the model hears."""
    heard = (to_channels(resample(audio.read(clip.path), extractor.sampling_rate), 1) for clip in clips)
    return [clip.audio[0].numpy()[: extractor.nb_max_samples] for clip in heard]


def heard_by(ears: Ears, samples: Sequence[np.ndarray]) -> Tensor:
    """Log-mel features of every clip, float16 [clips, 1, 251, 64]."""
    return torch.cat([ears.hear(samples[start : start + BATCH]).half() for start in range(0, len(samples), BATCH)])


@dataclass(frozen=True)
class Batch:
    """Clips as they are, the first ones damaged, and the texts' tokens."""

    clean: Tensor
    damage: Damage
    tokens: Any


def drawn_text(clip: ClipItem, titles: Sequence[str], rng: np.random.Generator) -> str:
    """Speech is always described. Of the others' texts 65 % are captions, 20 % descriptions, 15 % have a title.

    A title is any sentence, after what kind of recording it is: the kind must count where the words say nothing.
    """
    if clip.task is Task.SPEECH:
        return describe(clip.task, clip.text)
    form = rng.random()
    return clip.text if form < 0.65 else describe(clip.task, clip.text if form < 0.85 or not titles else str(rng.choice(titles)))


def batches_of(extractor: Any, tokenize: Callable[[list[str]], Any], clips: Sequence[ClipItem]) -> Callable[..., Batch]:
    """Draws a batch: clips, damage and texts."""
    ears, samples = Ears(extractor), samples_of(extractor, clips)
    clean = heard_by(ears, samples)
    titles = [clip.text for clip in clips if clip.task is Task.SPEECH]

    def draw(rng: np.random.Generator) -> Batch:
        chosen = rng.permutation(len(clips))[:BATCH]
        damage = ears.hear_damaged([samples[number] for number in chosen[:DAMAGED]], rng)
        texts = [drawn_text(clips[number], titles, rng) for number in chosen]
        return Batch(clean=clean[torch.from_numpy(chosen)].float(), damage=damage, tokens=tokenize(texts))

    return draw


def minutes_of(minutes: float) -> Callable[[int], float]:
    """Progress by the processor's time from now on."""
    began = time.process_time()
    return lambda step: (time.process_time() - began) / (60 * minutes)


def loss_of(model: ClapModel, batch: Batch) -> Tensor:
    """CLAP's loss of clean clips, that of damaged ones among the same texts, and what those are too near or too far.

    All clips go through the model at once: its batch norm is to see what it will see later.
    """
    heard = model.get_audio_features(torch.cat([batch.clean, batch.damage.features])).pooler_output
    cosines = heard @ model.get_text_features(**batch.tokens).pooler_output.T
    count, number = len(batch.clean), len(batch.damage.features)
    every, clean, damaged = torch.arange(count), cosines[:count], cosines[count:]
    by_audio, by_text = model.logit_scale_a.exp(), model.logit_scale_t.exp()
    told = (cross_entropy(clean * by_audio, every) + cross_entropy(clean.T * by_text, every)) / 2
    less = batch.damage.margins + damaged.diagonal() - clean.diagonal()[:number]
    return told + cross_entropy(damaged * by_audio, every[:number]) / 2 + RANKED * less.abs().mean()


def train(
    model: ClapModel, draw: Callable[[np.random.Generator], Batch], *, progress: Callable[[int], float], seed: int = 0
) -> list[float]:
    """Training until ``progress`` of the step reaches 1; returns the loss of every step."""
    rng, losses = np.random.default_rng(seed), []
    torch.manual_seed(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.01)
    model.train()
    while (spent := progress(len(losses))) < 1:
        for group in optimizer.param_groups:
            group["lr"] = RATE * min(1.0, (len(losses) + 1) / WARMUP) * (0.5 + 0.5 * np.cos(np.pi * spent))
        loss = loss_of(model, draw(rng))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(float(loss.detach()))
        if len(losses) % 100 == 0:
            print(f"step {len(losses)}, {100 * spent:.0f} %: loss {np.mean(losses[-100:]):.3f}", flush=True)
    return losses


@torch.no_grad()
def retrieval(model: ClapModel, features: Tensor, tokens: Any, *, choices: int = CHOICES) -> float:
    """Share of clips whose own caption is nearest among ``choices`` successive ones."""
    model.eval()
    hits = total = 0
    for start in range(0, len(features) - choices + 1, choices):
        part = slice(start, start + choices)
        found = model(
            input_ids=tokens["input_ids"][part],
            attention_mask=tokens["attention_mask"][part],
            input_features=features[part].float(),
        )
        nearest = found.logits_per_audio.argmax(dim=1)
        hits, total = hits + int((nearest == torch.arange(choices)).sum()), total + choices
    return hits / max(1, total)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("corpus", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--minutes", type=float, default=6.0, help="of processor time")
    parser.add_argument("--speech", type=int, default=500, help="clips of speech, at most: their words are never learnt")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    clips, held_out = load_clips(options.corpus, split="train"), captioned(load_clips(options.corpus, split="test"))
    clips = captioned(clips) + [clip for clip in clips if clip.task is Task.SPEECH][: options.speech]
    write_tokenizer([text for clip in clips for text in {clip.text, describe(clip.task, clip.text)}], options.out)
    extractor, tokenizer = new_extractor(), AutoTokenizer.from_pretrained(options.out)

    def tokenize(texts: list[str]) -> Any:
        return tokenizer(texts, padding=True, truncation=True, max_length=77, return_tensors="pt")

    torch.manual_seed(0)
    model = new_model(len(tokenizer))
    print(f"{sum(value.numel() for value in model.parameters()) / 1e6:.1f} M parameters, {len(clips)} clips", flush=True)
    draw = batches_of(extractor, tokenize, clips)
    losses = train(model, draw, progress=minutes_of(options.minutes))
    held_out = [held_out[number] for number in np.random.default_rng(0).permutation(len(held_out))]
    features = heard_by(Ears(extractor), samples_of(extractor, held_out))
    right = retrieval(model, features, tokenize([clip.text for clip in held_out]))
    print(f"{len(losses)} steps; {100 * right:.0f} % of {len(held_out)} held-out clips find their caption among {CHOICES}")
    extractor.save_pretrained(options.out)
    model.save_pretrained(options.out)


if __name__ == "__main__":
    main()
