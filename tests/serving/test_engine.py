"""The engine as its callers see it: the same audio in any company, limits, ends."""

from __future__ import annotations

import threading

import pytest
import torch

from calm.errors import Closing, ConfigError, InputError
from calm.generation import AudioCALM
from calm.generation.config import SamplerConfig
from calm.serving import Engine, Limits
from calm.types import Waveform
from tests.factory import tiny_few_steps, tiny_generator
from tests.serving.conftest import heard

MIXED = [
    {"text": "A bell rings.", "task": "sound", "duration": 0.56, "seed": 3},
    {"text": "Good morning.", "task": "speech", "duration": 0.4, "seed": 1, "steps": 2},
    {"text": "Yes.", "task": "speech", "seed": 2, "max_seconds": 0.5, "steps": 2},
    {"text": "A slow piano piece with strings.", "task": "music", "duration": 0.72, "seed": 1, "steps": 3},
    {"text": "Rain.", "task": "sound", "duration": 0.4, "seed": 5, "cfg_scale": 1.0, "steps": 2},
    {"text": "Wind.", "task": "sound", "duration": 0.4, "seed": 6, "solver": "midpoint", "steps": 2},
]


def alone(model: AudioCALM, **request):
    return model.generate(request.pop("text"), **request)[0]


def test_every_stream_of_a_mixed_company_is_the_clip_that_is_made_alone(mini):
    # Three places for six requests: they join and leave while others are under way.
    with Engine(mini, Limits(max_running=3)) as engine:
        streams = [engine.submit(**request) for request in MIXED]
        audio = [heard(stream) for stream in streams]
    for request, stream, found in zip(MIXED, streams, audio, strict=True):
        clip = alone(mini, **request)
        assert stream.finish_reason == clip.finish_reason and stream.seed == clip.seed and stream.ended
        torch.testing.assert_close(found, clip.audio, rtol=0, atol=1e-4)
        assert stream.timings.audio_seconds == pytest.approx(clip.seconds)
    counted = engine.statistics()
    assert counted.submitted == sum(counted.finished.values()) == 6
    assert counted.queued == counted.running == counted.failed == counted.cancelled == 0
    assert counted.first_audio_seconds.count == counted.real_time_factor.count == 6
    assert sum(counted.audio_seconds.values()) == pytest.approx(sum(clip.shape[-1] for clip in audio) / 16000)


@pytest.mark.parametrize("model", ["ar_flow", "head_flow"])
@pytest.mark.parametrize("block_sizes", [(1, 1, 1), (3, 3, 3), (4, 2, 4)])
def test_either_model_and_any_block_size_can_be_shared(model, block_sizes):
    calm = AudioCALM(tiny_generator(model))
    tasks, durations = ("speech", "sound", "music"), (0.06, 0.03, 0.05)
    options = [
        {"text": "one two", "task": task, "duration": seconds, "seed": 4, "block_size": size, "steps": 2}
        for task, seconds, size in zip(tasks, durations, block_sizes, strict=True)
    ]
    options[1]["window_seconds"] = 0.02
    with Engine(calm) as engine:
        audio = [heard(stream) for stream in [engine.submit(**request) for request in options]]
    for request, found in zip(options, audio, strict=True):
        torch.testing.assert_close(found, alone(calm, **request).audio, rtol=0, atol=1e-5)


@pytest.mark.parametrize("branches", ["conditional", "both"])
def test_a_model_of_few_steps_is_shared_by_requests_of_different_numbers_of_steps(branches):
    unguided = {f"cfg_scale_{task}": 1.0 for task in ("speech", "sound", "music")}
    calm = AudioCALM(tiny_few_steps(branches), sampler=SamplerConfig(solver="average", **unguided))
    options = [
        {"text": "one two", "task": task, "duration": seconds, "seed": 4, "steps": steps}
        for task, seconds, steps in (("speech", 0.1, 1), ("sound", 0.05, 4), ("music", 0.08, 2), ("speech", 0.06, 2))
    ]
    with Engine(calm) as engine:
        audio = [heard(stream) for stream in [engine.submit(**request) for request in options]]
    for request, found in zip(options, audio, strict=True):
        torch.testing.assert_close(found, alone(calm, **request).audio, rtol=0, atol=1e-5)


def test_a_reader_is_told_of_every_piece_and_of_the_end(mini):
    told = threading.Semaphore(0)
    with Engine(mini) as engine:
        stream = engine.submit("Rain.", task="sound", duration=0.4, steps=2, notify=told.release)
        pieces = []
        while not stream.ended:
            assert told.acquire(timeout=60)
            pieces += stream.take()
    whole = alone(mini, text="Rain.", task="sound", duration=0.4, steps=2).audio
    torch.testing.assert_close(torch.cat([piece.audio for piece in pieces], dim=-1), whole, rtol=0, atol=1e-4)
    assert len(pieces) > 1 and all(isinstance(piece, Waveform) for piece in pieces)


def test_sound_and_music_take_no_row_through_the_speech_expert_not_even_beside_speech(mini, monkeypatch):
    rows, expert = [], mini.model.expert
    forward = expert.forward
    monkeypatch.setattr(expert, "forward", lambda layer, x, task: rows.append(len(x)) or forward(layer, x, task))
    ask = {"duration": 0.24, "cfg_scale": 1.0, "steps": 1}
    with Engine(mini) as engine:
        for stream in [engine.submit("Rain.", task=task, **ask) for task in ("sound", "music", "sound")]:
            heard(stream)
    assert rows == []
    with Engine(mini) as engine:
        tasks = ("speech", "sound", "sound", "sound", "music", "music", "music", "music")
        for stream in [engine.submit("Rain.", task=task, **ask) for task in tasks]:
            heard(stream)
    # The one row of speech, filled up to four with itself.
    assert set(rows) == {4}


@pytest.mark.parametrize("options", [{"steps": 0}, {"steps": 65}, {"duration": 1e4}, {"deadline_seconds": -1}, {"task": "musci"}])
def test_a_bad_argument_is_refused_in_the_caller(mini, options):
    with Engine(mini) as engine, pytest.raises(InputError):
        engine.submit(**{"text": "rain", "task": "sound", **options})
    assert engine.statistics().refused == 1 and engine.statistics().submitted == 0


def test_a_text_beyond_the_limit_is_refused(mini):
    with Engine(mini, Limits(max_text_characters=10)) as engine, pytest.raises(InputError, match="at most 10"):
        engine.submit("a" * 11, task="sound")


@pytest.mark.parametrize("value", [0, -1, 2.5, float("nan"), "4", True])
def test_a_limit_that_is_no_whole_number_above_zero_is_refused_by_name(value):
    with pytest.raises(ConfigError, match=r"Limits\.max_running"):
        Limits(max_running=value)


def test_an_engine_takes_nothing_before_its_start_and_after_its_stop(mini):
    engine = Engine(mini)
    with pytest.raises(Closing):
        engine.submit("rain", task="sound")
    engine.start().stop()
    with pytest.raises(Closing):
        engine.submit("rain", task="sound")
