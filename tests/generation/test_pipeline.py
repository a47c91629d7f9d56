"""Generation as users call it: whole, streamed, guided, batched, and every bad argument."""

from __future__ import annotations

import dataclasses
import datetime
import functools

import numpy as np
import pytest
import torch

from calm.errors import ConfigError, ConsentError, InputError
from calm.generation import AudioCALM, VoiceReference
from calm.generation.config import SamplerConfig
from calm.generation.course import block_noise
from calm.generation.plan import Call, make_plan
from calm.safety.consent import Consent
from calm.types import Task, Waveform
from tests.factory import tiny_generator

MODELS = ["ar_flow", "head_flow"]
HOP_SECONDS = 32 / 16000


#: weights are made once: what generates does not change them
generator = functools.cache(tiny_generator)


def pipeline(model: str = "ar_flow", **sampler) -> AudioCALM:
    defaults = {"num_steps": 2, "max_seconds": 0.2, "stop_threshold": 1.1}
    return AudioCALM(generator(model), sampler=SamplerConfig(**{**defaults, **sampler}))


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
@pytest.mark.parametrize("block_size", range(1, 17))
@pytest.mark.parametrize("voice", ["none", "imitated", "continued"])
def test_streamed_audio_equals_the_whole_clip(model, block_size, voice, reference):
    calm = pipeline(model, num_steps=1)
    options = {"task": "speech", "duration": 0.05, "seed": 3, "block_size": block_size}
    if voice != "none":
        options["reference"] = reference("hello" if voice == "continued" else None)
    whole = calm.generate("one two", **options)[0]
    pieces = [piece.audio for piece in calm.generate_streaming("one two", **options)]
    assert whole.audio.shape[-1] == round(0.05 * 16000)
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
    # Of these weights the field is smooth enough for 32 steps; of others only thousands get near the solution.
    calm = AudioCALM(tiny_generator(seed=1), sampler=SamplerConfig(solver=solver))
    latents = [calm.generate("rain", task="sound", duration=0.008, steps=n)[0].latents for n in (8, 32, 128)]
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
        ({"text": 3}, "3 is no text"),
        ({"text": ["rain", None]}, "None is no text"),
        ({"steps": 2.5}, "steps = 2.5(.|\n)*whole number"),
        ({"steps": True}, "steps = True(.|\n)*whole number"),
        ({"block_size": 2.5}, "block_size = 2.5(.|\n)*whole number"),
        ({"duration": "4"}, "duration = '4'(.|\n)*a number"),
        ({"duration": 1e-6}, "shorter than one latent frame(.|\n)*at least 0.002 s"),
        ({"seed": 1.5}, "seed = 1.5(.|\n)*whole number"),
        ({"seed": None}, "seed = None(.|\n)*whole number"),
        ({"task": "speech", "voice": 3}, "voice = 3(.|\n)*text"),
        ({"negative_prompt": 3}, "negative_prompt = 3(.|\n)*text"),
        ({"task": "speech", "reference": "me.wav"}, "a VoiceReference"),
        ({"temperature": float("nan")}, "temperature = nan"),
        ({"history_time": 1.5}, "history_time = 1.5"),
        ({"window_seconds": 0}, "window_seconds = 0"),
        ({"window_seconds": float("inf")}, "window_seconds = inf"),
        ({"negative_prompt": "A bell.", "cfg_scale": 1.0}, "where:   negative_prompt(.|\n)*cfg_scale above 1"),
    ],
)
def test_a_bad_argument_gets_one_clear_error(options, said):
    call = {"text": "rain", "task": "sound", **options}
    with pytest.raises(InputError, match=said):
        pipeline().generate(call.pop("text"), **call)


def test_streaming_takes_one_prompt():
    with pytest.raises(InputError, match="one prompt"):
        pipeline().generate_streaming(["a", "b"], task="sound")


def test_streaming_refuses_a_bad_argument_before_the_first_piece_is_asked_for():
    with pytest.raises(InputError, match="steps = 0"):
        pipeline().generate_streaming("rain", task="sound", steps=0)


def test_numbers_of_numpy_are_taken_as_numbers():
    calm = pipeline()
    plain = {"steps": 2, "seed": 2**31 - 1, "duration": 0.0625, "cfg_scale": 2.0}
    scalars = {"steps": np.int64(2), "seed": np.int32(2**31 - 1), "duration": np.float32(0.0625), "cfg_scale": np.float32(2)}
    texts = ["rain", "wind"]
    for one, other in zip(*(calm.generate(texts, task="sound", **options) for options in (plain, scalars)), strict=True):
        assert torch.equal(one.audio, other.audio)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("num_steps", 0),
        ("num_steps", 2.5),
        ("solver", "euler2"),
        ("cfg_scale_sound", float("nan")),
        ("cfg_scale_speech", -1.0),
        ("temperature_music", 5.0),
        ("history_time_sound", -0.1),
        ("block_size", 17),
        ("window_blocks", -1),
        ("stop_threshold", float("nan")),
        ("max_seconds", 0.0),
        ("max_seconds", float("inf")),
        ("guidance_interval", (0.5, 0.2)),
        ("guidance_interval", (0.0, float("nan"))),
        ("guidance_interval", (0.0,)),
    ],
)
def test_a_sampler_key_beyond_its_limit_is_refused_by_name(key, value):
    with pytest.raises(ConfigError, match=f"where:   sampler.{key}"):
        SamplerConfig(**{key: value})


def planned(calm: AudioCALM, **options):
    return make_plan(calm.model, calm.sampler, Call(**{"text": "hello", **options}))


def test_the_end_of_a_clip_to_be_continued_is_kept_and_silence_goes_before_its_start(tmp_path):
    """101 latents less one sample, in blocks of 4: the last latents hear the last samples."""
    calm, samples = pipeline(), 101 * 32 - 1
    voice = dataclasses.replace(consented(samples, tmp_path), text="hello")
    history = planned(calm, task=Task.SPEECH, reference=voice).history
    padded = torch.cat([torch.zeros(1, 1, 104 * 32 - samples), voice.waveform.audio[None]], dim=-1)
    torch.testing.assert_close(history, calm.model.vae.to_latents(padded), rtol=0, atol=1e-6)


def test_the_history_is_said_to_be_at_the_time_of_the_call_or_of_its_task_in_the_sampler():
    calm = pipeline(history_time_sound=0.5)
    times = {Task.SOUND: 0.5, Task.MUSIC: 1.0}
    for task, time in times.items():
        assert planned(calm, task=task).settings.history_time == time
        assert planned(calm, task=task, history_time=0.7).settings.history_time == 0.7
    options = {"task": "sound", "duration": 0.1, "seed": 3}
    doubtful, trusting = (calm.generate("rain", **options, **more)[0] for more in ({}, {"history_time": 1.0}))
    assert not torch.allclose(doubtful.audio, trusting.audio, atol=1e-4)


def test_a_prompt_tells_the_tempo_that_is_named_and_the_length_that_is_asked_for_and_nothing_of_speech():
    calm = pipeline()
    assert planned(calm, text="At 84 BPM.", task=Task.MUSIC, duration=40.0).prompt.timing.tolist() == [[84.0, 40.0, 0.0]]
    long = make_plan(calm.model, calm.sampler, Call(text="A waltz.", task=Task.MUSIC, duration=40.0), trained_seconds=8.0)
    assert "8 seconds" in long.requests[0].description and long.prompt.timing[0].tolist() == [0.0, 40.0, 0.0]
    for text, task in (("A waltz.", Task.MUSIC), ("Play at 84 BPM.", Task.SPEECH)):
        assert not planned(calm, text=text, task=task).prompt.timing.any()


def test_a_window_is_at_least_one_block_and_never_turns_into_no_window():
    calm = pipeline(window_blocks=5)
    sizes = {None: 5, 1e-4: 1, 0.08: 10}
    for seconds, blocks in sizes.items():
        assert planned(calm, task=Task.SOUND, window_seconds=seconds).settings.window_blocks == blocks
    assert planned(pipeline(), task=Task.SOUND).settings.window_blocks is None


@pytest.mark.parametrize(
    ("task", "duration", "options", "blocks", "told"),
    [
        (Task.MUSIC, 1.0, {}, None, "1 second"),
        (Task.MUSIC, 3.0, {}, 125, "1 second"),
        (Task.SOUND, 3.0, {"window_seconds": 0.08}, 20, "1 second"),
        (Task.SOUND, None, {}, None, None),
        (Task.SPEECH, 3.0, {}, None, None),
    ],
)
def test_a_clip_longer_than_those_of_the_training_slides_and_its_prompt_tells_the_longest_known(
    task, duration, options, blocks, told
):
    """500 latents a second, blocks of 2, history of 0.5 s: 125 blocks."""
    calm = pipeline(block_size=2)
    call = Call(text="hello", task=task, duration=duration, **options)
    plan = make_plan(calm.model, calm.sampler, call, trained_seconds=1.0)
    assert plan.settings.window_blocks == blocks
    description = plan.requests[0].description
    assert ("Duration" in description) == (told is not None)
    assert told is None or f"Duration: {told}." in description
    assert plan.requests[0].num_frames == (None if duration is None else round(500 * duration))


def test_a_window_of_the_sampler_holds_for_long_clips_too():
    calm = pipeline(window_blocks=5)
    call = Call(text="hello", task=Task.MUSIC, duration=3.0)
    assert make_plan(calm.model, calm.sampler, call, trained_seconds=1.0).settings.window_blocks == 5


def test_a_model_of_raw_text_refuses_a_voice_instead_of_dropping_it():
    calm = AudioCALM(generator("ar_flow"), text_style="raw")
    with pytest.raises(InputError, match="trained on raw text and knows no voice"):
        calm.generate("hello", task="speech", voice="a low voice")


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
