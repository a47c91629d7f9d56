"""Attacks by models: checkpoints, exports, configurations, addresses."""

from __future__ import annotations

import contextlib
import pickle
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
import torch.distributed.checkpoint as dcp
import yaml

from calm.config import load_config, load_config_file, to_yaml
from calm.generation import AudioCALM
from calm.model.build import build_model
from calm.model.checkpoint import save_pretrained
from calm.training.checkpoint_io import read_checkpoint
from calm.training.run_folder import prepare_run
from calm.training.sharded_checkpoint import METADATA, RUN, read_sharded
from tests.faults.malicious import BOMB_BYTES, VARIABLE, Attack, Payload, attack, several

TINY = ("model=ar_flow", "vae=tiny", "backbone=tiny", "head=rectified_flow", "expert=speech_ffn", "name=tiny")


@attack("Weights only load failed")
def a_checkpoint_with_reduce(folder: Path, canary: Path) -> object:
    torch.save({"state_dict": {}, "extra": Payload(canary)}, folder / "last.ckpt")
    return read_checkpoint(folder / "last.ckpt")


@attack("Weights only load failed")
def an_old_checkpoint_with_reduce(folder: Path, canary: Path) -> object:
    torch.save({"state_dict": {}, "extra": Payload(canary)}, folder / "last.ckpt", _use_new_zipfile_serialization=False)
    return read_checkpoint(folder / "last.ckpt")


@attack("Weights only load failed")
def a_bare_pickle_as_checkpoint(folder: Path, canary: Path) -> object:
    (folder / "last.ckpt").write_bytes(pickle.dumps(Payload(canary), protocol=2))
    return read_checkpoint(folder / "last.ckpt")


@attack("claims 104,857,")
def a_checkpoint_that_is_a_zip_bomb(folder: Path, canary: Path) -> object:
    good, bomb = folder / "good.ckpt", folder / "last.ckpt"
    torch.save({"state_dict": {}}, good)
    with zipfile.ZipFile(good) as old, zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as new:
        for item in old.infolist():
            new.writestr(item.filename, bytes(BOMB_BYTES) if item.filename.endswith(".pkl") else old.read(item))
    return read_checkpoint(bomb)


def _sharded(file: str) -> Attack:
    """A sharded run's folder in which one file is a payload."""

    def run(folder: Path, canary: Path) -> object:
        dcp.save({"model.a": torch.ones(3)}, checkpoint_id=folder, no_dist=True)
        torch.save({"state_dict": {}}, folder / RUN)
        next(folder.glob(file)).write_bytes(pickle.dumps(Payload(canary), protocol=2))
        return read_sharded(folder, templates=lambda stored: {"model.a": torch.zeros(3)})

    return run


several("cannot be read", {f"a payload as {file} of a sharded run": file for file in (METADATA, RUN, "*.distcp")}, _sharded)


def _export(folder: Path) -> Path:
    config = load_config(TINY)
    return save_pretrained(folder / "export", model=build_model(config), config=config)


def _weights(make: Callable[[Path], bytes]) -> Attack:
    def run(folder: Path, canary: Path) -> object:
        export = _export(folder)
        (export / "model.safetensors").write_bytes(make(canary))
        return AudioCALM.from_pretrained(export, device="cpu")

    return run


several("header too large", {"a pickle as model.safetensors": lambda canary: pickle.dumps(Payload(canary))}, _weights)
several("header too large", {"a safetensors header of 2^60 bytes": lambda canary: (2**60).to_bytes(8, "little")}, _weights)


def _config(line: str) -> Attack:
    """A configuration that a person runs, with one line of its own."""

    def run(folder: Path, canary: Path) -> object:
        path, key = folder / "config.yaml", line.partition(":")[0]
        good = to_yaml(load_config(TINY)).splitlines(keepends=True)
        path.write_text(line.replace("CANARY", str(canary)) + "\n" + "".join(x for x in good if x.partition(":")[0] != key))
        return load_config_file(path)

    return run


def _downloaded(changes: dict[str, object]) -> Attack:
    """An export of a stranger, whose configuration says something else in some keys."""

    def run(folder: Path, canary: Path) -> object:
        path = _export(folder) / "config.yaml"
        path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **changes}))
        with _module_that_runs(folder, canary):
            return AudioCALM.from_pretrained(path.parent, device="cpu")

    return run


@contextlib.contextmanager
def _module_that_runs(folder: Path, canary: Path) -> Iterator[None]:
    """A module ``calm_canary`` that Python would find."""
    (folder / "calm_canary.py").write_text(f"open({str(canary)!r}, 'w').close()\n")
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))


secret = "${oc.env:" + VARIABLE + "}"
bomb = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)
tags = {"!!python": "name: !!python/object/apply:os.system ['touch CANARY']", "!!python/name": "name: !!python/name:os.system"}
several("could not determine a constructor", {f"{name} in a configuration": tag for name, tag in tags.items()}, _config)
several("cannot be interpolated", {"another resolver in a configuration": "name: '${oc.decode:x}'"}, _config)
several("expansion exceeds", {"a bomb of aliases": bomb}, _config)
several("cannot be a folder's name", {"a run name that climbs": "name: ../../etc"}, _config)
several(f"cannot be '{secret}'", {"a secret where a number belongs": f"seed: {secret}"}, _config)
several("no module name", {"a module by path": "imports: ['../evil']"}, _config)
several("asks to import", {"imports in a downloaded configuration": {"imports": ["calm_canary"]}}, _downloaded)
several("cannot be a folder's name", {"a secret as a model's name": {"name": secret}}, _downloaded)
elsewhere = {
    "weights of the network": {"vae": {"name": "encodec", "weights": "hub"}},
    "weights of an absolute path": {"vae": {"name": "encodec", "weights": "/etc/passwd"}},
    "a backbone of an absolute path": {"backbone": {"name": "qwen3", "path": "/etc", "weights": "random"}},
}
several("from elsewhere", elsewhere, _downloaded)


@attack("could not determine a constructor")
def python_object_on_the_command_line(folder: Path, canary: Path) -> object:
    return load_config([*TINY, f"name=!!python/object/apply:os.system ['touch {canary}']"])


@attack("could not determine a constructor")
def python_object_in_the_configuration_of_the_run_s_folder(folder: Path, canary: Path) -> object:
    (folder / "config.yaml").write_text(f"name: !!python/object/apply:os.system ['touch {canary}']\n")
    return prepare_run(load_config([*TINY, f"run_dir={folder}"]))


@attack("expansion exceeds")
def a_bomb_of_aliases_in_the_configuration_of_the_run_s_folder(folder: Path, canary: Path) -> object:
    (folder / "config.yaml").write_text(bomb)
    return prepare_run(load_config([*TINY, f"run_dir={folder}"]))


def _shared_vae(name: str) -> Attack:
    """An export that shares its VAE, with a configuration that names another place for it."""

    def run(folder: Path, canary: Path) -> object:
        export, config = _export(folder), load_config(TINY)
        sharing = save_pretrained(folder / "sharing", model=build_model(config), config=config, shared_vae=export.name)
        path = sharing / "config.yaml"
        path.write_text(path.read_text().replace("vae_ckpt_path: export", f"vae_ckpt_path: {name}"))
        return AudioCALM.from_pretrained(sharing, device="cpu")

    return run


several("no model's name", {"a shared VAE that climbs": "../etc", "a shared VAE of an absolute path": "/etc"}, _shared_vae)

ADDRESS = "http://127.0.0.1:9/model"


@attack("There is no model")
def a_model_from_the_network(folder: Path, canary: Path) -> object:
    return AudioCALM.from_pretrained(ADDRESS, device="cpu")


@attack("There is no model")
def a_vae_from_the_network(folder: Path, canary: Path) -> object:
    return build_model(load_config([*TINY, f"vae_ckpt_path={ADDRESS}"]))


@attack("No such checkpoint")
def a_checkpoint_from_the_network(folder: Path, canary: Path) -> object:
    return prepare_run(load_config([*TINY, f"run_dir={folder}", f"ckpt_path={ADDRESS}/last.ckpt"]))
