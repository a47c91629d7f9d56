import pytest

from calm.errors import ConfigError, UnknownNameError
from calm.training.scores import SampleScores
from calm.types import Task, Waveform
from tests.evaluation.judging import Against, Apart, Peak, tone


def clip(amplitude: float) -> Waveform:
    import torch

    return Waveform(audio=torch.from_numpy(tone(amplitude)).float()[None], sample_rate=16_000)


def test_figures_are_by_task_and_leave_out_clips_that_have_none():
    rows = [(Task.SPEECH, "one", clip(0.2)), (Task.SPEECH, "two", clip(0.4)), (Task.SOUND, "three", clip(0.0))]
    values = SampleScores({"peak": Peak()})(rows)
    assert set(values) == {"samples/speech/peak"} and values["samples/speech/peak"] == pytest.approx(0.3, abs=1e-3)


def test_a_second_rendering_starts_afresh():
    scores = SampleScores({"peak": Peak()})
    scores([(Task.MUSIC, "one", clip(0.2))])
    assert scores([(Task.MUSIC, "one", clip(0.4))])["samples/music/peak"] == pytest.approx(0.4, abs=1e-3)


@pytest.mark.parametrize(("metric", "lacks"), [(Against, "target"), (Apart, "a set of originals")])
def test_a_metric_that_needs_more_than_a_text_is_refused(monkeypatch, metric, lacks):
    monkeypatch.setattr("calm.registry.build", lambda kind, name: metric())
    with pytest.raises(ConfigError, match=lacks):
        SampleScores.of(["any"])


def test_an_unknown_metric_is_named_with_the_closest():
    with pytest.raises(UnknownNameError, match="Did you mean 'wer'"):
        SampleScores.of(["werr"])
