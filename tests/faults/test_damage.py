"""Damaged shards lose what is damaged, by name, and nothing else. Long form: python -m tests.faults.damage."""

import os

from tests.faults.damage import DAMAGES, DamageReport, Folder, damage_shards


def test_every_kind_of_damage_loses_exactly_what_it_hit_and_says_so(tmp_path):
    report = damage_shards(tmp_path, damages=32)
    assert report.wrong == []
    assert len(report.damages) == len(DAMAGES)
    assert report.clips_lost_and_named > 0 and report.shards_refused > 0, "no damage hit: the test has proved nothing"


def test_a_reader_that_takes_any_bytes_would_be_found_out(tmp_path, monkeypatch):
    folder = Folder(tmp_path)
    path = folder.paths[0]
    unchecked = lambda file, offset, size, crc32, *, where: os.pread(file, size, offset)  # noqa: E731
    monkeypatch.setattr("calm.data.shards.read_span", unchecked)
    wrong = folder.judge(path, folder.good[path].replace(b"number", b"nomber", 1), DamageReport())
    assert any("was read, changed" in what for what in wrong) and any("silently lost" in what or "named" in what for what in wrong)
