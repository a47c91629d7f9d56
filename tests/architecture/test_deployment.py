"""The container gets what it copies, and installs what inference imports at the versions that the package allows."""

from __future__ import annotations

import re
import tomllib

import yaml

from tests.architecture.sources import ROOT
from tests.architecture.test_start_up import TRAINING_ONLY


def lines(name):
    return [line for line in (ROOT / name).read_text().splitlines() if line and not line.startswith("#")]


def package(requirement):
    return re.match(r"[\w.-]+", requirement)[0]


def test_the_requirements_of_inference_are_the_packages_less_what_only_training_needs():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    kept = [each for each in project["dependencies"] if package(each) not in TRAINING_ONLY]
    assert set(lines("requirements-inference.txt")) == {*kept, *project["optional-dependencies"]["serve"]}


def test_the_build_context_is_exactly_what_the_dockerfile_copies():
    copies = [line.split()[1:-1] for line in lines("Dockerfile") if line.startswith("COPY") and "--from" not in line]
    sent = {line[1:] for line in lines(".dockerignore") if line.startswith("!")}
    assert sent == {name for names in copies for name in names}
    assert all((ROOT / name).exists() for name in sent)


def test_a_container_writes_to_its_volume_alone_and_is_open_to_this_machine_alone():
    dockerfile, compose = (ROOT / "Dockerfile").read_text(), yaml.safe_load((ROOT / "compose.yaml").read_text())
    home = re.search(r"AUDIOCALM_HOME=(\S+)", dockerfile)[1]
    assert re.search(r"^USER \d+:\d+$", dockerfile, flags=re.MULTILINE) and f"VOLUME {home}\n" in dockerfile
    for service in compose["services"].values():
        assert service["read_only"] and service["volumes"] == [f"home:{home}"] and service["cap_drop"] == ["ALL"]
        assert service["ports"] == ["${CALM_ADDRESS:-127.0.0.1}:${CALM_PORT:-8000}:8000"]
