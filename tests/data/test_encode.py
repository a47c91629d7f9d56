"""Audio shards -> latent shards."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch

from calm.audio import fit
from calm.data.check import check, write_index
from calm.data.collate import convert
from calm.data.encode import LatentEncoder, encode_shards
from calm.data.index import index_path, load_index
from calm.data.latents import SPARE_FRAMES
from calm.data.shards import ShardSet
from calm.errors import DataError, InputError
from calm.training.latents import latent_encoder
from tests.factory import tiny_vae


def files(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_latents_are_the_posterior_means_of_the_clip_padded_with_silence(shards, latent_shards, vae):
    audio, latents = ShardSet.open(shards), ShardSet.open(latent_shards)
    assert len(audio) == len(latents) == 16
    for row in range(len(audio)):
        given, made = audio.read(row), latents.read(row)
        assert made.waveform is None and made.key == given.key and made.attributes == given.attributes
        assert (made.task, made.text, made.speaker) == (given.task, given.text, given.speaker)
        clip = convert(given.waveform, sample_rate=vae.sample_rate, channels=1)
        frames = -(-clip.shape[-1] // vae.hop)
        assert made.latents.num_samples == clip.shape[-1] and made.latents.means.shape == (frames + SPARE_FRAMES, 4)
        padded = fit(clip, -(-(frames + SPARE_FRAMES) // 16) * 16 * vae.hop)
        with torch.no_grad():
            expected = vae.encode(padded[None]).mean[0, : frames + SPARE_FRAMES]
        torch.testing.assert_close(made.latents.means, expected, rtol=2**-10, atol=1e-5)


def test_the_metadata_stay_and_say_how_the_latents_were_made(shards, latent_shards, vae):
    for source in sorted(shards.glob("*.tar")):
        audio, latents = load_index(source), load_index(latent_shards / source.name)
        assert latents.source_crc32 == audio.crc32 and latents.latents.hop == vae.hop
        for old, new in zip(audio.clips, latents.clips, strict=True):
            assert (old.key, old.task, old.speaker, old.frames, old.sample_rate) == (
                *(new.key, new.task, new.speaker, new.frames, new.sample_rate),
            )
            before, after = (
                json.loads(path.read_bytes()[clip.json_offset : clip.json_offset + clip.json_size])
                for path, clip in ((source, old), (latent_shards / source.name, new))
            )
            made = after.pop("latents")
            assert before == after
            assert made["frame_rate"] == 500 and made["vae"] == latents.latents.vae and -40 < made["level_dbfs"] < 0


def test_checked_latents_have_no_problems_and_the_hours_of_their_audio(shards, latent_shards):
    audio, latents = check(shards), check(latent_shards)
    assert latents.ok and (latents.hours, latents.speakers) == (audio.hours, audio.speakers)
    assert audio.vaes == () and len(latents.vaes) == 1 and latents.vaes[0] in str(latents)


def test_an_index_made_anew_says_the_same_of_the_clips(latent_shards, tmp_path):
    shard = shutil.copy(sorted(latent_shards.glob("*.tar"))[0], tmp_path)
    write_index(shard)
    old, new = load_index(sorted(latent_shards.glob("*.tar"))[0]), load_index(tmp_path / shard.split("/")[-1])
    assert (old.clips, old.latents, old.crc32) == (new.clips, new.latents, new.crc32)


def test_subfolders_and_ranks_share_the_work(shards, vae, latent_shards, tmp_path):
    shutil.copytree(shards, tmp_path / "in" / "train")
    encoder = latent_encoder(vae)
    parts = [
        encode_shards(tmp_path / "in", tmp_path / "out", encoder=encoder, batch_seconds=4.0, rank=rank, world_size=2)
        for rank in range(2)
    ]
    assert [len(part.written) for part in parts] == [2, 1] and sum(part.clips for part in parts) == 16
    assert files(tmp_path / "out" / "train") == files(latent_shards)


def test_one_clip_at_a_time_gives_the_same_latents(shards, vae, latent_shards, tmp_path):
    encode_shards(shards, tmp_path / "out", encoder=latent_encoder(vae), batch_seconds=0.001)
    first, second = ShardSet.open(latent_shards), ShardSet.open(tmp_path / "out")
    for row in range(len(first)):
        a, b = first.read(row).latents.means, second.read(row).latents.means
        torch.testing.assert_close(a, b, rtol=2**-10, atol=1e-5)


def stopping(encoder: LatentEncoder, *, after: int) -> LatentEncoder:
    calls = []

    def means(audio):
        calls.append(len(audio))
        if len(calls) > after:
            raise KeyboardInterrupt
        return encoder.means(audio)

    return LatentEncoder(form=encoder.form, channels=1, means=means)


@pytest.mark.parametrize("after", [0, 3, 8, 14])
def test_an_interrupted_encoding_keeps_finished_shards_and_ends_like_a_straight_one(
    shards, vae, latent_shards, tmp_path, after
):
    out, encoder = tmp_path / "out", latent_encoder(vae)
    with pytest.raises(KeyboardInterrupt):
        encode_shards(shards, out, encoder=stopping(encoder, after=after), batch_seconds=0.001)
    finished = {path: path.stat().st_mtime_ns for path in out.glob("*.tar")}
    assert len(finished) == after // 6 and all(index_path(path).exists() for path in finished)
    assert not list(out.glob(".*"))
    # A crash between a shard and its index leaves a shard without one: it is made again.
    out.mkdir(exist_ok=True)
    (out / sorted(shards.glob("*.tar"))[-1].name).write_bytes(b"half")
    report = encode_shards(shards, out, encoder=encoder, batch_seconds=0.001)
    assert len(report.kept) == len(finished) and len(report.written) == 3 - len(finished)
    assert all(path.stat().st_mtime_ns == written for path, written in finished.items())
    assert set(files(out)) == set(files(latent_shards)) and check(out).ok


def test_finished_shards_of_another_vae_or_another_source_are_not_taken_over(shards, latent_shards, tmp_path, vae):
    out = shutil.copytree(latent_shards, tmp_path / "out")
    with pytest.raises(InputError, match="another VAE"):
        encode_shards(shards, out, encoder=latent_encoder(tiny_vae(seed=1)))
    from tests.data.clips import make_shards

    other = make_shards(tmp_path / "other", num_speech=7)
    with pytest.raises(InputError, match="another version of the audio shard"):
        encode_shards(other, out, encoder=latent_encoder(vae))
    assert files(out) == files(latent_shards)


def test_a_damaged_clip_stops_the_encoding_and_is_named(shards, vae, tmp_path):
    copy = shutil.copytree(shards, tmp_path / "in")
    shard = sorted(copy.glob("*.tar"))[1]
    clip = load_index(shard).clips[2]
    data = bytearray(shard.read_bytes())
    data[clip.audio_offset + 100] ^= 1
    shard.write_bytes(data)
    with pytest.raises(DataError, match="crc32") as caught:
        encode_shards(copy, tmp_path / "out", encoder=latent_encoder(vae))
    assert caught.value.where == f"{shard}: {clip.key}"
    assert [path.name for path in (tmp_path / "out").glob("*.tar")] == [sorted(copy.glob("*.tar"))[0].name]


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e5])
def test_latents_that_float16_does_not_hold_are_refused(shards, vae, tmp_path, value):
    encoder = latent_encoder(vae)
    wild = LatentEncoder(form=encoder.form, channels=1, means=lambda audio: encoder.means(audio) + value)
    with pytest.raises(DataError, match="float16") as caught:
        encode_shards(shards, tmp_path / "out", encoder=wild)
    assert ".tar: " in caught.value.where and not list((tmp_path / "out").glob("*"))


def test_impossible_jobs_are_refused(shards, latent_shards, vae, tmp_path):
    encoder = latent_encoder(vae)
    with pytest.raises(InputError, match="where the audio shards are"):
        encode_shards(shards, shards, encoder=encoder)
    with pytest.raises(InputError, match="latents already"):
        encode_shards(latent_shards, tmp_path / "out", encoder=encoder)
    with pytest.raises(InputError, match="have one name"):
        shutil.copytree(shards, tmp_path / "twin")
        encode_shards(f"{shards},{tmp_path / 'twin'}", tmp_path / "out", encoder=encoder)
    with pytest.raises(InputError, match="Not sizes"):
        encode_shards(shards, tmp_path / "out", encoder=encoder, batch_seconds=0)
