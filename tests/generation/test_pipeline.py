"""Generation as users call it: whole, streamed, guided, batched, and every bad argument."""

from __future__ import annotations

import datetime

import pytest
import torch

from calm.errors import ConsentError, InputError
from calm.generation import AudioCALM, VoiceReference
from calm.generation.config import SamplerConfig
from calm.generation.sampler import block_noise
from calm.safety.consent import Consent
from calm.types import Waveform
from tests.factory import tiny_generator

MODELS = ["ar_flow", "head_flow"]
HOP_SECONDS = 32 / 16000


def pipeline(model: str = "ar_flow", **sampler) -> AudioCALM:
    defaults = {"num_steps": 2, "max_seconds": 0.2, "stop_threshold": 1.1}
    return AudioCALM(tiny_generator(model), sampler=SamplerConfig(**{**defaults, **sampler}))


@pytest.fixture
def reference(tmp_path):
    from calm import audio

    wave = Waveform(audio=0.1 * torch.randn(1, 3200, generator=torch.Generator().manual_seed(0)), sample_rate=16000)
    path = tmp_path / "voice.wav"
    audio.write(path, wave, provenance=None)
    expires = datetime.date.today() + datetime.timedelta(days=1)
    consent = Consent.new(path, who="A. Speaker", purpose="tests", expires=expires)
    return lambda text=None: VoiceReference(waveform=audio.read(path), consent=consent, text=text)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("block_size", [1, 4, 7, 16])
@pytest.mark.parametrize("voice", ["none", "imitated", "continued"])
def test_streamed_audio_equals_the_whole_clip(model, block_size, voice, reference):
    calm = pipeline(model)
    options = {"task": "speech", "duration": 0.11, "seed": 3, "block_size": block_size}
    if voice != "none":
        options["reference"] = reference("hello" if voice == "continued" else None)
    whole = calm.generate("one two", **options)[0]
    pieces = [piece.audio for piece in calm.generate_streaming("one two", **options)]
    assert whole.audio.shape[-1] == round(0.11 * 16000)
    torch.testing.assert_close(torch.cat(pieces, dim=-1), whole.audio, rtol=0, atol=1e-5)
    assert block_size >= 7 or len(pieces) > 1


@pytest.mark.parametrize("model", MODELS)
def test_the_same_seed_gives_the_same_audio_alone_and_in_a_batch(model):
    calm = pipeline(model)
    texts = ["rain", "a bell rings twice, then rain"]
    batch = calm.generate(texts, task="sound", duration=0.1, seed=5)
    assert [clip.seed for clip in batch] == [5, 6]
    for text, clip in zip(texts, batch, strict=True):
        alone = calm.generate(text, task="sound", duration=0.1, seed=clip.seed)[0]
        torch.testing.assert_close(alone.audio, clip.audio, rtol=0, atol=1e-5)
    other = calm.generate(texts[0], task="sound", duration=0.1, seed=6)[0]
    assert not torch.allclose(other.audio, batch[0].audio, atol=1e-3)


@pytest.mark.parametrize("model", MODELS)
def test_guidance_of_one_equals_the_conditional_branch_and_other_scales_differ(model):
    calm = pipeline(model)
    options = {"task": "sound", "duration": 0.05, "seed": 1}
    plain = calm.generate("rain", cfg_scale=1.0, **options)[0].latents
    almost = calm.generate("rain", cfg_scale=1.0 + 1e-6, **options)[0].latents
    torch.testing.assert_close(almost, plain, rtol=0, atol=1e-4)
    assert not torch.allclose(calm.generate("rain", cfg_scale=3.0, **options)[0].latents, plain, atol=1e-3)


def test_a_negative_prompt_is_the_text_of_the_unconditional_branch():
    calm = pipeline()
    options = {"task": "sound", "duration": 0.05, "cfg_scale": 0.0}
    negative = calm.generate("rain", negative_prompt="A bell.", **options)[0].latents
    plain = calm.generate("wind", negative_prompt="A bell.", **options)[0].latents
    torch.testing.assert_close(negative, plain, rtol=0, atol=1e-5)
    assert not torch.allclose(calm.generate("rain", **options)[0].latents, negative, atol=1e-3)


def test_finish_reasons_are_told_apart():
    assert pipeline().generate("rain", task="sound", duration=0.05)[0].finish_reason == "duration"
    capped = pipeline().generate("rain", task="sound")[0]
    assert capped.finish_reason == "max_length" and capped.seconds == pytest.approx(0.2, abs=HOP_SECONDS)
    stopped = pipeline(stop_threshold=-1.0).generate("rain", task="sound")[0]
    assert stopped.finish_reason == "stop" and stopped.seconds == pytest.approx(HOP_SECONDS)


@pytest.mark.parametrize("solver", ["euler", "midpoint"])
def test_more_steps_change_less_and_less(solver):
    calm = pipeline(solver=solver)
    latents = [calm.generate("rain", task="sound", duration=0.008, steps=n)[0].latents for n in (8, 64, 512)]
    assert (latents[1] - latents[2]).norm() < (latents[0] - latents[1]).norm()


def test_noise_depends_on_seed_and_block_only():
    shape = {"shape": (4, 3), "temperature": 1.0}
    assert torch.equal(block_noise(1, 2, **shape), block_noise(1, 2, **shape))
    assert not torch.equal(block_noise(1, 2, **shape), block_noise(1, 3, **shape))
    assert not torch.equal(block_noise(1, 2, **shape), block_noise(2, 2, **shape))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"task": "musci"}, "Did you mean 'music'"),
        ({"duration": -1}, "duration = -1"),
        ({"duration": float("nan")}, "duration = nan"),
        ({"steps": 0}, "steps = 0"),
        ({"cfg_scale": -1}, "cfg_scale"),
        ({"block_size": 17}, "block_size"),
        ({"solver": "euler2"}, "solver"),
        ({"voice": "a low voice"}, "A voice was given for sound"),
        ({"stepz": 3}, "Unknown option 'stepz'"),
        ({"text": "   "}, "empty"),
        ({"text": "a" * 100_000}, "100,000 characters"),
        ({"text": []}, "No prompt"),
    ],
)
def test_a_bad_argument_gets_one_clear_error(options, said):
    call = {"text": "rain", "task": "sound", **options}
    with pytest.raises(InputError, match=said):
        pipeline().generate(call.pop("text"), **call)


def test_streaming_takes_one_prompt():
    with pytest.raises(InputError, match="one prompt"):
        next(pipeline().generate_streaming(["a", "b"], task="sound"))


def consented(samples: int, tmp_path, *, days: int = 1) -> VoiceReference:
    from calm import audio

    path, today = tmp_path / "short.wav", datetime.date.today()
    wave = Waveform(audio=0.1 * torch.ones(1, samples), sample_rate=16000)
    audio.write(path, wave, provenance=None)
    dates = {"granted": today - datetime.timedelta(days=9), "expires": today + datetime.timedelta(days=days)}
    return VoiceReference(
        waveform=audio.read(path), consent=Consent.new(path, who="A. Speaker", purpose="tests", **dates)
    )


def test_a_reference_clip_shorter_than_one_latent_is_refused(tmp_path):
    with pytest.raises(InputError, match="reference clip has"):
        pipeline().generate("hello", task="speech", reference=consented(8, tmp_path))


def test_no_voice_without_a_consent_that_holds_for_this_clip_today(reference, tmp_path):
    voice = reference()
    with pytest.raises(ConsentError, match="not the one"):
        VoiceReference(waveform=Waveform(audio=voice.waveform.audio[:, :99], sample_rate=16000), consent=voice.consent)
    with pytest.raises(ConsentError, match="expired"):
        consented(800, tmp_path, days=-1)
