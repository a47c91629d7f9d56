"""What OpenAI's own Python client gets."""

from __future__ import annotations

import base64
import json

import httpx
import openai
import pytest

from calm import audio
from tests.serving.http_lab import Lab

WORDS = {"model": "gpt-4o-mini-tts", "voice": "alloy", "input": "Hello there."}
FAST = {"seed": 1, "steps": 2}


def test_a_wav_is_what_the_model_says_with_the_same_seed(lab: Lab, mini):
    heard = lab.openai().audio.speech.create(**WORDS, response_format="wav", extra_body=FAST)
    expected = mini.generate(WORDS["input"], task="speech", voice="a female voice", **FAST)[0]
    got = audio.read(heard.content)
    assert got.sample_rate == mini.sample_rate
    assert got.audio.shape == expected.audio.shape
    assert (got.audio - expected.audio).abs().max() < 1e-4


@pytest.mark.parametrize(("format", "media"), [("mp3", "mpeg"), ("opus", "ogg"), ("flac", "flac"), ("wav", "wav")])
def test_every_format_can_be_read_and_names_its_origin(format: str, media: str, lab: Lab):
    heard = lab.openai().audio.speech.create(**WORDS, response_format=format, extra_body=FAST)
    assert heard.response.headers["content-type"] == f"audio/{media}"
    assert audio.read(heard.content).seconds > 0.3
    assert audio.read_provenance(heard.content).seed == 1
