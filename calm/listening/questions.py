"""What listeners are asked: absolute category rating, five categories from bad to excellent (ITU-T P.800, P.808)."""

from __future__ import annotations

from dataclasses import dataclass

from calm.metrics import Column
from calm.types import Task

__all__ = ["LABELS", "SCORES", "Question", "questions_of"]

SCORES = (1, 2, 3, 4, 5)
#: the categories of P.800 for scores 1 to 5
LABELS = ("Bad", "Poor", "Fair", "Good", "Excellent")


@dataclass(frozen=True, kw_only=True)
class Question:
    """One question about a clip. ``column`` is the figure that its mean score becomes."""

    column: Column
    ask: str

    @property
    def key(self) -> str:
        return self.column.key


MOS = Question(
    column=Column(key="mos", label="MOS", better="higher", digits=2), ask="How natural does the speech sound?"
)
MOS_Q = Question(
    column=Column(key="mos_q", label="MOS-Q", better="higher", digits=2), ask="How good is the quality of the audio?"
)
MOS_T = Question(
    column=Column(key="mos_t", label="MOS-T", better="higher", digits=2),
    ask="How well does the audio match the description?",
)
#: the first question of a task is about quality: attention checks look at it
QUESTIONS = {Task.SPEECH: (MOS,), Task.SOUND: (MOS_Q, MOS_T), Task.MUSIC: (MOS_Q, MOS_T)}


def questions_of(task: Task) -> tuple[Question, ...]:
    """Naturalness for speech; quality, then match to the text, for sound and music."""
    return QUESTIONS[task]
