"""The paper's table: every number against docs/BASELINES.md, and the form of a result file."""

from __future__ import annotations

from pathlib import Path

import pytest

import calm
from calm.baselines import published
from calm.baselines.base import About
from calm.baselines.published import BENCHMARKS, CITATION, published_results
from calm.errors import ConfigError
from calm.evaluation.results import read_results, write_results
from calm.registry import build, lookup, names
from tests.baselines.requests import manifest

PAGE = Path(calm.__file__).parent.parent / "docs" / "BASELINES.md"
SHORT = {key: name for name, key in published.KEYS.items()}
KEYS = (("wer", "sim", "mos"), ("wer", "sim", "mos"), ("fad", "clap", "mos_q", "mos_t"), ("fad", "clap", "mos_q", "mos_t"))


def table() -> dict[str, dict[str, dict[str, float]]]:
    """Benchmark -> system -> figures, read out of the table of the page, which was copied from the paper's."""
    found: dict[str, dict[str, dict[str, float]]] = {name: {} for name in BENCHMARKS}
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("| system |"))
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        system, *cells = (cell.strip() for cell in line.strip("|").split("|"))
        for benchmark, keys, cell in zip(BENCHMARKS, KEYS, cells, strict=True):
            if cell:
                found[benchmark][system] = dict(zip(keys, map(float, cell.split("/")), strict=True))
    return found


def test_every_figure_is_that_of_the_paper_and_none_is_missing():
    for result in published_results():
        wanted = table()[result["benchmark"]["name"]]
        mine = {
            name.removesuffix(" (paper)"): {
                SHORT.get(key, key): figure["value"] for figures in system["figures"].values() for key, figure in figures.items()
            }
            for name, system in result["systems"].items()
        }
        assert mine == wanted


def test_the_page_lists_every_system_with_its_licences():
    rows = [line.strip("|").split("|") for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    listed = {cells[0].strip(" `"): cells for cells in rows}
    for name in names("baseline"):
        about = lookup("baseline", name).about
        assert listed[name][2].strip() == about.code_licence and listed[name][3].strip() == about.weights_licence
    assert set(names("benchmark")) <= set(listed)


def test_there_is_one_result_for_each_benchmark_and_it_is_a_result_file(tmp_path):
    results = published_results()
    assert [result["benchmark"]["name"] for result in results] == list(BENCHMARKS) == list(table())
    for result in results:
        path = tmp_path / f"{result['benchmark']['name']}.json"
        again = read_results(write_results({key: value for key, value in result.items() if key != "format"}, path))
        assert again == result


def test_figures_have_no_interval_and_systems_say_where_they_come_from():
    for result in published_results():
        task = str(BENCHMARKS[result["benchmark"]["name"]][0])
        assert "AudioCALM (paper)" in result["systems"]
        for system in result["systems"].values():
            source = system["source"]
            assert source["kind"] == "published" and source["citation"] == CITATION and "2606.23080" in CITATION
            assert source["scope"] in ("speech", "sound", "music", "unified") and source["licence"]
            assert list(system["figures"]) == [task]
            for key, figure in system["figures"][task].items():
                assert key in result["columns"] and 0 < figure["value"] < 20
                assert figure["low"] is figure["high"] is figure["count"] is None
    wer = published_results()[0]["columns"]["wer_whisper"]
    assert wer == {"label": "WER", "better": "lower", "digits": 3, "unit": "", "metric": "wer_whisper"}


@pytest.mark.parametrize("name", names("baseline"))
def test_a_system_names_its_licences_its_interface_and_benchmarks_of_its_tasks(name):
    system = lookup("baseline", name)
    assert isinstance(system.about, About)
    assert all(vars(system.about).values()) and system.about.url.startswith("https://")
    assert set(system.published) <= set(BENCHMARKS)
    assert {BENCHMARKS[benchmark][0] for benchmark in system.published} == set(system.tasks)


def test_the_papers_own_system_cannot_be_run(tmp_path):
    with pytest.raises(ConfigError, match="no code and no weights are public"):
        build("baseline", "audiocalm_paper").generate(manifest(tmp_path / "m"), tmp_path / "out")
