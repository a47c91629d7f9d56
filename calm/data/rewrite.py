"""Captions and voices in other words, by any endpoint that speaks OpenAI's chat completions; asked once, then kept."""

from __future__ import annotations

import hashlib
import json
import re
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any

from calm.data.schema import text_of
from calm.errors import DataError, InputError
from calm.text import canonical
from calm.text.phrases import MAX_VOICE_CHARS
from calm.types import Task

__all__ = ["Endpoint", "Failure", "Rewriter"]

CAPTION = (
    "You reword captions of sounds and music. You get JSON. Answer with one caption of 4 to 40 words in plain English "
    "that says what the JSON says and nothing else. No quotes, no lists, no remarks."
)
VOICE = (
    "You describe voices. You get JSON. Answer with one noun phrase of 2 to 15 words, such as: a deep male voice with "
    "a Scottish accent. Say what the JSON says and nothing else. No quotes, no remarks, no full stop."
)
VOICE_KEYS = ("gender", "age", "pitch", "accent")
CAPTION_KEYS = ("kinds", "counts", "loudness", "genre", "mood", "instruments", "tempo", "key", "aspects")
MAX_CAPTION_CHARS = 1000
MAX_ANSWER_BYTES = 1 << 20
#: an endpoint that fails as often without a success between is taken to be down
MAX_FAILURES_IN_ROW = 10
#: what will not change by asking again, for this clip or for any other
REFUSALS = (401, 403, 404)
TRANSIENT = (408, 409, 425, 429)


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """Where to ask, and how patiently.

    ``url`` is the base (``http://localhost:8000/v1``); ``key`` goes into the header Authorization, and nowhere else.
    A request is tried ``num_attempts`` times, after ``wait_seconds``, twice that, and so on.
    """

    url: str
    model: str
    key: str | None = None
    timeout_seconds: float = 60.0
    num_attempts: int = 3
    wait_seconds: float = 1.0
    num_parallel: int = 4

    def __post_init__(self) -> None:
        if not re.match(r"https?://[^/]", self.url):
            raise InputError(f"Not an endpoint: '{self.url}'", where="--rewrite-url", allowed="http://... or https://...")
        if not self.model.strip():
            raise InputError("The endpoint needs a model's name", where="--rewrite-model")

    def ask(self, system: str, user: str) -> str:
        """Return the answer's text. Raises InputError for a refusal that holds for all, _FailedError for this one."""
        reason = ""
        for attempt in range(self.num_attempts):
            if attempt:
                time.sleep(self.wait_seconds * 2 ** (attempt - 1))
            try:
                with urllib.request.urlopen(self._request(system, user), timeout=self.timeout_seconds) as answer:
                    return _content(answer.read(MAX_ANSWER_BYTES))
            except urllib.error.HTTPError as error:
                reason = f"HTTP {error.code} {error.reason}"
                if error.code in REFUSALS:
                    hint = "check the URL, the model, and the key in OPENAI_API_KEY"
                    raise InputError(f"The endpoint refuses: {reason}", where=self.url, hint=hint) from error
                if error.code < 500 and error.code not in TRANSIENT:
                    break
            except (OSError, HTTPException, ValueError, LookupError, TypeError) as error:
                reason = f"{type(error).__name__}: {error}"
        raise _FailedError(reason)

    def _request(self, system: str, user: str) -> urllib.request.Request:
        messages = [{"role": "system", "content": system}, {"role": "user", "content": user}]
        body = json.dumps({"model": self.model, "messages": messages}).encode("utf-8")
        address = self.url.rstrip("/").removesuffix("/chat/completions") + "/chat/completions"
        request = urllib.request.Request(address, data=body, headers={"Content-Type": "application/json"})
        if self.key:
            # Not carried on where the endpoint redirects.
            request.add_unredirected_header("Authorization", f"Bearer {self.key}")
        return request


@dataclass(frozen=True, kw_only=True)
class Failure:
    """A clip (its number in the call) that keeps its own words, and why."""

    number: int
    reason: str


class _FailedError(Exception):
    """One request without a usable answer."""


class Rewriter:
    """Adds a wording to records: a caption in other words or, for speech, a phrase for the voice.

    Equal questions are asked once. Answers are appended to ``cache`` (JSON lines) as they come, so that a job that
    was stopped asks only for the rest.
    """

    def __init__(self, endpoint: Endpoint, *, cache: Path) -> None:
        self.endpoint, self.cache = endpoint, cache
        self._answers = _read_cache(cache)
        self._failed_in_row = 0

    def __call__(self, records: Sequence[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[Failure]]:
        """Return the records with their new wordings, and the failures; asks nothing for records that have one.

        Raises InputError where the endpoint refuses, or fails ten times in a row.
        """
        questions = [_question(record) for record in records]
        new = [q for q in dict.fromkeys(questions) if q is not None and self._id(q) not in self._answers]
        reasons = self._ask_all(new)
        written, failures = [], []
        for number, (record, question) in enumerate(zip(records, questions, strict=True)):
            if question in reasons:
                failures.append(Failure(number=number, reason=reasons[question]))
            elif question is not None:
                wordings = [*record.get("wordings", ()), self._answers[self._id(question)]]
                record = record | {"wordings": wordings, "rewritten_by": self.endpoint.model}
            written.append(record)
        return written, failures

    def _ask_all(self, questions: Sequence[tuple[str, str]]) -> dict[tuple[str, str], str]:
        """Ask, keep the answers, and return why a question has none."""
        reasons: dict[tuple[str, str], str] = {}
        pool = ThreadPoolExecutor(self.endpoint.num_parallel)
        try:
            for question, (answer, reason) in zip(questions, pool.map(self._try, questions), strict=True):
                self._failed_in_row = 0 if answer else self._failed_in_row + 1
                if answer:
                    self._keep(question, answer)
                else:
                    reasons[question] = reason
                if self._failed_in_row >= MAX_FAILURES_IN_ROW:
                    what = f"The endpoint failed {self._failed_in_row} times in a row ({reason})"
                    hint = "run the command again when it answers: what is done is kept"
                    raise InputError(what, where=self.endpoint.url, hint=hint)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
        return reasons

    def _try(self, question: tuple[str, str]) -> tuple[str, str]:
        system, _ = question
        try:
            answer = _clean(self.endpoint.ask(*question))
        except _FailedError as error:
            return "", str(error)
        longest = MAX_VOICE_CHARS if system == VOICE else MAX_CAPTION_CHARS
        if not answer or len(answer) > longest:
            return "", f"an answer of {len(answer)} characters, allowed: 1 to {longest}"
        return answer, ""

    def _keep(self, question: tuple[str, str], answer: str) -> None:
        self._answers[self._id(question)] = answer
        self.cache.parent.mkdir(parents=True, exist_ok=True)
        with self.cache.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"id": self._id(question), "text": answer}, ensure_ascii=False) + "\n")

    def _id(self, question: tuple[str, str]) -> str:
        return hashlib.sha256("\0".join([self.endpoint.model, *question]).encode()).hexdigest()[:32]


def _question(record: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return (system, user) of what to ask for a record; None where it has an answer, or nothing that could be said."""
    if "rewritten_by" in record:
        return None
    known = canonical(record.get("attributes"))
    if record["task"] == Task.SPEECH:
        facts = {key: known[key] for key in VOICE_KEYS if key in known}
        return (VOICE, json.dumps(facts, ensure_ascii=False, sort_keys=True)) if facts else None
    facts = {"task": record["task"], "caption": text_of(dict(record))}
    facts |= {key: known[key] for key in CAPTION_KEYS if key in known}
    return CAPTION, json.dumps(facts, ensure_ascii=False, sort_keys=True)


def _content(body: bytes) -> str:
    content = json.loads(body)["choices"][0]["message"]["content"]
    if not isinstance(content, str):
        raise ValueError("the answer's content is no text")
    return content


def _clean(text: str) -> str:
    """Return one line without the thoughts of a reasoning model and without double quotes, which mark transcripts."""
    text = re.sub(r"<think>.*?</think>", "", text, flags=re.DOTALL)
    return " ".join(re.sub(r"[\"“”]", "", text).split())


def _read_cache(cache: Path) -> dict[str, str]:
    """Read the answers; the last line may be torn where a job was killed."""
    answers: dict[str, str] = {}
    try:
        lines = cache.read_text(encoding="utf-8").splitlines() if cache.exists() else []
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"The answers kept so far cannot be read ({error})", where=cache, hint="remove the file") from error
    for line in lines:
        try:
            item = json.loads(line)
            answers[item["id"]] = str(item["text"])
        except (ValueError, LookupError, TypeError):
            continue
    return answers
