"""WebDataset streaming, for shards on a web server or without an index."""

from __future__ import annotations

import hashlib
import random
import urllib.parse
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from calm import audio
from calm.config import split_sources
from calm.data.examples import Example
from calm.data.latents import LATENT_EXTENSION
from calm.data.plan import generator
from calm.data.scan import AUDIO_EXTENSIONS, EXTENSIONS, by_key, split_name
from calm.data.schema import parse_record, to_sample
from calm.data.shards import find_shards
from calm.data.source import BadClips, Source, SourceSettings
from calm.data.tar import TarMember, walk
from calm.errors import CalmError, ConfigError, DataError
from calm.registry import register
from calm.types import Task

__all__ = ["WebDatasetSource"]

REMOTE_SCHEMES = ("http", "https")


@register("source", "webdataset")
class WebDatasetSource(Source):
    """Streams local or http(s) shards in random order; resumes the mixture, not the exact clips.

    Statistically restartable only: shards are drawn with replacement and clips shuffled in a buffer, both
    from (seed, first step, rank, worker). Sources are drawn by their weights, clip by clip, so their shares hold in
    expectation. http(s) goes through the program curl. The tasks come as the shards hold them: task weights and
    reference clips need the indexes of the ``planned`` source, and are not applied here.
    Members are read as bytes and decoded by our own readers; nothing is unpickled, no command is run.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """``shuffle_clips``: size of the shuffle buffer, in clips that are not yet decoded, for each source."""

        name: Literal["webdataset"] = "webdataset"
        shuffle_clips: int = 1000

    def __init__(self, config: Config, *, settings: SourceSettings) -> None:
        if settings.longest_at is not None:
            raise ConfigError(
                "Streaming cannot choose clips by their length",
                where="curriculum: max_clip_seconds",
                hint="use data.source.name=planned, or a curriculum without this limit",
            )
        self.config, self.settings = config, settings
        if settings.max_frames is not None:
            raise ConfigError(
                "Streaming cannot fill batches by length, which it does not know before it reads a clip",
                where="data.max_frames_per_batch",
                allowed="null",
                hint="use data.source.name=planned, or data.batch_size",
            )
        self.urls_by_source = [_expand(source.urls) for source in settings.sources]
        self.urls = [url for urls in self.urls_by_source for url in urls]
        self.fingerprint = hashlib.sha256("\n".join(self.urls).encode()).hexdigest()[:16]
        self.bad_clips = BadClips(settings.bad_clips_path, max_share=settings.max_bad_share)

    def batches(self, *, first_step: int, worker: int, num_workers: int) -> Iterator[tuple[int, list[Example]]]:
        size = self.settings.batch_size // self.settings.world_size
        clips = self._clips(first_step, worker)
        step = first_step + worker
        while True:
            yield step, [self._next(clips, step) for _ in range(size)]
            step += num_workers

    def state(self, step: int) -> dict[str, Any]:
        return {}

    def seek(self, state: Mapping[str, Any]) -> None:
        """Nothing to take over: a stream starts anew."""

    def _clips(self, first_step: int, worker: int) -> Iterator[dict[str, Any]]:
        """Yield clips of the sources by their weights, forever."""
        place = (first_step, self.settings.rank, worker)
        streams = [self._stream(number, *place) for number in range(len(self.urls_by_source))]
        weights = np.array([source.weight for source in self.settings.sources])
        rng = generator(self.settings.seed, "sources", *place)
        while True:
            yield next(streams[rng.choice(len(streams), p=weights / weights.sum())])

    def _stream(self, source: int, *place: int) -> Iterator[dict[str, Any]]:
        """Yield ``{__key__, __url__, extension: bytes}`` of a source, or an error in place of a damaged rest of a shard."""
        import webdataset
        from webdataset import utils

        # What WDS_SECURE=1 does where it is set before the import: no pipe:, no unpickling, no rewriting of URLs.
        utils.enforce_security = True
        # The first source is streamed as if it were alone.
        rng = generator(self.settings.seed, "stream", *place, *([source] if source else []))
        seed = int(rng.integers(2**31))
        shards = webdataset.ResampledShards(self.urls_by_source[source], seed=seed, worker_seed=lambda: 0, deterministic=True)
        shuffle = webdataset.shuffle(self.config.shuffle_clips, rng=random.Random(seed))
        return iter(webdataset.DataPipeline(shards, _members, shuffle))

    def _next(self, clips: Iterator[dict[str, Any]], step: int) -> Example:
        while True:
            try:
                item = next(clips)
                if "error" in item:
                    raise item["error"]
                example = self._example(item)
            except DataError as error:
                self.bad_clips.report(error, step=step)
            else:
                self.bad_clips.good()
                return example

    def _example(self, item: dict[str, Any]) -> Example:
        where = f"{item['__url__']}: {item['__key__']}"
        data = next((item[extension] for extension in AUDIO_EXTENSIONS if extension in item), None)
        if data is None and LATENT_EXTENSION in item:
            raise ConfigError("Latents cannot be streamed", where=where, hint="read them with data.source.name=planned")
        if data is None or "json" not in item:
            raise DataError("The clip has no audio or no KEY.json", where=where)
        record = parse_record(item["json"], where=where)
        header = audio.info(data, where=where)
        rng = item["rng"]
        cut = self.settings.cut(header.seconds, Task(record["task"]), lambda: rng)
        start = min(cut.start, (header.frames - 1) / header.sample_rate)
        waveform = audio.read(data, start_seconds=start, max_seconds=cut.seconds, where=where)
        sample = to_sample(record, content=waveform, key=item["__key__"], shard=item["__url__"].rsplit("/", 1)[-1])
        return Example(
            sample=sample,
            complete=cut.complete,
            reference=None,
            make_rng=lambda: rng,
            whole_seconds=header.frames / header.sample_rate,
            start_seconds=start,
        )


def _members(shards: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Open each shard and group its members; tarfile would take a damaged header for the end of the shard."""
    from webdataset.gopen import gopen

    for visit, shard in enumerate(shards):
        url = shard["url"]
        number = 0
        try:
            remote = urllib.parse.urlsplit(url).scheme in REMOTE_SCHEMES
            with gopen(url) if remote else open(url, "rb") as stream:
                for number, (key, members) in enumerate(by_key(walk(stream, where=url)), start=1):
                    yield {"__key__": key, "__url__": url, "rng": generator(visit, url, number - 1), **_parts(members, url)}
            if not number:
                # Also: a stream of nothing but such shards would look for a clip for ever.
                yield {"error": DataError("The shard holds no clips", where=url, hint="copy or pack the shard again")}
        except DataError as error:
            yield {"error": error}
        except (OSError, ValueError) as error:
            if isinstance(error, CalmError):
                raise
            yield {"error": DataError(f"The shard cannot be read ({error})", where=url)}


def _parts(members: list[TarMember], url: str) -> dict[str, Any]:
    """Return what is read of a clip, by extension; a DataError where one part is there twice."""
    parts: dict[str, Any] = {}
    for member in members:
        key, extension = split_name(member.name)
        if extension in parts:
            return {"error": DataError(f"duplicate member '.{extension}'", where=f"{url}: {key}")}
        if extension in EXTENSIONS:
            parts[extension] = member.data
    return parts


def _expand(spec: str) -> list[str]:
    """Return the URLs of a spec: folders and globs of local shards, or http(s) URLs with {000..123}."""
    from webdataset.shardlists import expand_source

    urls: list[str] = []
    for part in split_sources(spec):
        scheme = urllib.parse.urlsplit(part).scheme
        if scheme in REMOTE_SCHEMES:
            urls += expand_source(part)
        elif scheme and ":" in part:
            raise ConfigError(
                f"Shards cannot be read from '{scheme}:'", where=part, allowed=["a path", *(f"{s}://" for s in REMOTE_SCHEMES)]
            )
        else:
            urls += [str(path) for path in find_shards(part)]
    return urls
