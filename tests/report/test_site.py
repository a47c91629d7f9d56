"""The site as a whole: what it shows, what it copies, and what it never does."""

from __future__ import annotations

import copy
import hashlib
import json
import re
from base64 import b64encode
from pathlib import Path

import pytest

from calm import audio
from calm.errors import InputError
from calm.report import LoadedResults, write_site
from tests.report.reading import read_page, rows_of, text_of, with_class
from tests.report.sample import HOSTILE, figure, results, sound_results, speech_results, system, tone


@pytest.fixture(scope="module")
def loaded(tmp_path_factory) -> list[LoadedResults]:
    folder = tmp_path_factory.mktemp("results")
    return [speech_results(folder / "speech"), sound_results(folder / "sound")]


@pytest.fixture(scope="module")
def site(loaded, tmp_path_factory) -> Path:
    return write_site(loaded, tmp_path_factory.mktemp("out") / "site", title="Judged", lead="A lead.", cards=4).parent


@pytest.fixture(scope="module")
def page(site):
    return read_page(site / "index.html")


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def changed(loaded: LoadedResults, change) -> LoadedResults:
    found = copy.deepcopy(loaded.results)
    change(found)
    return LoadedResults(results=found, folder=loaded.folder)


def written(results: list[LoadedResults], out: Path, **options):
    return read_page(write_site(results, out, title="Judged", **options))


def test_every_task_of_every_benchmark_has_a_table(page):
    assert [text_of(table.find("caption")) for table in page.iter("table")] == [
        "libritts, speech",
        "audiocaps, sound",
        "audiocaps, music",
    ]
    assert [text_of(link) for link in page.find(".//nav")] == ["libritts", "audiocaps", "Listen", "Files"]


def test_the_best_is_bold_the_second_underlined_and_originals_stand_first_unranked(page):
    table = next(page.iter("table"))
    rows = rows_of(table)
    marked = {
        name: [next((child.tag for child in cell if child.tag in ("strong", "u")), "") for cell in cells]
        for name, cells in rows.items()
    }
    assert marked == {
        "Original": ["", "", ""],
        "One voice": ["u", "u", ""],
        "Slow one": ["", "", ""],
        "Paper": ["strong", "", ""],
        HOSTILE: ["", "", ""],
        "Ours": ["", "strong", ""],
    }
    bodies = [(body.get("class"), len(body)) for body in table.findall("tbody")]
    assert bodies == [("originals", 1), ("systems", 5)] and text_of(table.find("tbody/tr/th/bdi")) == "Original"


def test_a_missing_figure_is_a_dash_and_an_interval_is_small(page):
    rows = rows_of(next(page.iter("table")))
    assert text_of(rows["Paper"][1]) == "–" and rows["Paper"][1].get("data-value") is None
    assert text_of(rows["Ours"][0].find("small")) == "0.029–0.033"
    assert rows["Paper"][0].find("small") is None


def test_published_figures_are_marked_and_their_source_is_told(page):
    (name,) = [head for head in page.iter("th") if head.get("data-value") == "paper"]
    assert text_of(name.find("sup")) == "†"
    assert "† Published figures, not measured here: Paper (A paper, 2025; Table 2)" in text_of(page)


def test_what_was_measured_here_stands_before_what_was_only_published(loaded, tmp_path):
    paper = {"p": system("published", {"speech": {"wer": figure(0.05, count=None)}})}
    page = written([results("elsewhere", paper, folder=tmp_path), *loaded], tmp_path / "out")
    assert [text_of(link) for link in page.find(".//nav")][:3] == ["libritts", "audiocaps", "elsewhere"]


def test_what_is_hostile_is_shown_as_text(page, site):
    assert HOSTILE in text_of(page)
    assert len(list(page.iter("script"))) == 1 and not list(page.iter("b"))
    assert not [key for element in page.iter() for key in element.attrib if key.startswith("on") or key == "style"]


def test_the_page_refers_to_its_own_files_only_and_all_are_there(page, site):
    named = [element.get(key) for element in page.iter() for key in ("src", "href") if element.get(key)]
    named = [name for name in named if not name.startswith(("#", "data:,"))]
    assert named and all((site / name).is_file() for name in named)
    assert not re.search(r"https?:|//[a-z]|url\(|@import", (site / "index.html").read_text(encoding="utf-8"))


def test_names_of_files_are_made_here(site):
    pattern = (
        r"index\.html|calm-site\.json|results/\d+\.json|audio/[0-9a-f]{20}\.(wav|flac|mp3)|images/[0-9a-f]{20}\.png"
    )
    assert all(re.fullmatch(pattern, name) for name in files(site))


def test_the_policy_allows_this_script_and_this_style_and_no_other(page):
    (policy,) = [meta.get("content") for meta in page.iter("meta") if "Policy" in meta.get("http-equiv", "")]
    for tag in ("script", "style"):
        (element,) = page.iter(tag)
        assert f"sha256-{b64encode(hashlib.sha256(element.text.encode()).digest()).decode()}" in policy
    assert "unsafe" not in policy and policy.startswith("default-src 'none'")


def test_a_card_shows_voice_original_ours_and_the_strongest_of_each_scope_and_folds_the_rest(page):
    card = with_class(page, "card")[0]
    fold = card.find("details")
    assert fold.get("open") is None and text_of(fold.find("summary")) == "The full line-up: 1 more system"
    folded = [text_of(voice.find(".//bdi")) for voice in with_class(fold, "voice")]
    shown = [text_of(voice.find(".//figcaption")) for voice in with_class(card, "voice")]
    assert folded == ["Slow one"]
    assert shown[:-1] == [
        "Given Voice to follow",
        "Ground truth Original recording",
        "Ours Ours",
        "Strongest modality-specific One voice",
        f"Strongest unified {HOSTILE}",
    ]
    assert len(list(card.iter("audio"))) == len(list(card.iter("img"))) == 6


def test_scores_of_a_clip_stand_under_it(page):
    own = with_class(page, "own")[0]
    assert re.fullmatch(r"WER 0\.1\d0 SIM 0\.1\d0 rate 16 kHz", text_of(with_class(own, "facts")[0]))


def test_the_page_says_how_prompts_were_chosen_and_that_levels_are_as_they_were(page):
    text = text_of(page)
    assert "no score had a say in the choice" in text and "nothing was normalised" in text


def test_audio_is_copied_bit_for_bit(site, loaded):
    copies = {path.read_bytes() for path in (site / "audio").iterdir()}
    originals = {path.read_bytes() for path in loaded[0].folder.rglob("*.wav")}
    assert len(copies & originals) > 8 and copies <= originals | {
        p.read_bytes() for p in loaded[1].folder.rglob("*.wav")
    }


def test_the_same_results_make_the_same_site(loaded, site, tmp_path):
    again = write_site(loaded, tmp_path / "again", title="Judged", lead="A lead.", cards=4).parent
    assert files(again) == files(site)


def test_result_files_are_there_to_take_away_without_the_folders_of_this_machine(loaded, tmp_path):
    moved = changed(loaded[0], lambda r: r["systems"]["Ours"]["source"].update(path="/srv/somebody/runs/x"))
    out = tmp_path / "site"
    write_site([moved], out, title="Judged", cards=0)
    copied = json.loads((out / "results" / "1.json").read_text())
    assert copied["systems"]["Ours"]["figures"] == loaded[0].results["systems"]["Ours"]["figures"]
    assert copied["systems"]["Ours"]["source"]["path"] == "x"
    assert not any(b"somebody" in data for data in files(out).values())


def test_how_it_was_measured_is_folded_under_each_table(page):
    first = next(fold for fold in page.iter("details") if text_of(fold.find("summary")) == "How it was measured")
    text = text_of(first)
    assert first.get("open") is None
    assert all(part in text for part in ("pocketsphinx", "5.1.1", "calm.metrics.words", "16000", "manifest"))


def test_skipped_clips_are_told_in_words(loaded, tmp_path):
    skipped = {
        "missing": ["speech-0"],
        "extra": ["notes.wav"],
        "unusable": {"speech-1": "it is silent"},
        "unscored": {"sim": {"speech-2": "too short"}},
    }

    def change(found):
        found["systems"]["Ours"]["skipped"] = skipped
        found["systems"]["Ours"]["figures"]["speech"]["wer"] = figure(0.03, count=2)

    text = text_of(written([changed(loaded[0], change)], tmp_path / "site", cards=0))
    assert (
        "Ours: figures rest on 2 to 4 clips, by column; 1 clip missing (speech-0); 1 clip could not be used "
        "(speech-1: it is silent); 1 clip without SIM (speech-2: too short); 1 file that no item asks for (notes.wav)."
    ) in text
    assert "4 items of speech." in text


def test_figures_of_listeners_count_ratings_not_clips(loaded, tmp_path):
    def change(found):
        found["columns"]["sim"] |= {"label": "MOS", "metric": "listening"}
        found["systems"]["Ours"]["figures"]["speech"]["sim"] = figure(4.1, count=120)

    text = text_of(written([changed(loaded[0], change)], tmp_path / "site", cards=0))
    assert "Ours: MOS rest on 120 ratings." in text


def test_a_clip_that_is_gone_broken_or_was_never_made_is_told_on_its_card(loaded, tmp_path):
    def change(found):
        mine = found["systems"]["Ours"]
        mine["items"] = {key: item | {"audio": f"gone/{key}.wav"} for key, item in mine["items"].items()}
        found["systems"]["Slow one"]["items"].pop("speech-1")
        found["systems"]["Slow one"]["skipped"] = {"unusable": {"speech-1": "it is silent"}}
        for item in found["systems"]["One voice"]["items"].values():
            item["audio"] = "libritts.jsonl"

    page = written([changed(loaded[0], change)], tmp_path / "site", cards=4)
    told = {text_of(each) for each in with_class(page, "absent")}
    assert "No clip: No such audio file." in told and "No clip: it is silent." in told
    assert any("cannot be decoded" in each for each in told)


def test_long_wav_and_what_browsers_do_not_play_become_mp3(loaded, tmp_path):
    long = tone(tmp_path / "long.wav", seconds=31)
    other = audio.write(tmp_path / "clip.ogg", audio.read(tone(tmp_path / "short.wav")), provenance=None)

    def change(found):
        for item in found["systems"]["Ours"]["items"].values():
            item["audio"] = str(long)
        for item in found["systems"]["One voice"]["items"].values():
            item["audio"] = str(other)

    page = written([changed(loaded[0], change)], tmp_path / "site", cards=1)
    converted = list((tmp_path / "site" / "audio").glob("*.mp3"))
    assert len(converted) == 2 and "2 clips became MP3" in text_of(page)
    assert sorted(round(audio.info(path).seconds) for path in converted) == [0, 31]


def test_a_system_is_set_off_by_name_or_because_it_is_a_model(loaded, tmp_path):
    assert [row.get("data-place") for row in with_class(written([loaded[0]], tmp_path / "a", cards=0), "ours")] == ["5"]
    page = written([loaded[0]], tmp_path / "b", ours="One voice", cards=0)
    assert [text_of(row.find("th/bdi")) for row in with_class(page, "ours") if row.tag == "tr"] == ["One voice"]
    with pytest.raises(InputError, match="Did you mean 'One voice'"):
        written([loaded[0]], tmp_path / "c", ours="One vioce")


def test_half_a_surrogate_pair_in_a_name_does_not_stop_the_page(loaded, tmp_path):
    page = written(
        [changed(loaded[0], lambda r: r["systems"].update({"bad \ud800": r["systems"]["Slow one"]}))], tmp_path / "s"
    )
    assert "bad ?" in text_of(page)


def test_a_folder_that_is_no_site_of_ours_is_left_alone(loaded, tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match="something else"):
        write_site(loaded, tmp_path, title="Judged")
    assert files(tmp_path) == {"thesis.txt": b"years of work"}


def test_an_earlier_site_is_replaced_as_a_whole(loaded, tmp_path):
    out = tmp_path / "site"
    write_site(loaded, out, title="First", cards=2)
    (out / "audio" / "stale.wav").write_bytes(b"old")
    write_site(loaded[1:], out, title="Second", cards=0)
    assert sorted(files(out)) == ["calm-site.json", "index.html", "results/1.json"]
    assert [path.name for path in tmp_path.iterdir()] == ["site"]


def test_a_failure_leaves_the_earlier_site_and_nothing_else(loaded, tmp_path):
    out = tmp_path / "site"
    write_site(loaded[:1], out, title="First", cards=1)
    before = files(out)
    with pytest.raises(TypeError):
        write_site([*loaded, changed(loaded[0], lambda r: r.update(hardware={"cpu": {1, 2}}))], out, title="Second")
    assert files(out) == before and [path.name for path in tmp_path.iterdir()] == ["site"]
