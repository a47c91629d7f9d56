"""The recipe of docs/MINI.md, read by a shell: every command there is one that exists, with options that exist."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner

from calm.cli import app
from calm.config import load_config, split_sources

RECIPE = Path(__file__).parents[2] / "docs/MINI.md"
#: prints its words instead of running, one call a line
ECHO = r"""calm() { printf '%s\t' "$@"; printf '\n'; }"""


def calls() -> list[list[str]]:
    section = RECIPE.read_text(encoding="utf-8").split("\n## ")[1]
    assert section.startswith("The recipe")
    script = "\n".join([ECHO, *section.split("```")[1::2]])
    done = subprocess.run(["bash", "-euc", script], capture_output=True, text=True, check=True)
    return [line.split("\t")[:-1] for line in done.stdout.splitlines()]


def test_every_training_of_the_recipe_is_a_valid_run():
    trainings = [words for verb, *words in calls() if verb == "train"]
    assert len(trainings) > 10
    for words in trainings:
        load_config(words)


@pytest.mark.parametrize("verb", ["corpus", "shards", "average", "calibrate", "export"])
def test_every_other_command_of_the_recipe_takes_these_words(verb):
    """Each is asked for its help after its own words: an unknown option is refused before."""
    found = [words for first, *words in calls() if first == verb]
    assert found
    for words in found:
        done = CliRunner().invoke(app, [verb, *words, "--help"], prog_name="calm")
        assert done.exit_code == 0, f"calm {verb} {' '.join(words)}: {done.output}"


def test_names_of_what_is_read_were_written_before():
    written: set[str] = set()
    for verb, *words in calls():
        read = [word.partition("=")[2] for word in words if word.startswith("pretrained_ckpt_path=")]
        read += words[: words.index("-o")] if verb == "average" else []
        for path in read:
            assert path.removesuffix("/export") in written, f"{verb}: {path}"
        name = next((word.partition("=")[2] for word in words if word.startswith("name=")), "mini")
        written.add(f"runs/{name}" if verb == "train" else words[words.index("-o") + 1] if verb == "average" else "")


def test_latents_that_are_trained_on_were_encoded_before():
    """The generator's own corpora as well as those of the command line."""
    encoded: set[str] = set()
    for verb, *words in calls():
        if verb == "shards" and words[0] == "encode":
            encoded.add(words[2])
        if verb == "train" and "experiment=mini_vae" not in words:
            for folder in split_sources(load_config(words).data.train_urls):
                assert str(Path(folder).parent) in encoded, f"{words}: {folder}"
    assert len(encoded) == 6
