"""`calm.evaluation.judge`: figures, resume, what is left out, and the same on several processes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from calm.errors import DataError, InputError
from calm.evaluation.judge import judge
from calm.evaluation.manifest import first_items, read_manifest, write_manifest
from calm.evaluation.results import read_results
from calm.evaluation.systems import find_system
from tests.evaluation.judging import RATE, Against, Apart, Peak, make_manifest, make_system, tone
from tests.processes import PROCESSES


@pytest.fixture
def manifest(tmp_path):
    return make_manifest(tmp_path / "list")


@pytest.fixture
def half(tmp_path, manifest):
    return find_system("half", make_system(tmp_path / "half", manifest, gain=0.5), manifest)


def metrics():
    return {"peak": Peak(), "against": Against(), "apart": Apart()}


def plain(path: Path) -> dict:
    """A result file without what may differ: times, and the place it was written to."""
    found = read_results(path)
    del found["timings"], found["hardware"]
    return json.loads(json.dumps(found).replace(path.parent.as_posix(), "OUT"))


def test_figures_are_those_of_the_clips_by_task(tmp_path, manifest, half):
    results = read_results(judge(manifest, [half], metrics(), tmp_path / "out"))
    speech = results["systems"]["half"]["figures"]["speech"]  # amplitudes 0.1 and 0.4
    assert speech["peak"]["value"] == pytest.approx(0.125, abs=1e-3) and speech["peak"]["count"] == 2
    assert speech["apart"]["value"] == pytest.approx(0.125 / np.sqrt(2), abs=1e-3)
    assert results["systems"]["original"]["figures"]["speech"]["peak"]["value"] == pytest.approx(0.25, abs=1e-3)
    assert results["systems"]["half"]["items"]["item-0"]["peak"] == pytest.approx(0.05, abs=1e-3)
    assert results["columns"]["apart"] == {"label": "Apart", "better": "lower", "digits": 3, "unit": "", "metric": "apart"}
    assert results["benchmark"]["items"] == {"speech": 2, "sound": 2, "music": 2}


def test_an_original_is_not_compared_with_itself(tmp_path, manifest, half):
    results = read_results(judge(manifest, [half], metrics(), tmp_path / "out"))
    assert set(results["systems"]["original"]["figures"]["speech"]) == {"peak"}
    assert "original" not in read_results(judge(manifest, [half], metrics(), tmp_path / "alone", originals=False))["systems"]


def test_judging_twice_gives_the_same_file_and_measures_nothing_again(tmp_path, manifest, half):
    first = plain(judge(manifest, [half], metrics(), tmp_path / "out"))
    again, known = metrics(), plain(judge(manifest, [half], metrics(), tmp_path / "other"))
    assert plain(judge(manifest, [half], again, tmp_path / "out")) == first == known
    assert again["peak"].measured == []


def test_a_clip_or_a_setting_that_has_changed_is_measured_again_and_nothing_else(tmp_path, manifest, half):
    judge(manifest, [half], metrics(), tmp_path / "out")
    soundfile.write(half.clips["item-4"], tone(0.9), RATE)
    changed = metrics()
    results = read_results(judge(manifest, [half], changed, tmp_path / "out"))
    assert changed["peak"].measured == ["item-4"]
    assert results["systems"]["half"]["items"]["item-4"]["peak"] == pytest.approx(0.9, abs=1e-3)
    other = {"peak": Peak(Peak.Config(scale=2.0))}
    judge(manifest, [half], other, tmp_path / "out")
    assert len(other["peak"].measured) == 12


def test_an_interrupted_evaluation_goes_on_where_it_was(tmp_path, manifest, half):
    class Interrupted(Peak):
        def measure(self, trial):
            if len(self.measured) == 4:
                raise KeyboardInterrupt
            return super().measure(trial)

    stopped = {"peak": Interrupted()}
    with pytest.raises(KeyboardInterrupt):
        judge(manifest, [half], stopped, tmp_path / "out")
    assert not (tmp_path / "out" / "results.json").exists()
    with next((tmp_path / "out" / "rows").rglob("*.jsonl")).open("ab") as file:
        file.write(b'{"key": "cut sho')  # as a kill in the middle of a line leaves it
    going_on = {"peak": Peak()}
    found = plain(judge(manifest, [half], going_on, tmp_path / "out"))
    assert len(going_on["peak"].measured) == 8
    assert found == plain(judge(manifest, [half], {"peak": Peak()}, tmp_path / "straight"))


def test_what_cannot_be_scored_is_named_and_the_rest_is_scored(tmp_path):
    manifest = make_manifest(tmp_path / "list", count=12)
    folder = make_system(tmp_path / "bad", manifest, gain=0.5)
    (folder / "item-0.wav").unlink()
    (folder / "item-1.wav").write_bytes(b"")
    (folder / "item-2.wav").write_bytes(b"RIFF nothing of the kind")
    soundfile.write(folder / "item-3.wav", tone(0.1, seconds=0.01), RATE)
    soundfile.write(folder / "item-4.wav", np.full(RATE, np.nan), RATE, subtype="FLOAT")
    soundfile.write(folder / "item-5.wav", tone(0.0), RATE)
    soundfile.write(folder / "item-8.wav", tone(0.3, rate=44_100), 44_100)
    soundfile.write(folder / "item-7.flac", tone(0.3), RATE)
    soundfile.write(folder / "nobody.wav", tone(0.3), RATE)
    (folder / "notes.txt").write_text("no audio")
    record = read_results(judge(manifest, [find_system("bad", folder, manifest)], metrics(), tmp_path / "out"))["systems"]["bad"]
    skipped = record["skipped"]
    assert skipped["missing"] == ["item-0"] and skipped["extra"] == ["nobody.wav"]
    assert set(skipped["unusable"]) == {"item-1", "item-2", "item-3", "item-4", "item-7"}
    assert "not finite" in skipped["unusable"]["item-4"] and "0.010 s" in skipped["unusable"]["item-3"]
    assert skipped["unscored"]["peak"] == {"item-5": "The clip is silent"}
    assert record["other_rate"] == ["item-8"]
    assert sum(figures["peak"]["count"] for figures in record["figures"].values()) == 12 - 7


def test_lines_of_a_manifest_that_cannot_be_used_are_named(tmp_path, manifest):
    path = manifest.path
    good = path.read_text()
    bad = ['{"id": "a"', '["a"]', '{"id": "a", "task": "speech", "text": "x", "reference_txt": "y"}']
    bad += ['{"id": "../a", "task": "speech", "text": "x"}', '{"id": "item-0", "task": "speech", "text": "x"}']
    bad += ['{"id": "b", "task": "singing", "text": "x"}', '{"id": "c", "task": "speech", "text": "x", "seconds": NaN}']
    path.write_text(good + "\n".join(bad) + "\n")
    found = read_manifest(path)
    assert [entry.item.id for entry in found.items] == [f"item-{n}" for n in range(6)]
    assert len(found.rejected) == len(bad) and found.rejected[2].startswith("line 10: unknown key 'reference_txt'. Did you")


def test_a_written_manifest_is_read_back_with_its_files(tmp_path, manifest):
    again = read_manifest(write_manifest(manifest, tmp_path / "elsewhere" / "manifest.jsonl"))
    assert (again.name, again.protocol, again.sha256) == (manifest.name, manifest.protocol, manifest.sha256)
    assert all(a.target.samefile(b.target) for a, b in zip(again.items, manifest.items, strict=True))


def test_a_limit_takes_items_of_every_task_spread_over_the_list(tmp_path):
    manifest = make_manifest(tmp_path / "list", count=12)
    found = [entry.item.id for entry in first_items(manifest, 2).items]
    assert found == [f"item-{n}" for n in (0, 1, 2, 6, 7, 8)]


def test_a_folder_without_a_clip_of_the_list_and_a_name_twice_are_refused(tmp_path, manifest, half):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="No file belongs"):
        find_system("empty", tmp_path / "empty", manifest)
    with pytest.raises(InputError, match="called"):
        find_system("original", half.clips["item-0"].parent, manifest)
    with pytest.raises(InputError, match="Two systems"):
        judge(manifest, [half, half], metrics(), tmp_path / "out")


def test_another_reference_set_gives_originals_a_distance(tmp_path, manifest, half):
    others = make_manifest(tmp_path / "others", count=9)
    results = read_results(judge(manifest, [half], metrics(), tmp_path / "out", reference=others))
    assert "apart" in results["systems"]["original"]["figures"]["speech"]


def test_two_metrics_with_one_figure_are_refused(tmp_path, manifest, half):
    with pytest.raises(InputError, match="'peak' and 'louder' both fill"):
        judge(manifest, [half], {"peak": Peak(), "louder": Peak()}, tmp_path / "out")


def _judge(folder: Path, rank: int, world: int) -> None:
    from torch import distributed

    store = distributed.FileStore(str(folder / "store"), world)
    distributed.init_process_group("gloo", store=store, rank=rank, world_size=world)
    manifest = read_manifest(folder / "list")
    judge(manifest, [find_system("half", folder / "half", manifest)], metrics(), folder / "out-of-two")
    distributed.destroy_process_group()


def test_two_processes_share_the_clips_and_write_the_same_figures(tmp_path):
    # Seven clips: one task has a clip on one process only.
    manifest = make_manifest(tmp_path / "list", count=7)
    half = find_system("half", make_system(tmp_path / "half", manifest, gain=0.5), manifest)
    (tmp_path / "half" / "item-3.wav").unlink()
    processes = [PROCESSES.Process(target=_judge, args=(tmp_path, rank, 2)) for rank in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0, 0]
    half = find_system("half", tmp_path / "half", manifest)
    assert plain(tmp_path / "out-of-two" / "results.json") == plain(judge(manifest, [half], metrics(), tmp_path / "one"))
