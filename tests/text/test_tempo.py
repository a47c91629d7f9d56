from __future__ import annotations

import pytest

from calm.text import named_tempo


@pytest.mark.parametrize(
    ("text", "tempo"),
    [
        ("A piece of music. Tempo: 112 BPM. Duration: 4 seconds.", 112.0),
        ("music, jazz, 90 BPM, 4 seconds", 90.0),
        ("Techno at 127.5 bpm, then at 140 bpm.", 127.5),
        ("A waltz, 84 beats per minute", 84.0),
        ("A waltz of 84 beats a minute.", 84.0),
        ("Fast music.", 0.0),
        ("Music of 1960, 3 beats, BPM unknown.", 0.0),
        ("Noise at 9000 BPM, or at 1,120 BPM.", 0.0),
        (20_000 * "1", 0.0),
        ("Nothing at 0 BPM.", 0.0),
        ("", 0.0),
    ],
)
def test_the_first_tempo_that_a_text_names_is_found(text, tempo):
    assert named_tempo(text) == tempo
