"""`summarise`: from the ratings to the sections of a result file."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from calm.evaluation.results import column_record, figure_record
from calm.listening.attention import failure
from calm.listening.crossed import crossed_mean
from calm.listening.questions import LABELS, questions_of
from calm.listening.records import ListeningTest, Stimulus
from calm.listening.stimuli import PEAK
from calm.listening.store import Session, Store
from calm.types import TASKS

__all__ = ["summarise"]

METRIC = "listening"


@dataclass(frozen=True, kw_only=True)
class _Rating:
    stimulus: Stimulus
    listener: int
    question: str
    score: int


def summarise(folder: str | Path, *, beside: str | Path | None = None) -> dict[str, Any]:
    """Return the sections of a result file (`calm.evaluation.results`) for the ratings there are.

    Figures are means over ratings of listeners who failed no attention check, with 95 % intervals (`crossed_mean`);
    their ``count`` is the number of ratings, an interval is null with a lone listener or item. Sessions that are not
    finished count as far as they went. What attention checks were rated counts nowhere.

    Args:
        folder: of the test, which may be served meanwhile.
        beside: folder of the result file, to which paths below it are relative; ``folder`` by default.
    Raises DataError where the folder holds no test.
    """
    test = ListeningTest.read(folder)
    beside = test.folder if beside is None else Path(beside)
    sessions = _sessions(test)
    failed = {session.id: why for session in sessions if (why := failure(session.trials, settings=test.settings))}
    stimuli = {stimulus.name: stimulus for stimulus in test.stimuli}
    ratings = [
        _Rating(stimulus=stimuli[trial.stimulus], listener=session.id, question=question, score=score)
        for session in sessions
        if session.id not in failed
        for trial in session.trials
        if trial.kind == "rated"
        for question, score in trial.scores.items()
    ]
    questions = {q.key: q for task in TASKS if task in test.benchmark["items"] for q in questions_of(task)}
    return {
        "benchmark": test.benchmark | {"manifest": _path(test.benchmark["manifest"], beside)},
        "columns": {key: column_record(question.column, metric=METRIC) for key, question in questions.items()},
        "metrics": {METRIC: _about(test, sessions, failed, ratings)},
        "systems": {name: _system(test, name, ratings, beside) for name in test.systems},
    }


def _sessions(test: ListeningTest) -> list[Session]:
    if not test.database.exists():
        return []
    store = Store(test)
    try:
        return store.sessions()
    finally:
        store.close()


def _system(test: ListeningTest, name: str, ratings: list[_Rating], beside: Path) -> dict[str, Any]:
    record = test.systems[name]
    own = [rating for rating in ratings if rating.stimulus.system == name]
    figures: dict[str, dict[str, Any]] = {}
    for task in TASKS:
        for question in questions_of(task):
            found = [r for r in own if r.stimulus.task == task and r.question == question.key]
            if found:
                figures.setdefault(str(task), {})[question.key] = _figure(found)
    scores: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for rating in own:
        scores[rating.stimulus.item][rating.question].append(rating.score)
    items, unscored = {}, {}
    for stimulus in test.rated:
        if stimulus.system != name:
            continue
        items[stimulus.item] = {
            "audio": _path(stimulus.source, beside),
            "seconds": stimulus.seconds,
            "sample_rate": stimulus.sample_rate,
            **{key: sum(values) / len(values) for key, values in sorted(scores[stimulus.item].items())},
        }
        if not scores[stimulus.item]:
            unscored[stimulus.item] = "nobody has rated it"
    source = record["source"]
    source = source | {"path": _path(source["path"], beside)} if "path" in source else source
    skipped = record["skipped"] | {"unscored": {METRIC: unscored} if unscored else {}}
    return {"source": source, "figures": figures, "items": items, "skipped": skipped}


def _figure(ratings: list[_Rating]) -> dict[str, float | int | None]:
    found = figure_record(
        crossed_mean(
            [rating.score for rating in ratings],
            listeners=[rating.listener for rating in ratings],
            items=[rating.stimulus.item for rating in ratings],
        )
    )
    return {key: None if math.isnan(value) else value for key, value in found.items()}


def _about(
    test: ListeningTest, sessions: list[Session], failed: dict[int, str], ratings: list[_Rating]
) -> dict[str, Any]:
    """What the figures depend on, and who listened: numbers only."""
    heard = [session for session in sessions if any(trial.scores for trial in session.trials)]
    counts: dict[str, dict[str, dict[str, int]]] = {}
    for name in test.systems:
        for task in TASKS:
            own = [r for r in ratings if r.stimulus.system == name and r.stimulus.task == task]
            if own:
                counts.setdefault(name, {})[str(task)] = {
                    "listeners": len({rating.listener for rating in own}),
                    "items": len({rating.stimulus.item for rating in own}),
                    "ratings": len(own),
                }
    return {
        "method": "absolute category rating, ITU-T P.800, in a browser",
        "scale": {str(score): label for score, label in enumerate(LABELS, start=1)},
        "questions": {q.key: q.ask for task in TASKS if task in test.benchmark["items"] for q in questions_of(task)},
        "settings": dataclasses.asdict(test.settings),
        "peak": PEAK,
        "interval": "95 %, product-weight bootstrap over listeners and items (Owen and Eckles, 2012)",
        "listeners": len(heard) - len(failed),
        "unfinished_listeners": sum(not session.finished for session in heard if session.id not in failed),
        "excluded_listeners": len(failed),
        "excluded_by": dict(Counter(failed.values())),
        "ratings": len(ratings),
        "counts": counts,
    }


def _path(path: str | None, folder: Path) -> str | None:
    if path is None:
        return None
    below = folder.resolve()
    return Path(path).relative_to(below).as_posix() if Path(path).is_relative_to(below) else Path(path).as_posix()
