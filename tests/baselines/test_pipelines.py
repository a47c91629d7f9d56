"""Systems that run in this process: tiny random weights of the real classes, from a folder to files."""

from __future__ import annotations

import pytest
import torch

from calm.audio import read, read_provenance
from calm.errors import ConfigError
from calm.registry import build
from calm.types import Task
from tests.baselines import tiny
from tests.baselines.requests import log_of, manifest

#: name -> the writer of tiny weights, options that make it quick, tasks, sample rate, channels
SYSTEMS = {
    "musicgen_large": (tiny.musicgen, {}, {Task.MUSIC}, 8000, 1),
    "audioldm2_large": (tiny.audioldm2, {"num_steps": 2}, {Task.SOUND}, 16000, 1),
    "stable_audio_open": (tiny.stable_audio, {"num_steps": 2}, {Task.SOUND, Task.MUSIC}, 8000, 2),
}


@pytest.fixture(scope="module", params=SYSTEMS)
def system(request, tmp_path_factory):
    writer, options, tasks, rate, channels = SYSTEMS[request.param]
    weights = writer(tmp_path_factory.mktemp("weights") / request.param)
    config = {"name": request.param, "weights": str(weights), "device": "cpu", **options}
    return config, tasks, rate, channels


def test_a_pipeline_makes_a_file_of_the_wanted_length_for_each_item_of_its_tasks(system, tmp_path):
    config, tasks, rate, channels = system
    asked = manifest(tmp_path / "m", per_task=2)
    state = torch.random.get_rng_state()
    done = build("baseline", config).generate(asked, tmp_path / "out", seed=3)
    assert torch.equal(state, torch.random.get_rng_state()), "the caller's generator is left as it was"
    wanted = [entry.item.id for entry in asked.items if entry.item.task in tasks]
    assert list(done.made) == wanted and not done.failed and not done.kept
    assert set(done.passed) == {entry.item.id for entry in asked.items} - set(wanted)
    assert {path.stem for path in (tmp_path / "out").glob("*.wav")} == set(wanted)
    for line, id in zip(log_of(tmp_path / "out"), wanted, strict=True):
        clip = read(tmp_path / "out" / f"{id}.wav")
        assert (clip.sample_rate, clip.audio.shape) == (rate, (channels, round(0.02 * rate)))
        assert line["id"] == id and line["seconds_taken"] > 0 and line["seconds"] == pytest.approx(0.02)
        origin = read_provenance(tmp_path / "out" / f"{id}.wav")
        assert origin.model == config["weights"] and origin.seed == line["seed"]


def test_a_clip_depends_on_the_seed_and_its_id_alone(system, tmp_path):
    config, _, _, _ = system
    asked = manifest(tmp_path / "m", per_task=2)
    baseline = build("baseline", config)
    first = baseline.generate(asked, tmp_path / "first", seed=1)
    second = build("baseline", config).generate(
        type(asked)(name="small", items=tuple(reversed(asked.items))), tmp_path / "second", seed=1
    )
    other = baseline.generate(asked, tmp_path / "other", seed=2)
    assert sorted(first.made) == sorted(second.made) == sorted(other.made) != []
    clips = {
        folder: [read(tmp_path / folder / f"{id}.wav").audio for id in first.made] for folder in ("first", "second", "other")
    }
    assert all(torch.equal(one, two) for one, two in zip(clips["first"], clips["second"], strict=True))
    assert not any(torch.equal(one, two) for one, two in zip(clips["first"], clips["other"], strict=True))
    assert not torch.equal(clips["first"][0], clips["first"][1])


def test_one_item_that_fails_does_not_stop_the_rest(system, tmp_path, monkeypatch):
    config, tasks, _, _ = system
    asked = manifest(tmp_path / "m", per_task=3)
    baseline = build("baseline", config)
    make, seen = baseline.make, []

    def sometimes(request):
        if request.id.endswith("1"):
            raise RuntimeError("out of memory")
        return make(request)

    monkeypatch.setattr(baseline, "make", sometimes)
    done = baseline.generate(asked, tmp_path / "out", on_item=seen.append)
    lost = {f"{task.name}1" for task in tasks}
    assert done.failed == dict.fromkeys(lost, "RuntimeError: out of memory")
    assert {outcome.id for outcome in seen if outcome.reason} == lost and len(seen) == 3 * len(tasks)
    assert not any((tmp_path / "out" / f"{id}.wav").exists() for id in lost)
    again = build("baseline", config).generate(asked, tmp_path / "out")
    assert set(again.made) == lost and set(again.kept) == set(done.made)


@pytest.mark.parametrize("name", SYSTEMS)
def test_missing_weights_are_one_clear_error(name, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="cannot be loaded"):
        config = {"name": name, "weights": str(tmp_path / "empty")}
        build("baseline", config).generate(manifest(tmp_path / "m"), tmp_path / "out")


def test_a_requested_length_is_capped_at_what_the_system_does(tmp_path):
    weights = tiny.stable_audio(tmp_path / "weights")
    config = {"name": "stable_audio_open", "weights": str(weights), "num_steps": 2, "device": "cpu", "max_seconds": 0.01}
    done = build("baseline", config).generate(manifest(tmp_path / "m", tasks="sound"), tmp_path / "out")
    assert done.made == ("SOUND0",) and read(tmp_path / "out/SOUND0.wav").seconds == pytest.approx(0.01)
