"""The paper's table as result files: one for each benchmark, in the form of `calm.evaluation.results`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from calm.baselines.base import Baseline
from calm.evaluation.results import FORMAT, column_record
from calm.metrics import Column
from calm.registry import lookup, names
from calm.types import Task

__all__ = ["BENCHMARKS", "CITATION", "published_results"]

CITATION = "AudioCALM, arXiv 2606.23080 (Liu et al., 2026), as that paper reports it"
NOTE = "figures as arXiv 2606.23080 reports them; its checkpoints of scorers are not public, so compare with care"

# Keys are those of the metrics that follow the paper's protocol, so that a figure of another scorer never stands in the
# same column: WER by pocketsphinx is `wer`. Which checkpoints gave FAD and CLAP is not known: nothing here is the same.
_SPOKEN = (
    Column(key="wer_whisper", label="WER", better="lower"),
    Column(key="sim_wavlm", label="SIM", better="higher"),
    Column(key="mos", label="MOS", better="higher", digits=2),
)
_CAPTIONED = (
    Column(key="fad_paper", label="FAD", better="lower", digits=2),
    Column(key="clap_paper", label="CLAP", better="higher", digits=2),
    Column(key="mos_q", label="MOS-Q", better="higher", digits=2),
    Column(key="mos_t", label="MOS-T", better="higher", digits=2),
)
#: benchmark -> task, what the paper measured on, columns
BENCHMARKS: dict[str, tuple[Task, str, tuple[Column, ...]]] = {
    "libritts": (Task.SPEECH, "LibriTTS test-clean", _SPOKEN),
    "seed_tts_en": (Task.SPEECH, "Seed-TTS-eval, en", _SPOKEN),
    "audiocaps": (Task.SOUND, "AudioCaps", _CAPTIONED),
    "song_describer": (Task.MUSIC, "The Song Describer Dataset", _CAPTIONED),
}
#: name of a figure in a system's ``published`` -> key of its column
KEYS = {"wer": "wer_whisper", "sim": "sim_wavlm", "fad": "fad_paper", "clap": "clap_paper"}
#: rows of the paper's table, in its order; systems that others register come after them
ORDER = (
    "f5_tts",
    "cosyvoice3",
    "audioldm2_large",
    "tangoflux",
    "stable_audio_open",
    "musicgen_large",
    "uniaudio",
    "unimoe_audio",
    "uniflow_audio",
    "ming_omni",
    "audiocalm_paper",
)


def published_results() -> list[dict[str, Any]]:
    """Return a result for each of the four benchmarks: libritts, seed_tts_en, audiocaps, song_describer.

    Figures have no interval and no count: the paper gives none. WER is a fraction.
    """
    return [_result(name) for name in BENCHMARKS]


def _result(benchmark: str) -> dict[str, Any]:
    task, title, columns = BENCHMARKS[benchmark]
    systems = {
        baseline.about.title: _system(baseline, task, benchmark)
        for baseline in _baselines()
        if benchmark in baseline.published
    }
    return {
        "format": FORMAT,
        "benchmark": {
            "name": benchmark,
            "manifest": None,
            "manifest_sha256": None,
            "items": {},
            "protocol": {"title": title, "source": CITATION, "scorers": "their checkpoints are not public"},
            "rejected": [],
        },
        "columns": {column.key: column_record(column, metric=_metric(column.key)) for column in columns},
        "metrics": {_metric(column.key): {"note": NOTE} for column in columns},
        "systems": systems,
        "hardware": {},
        "timings": {},
    }


def _metric(key: str) -> str:
    """The metric of ours that a column may share, else none."""
    return key if key in ("wer_whisper", "sim_wavlm") else "published"


def _baselines() -> Iterable[type[Baseline]]:
    known = names("baseline")
    rows = [name for name in ORDER if name in known]
    return [lookup("baseline", name) for name in (*rows, *(name for name in known if name not in rows))]


def _system(baseline: type[Baseline], task: Task, benchmark: str) -> dict[str, Any]:
    about = baseline.about
    return {
        "source": {
            "kind": "published",
            "citation": CITATION,
            "licence": f"code: {about.code_licence}; weights: {about.weights_licence}",
            "scope": about.scope,
            "url": about.url,
        },
        "figures": {
            str(task): {
                KEYS.get(key, key): {"value": value, "low": None, "high": None, "count": None}
                for key, value in baseline.published[benchmark].items()
            }
        },
        "items": {},
        "skipped": {"missing": [], "extra": [], "unusable": {}, "unscored": {}},
    }
