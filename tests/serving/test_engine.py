"""The engine as its callers see it: streams, limits, ends."""

from __future__ import annotations

import pytest
import torch

from calm.errors import Busy, Closing, InputError
from calm.generation import AudioCALM
from calm.serving import Engine, Limits


@pytest.fixture(scope="module")
def mini() -> AudioCALM:
    return AudioCALM.from_pretrained("mini", device="cpu")


def test_a_stream_is_the_clip_that_generate_makes(mini):
    with Engine(mini) as engine:
        stream = engine.submit("A bell rings.", task="sound", duration=0.8, seed=3)
        audio = torch.cat([piece.audio for piece in stream], dim=-1)
    clip = mini.generate("A bell rings.", task="sound", duration=0.8, seed=3)[0]
    assert stream.finish_reason == clip.finish_reason == "duration" and stream.ended
    torch.testing.assert_close(audio, clip.audio, rtol=0, atol=1e-4)


def test_a_bad_argument_is_refused_in_the_caller(mini):
    with Engine(mini, Limits(max_text_characters=10)) as engine:
        for options in ({"steps": 0}, {"duration": 1e4}, {"text": "a" * 11}, {"deadline_seconds": -1}):
            with pytest.raises(InputError):
                engine.submit(**{"text": "rain", "task": "sound", **options})
        assert engine.statistics().refused == 4


def test_a_full_queue_is_busy_and_a_stopped_engine_is_closing(mini):
    engine = Engine(mini, Limits(max_running=1, max_queued=1))
    with pytest.raises(Closing):
        engine.submit("rain", task="sound")
    with engine:
        streams = [engine.submit("rain", task="sound", duration=1.0)]
        next(iter(streams[0]))
        streams.append(engine.submit("rain", task="sound", duration=0.1))
        with pytest.raises(Busy) as busy:
            engine.submit("rain", task="sound", duration=0.1)
        assert busy.value.retry_seconds >= 1
    assert {stream.finish_reason for stream in streams} == {"cancelled"}
    with pytest.raises(Closing):
        engine.submit("rain", task="sound")
