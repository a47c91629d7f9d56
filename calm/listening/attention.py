"""Whether a listener listened: spoilt clips rated low, repeated clips rated alike, not one score for everything."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from calm.listening.records import Settings

if TYPE_CHECKING:
    from calm.listening.store import Trial

__all__ = ["Failure", "failure"]

Failure = Literal["spoilt", "repeat", "constant"]
#: so many equal scores in a row are no accident, a spoilt clip among them
CONSTANT_SCORES = 8


def failure(trials: Sequence[Trial], *, settings: Settings) -> Failure | None:
    """Return which check a session failed, or None; checks that were not reached yet are not failed.

    ``spoilt``: the quality of a spoilt clip (the first question) was rated above ``spoilt_at_most``. ``repeat``: the
    scores of a clip and of its repetition differ by more than ``repeat_within`` in the mean over the questions.
    ``constant``: with a spoilt clip heard, all of at least eight scores are the same: always "bad" passes the others.
    """
    first = {trial.stimulus: trial.scores for trial in trials if trial.kind == "rated"}
    for trial in trials:
        if trial.kind == "spoilt" and trial.scores:
            quality = next((score for key, score in sorted(trial.scores.items()) if key != "mos_t"), 0)
            if quality > settings.spoilt_at_most:
                return "spoilt"
        if trial.kind == "repeat":
            before = first.get(trial.stimulus, {})
            both = [abs(score - before[key]) for key, score in trial.scores.items() if key in before]
            # Judged when the clip is done, or the first of two answers would decide.
            if trial.closed and both and sum(both) / len(both) > settings.repeat_within:
                return "repeat"
    scores = [score for trial in trials for score in trial.scores.values()]
    if any(trial.kind == "spoilt" and trial.scores for trial in trials) and len(scores) >= CONSTANT_SCORES:
        return "constant" if len(set(scores)) == 1 else None
    return None
