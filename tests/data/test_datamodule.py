from __future__ import annotations

import dataclasses
import itertools
import json
import pickle
import shutil

import pytest
import torch
from lightning import LightningModule, Trainer

from calm.data.config import DataConfig
from calm.data.datamodule import CalmDataModule
from calm.data.examples import ExampleReader
from calm.data.index import load_index
from calm.data.plan import Draw
from calm.data.resume import ResumeCallback
from calm.data.shards import ShardSet
from calm.errors import CheckpointError, ConfigError, DataError, UnknownNameError
from calm.text import build_tokenizer
from calm.types import Batch, Task

HOP = 160


def module(shards, *, seed=0, place=None, weights_at=None, bad_clips_path=None, tokenizer="bytes", **config):
    defaults = {"train": str(shards), "validation": str(shards), "batch_size": 4, "num_workers": 0, "max_seconds": 1.0}
    made = CalmDataModule(
        DataConfig(**{**defaults, **config}),
        sample_rate=16000,
        channels=1,
        hop=HOP,
        tokenizer=build_tokenizer(tokenizer),
        seed=seed,
        weights_at=weights_at,
        bad_clips_path=bad_clips_path,
    )
    if place is not None:
        made._find_place = lambda: place
    return made


def take(data, count) -> list[Batch]:
    return list(itertools.islice(data.train_dataloader(), count))


def assert_same(first: list[Batch], second: list[Batch]) -> None:
    assert len(first) == len(second)
    for a, b in zip(first, second, strict=True):
        for field in dataclasses.fields(Batch):
            x, y = getattr(a, field.name), getattr(b, field.name)
            assert torch.equal(x, y) if isinstance(x, torch.Tensor) else x == y, field.name


def test_a_batch_has_the_promised_shapes(shards):
    for batch in take(module(shards), 12):
        assert batch.audio.dtype == torch.float32 and batch.audio.shape[:2] == (4, 1)
        assert batch.audio.shape[2] % (16 * HOP) == 0 and batch.reference.shape[2] % HOP == 0
        assert (batch.num_samples <= batch.audio.shape[2]).all() and (batch.num_text > 0).all()
        assert (batch.num_reference % HOP == 0).all() and (batch.num_reference[batch.task != Task.SPEECH.id] == 0).all()
        for row, (samples, tokens) in enumerate(zip(batch.num_samples, batch.num_text, strict=True)):
            assert not batch.audio[row, :, samples:].any() and batch.audio[row, :, :samples].any()
            assert not batch.text[row, tokens:].any() and batch.text[row, :tokens].all()
        # Speech lasts longer than the maximum here, sound and music do not.
        assert batch.complete.tolist() == (batch.task != Task.SPEECH.id).tolist()


def test_half_of_speech_gets_a_reference_of_the_same_voice(shards):
    opened = ShardSet.open(shards)
    reader = ExampleReader(opened, cut=module(shards).cut, reference_probability=0.5, seed=0)
    rows = opened.by_task[Task.SPEECH]
    examples = [reader.read(Draw(Task.SPEECH, row, number)) for number in range(25) for row in rows]
    given = [e.reference for e in examples if e.reference is not None]
    assert 0.4 < len(given) / len(examples) < 0.6
    assert all(1.0 <= waveform.seconds <= 5.0 for waveform in given)


def test_no_voice_is_its_own_reference(tmp_path):
    from tests.data.clips import make_shards

    alone = make_shards(tmp_path, num_speech=2)  # two speakers, one clip each
    batches = take(module(alone, reference_probability=1.0), 6)
    assert all(batch.reference.shape[2] == 0 for batch in batches)


def test_a_reference_shares_the_attributes_that_make_a_voice(tmp_path):
    from calm.data.pack import pack
    from tests.data.clips import write_corpus, write_manifest
    source = write_corpus(tmp_path / "source", num_speech=9)
    rows = [json.loads(line) for line in (source / "metadata.jsonl").read_text().splitlines()]
    pitches = {row["file_name"]: ("low", "high", "lone")[i // 4] for i, row in enumerate(rows[:9])}
    write_manifest(source, [row | {"pitch": pitches.get(row["file_name"], "none")} for row in rows])
    pack(source, tmp_path / "shards", samples_per_shard=6)
    opened = ShardSet.open(tmp_path / "shards")
    cut = module(tmp_path / "shards").cut
    reader = ExampleReader(opened, reference_attributes=["pitch"], cut=cut, reference_probability=1.0, seed=0)
    for row in opened.by_task[Task.SPEECH]:
        pitch = opened.record(row)["attributes"]["pitch"]
        given = [reader.read(Draw(Task.SPEECH, row, number)).reference for number in range(8)]
        # Of voice0 a single clip is "lone": nothing stands in for its voice.
        heard = {None if reference is None else reference.attributes["pitch"] for reference in given}
        assert heard == ({None} if pitch == "lone" else {pitch})


def test_the_text_mentions_the_reference_and_ends_with_the_words(shards):
    tokenizer = build_tokenizer("bytes")
    (batch,) = take(module(shards, text_style="raw", weights_at=lambda step: {"sound": 1}), 1)
    texts = {tokenizer.decode(row[:n].tolist()) for row, n in zip(batch.text, batch.num_text, strict=True)}
    assert texts == {f"sound number {i}" for i in range(4)}


def test_the_same_seed_gives_the_same_batches_and_another_seed_others(shards):
    assert_same(take(module(shards), 5), take(module(shards), 5))
    assert [b.keys for b in take(module(shards), 5)] != [b.keys for b in take(module(shards, seed=1), 5)]


def test_workers_change_nothing(shards):
    assert_same(take(module(shards), 7), take(module(shards, num_workers=2), 7))


def test_ranks_share_the_global_batch_without_overlap(shards):
    alone = take(module(shards), 6)
    ranks = [take(module(shards, place=(rank, 2, 1)), 6) for rank in range(2)]
    for whole, first, second in zip(alone, *ranks, strict=True):
        assert whole.keys[0::2] == first.keys and whole.keys[1::2] == second.keys
        for row in range(2):
            samples = int(first.num_samples[row])
            assert torch.equal(first.audio[row, :, :samples], whole.audio[2 * row, :, :samples])
            assert first.num_reference[row] == whole.num_reference[2 * row]


def test_a_batch_that_the_ranks_cannot_share_is_refused(shards):
    with pytest.raises(ConfigError, match="cannot be shared by 3"):
        module(shards, place=(0, 3, 1)).setup()


def test_weights_follow_optimizer_steps_when_batches_are_accumulated(shards):
    data = module(shards, place=(0, 1, 4), weights_at=lambda step: {"speech": 1} if step < 2 else {"music": 1})
    assert [batch.task.unique().tolist() for batch in take(data, 10)] == [[0]] * 8 + [[2]] * 2


def test_resuming_half_way_gives_the_batches_of_a_straight_run(shards):
    straight = take(module(shards), 10)
    data = module(shards)
    data.next_step = straight[4].step + 1
    state = json.loads(json.dumps(data.state_dict()))
    for num_workers in (0, 2):
        resumed = module(shards, num_workers=num_workers)
        resumed.load_state_dict(state)
        assert_same(take(resumed, 5), straight[5:])


@pytest.mark.parametrize("change", [{"seed": 1}, {"batch_size": 8}, {"source": {"name": "planned", "bucket_steps": 2}}])
def test_resuming_with_other_settings_is_refused(shards, change):
    with pytest.raises(CheckpointError, match="another " + next(iter(change))):
        module(shards, **change).load_state_dict(module(shards).state_dict())


def test_resuming_on_other_shards_is_refused_but_moved_shards_are_the_same(shards, tmp_path):
    from tests.data.clips import make_shards

    state = module(shards).state_dict()
    moved = shutil.copytree(shards, tmp_path / "moved")
    module(moved).load_state_dict(state)
    with pytest.raises(CheckpointError, match="fingerprint"):
        module(make_shards(tmp_path, num_speech=3)).load_state_dict(state)


class Listener(LightningModule):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.seen: list[tuple[str, ...]] = []

    def training_step(self, batch, index):
        self.seen.append(batch.keys)
        return self.weight * batch.audio.mean()

    def validation_step(self, batch, index):
        assert len(batch)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def fit(data, steps, tmp_path, ckpt_path=None) -> tuple[Trainer, Listener]:
    trainer = Trainer(
        max_steps=steps,
        max_epochs=-1,
        callbacks=[ResumeCallback()],
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        check_val_every_n_epoch=None,
        val_check_interval=2,
        use_distributed_sampler=False,
        default_root_dir=tmp_path,
    )
    listener = Listener()
    trainer.fit(listener, datamodule=data, ckpt_path=ckpt_path, weights_only=True)
    return trainer, listener


@pytest.mark.filterwarnings("ignore")
def test_a_lightning_run_resumes_at_the_next_batch_whatever_was_prefetched(shards, tmp_path):
    _, straight = fit(module(shards), 8, tmp_path)
    trainer, first = fit(module(shards, num_workers=2), 3, tmp_path)
    trainer.save_checkpoint(tmp_path / "x.ckpt")
    _, second = fit(module(shards), 8, tmp_path, ckpt_path=tmp_path / "x.ckpt")
    assert first.seen + second.seen == straight.seen


@pytest.mark.filterwarnings("ignore")
def test_training_works_without_validation_shards(shards, tmp_path):
    _, listener = fit(module(shards, validation=None), 3, tmp_path)
    assert len(listener.seen) == 3


def test_validation_is_the_same_every_time_and_holds_every_task(shards):
    data = module(shards, num_validation_batches=3)
    first, second = list(data.val_dataloader()), list(module(shards, seed=5, num_validation_batches=3).val_dataloader())
    assert_same(first, second)
    assert torch.cat([batch.task for batch in first]).bincount().tolist() == [4, 4, 4]


def test_validation_is_shared_by_ranks(shards):
    whole = [key for batch in module(shards).val_dataloader() for key in batch.keys]
    ranks = [list(module(shards, place=(rank, 2, 1)).val_dataloader()) for rank in range(2)]
    assert len(ranks[0]) == len(ranks[1])
    assert sorted(key for batches in ranks for batch in batches for key in batch.keys) == sorted(whole)


def test_crops_for_the_vae_have_one_length_and_no_text(shards):
    batches = take(module(shards, crop_seconds=0.305, reference_probability=1.0), 8)
    assert {batch.audio.shape for batch in batches} == {(4, 1, 31 * HOP)}
    assert all(batch.text.shape == (4, 0) and batch.reference.shape[2] == 0 for batch in batches)
    lengths = torch.cat([batch.num_samples for batch in batches])
    assert lengths.max() == 31 * HOP and lengths.min() < 31 * HOP


def damaged_copy(shards, folder, count):
    """Copy shards and flip a byte in ``count`` clips of each."""
    copy = shutil.copytree(shards, folder / "damaged")
    keys = set()
    for shard in copy.glob("*.tar"):
        data = bytearray(shard.read_bytes())
        for clip in load_index(shard).clips[:count]:
            data[clip.audio_offset + 100] ^= 1
            keys.add(clip.key)
        shard.write_bytes(data)
    return copy, keys


def test_a_damaged_clip_is_replaced_listed_and_moves_nothing_else(shards, tmp_path):
    good = take(module(shards), 12)
    copy, keys = damaged_copy(shards, tmp_path, 1)
    settings = {"max_bad_share": 0.5, "reference_probability": 0.0}
    log = tmp_path / "bad.jsonl"
    found = take(module(copy, bad_clips_path=log, **settings), 12)
    replaced = 0
    for before, after in zip(good, found, strict=True):
        assert before.task.tolist() == after.task.tolist()
        for old, new in zip(before.keys, after.keys, strict=True):
            assert new not in keys and (new == old or old in keys)
            replaced += new != old
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert replaced > 0 and len(lines) >= replaced
    assert {line["where"].split(": ")[1] for line in lines} <= keys and all("crc32" in line["reason"] for line in lines)
    assert_same(take(module(copy, num_workers=2, **settings), 12), found)


@pytest.mark.parametrize("num_workers", [0, 1])
def test_too_many_damaged_clips_stop_training_with_one_clear_error(shards, tmp_path, num_workers):
    copy, _ = damaged_copy(shards, tmp_path, 3)
    with pytest.raises(DataError, match="clips could not be read") as caught:
        take(module(copy, num_workers=num_workers), 50)
    assert "Traceback" not in str(caught.value) and caught.value.hint


def test_an_unknown_source_or_augmentation_is_named(shards):
    with pytest.raises(UnknownNameError, match="Did you mean 'planned'"):
        module(shards, source={"name": "planed"}).setup()
    with pytest.raises(UnknownNameError, match="Did you mean 'gain'"):
        module(shards, augmentation="gian")


def test_gain_changes_levels_and_never_clips(shards):
    plain, louder = take(module(shards), 4), take(module(shards, augmentation="gain"), 4)
    for a, b in zip(plain, louder, strict=True):
        assert not torch.allclose(a.audio, b.audio) and b.audio.abs().max() <= 1


def test_a_shard_set_travels_to_other_processes(shards):
    opened = ShardSet.open(shards)
    before = opened.read(0)
    copy = pickle.loads(pickle.dumps(opened))
    assert torch.equal(copy.read(0).waveform.audio, before.waveform.audio)
