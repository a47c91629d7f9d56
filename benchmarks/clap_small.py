"""Train a small CLAP on the captions of the corpus, in the layout of the published ones.

    calm corpus runs/corpus --seconds 21600
    python benchmarks/clap_small.py runs/corpus runs/clap_small [--minutes 7]
    calm evaluate --metric clap clap.folder=runs/clap_small ...

A `ClapModel` of transformers (HTSAT and RoBERTa, about 0.4 M parameters), a feature extractor and a byte-level tokenizer,
trained contrastively (the model's own loss) on the sounds and music of the split ``train``. Whole captions are held out
from it by the corpus. Prints how often the right one of 50 held-out captions is the nearest to its clip.

It knows the corpus and nothing else: with it the metric `clap` can be tried without a download, and its figures
compare with no others.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import ByteLevelBPETokenizer
from tokenizers.processors import RobertaProcessing
from torch import Tensor

from calm import _torchaudio, audio
from calm.audio import resample, to_channels
from calm.evaluation.lists import ClipItem, load_clips
from calm.types import Task

_torchaudio.install()
from transformers import AutoTokenizer, ClapConfig, ClapFeatureExtractor, ClapModel  # noqa: E402

__all__ = ["new_extractor", "new_model", "retrieval", "train", "write_tokenizer"]

SPECIAL = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
BATCH, RATE, WARMUP = 48, 1e-3, 50
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


def captioned(corpus: Path, split: str) -> list[ClipItem]:
    return [clip for clip in load_clips(corpus, split=split) if clip.task is not Task.SPEECH]


def features_of(extractor: ClapFeatureExtractor, clips: Sequence[ClipItem]) -> Tensor:
    """Log-mel features of every clip's first window, float16 [clips, 1, 251, 64]."""
    rate, found = extractor.sampling_rate, []
    for clip in clips:
        samples = to_channels(resample(audio.read(clip.path), rate), 1).audio[0].numpy()[: extractor.nb_max_samples]
        found.append(extractor(samples, sampling_rate=rate, return_tensors="pt")["input_features"][0].half())
    return torch.stack(found)


def minutes_of(minutes: float) -> Callable[[int], float]:
    """Progress by the processor's time from now on."""
    began = time.process_time()
    return lambda step: (time.process_time() - began) / (60 * minutes)


def train(
    model: ClapModel, features: Tensor, tokens: Any, *, progress: Callable[[int], float], seed: int = 0
) -> list[float]:
    """Contrastive training until ``progress`` of the step reaches 1; returns the loss of every step."""
    rng, losses = np.random.default_rng(seed), []
    torch.manual_seed(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.01)
    model.train()
    while (spent := progress(len(losses))) < 1:
        chosen = torch.from_numpy(rng.permutation(len(features))[:BATCH])
        for group in optimizer.param_groups:
            group["lr"] = RATE * min(1.0, (len(losses) + 1) / WARMUP) * (0.5 + 0.5 * np.cos(np.pi * spent))
        loss = model(
            input_ids=tokens["input_ids"][chosen],
            attention_mask=tokens["attention_mask"][chosen],
            input_features=features[chosen].float(),
            return_loss=True,
        ).loss
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
    parser.add_argument("--minutes", type=float, default=7.0, help="of processor time")
    parser.add_argument("--clips", type=int, default=6000, help="of the split train, at most")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    clips, held_out = captioned(options.corpus, "train"), captioned(options.corpus, "test")
    order = np.random.default_rng(0).permutation(len(clips))[: options.clips]
    clips = [clips[number] for number in order]
    write_tokenizer([clip.text for clip in clips], options.out)
    extractor, tokenizer = new_extractor(), AutoTokenizer.from_pretrained(options.out)

    def tokens_of(items: Sequence[ClipItem]) -> Any:
        return tokenizer([item.text for item in items], padding=True, truncation=True, max_length=77, return_tensors="pt")

    torch.manual_seed(0)
    model = new_model(len(tokenizer))
    print(f"{sum(value.numel() for value in model.parameters()) / 1e6:.1f} M parameters, {len(clips)} clips", flush=True)
    losses = train(model, features_of(extractor, clips), tokens_of(clips), progress=minutes_of(options.minutes))
    held_out = [held_out[number] for number in np.random.default_rng(0).permutation(len(held_out))]
    right = retrieval(model, features_of(extractor, held_out), tokens_of(held_out))
    print(f"{len(losses)} steps; {100 * right:.0f} % of {len(held_out)} held-out clips find their caption among {CHOICES}")
    extractor.save_pretrained(options.out)
    model.save_pretrained(options.out)


if __name__ == "__main__":
    main()
