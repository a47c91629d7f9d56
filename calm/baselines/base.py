"""What every system beside ours is: its published figures, its licences, and one loop that makes its clips.

    report = build("baseline", {"name": "musicgen_large"}).generate(manifest, "out/musicgen_large", seed=0)

makes ``ID.wav`` for each item of the system's tasks, and a line in ``generation.jsonl``:
``{"id", "seconds_taken", "seconds", "seed"}``. Clips that are there already are kept, so a run that was stopped goes on;
an item that fails is named and does not stop the rest. A file appears whole or not at all.
"""

from __future__ import annotations

import dataclasses
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar, Literal

from calm.audio import Provenance, write
from calm.errors import CalmError, DataError
from calm.evaluation.claim import claim
from calm.evaluation.log import append_log, item_seed
from calm.evaluation.manifest import Manifest, ManifestItem
from calm.types import Task, Waveform

__all__ = [
    "About",
    "Baseline",
    "Generated",
    "InProcess",
    "Outcome",
    "Request",
    "captioned",
    "reported",
    "spoken",
]

#: where a system runs, which does not change what it says
PLACES = ("python", "repo", "command", "device", "timeout_seconds", "start_seconds")

Figures = Mapping[str, float]


def spoken(wer: float, sim: float, mos: float) -> Figures:
    """Figures of a speech benchmark: WER as a fraction, similarity of the speaker, mean opinion score."""
    return {"wer": wer, "sim": sim, "mos": mos}


def captioned(fad: float, clap: float, mos_q: float, mos_t: float) -> Figures:
    """Figures of a sound or music benchmark: Frechet audio distance, CLAP score, MOS of quality and of text."""
    return {"fad": fad, "clap": clap, "mos_q": mos_q, "mos_t": mos_t}


def reported(**by_benchmark: Figures) -> Mapping[str, Figures]:
    """Benchmark -> figures of one system, as arXiv 2606.23080 reports them."""
    return by_benchmark


@dataclass(frozen=True, kw_only=True)
class About:
    """What a reader should know of a system. A licence that could not be verified is "unknown"."""

    title: str
    url: str
    code_licence: str
    weights_licence: str
    scope: Literal["speech", "sound", "music", "unified"]
    interface: str


@dataclass(frozen=True, kw_only=True)
class Request:
    """One clip to make: what an adapter may know. ``reference`` is a clip that its benchmark publishes as a prompt."""

    id: str
    task: Task
    text: str
    seed: int
    reference: Path | None = None
    reference_text: str = ""
    seconds: float | None = None


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """A clip with the seconds that it took, or the reason why there is none."""

    id: str
    clip: Waveform | None = None
    seconds_taken: float = 0.0
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Generated:
    """Ids of a run: made now, there before, of tasks that the system does not do, and failed with the reason."""

    made: tuple[str, ...]
    kept: tuple[str, ...]
    passed: tuple[str, ...]
    failed: Mapping[str, str]


class Baseline(ABC):
    """A system of the paper's tables. ``published`` is benchmark -> figures, as arXiv 2606.23080 reports them.

    Subclasses say which ``tasks`` they do, and ``run`` requests. ``needs_reference``: speech is asked for in the voice of
    a reference clip; a benchmark's clips are published for that purpose.
    """

    about: ClassVar[About]
    published: ClassVar[Mapping[str, Figures]]
    tasks: ClassVar[tuple[Task, ...]] = ()
    needs_reference: ClassVar[bool] = True
    needs_reference_text: ClassVar[bool] = False

    def __init__(self, config: Any = None) -> None:
        self.config = config or type(self).Config()

    @abstractmethod
    def run(self, requests: Sequence[Request]) -> Iterator[Outcome]:
        """Yield an outcome for each request as soon as it is there.

        Raises ConfigError where the system cannot be started at all.
        """

    def generate(
        self, manifest: Manifest, out: str | Path, *, seed: int = 0, on_item: Callable[[Outcome], None] | None = None
    ) -> Generated:
        """Make what is missing of the manifest in folder ``out``.

        Args:
            seed: of the run; each item has its own, which depends on this and on its id alone.
            on_item: called after each outcome, for progress.
        Raises InputError where ``out`` holds clips of another system or other settings, ConfigError where the system
        cannot be started.
        """
        out = Path(out)
        wanted = [entry for entry in manifest.items if entry.item.task in self.tasks]
        missing = [entry for entry in wanted if not (out / f"{entry.item.id}.wav").is_file()]
        failed = {entry.item.id: reason for entry in missing if (reason := self._lacks(entry))}
        requests = [_request(entry, seed=seed) for entry in missing if entry.item.id not in failed]
        # One folder holds one system with one set of choices; resuming with others would mix them.
        choices = {key: value for key, value in dataclasses.asdict(self.config).items() if key not in PLACES}
        claim(out, {"title": self.about.title, "seed": seed, **choices})
        made = []
        for outcome in self.run(requests) if requests else ():
            try:
                self._finish(outcome, out, requests)
            except CalmError as error:
                outcome = Outcome(id=outcome.id, reason=str(getattr(error, "what", error)))
            if outcome.reason:
                failed[outcome.id] = outcome.reason
            else:
                made.append(outcome.id)
            if on_item is not None:
                on_item(outcome)
        waiting = {entry.item.id for entry in missing}
        return Generated(
            made=tuple(made),
            kept=tuple(entry.item.id for entry in wanted if entry.item.id not in waiting),
            passed=tuple(entry.item.id for entry in manifest.items if entry.item.task not in self.tasks),
            failed=failed,
        )

    def _lacks(self, entry: ManifestItem) -> str:
        if entry.item.task is not Task.SPEECH or not self.needs_reference:
            return ""
        if entry.reference is None:
            return "the system speaks in the voice of a reference clip, and the item has none"
        if not entry.reference.is_file():
            return f"the reference clip {entry.reference.name} is missing"
        if self.needs_reference_text and not entry.item.reference_text.strip():
            return "the system needs the words of the reference clip (use whole prompts: `prompt: whole`)"
        return ""

    def _finish(self, outcome: Outcome, out: Path, requests: Sequence[Request]) -> None:
        if outcome.reason:
            return
        if outcome.clip is None or outcome.clip.audio.numel() == 0:
            raise DataError("the system gave no audio")
        request = next(each for each in requests if each.id == outcome.id)
        origin = Provenance(
            generator=self.about.title,
            model=str(getattr(self.config, "weights", "") or self.config.name),
            task=str(request.task),
            seed=request.seed,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        write(out / f"{outcome.id}.wav", outcome.clip, provenance=origin)
        line = {
            "id": outcome.id,
            "seconds_taken": outcome.seconds_taken,
            "seconds": outcome.clip.seconds,
            "seed": request.seed,
        }
        append_log(out, line)


class InProcess(Baseline):
    """A system that runs here, by transformers or diffusers; subclasses load once, then make one clip after the other."""

    @abstractmethod
    def load(self) -> None:
        """Load the weights. Raises ConfigError where they or their packages are missing."""

    @abstractmethod
    def make(self, request: Request) -> Waveform:
        """Return one clip, float32 [A, S] on the CPU."""

    def run(self, requests: Sequence[Request]) -> Iterator[Outcome]:
        self.load()
        for request in requests:
            began = time.perf_counter()
            try:
                clip = self.make(request)
            except Exception as error:  # other people's pipelines raise errors of every kind
                yield Outcome(id=request.id, reason=f"{type(error).__name__}: {error}")
            else:
                yield Outcome(id=request.id, clip=clip, seconds_taken=time.perf_counter() - began)


def _request(entry: ManifestItem, *, seed: int) -> Request:
    item = entry.item
    return Request(
        id=item.id,
        task=item.task,
        text=item.text,
        seed=item_seed(seed, item.id),
        # Other programs run in other folders.
        reference=None if entry.reference is None else entry.reference.resolve(),
        reference_text=item.reference_text,
        seconds=item.seconds,
    )
