"""What the page asks and gets, without HTTP: begin, where am I, here is a score, go on."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Any

from calm.errors import InputError
from calm.listening.questions import LABELS, SCORES, questions_of
from calm.listening.records import VOLUME, ListeningTest
from calm.listening.store import Store
from calm.pages.frame import asset
from calm.types import Task

__all__ = ["Service"]

#: what a listener needs for a clip beside hearing it once
SECONDS_PER_CLIP = 8


class Service:
    """The listening test as the browser sees it. Replies name no system, no item and no kind of trial."""

    def __init__(self, test: ListeningTest) -> None:
        self.test = test
        self.store = Store(test)

    def begin(self) -> dict[str, Any]:
        """Start a session."""
        return {"session": self.store.new_session()}

    def current(self, session: str) -> dict[str, Any]:
        """The clip a session is at, or the code once it is done. Raises UnknownToken."""
        found = self.store.session(session)
        trial, total = found.current, len(found.trials)
        if trial is None:
            return {"done": True, "total": total, "code": f"{found.code[:4]}-{found.code[4:]}"}
        stimulus = self.test.stimulus(trial.stimulus)
        return {
            "done": False,
            "trial": trial.token,
            "position": trial.position + 1,
            "total": total,
            "task": str(stimulus.task),
            # The words of speech are not shown: naturalness is judged by ear.
            "text": None if stimulus.task == Task.SPEECH else stimulus.text,
            "questions": [
                {"key": question.key, "ask": question.ask, "labels": LABELS, "score": trial.scores.get(question.key)}
                for question in questions_of(stimulus.task)
            ],
        }

    def rate(self, session: str, trial: str, *, question: str, score: Any) -> dict[str, Any]:
        """Store a score. Raises InputError for a wrong question or score, UnknownToken, Closed."""
        if type(score) is not int or score not in SCORES:
            raise InputError("This is no score", where="score", allowed=SCORES)
        allowed = [q.key for q in questions_of(self.test.stimulus(self.store.stimulus(trial)).task)]
        if question not in allowed:
            raise InputError("This question is not asked of the clip", where="question", allowed=allowed)
        self.store.rate(session, trial, question=question, score=score)
        return {"saved": True}

    def move_on(self, session: str, trial: str) -> dict[str, Any]:
        """Close a clip and return the next as `current` does. Raises UnknownToken, Closed."""
        self.store.move_on(session, trial)
        return self.current(session)

    def audio(self, token: str) -> Path:
        """The file of a trial's clip, or of the volume check. Raises UnknownToken."""
        return self.test.audio(VOLUME if token == VOLUME else self.store.stimulus(token))

    def pages(self) -> dict[str, tuple[str, bytes]]:
        """Path -> media type and content of what does not change."""
        clips, minutes = self._length()
        html = _resource("listen.html").replace("{{clips}}", str(clips)).replace("{{minutes}}", str(minutes))
        style = asset("page.css") + _resource("listen.css")
        return {
            "/": ("text/html; charset=utf-8", html.encode()),
            "/listen.css": ("text/css; charset=utf-8", style.encode()),
            "/listen.js": ("text/javascript; charset=utf-8", _resource("listen.js").encode()),
        }

    def _length(self) -> tuple[int, int]:
        """Clips of a session, and about how many minutes it takes."""
        settings, rated = self.test.settings, self.test.rated
        clips = min(settings.items_per_listener, len(rated)) + settings.num_checks
        seconds = sum(min(stimulus.seconds, settings.max_seconds) for stimulus in rated) / len(rated)
        return clips, max(1, round(clips * (seconds + SECONDS_PER_CLIP) / 60))


def _resource(name: str) -> str:
    return (resources.files("calm.listening") / name).read_text(encoding="utf-8")
