from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from calm.errors import ConfigError, InputError
from calm.text import Describer, describe
from calm.types import TASKS, Task

SPEAKER = {"gender": "male", "pitch": "low", "rate": "fast", "tone": "calm", "recording": "clean"}
EVENTS = {"kinds": ["dog_bark", "door_slam"], "counts": [2, 1]}
PIECE = {
    "genre": "ambient",
    "mood": ["calm", "warm"],
    "instruments": ["piano", "cello"],
    "tempo": 90,
    "key": "C major",
}
TEXTS = {
    Task.SPEECH: 'He said "no", twice.',
    Task.SOUND: "a dog barks twice, then a door slams",
    Task.MUSIC: "a slow melody",
}
ATTRIBUTES = {Task.SPEECH: SPEAKER, Task.SOUND: EVENTS, Task.MUSIC: PIECE}


def draws(task: Task, *, count: int = 300, describer: Describer | None = None, **options: object) -> list[str]:
    describer, rng = describer or Describer(), np.random.default_rng(0)
    options = {"attributes": ATTRIBUTES[task], "duration_seconds": 10.0, **options}
    return [describer(task, TEXTS[task], rng=rng, **options) for _ in range(count)]  # type: ignore[arg-type]


def test_speech_tells_the_voice_and_ends_with_the_verbatim_transcript() -> None:
    assert describe(Task.SPEECH, TEXTS[Task.SPEECH], attributes=SPEAKER) == (
        "A low-pitched male voice speaks quickly in a calm tone. The recording is clean. "
        'The speaker says: "He said "no", twice."'
    )


def test_sound_and_music_tell_kind_attributes_content_and_duration_in_this_order() -> None:
    assert describe(Task.SOUND, TEXTS[Task.SOUND], attributes=EVENTS, duration_seconds=10) == (
        "A sound recording. Sounds: dog bark twice, door slam. "
        "A dog barks twice, then a door slams. Duration: 10 seconds."
    )
    assert describe(Task.MUSIC, TEXTS[Task.MUSIC], attributes=PIECE, duration_seconds=2.5) == (
        "A piece of music. Genre: ambient. Mood: calm, warm. Instruments: piano, cello. Tempo: 90 BPM. "
        "Key: C major. A slow melody. Duration: 2.5 seconds."
    )


def test_real_recordings_without_attributes_read_well() -> None:
    assert describe(Task.SPEECH, "Press 5.") == 'A voice speaks. The speaker says: "Press 5."'
    assert describe(Task.SOUND, "message new instant sound") == "A sound recording. Message new instant sound."
    assert describe(Task.MUSIC, "a slow track, cold day.") == "A piece of music. A slow track, cold day."


@pytest.mark.parametrize(
    ("attributes", "start"),
    [
        ({"gender": "female"}, "A female voice speaks."),
        ({"age": "elderly", "gender": "male"}, "An elderly male voice speaks."),
        ({"tone": "angry", "rate": "slow"}, "A voice speaks slowly in an angry tone."),
        ({"accent": "Irish", "pitch": "very low"}, "A very low-pitched voice with an Irish accent speaks."),
        ({"pitch": 100.0, "gender": "m"}, "A low-pitched male voice speaks."),
        ({"gender": None, "tone": ["?"], "speaker": 7}, "A voice speaks in a ['?'] tone."),
    ],
)
def test_the_voice_sentence_fits_what_is_known(attributes: dict[str, object], start: str) -> None:
    assert describe(Task.SPEECH, "Hi.", attributes=attributes) == f'{start} The speaker says: "Hi."'


def test_a_described_voice_and_a_reference_clip_take_the_place_of_the_attributes() -> None:
    assert describe(Task.SPEECH, "Hi.", voice="a low male voice.", attributes=SPEAKER).startswith(
        "A low male voice speaks quickly in a calm tone."
    )
    assert describe(Task.SPEECH, "Hi.", has_reference=True) == (
        'The voice of the reference clip speaks. The speaker says: "Hi."'
    )


@pytest.mark.parametrize(
    ("counts", "told"),
    [([3, None], "rain three times, bell"), ({"bell": 2}, "rain, bell twice"), (4, "rain, bell"), ([1], "rain, bell")],
)
def test_counts_come_as_list_mapping_or_not_at_all(counts: object, told: str) -> None:
    attributes = {"kinds": ["rain", "bell"], "counts": counts}
    assert f"Sounds: {told}." in describe(Task.SOUND, "rain", attributes=attributes)


@pytest.mark.parametrize(
    ("seconds", "told"), [(1.0, "1 second"), (0.96, "1 second"), (10.02, "10 seconds"), (0.01, "0.1 seconds")]
)
def test_durations_are_told_to_a_tenth(seconds: float, told: str) -> None:
    assert describe(Task.SOUND, "rain", duration_seconds=seconds).endswith(f"Duration: {told}.")


def test_a_voice_is_refused_where_it_makes_no_sense() -> None:
    with pytest.raises(InputError, match="speech only, not for music"):
        describe(Task.MUSIC, "jazz", voice="a low voice")
    with pytest.raises(InputError, match="not from both"):
        describe(Task.SPEECH, "Hi.", voice="a low voice", has_reference=True)
    for voice in ("  .", "x" * 301):
        with pytest.raises(InputError, match="1 to 300 characters"):
            describe(Task.SPEECH, "Hi.", voice=voice)


@pytest.mark.parametrize("task", TASKS)
def test_empty_text_is_refused(task: Task) -> None:
    with pytest.raises(InputError, match=r"needs a transcript|is empty"):
        describe(task, " \n")


def test_speech_needs_a_transcript_even_with_attributes_and_music_does_not() -> None:
    with pytest.raises(InputError, match="needs a transcript"):
        describe(Task.SPEECH, "", attributes=SPEAKER)
    assert describe(Task.MUSIC, "", attributes={"genre": "jazz"}) == "A piece of music. Genre: jazz."
    assert all(draws_without_caption())


def draws_without_caption() -> list[str]:
    rng = np.random.default_rng(0)
    return [Describer()(Task.MUSIC, "", rng=rng, attributes={"genre": "jazz"}) for _ in range(50)]


def test_every_draw_of_speech_ends_with_the_quoted_transcript() -> None:
    for has_reference in (False, True):
        for text in draws(Task.SPEECH, has_reference=has_reference):
            assert text.endswith('"He said "no", twice."')
            assert "Duration" not in text and "second" not in text


def test_the_three_forms_are_drawn_as_often_as_stated() -> None:
    forms = Counter(
        "caption" if text == TEXTS[Task.MUSIC] else "long" if text.startswith("A piece") else "tags"
        for text in draws(Task.MUSIC, count=2000)
    )
    for form, weight in {"long": 0.5, "caption": 0.3, "tags": 0.2}.items():
        assert forms[form] / 2000 == pytest.approx(weight, abs=0.04)


def test_attributes_are_dropped_and_durations_told_as_often_as_stated() -> None:
    describer = Describer(form_weights={"long": 1.0})
    texts = draws(Task.MUSIC, count=2000, describer=describer)
    for part in ("Genre: ambient.", "Tempo: 90 BPM.", "Key: C major."):
        assert sum(part in text for text in texts) / 2000 == pytest.approx(0.7, abs=0.04)
    told = sum(text.endswith("Duration: 10 seconds.") for text in texts)
    assert told / 2000 == pytest.approx(0.5, abs=0.04)


def test_attributes_are_dropped_by_task_and_as_often_as_usual_where_the_task_is_not_named() -> None:
    describer = Describer(form_weights={"long": 1.0}, attribute_dropout={"sound": 1.0})
    assert not any("Sounds:" in text for text in draws(Task.SOUND, describer=describer))
    told = sum("Genre: ambient." in text for text in draws(Task.MUSIC, count=2000, describer=describer))
    assert told / 2000 == pytest.approx(0.7, abs=0.04)


def test_drawn_sentences_are_shuffled_between_the_first_and_the_last() -> None:
    describer = Describer(form_weights={"long": 1.0}, attribute_dropout=0.0, duration_probability=1.0)
    texts = draws(Task.MUSIC, describer=describer)
    assert len(set(texts)) > 100
    expected = sorted(describe(Task.MUSIC, TEXTS[Task.MUSIC], attributes=PIECE, duration_seconds=10).split(". "))
    for text in texts:
        assert sorted(text.split(". ")) == expected
        assert text.startswith("A piece of music. ") and text.endswith(" Duration: 10 seconds.")


def test_the_words_that_generation_uses_are_among_the_drawn_ones() -> None:
    describer = Describer(form_weights={"long": 1.0}, attribute_dropout=0.0)
    assert describe(Task.SPEECH, TEXTS[Task.SPEECH], attributes=SPEAKER) in draws(Task.SPEECH, describer=describer)


def test_tags_are_bare_words_and_fall_back_to_the_caption() -> None:
    describer = Describer(form_weights={"tags": 1.0}, attribute_dropout=0.0, duration_probability=1.0)
    assert set(draws(Task.MUSIC, count=3, describer=describer)) == {
        "music, ambient, calm, warm, piano, cello, 90 BPM, C major, 10 seconds"
    }
    assert set(draws(Task.SPEECH, count=3, describer=describer)) == {
        'speech, male, low pitch, fast pace, calm, clean. "He said "no", twice."'
    }
    assert set(draws(Task.SOUND, count=3, describer=describer)) == {"sound, dog bark twice, door slam, 10 seconds"}
    assert set(draws(Task.SOUND, count=3, describer=describer, attributes=None)) == {
        "sound, a dog barks twice, then a door slams, 10 seconds"
    }


@pytest.mark.parametrize("task", TASKS)
def test_the_same_generator_state_gives_the_same_draws(task: Task) -> None:
    assert draws(task) == draws(task)


@pytest.mark.parametrize("task", TASKS)
def test_the_raw_style_is_the_caption_or_the_quoted_transcript_alone(task: Task) -> None:
    expected = f'"{TEXTS[task]}"' if task is Task.SPEECH else TEXTS[task]
    assert set(draws(task, count=5, describer=Describer(style="raw"))) == {expected}
    assert describe(task, TEXTS[task], attributes=ATTRIBUTES[task], duration_seconds=3, style="raw") == expected


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"style": "descriptoin"}, "Did you mean 'description'"),
        ({"form_weights": {"short": 1.0}}, "allowed: long, caption, tags"),
        ({"form_weights": {"long": 0.0}}, "Cannot draw forms"),
        ({"form_weights": {"long": 2.0, "tags": -1.0}}, "Cannot draw forms"),
        ({"attribute_dropout": 1.5}, "attribute_dropout is 1.5"),
        ({"attribute_dropout": {"sound": -1.0}}, "attribute_dropout.sound is -1.0"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Describer(**options)  # type: ignore[arg-type]
