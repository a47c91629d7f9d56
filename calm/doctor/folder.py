"""May this run use its folder?"""

from __future__ import annotations

from collections.abc import Iterator

from calm.config import load_config_file
from calm.doctor.case import Case
from calm.doctor.finding import Finding, Level
from calm.training.checkpoints import LAST
from calm.training.run_folder import differences

__all__ = ["check_folder"]


def check_folder(case: Case) -> Iterator[Finding]:
    """The folder is new, or holds this very run, which is then continued."""
    config, folder = case.config, case.config.run_dir
    written, last = folder / "config.yaml", folder / "checkpoints" / LAST
    if written.is_file():
        changed = differences(load_config_file(written, imports="refuse").to_dict(), config.to_dict())
        if changed:
            first = next(iter(changed))
            yield Finding(
                level=Level.ERROR,
                what=f"The folder belongs to another configuration: {len(changed)} keys differ",
                where=str(written),
                value=f"{first}: {changed[first][0]} there, {changed[first][1]} here",
                hint="choose another `name` or `run_dir`, or restore these keys",
            )
    if last.exists() and config.ckpt_path is None:
        yield Finding(
            level=Level.ERROR,
            what="The folder already holds a trained run",
            where=str(last),
            hint="continue it with ckpt_path=last, or choose another `name`",
        )
    elif config.ckpt_path == "last" and not last.exists():
        what = "There is nothing to continue: the run starts afresh"
        yield Finding(level=Level.WARNING, what=what, where=str(last), hint="leave ckpt_path out for a new run")
    if not folder.exists():
        yield Finding(level=Level.OK, what="The folder is new", where=str(folder))
