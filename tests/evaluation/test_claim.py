"""One folder of clips, one source."""

from __future__ import annotations

import pytest

from calm.errors import InputError
from calm.evaluation.claim import NOTE, claim


def test_a_folder_may_be_claimed_again_for_the_same_source_and_for_no_other_once_it_holds_clips(tmp_path):
    folder = claim(tmp_path / "clips", {"seed": 0})
    assert claim(folder, {"seed": 1}) == folder and '"seed": 1' in (folder / NOTE).read_text(), "there is no clip yet"
    (folder / "a.wav").touch()
    claim(folder, {"seed": 1})
    with pytest.raises(InputError, match="another seed") as caught:
        claim(folder, {"seed": 2})
    assert caught.value.hint and '"seed": 1' in (folder / NOTE).read_text()


def test_clips_whose_note_is_damaged_are_not_taken_over(tmp_path):
    folder = claim(tmp_path / "clips", {"seed": 0})
    (folder / "a.wav").touch()
    (folder / NOTE).write_bytes(b"\xff{")
    with pytest.raises(InputError):
        claim(folder, {"seed": 0})
