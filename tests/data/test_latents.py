"""Training data from latent shards."""

from __future__ import annotations

import dataclasses
import io
import itertools
import json
import shutil

import numpy as np
import pytest
import torch

from calm.data.config import DataConfig
from calm.data.datamodule import CalmDataModule
from calm.data.index import index_path, load_index
from calm.data.latents import LatentFormat, excerpt, read_npy, to_npy
from calm.data.shards import ShardSet
from calm.errors import CalmError, ConfigError, DataError
from calm.model.trained_vae import vae_hash
from calm.text import build_tokenizer
from calm.types import Batch, Task

FORM = LatentFormat(vae="0123456789abcdef", sample_rate=16000, hop=32, dim=4)


def module(shards, vae, *, hash_=..., seed=0, **config):
    defaults = {"train": str(shards), "batch_size": 4, "num_workers": 0, "max_seconds": 2.0}
    return CalmDataModule(
        DataConfig(**{**defaults, **config}),
        sample_rate=vae.sample_rate,
        channels=vae.channels,
        hop=vae.hop,
        tokenizer=build_tokenizer("bytes"),
        vae_hash=vae_hash(vae) if hash_ is ... else hash_,
        seed=seed,
    )


def take(data, count) -> list[Batch]:
    return list(itertools.islice(data.train_dataloader(), count))


def test_latents_follow_the_plan_of_their_audio(shards, latent_shards, vae):
    for max_seconds in (2.0, 0.4):
        pair = (take(module(s, vae, max_seconds=max_seconds), 12) for s in (shards, latent_shards))
        for audio, latents in zip(*pair, strict=True):
            assert audio.keys == latents.keys and audio.step == latents.step
            for name in ("task", "complete", "text", "num_text", "num_reference"):
                assert torch.equal(getattr(audio, name), getattr(latents, name)), name
            # Crops of music start at whole latents, and may so reach up to a frame nearer to the clip's end.
            assert (audio.num_samples - latents.num_samples).abs().max() <= (0 if max_seconds == 2.0 else vae.hop)


def test_a_latent_batch_has_the_promised_shapes(latent_shards, vae):
    seen = 0
    for batch in take(module(latent_shards, vae, reference_probability=1.0), 8):
        frames = -(-batch.num_samples // vae.hop)
        assert batch.audio.shape == batch.reference.shape == (4, 1, 0) and len(batch) == 4
        assert batch.latents.shape == (4, int(frames.max()) + 15, 4) and batch.latents.dtype == torch.float32
        assert batch.reference_latents.shape == (4, int(batch.num_reference.max()) // vae.hop, 4)
        assert batch.to("cpu").latents.equal(batch.latents)
        for row, (length, reference) in enumerate(zip(frames, batch.num_reference // vae.hop, strict=True)):
            assert batch.latents[row, : length + 15].any(-1).all() and not batch.latents[row, length + 15 :].any()
            assert not batch.reference_latents[row, reference:].any()
            seen += int(reference > 0)
    assert seen


def test_crops_are_whole_frames_of_the_clip_and_what_follows_them(latent_shards, vae):
    opened = ShardSet.open(latent_shards)
    rows = {row.clip.key: number for number, row in enumerate(opened.rows)}
    config = {"max_seconds": 0.25, "reference_probability": 0.0}
    starts = set()
    for batch in take(module(latent_shards, vae, **config), 12):
        for key, task, size, latents in zip(batch.keys, batch.task, batch.num_samples, batch.latents, strict=True):
            whole, kept = opened.read(rows[key]).latents, -(-int(size) // vae.hop) + 15
            windows = whole.means.unfold(0, kept, 1).transpose(1, 2)  # every place where the crop may lie
            places = (windows == latents[:kept]).all(-1).all(-1).nonzero().flatten().tolist()
            assert len(places) == 1 and (places == [0] or task == Task.MUSIC.id)
            starts |= set(places)
    assert len(starts) > 3


def test_a_crop_says_where_in_its_clip_it_begins_and_how_long_the_whole_is_but_not_of_speech(latent_shards, vae):
    opened = ShardSet.open(latent_shards)
    rows = {row.clip.key: number for number, row in enumerate(opened.rows)}
    later = 0
    for batch in take(module(latent_shards, vae, max_seconds=0.25, reference_probability=0.0), 12):
        for key, task, latents, timing in zip(batch.keys, batch.task, batch.latents, batch.timing, strict=True):
            whole = opened.read(rows[key]).latents
            place = round(float(timing[2]) * vae.sample_rate / vae.hop)
            assert torch.equal(whole.means[place : place + 7], latents[:7])
            assert float(timing[1]) == pytest.approx(0.0 if task == Task.SPEECH.id else whole.seconds, abs=1e-3)
            later += place > 0
    assert later > 3


def test_workers_and_resume_change_nothing(latent_shards, vae):
    straight = take(module(latent_shards, vae), 8)
    data = module(latent_shards, vae)
    data.next_step = 3
    state = json.loads(json.dumps(data.state_dict()))
    resumed = module(latent_shards, vae, num_workers=2)
    resumed.load_state_dict(state)
    for a, b in zip(straight[3:], take(resumed, 5), strict=True):
        assert a.keys == b.keys and torch.equal(a.latents, b.latents) and torch.equal(a.text, b.text)


def test_validation_may_be_latents_or_audio(shards, latent_shards, vae):
    for train, held_out in ((shards, latent_shards), (latent_shards, shards)):
        batches = list(module(train, vae, validation=str(held_out)).val_dataloader())
        assert batches and all((b.latents is not None) == (held_out is latent_shards) for b in batches)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"hash_": "f" * 64}, DataError, "the model's VAE is ffffffffffff"),
        ({"hash_": None}, DataError, "trains on waveforms"),
        ({"augmentation": "gain"}, ConfigError, "augmentation is gain, which needs waveforms"),
        ({"crop_seconds": 0.5}, ConfigError, "crop_seconds is 0.5, which needs waveforms"),
        ({"source": {"name": "webdataset"}}, ConfigError, "Latents cannot be streamed"),
    ],
)
def test_what_latents_cannot_serve_is_refused_before_the_first_batch(latent_shards, vae, options, error, words):
    with pytest.raises(error, match=words) as caught:
        take(module(latent_shards, vae, **options), 1)
    assert caught.value.hint


def test_validation_latents_of_another_vae_are_refused(shards, latent_shards, vae):
    with pytest.raises(DataError, match="latents of VAE"):
        module(shards, vae, hash_="f" * 64, validation=str(latent_shards)).val_dataloader()


def test_audio_and_latents_do_not_mix(shards, latent_shards):
    with pytest.raises(DataError, match=r"do not go together: .* holds audio, .* holds latents of VAE"):
        ShardSet.open(f"{shards},{latent_shards}")


def test_a_damaged_npy_is_named_by_shard_and_key(latent_shards, tmp_path):
    copy = shutil.copytree(latent_shards, tmp_path / "damaged")
    shard = sorted(copy.glob("*.tar"))[0]
    clip = load_index(shard).clips[1]
    data = bytearray(shard.read_bytes())
    data[clip.audio_offset + 200] ^= 1
    shard.write_bytes(data)
    opened = ShardSet.open(copy)
    with pytest.raises(DataError, match="crc32") as caught:
        opened.read(1)
    assert caught.value.where == f"{shard}: {clip.key}"
    assert opened.read(0).latents is not None


def record(num_samples: int = 320) -> dict:
    return {"latents": FORM.describe(num_samples=num_samples, level_dbfs=-20.0)}


def saved(array, **options) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, **options)
    return buffer.getvalue()


GOOD = np.arange(100, dtype=np.float16).reshape(25, 4)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (saved(np.array([[print]], dtype=object), allow_pickle=True), "pickle"),
        (saved(GOOD.astype(np.float32)), "float32"),
        (saved(GOOD[:-1]), "24, 4"),
        (saved(np.where(GOOD == 3, np.nan, GOOD).astype(np.float16)), "not finite"),
        (to_npy(GOOD)[:-1], "cannot be read"),
        (to_npy(GOOD).replace(b"(25, 4)", b"(2**60,)"), "cannot be read"),
        (to_npy(GOOD).replace(b"(25, 4), }" + b" " * 20, b"(25, 40000000000), }" + b" " * 10), "cannot be read"),
        (b"", "cannot be read"),
    ],
)
def test_a_npy_that_is_not_what_its_record_says_is_one_clear_error(data, words):
    np.testing.assert_array_equal(read_npy(to_npy(GOOD), record(), where="here"), GOOD)
    with pytest.raises(DataError, match=words) as caught:
        read_npy(data, record(), where="x.tar: a")
    assert caught.value.where == "x.tar: a"


def test_no_flipped_byte_of_a_npy_is_a_foreign_error():
    rng, data = np.random.default_rng(0), to_npy(GOOD)
    for _ in range(2000):
        changed = bytearray(data)
        for place in rng.integers(0, 128, size=rng.integers(1, 4)):
            changed[place] = rng.integers(256)
        try:
            read_npy(bytes(changed), record(), where="here")
        except CalmError:
            continue


def test_an_excerpt_starts_at_a_whole_frame_and_keeps_what_follows():
    cut = excerpt(GOOD, record(), start_seconds=0.005, max_seconds=0.009)  # frame 2.5, 4.5 frames
    assert cut.num_samples == 144 and cut.seconds == 0.009
    assert torch.equal(cut.means, torch.from_numpy(GOOD[2 : 2 + 5 + 15].astype(np.float32)))
    assert excerpt(GOOD, record(), start_seconds=0.0199).means.shape == (16, 4)
    assert excerpt(GOOD, record(num_samples=300)).num_samples == 300


def test_an_index_with_damaged_latents_is_refused(latent_shards, tmp_path):
    copy = shutil.copytree(latent_shards, tmp_path / "damaged")
    shard = sorted(copy.glob("*.tar"))[0]
    lines = index_path(shard).read_text().splitlines()
    header = json.loads(lines[0])
    latents = dataclasses.asdict(load_index(shard).latents)
    for wrong in (None, {}, {**latents, "hop": 0}, {**latents, "vae": 3}, {**latents, "more": 1}, "missing"):
        changed = {**header, "latents": wrong}
        if wrong == "missing":
            del changed["latents"]
        index_path(shard).write_text("\n".join([json.dumps(changed), *lines[1:]]) + "\n")
        with pytest.raises(DataError, match="damaged"):
            load_index(shard)
