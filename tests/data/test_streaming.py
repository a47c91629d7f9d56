from __future__ import annotations

import functools
import http.server
import itertools
import shutil
import threading

import pytest

from calm.data.config import ShardSource
from calm.data.cut import ClipCut
from calm.data.source import SourceSettings
from calm.data.streaming import WebDatasetSource
from calm.errors import ConfigError, DataError
from calm.types import Task
from tests.data.test_check import RECORD, flac, write_tar


def source(urls, **settings) -> WebDatasetSource:
    defaults = {"batch_size": 4, "seed": 0, "weights_at": lambda step: {}, "cut": ClipCut(1.0)}
    defaults["sources"] = [ShardSource(name="all", urls=str(urls))]
    return WebDatasetSource(WebDatasetSource.Config(), settings=SourceSettings(**{**defaults, **settings}))


def keys(made, count, **place):
    batches = made.batches(**{"first_step": 0, "worker": 0, "num_workers": 1, **place})
    return [(step, [e.sample.key for e in examples]) for step, examples in itertools.islice(batches, count)]


def test_a_stream_never_ends_and_visits_every_clip(shards):
    seen = keys(source(shards), 60)
    assert [step for step, _ in seen] == list(range(60))
    assert len({key for _, batch in seen for key in batch}) == 16


def test_an_excerpt_of_a_stream_says_where_it_begins_and_how_long_the_whole_clip_is(shards):
    begun = set()
    for _, examples in itertools.islice(source(shards, cut=ClipCut(0.3)).batches(first_step=0, worker=0, num_workers=1), 20):
        for example in examples:
            assert example.start_seconds + example.sample.seconds <= example.whole_seconds + 1e-6
            begun |= {example.start_seconds > 0} if example.sample.task is Task.MUSIC else set()
            assert example.sample.task is Task.MUSIC or example.start_seconds == 0
    assert True in begun


def test_streams_repeat_by_seed_and_differ_by_worker_and_rank(shards):
    assert keys(source(shards), 9) == keys(source(shards), 9)
    first, second = (keys(source(shards), 9, worker=w, num_workers=2) for w in range(2))
    assert [step for step, _ in second] == list(range(1, 19, 2))
    assert [batch for _, batch in first] != [batch for _, batch in second]
    ranks = [keys(source(shards, rank=rank, world_size=2), 9) for rank in range(2)]
    assert ranks[0] != ranks[1] and all(len(batch) == 2 for _, batch in ranks[0])


@pytest.mark.skipif(shutil.which("curl") is None, reason="webdataset reads http through curl, which is not here")
def test_shards_are_read_from_a_web_server(shards):
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(shards)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        url = f"http://127.0.0.1:{server.server_port}/shards-{{000000..000002}}.tar"
        assert len(source(url).urls) == 3
        assert keys(source(url), 2)
    finally:
        server.shutdown()


def test_a_shard_that_is_cut_short_is_reported_not_taken_for_a_shorter_one(shards, tmp_path):
    shard = sorted(shards.glob("*.tar"))[0]
    cut = tmp_path / "cut.tar"
    cut.write_bytes(shard.read_bytes()[:20480])
    with pytest.raises(DataError, match="cut short"):
        keys(source(cut), 50)


@pytest.mark.parametrize("url", ["pipe:touch /tmp/x", "ftp://host/x.tar", "gs://bucket/x.tar"])
def test_urls_that_run_commands_are_refused(url):
    with pytest.raises(ConfigError, match="cannot be read from"):
        source(url)


def test_pickles_in_a_shard_are_never_opened(tmp_path):
    bomb = b"cos\nsystem\n(S'touch " + str(tmp_path / "pwned").encode() + b"'\ntR."
    members = [("a.flac", flac()), ("a.json", RECORD), ("a.pyd", bomb), ("a.pth", bomb)]
    assert keys(source(write_tar(tmp_path / "x.tar", members)), 3)
    assert not (tmp_path / "pwned").exists()


def test_a_shard_without_a_clip_is_reported_instead_of_searched_for_ever(tmp_path):
    with pytest.raises(DataError, match="holds no clips") as caught:
        keys(source(write_tar(tmp_path / "x.tar", [])), 1)
    assert caught.value.where == str(tmp_path / "x.tar")


def test_a_clip_with_a_part_that_is_there_twice_is_reported(tmp_path):
    twice = [("b.flac", flac()), ("b.flac", flac(900)), ("b.json", RECORD)]
    shard = write_tar(tmp_path / "x.tar", [("a.flac", flac()), ("a.json", RECORD), *twice])
    with pytest.raises(DataError, match="duplicate member") as caught:
        keys(source(shard), 5)
    assert caught.value.where == f"{shard}: b"
