"""What OpenAI's own Python client gets."""

from __future__ import annotations

import base64
import json

import httpx
import openai
import pytest
import torch

from calm import audio
from calm.generation import Generation
from calm.safety import ProvenanceSettings
from calm.safety.marks import find_mark
from tests.serving.http_lab import Lab

WORDS = {"model": "gpt-4o-mini-tts", "voice": "alloy", "input": "Hello there."}
FAST = {"seed": 1, "steps": 2}


def as_sent(clip: Generation) -> torch.Tensor:
    """The clip with the mark that served audio has, where one is known here."""
    mark = find_mark(ProvenanceSettings().watermark, str(clip.task))
    return (clip.audio if mark is None else mark.embed(clip.waveform).audio).clamp(-1, 1)


def test_a_wav_is_what_the_model_says_with_the_same_seed(lab: Lab, mini):
    heard = lab.openai().audio.speech.create(**WORDS, response_format="wav", extra_body=FAST)
    expected = mini.generate(WORDS["input"], task="speech", voice="a female voice", **FAST)[0]
    got = audio.read(heard.content)
    assert got.sample_rate == mini.sample_rate
    assert got.audio.shape == expected.audio.shape
    assert (got.audio - as_sent(expected)).abs().max() < 1e-4


@pytest.mark.parametrize(("format", "media"), [("mp3", "mpeg"), ("opus", "ogg"), ("flac", "flac"), ("wav", "wav")])
def test_every_format_can_be_read_and_names_its_origin(format: str, media: str, lab: Lab):
    heard = lab.openai().audio.speech.create(**WORDS, response_format=format, extra_body=FAST)
    assert heard.response.headers["content-type"] == f"audio/{media}"
    assert audio.read(heard.content).seconds > 0.3
    assert audio.read_provenance(heard.content).seed == 1


def test_pcm_is_24_kilohertz_mono_whatever_the_model_has(lab: Lab, mini):
    body = {"task": "sound", "duration": 1.0, **FAST}
    heard = lab.openai().audio.speech.create(**WORDS, response_format="pcm", extra_body=body)
    assert len(heard.content) == 2 * 24_000


def test_the_first_bytes_come_while_the_clip_still_grows(lab: Lab):
    body = {"task": "sound", "duration": 3.0, "steps": 1}
    before = lab.service.engine.statistics().finished.get("duration", 0)
    streaming = lab.openai().audio.speech.with_streaming_response
    with streaming.create(**WORDS, response_format="wav", extra_body=body) as response:
        data = response.iter_bytes()
        first = next(data)
        assert lab.service.engine.statistics().finished.get("duration", 0) == before
        assert response.headers["x-seed"].isdigit() and "content-length" not in response.headers
        whole = first + b"".join(data)
    assert audio.read(whole).seconds == 3.0


@pytest.mark.parametrize("format", ["wav", "mp3", "flac"])
def test_events_carry_the_same_bytes_and_say_how_it_ended(format: str, lab: Lab):
    body = {"response_format": format, "duration": 0.5}
    response = lab.post(stream_format="sse", **body)
    assert response.headers["content-type"].startswith("text/event-stream")
    events = [json.loads(line.removeprefix("data: ")) for line in response.text.splitlines() if line]
    *deltas, done = events
    assert {event["type"] for event in deltas} == {"speech.audio.delta"}
    assert done["type"] == "speech.audio.done"
    assert (done["finish_reason"], done["seed"], done["seconds"]) == ("duration", 1, 0.5)
    data = b"".join(base64.b64decode(event["audio"]) for event in deltas)
    plain = audio.read(lab.post(**body).content)
    assert torch.equal(audio.read(data).audio, plain.audio)


def test_a_drawn_seed_is_told_and_gives_the_same_audio_again(lab: Lab):
    first = lab.post(seed=None)
    again = lab.post(seed=int(first.headers["x-seed"]))
    assert torch.equal(audio.read(first.content).audio, audio.read(again.content).audio)
    assert lab.post(seed=None).headers["x-seed"] != first.headers["x-seed"]


def test_the_client_raises_its_own_errors_and_they_name_the_field(lab: Lab):
    speech = lab.openai().audio.speech
    with pytest.raises(openai.BadRequestError) as refused:
        speech.create(**WORDS, speed=2.0)
    assert (refused.value.param, refused.value.code, refused.value.type) == ("speed", "invalid_value", "invalid_request_error")
    with pytest.raises(openai.NotFoundError, match="It serves 'mini'") as missing:
        speech.create(**{**WORDS, "model": "whisper-1"})
    assert (missing.value.param, missing.value.code) == ("model", "model_not_found")
    with pytest.raises(openai.BadRequestError, match="Did you mean 'alloy'") as unknown:
        speech.create(**{**WORDS, "voice": "aloy"})
    assert unknown.value.param == "voice"


def test_the_client_lists_the_model(lab: Lab):
    models = lab.openai().models
    assert [model.id for model in models.list()] == ["mini"] == [models.retrieve("mini").id]


def test_words_and_instructions_describe_the_voice_together(lab: Lab, mini):
    fields = {"input": "Hello there.", "response_format": "wav", **FAST}
    body = {**fields, "voice": "a low male voice", "instructions": "calm"}
    response = httpx.post(f"{lab.url}/v1/audio/speech", json=body, timeout=60)
    expected = mini.generate("Hello there.", task="speech", voice="a low male voice, calm", **FAST)[0]
    assert (audio.read(response.content).audio - as_sent(expected)).abs().max() < 1e-4
