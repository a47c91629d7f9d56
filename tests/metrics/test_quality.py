"""SIM, DNSMOS and UTMOS: what they need of a clip, what they say of one, and their order on real speech."""

from __future__ import annotations

import functools
import json

import numpy as np
import pytest
import torch

from calm import audio, registry
from calm.errors import ConfigError
from calm.metrics import ClipMetric, Unscored
from calm.scorers.optional import find_file
from tests.metrics.trials import NO_REAL, REAL, noised, silence, trial
from tests.scorers.checkpoints import noise, save_xvector, utmos, wavlm_verification

#: what the wheels bring, and what lies in a folder
EMBEDDED = ("sim", "dnsmos")
NAMES = (*EMBEDDED, "sim_wavlm", "sim_wavlm_xvector", "utmos")
PROMPTS = ("speech_vm-passchanged.flac", "speech_conf-onlyperson.flac")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = save_xvector(tmp_path_factory.mktemp("weights"))
    torch.save({"model": wavlm_verification()}, folder / "wavlm_large_finetune.pth")
    torch.save(utmos(), folder / "utmos22_strong_step7459_v1.pt")
    return folder


@functools.cache
def build(name: str, folder) -> ClipMetric:
    """A metric for all tests of it: its networks are loaded once."""
    if name in EMBEDDED:
        try:
            package, file = {"sim": ("resemblyzer", "pretrained.pt"), "dnsmos": ("speechmos", "dnsmos_models/model_v8.onnx")}[name]
            find_file(package, file)
        except ConfigError as error:
            pytest.skip(str(error))
        return registry.build("metric", name)
    return registry.build("metric", {"name": name, "folder": str(folder)}, device="cpu")


@pytest.mark.parametrize("name", NAMES)
def test_a_clip_has_the_figures_that_the_columns_promise(name, folder):
    metric = build(name, folder)
    metric.reset()
    clips = [noise(2.3, seed=n) for n in range(3)]  # doubled twice they fill one window of DNSMOS and no second one
    rows = [metric.measure(trial(clip, reference=noise(2.3, seed=7))) for clip in clips]
    for n, row in enumerate(rows):
        metric.update(n, row)
    keys = [column.key for column in metric.columns]
    computed = metric.compute()
    assert list(metric.scores(np.atleast_2d(rows[0]))) == keys == [key for key in computed if "/" not in key]
    for key in keys:
        each = [metric.scores(np.atleast_2d(row))[key] for row in rows]
        assert float(computed[key]) == pytest.approx(np.mean(each), abs=1e-12)
        assert int(computed[f"{key}/count"]) == 3
    assert np.array_equal(metric.measure(trial(clips[0], reference=noise(2.3, seed=7))), rows[0])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("clip", "reason"), [(silence(2.0), "silent"), (noise(0.2), r"0\.20 s"), (silence(0.0), r"0\.00 s")], ids=["silent", "short", "empty"]
)
def test_a_clip_that_cannot_be_judged_is_not_scored(name, clip, reason, folder):
    with pytest.raises(Unscored, match=reason):
        build(name, folder).measure(trial(clip, reference=noise(1.0)))


@pytest.mark.parametrize("name", NAMES)
def test_the_shortest_clip_is_scored(name, folder):
    metric = build(name, folder)
    shortest = noise(metric.describe()["min_seconds"], seed=3)
    assert np.isfinite(metric.measure(trial(shortest, reference=shortest))).all()


@pytest.mark.parametrize("name", ["sim", "sim_wavlm", "sim_wavlm_xvector"])
def test_a_clip_is_most_similar_to_itself(name, folder):
    metric, clip = build(name, folder), noise(1.5, seed=1)
    assert float(metric.measure(trial(clip, reference=clip))[0]) == pytest.approx(1, abs=1e-5)
    assert float(metric.measure(trial(clip, reference=noise(1.5, seed=2)))[0]) < 1
    with pytest.raises(Unscored, match="reference clip is silent"):
        metric.measure(trial(clip, reference=silence(1.0)))
    with pytest.raises(Unscored, match="no reference"):
        metric.measure(trial(clip))


@pytest.mark.parametrize("name", NAMES)
def test_a_result_names_scorer_version_weights_and_rate(name, folder):
    about = json.loads(json.dumps(build(name, folder).describe()))
    assert about["scorer"] and about["version"] and about["sample_rate"] == 16_000 and "soxr" in about["resampling"]
    assert all(len(value) == 64 for value in about["weights"]["sha256"].values())


@pytest.mark.skipif(not REAL.is_dir(), reason=NO_REAL)
@pytest.mark.parametrize("name", EMBEDDED)
def test_on_real_speech_noise_is_heard(name, folder):
    metric = build(name, folder)
    originals = [audio.read(REAL / prompt) for prompt in PROMPTS]
    references = [*originals[1:], originals[0]]  # the same voice, other words

    def mean(snr_db: float | None) -> float:
        clips = originals if snr_db is None else [noised(clip, snr_db=snr_db) for clip in originals]
        rows = [metric.measure(trial(c, reference=r)) for c, r in zip(clips, references, strict=True)]
        return float(np.mean([row[0] for row in rows]))

    levels = [mean(snr_db) for snr_db in (None, 10.0)]
    assert levels[0] > levels[1] + 0.02, levels
