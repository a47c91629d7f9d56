"""Feeds a program of this folder: loads it once, makes one clip after the other, writes down what happened.

Run by the Python of another system's environment (3.8 or later, with numpy):

    python loop.py --program f5_tts.py --tasks tasks.json --out FOLDER --options '{"weights": "..."}'

A program has ``load(options) -> make``, and ``make(task)`` returns ``(samples, sample_rate)``, samples [S] or [A, S],
or the path of an audio file. ``task`` has id, task, text, reference, reference_text, seconds, seed and ``out``, a folder
for files. Each task gives one line of ``results.jsonl``: ``{"id", "file", "sample_rate", "seconds_taken"}``, or
``{"id", "error"}``; the first line, ``{"ready": true}``, says that the weights are loaded.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import random
import sys
import time


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("program", "tasks", "out", "options"):
        parser.add_argument("--" + name, required=True)
    given = parser.parse_args(arguments)
    options = json.loads(given.options)
    out = os.path.abspath(given.out)
    with open(given.tasks, encoding="utf-8") as file:
        tasks = json.load(file)
    # Python puts this folder first, where programs have the names of the packages that they import.
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [path for path in sys.path if os.path.abspath(path or ".") != here]
    if options.get("repo"):
        sys.path.insert(0, options["repo"])
    make = load_program(given.program).load(options)
    write_line(out, {"ready": True})
    for task in tasks:
        write_line(out, run(make, task, out))


def run(make, task, out):
    """Make one clip; errors of other people's code become a line, and the next task goes on."""
    seed_all(task["seed"])
    began = time.perf_counter()
    try:
        found = make(dict(task, out=out))
        taken = time.perf_counter() - began
        line = keep(found, task["id"], out)
    except Exception as error:
        return {"id": task["id"], "error": type(error).__name__ + ": " + str(error)[-1500:]}
    return dict(line, id=task["id"], seconds_taken=taken)


def keep(found, name, out):
    """The line for a clip; samples are saved as float32 [A, S]."""
    if isinstance(found, (str, os.PathLike)):
        if not os.path.isfile(found):
            raise RuntimeError("the system wrote no file " + str(found))
        return {"file": os.path.abspath(found)}
    import numpy

    samples, sample_rate = found
    if hasattr(samples, "detach"):
        samples = samples.detach().float().cpu().numpy()
    samples = numpy.atleast_2d(numpy.asarray(samples, dtype="float32"))
    path = os.path.join(out, name + ".npy")
    numpy.save(path, samples)
    return {"file": path, "sample_rate": int(sample_rate)}


def seed_all(seed):
    """Seed the generators that the system has loaded, for every clip: this process belongs to that system."""
    random.seed(seed)
    numpy, torch = sys.modules.get("numpy"), sys.modules.get("torch")
    if numpy is not None:
        numpy.random.seed(seed)
    if torch is not None:
        torch.manual_seed(seed)


def load_program(path):
    spec = importlib.util.spec_from_file_location("program", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def write_line(out, line):
    with open(os.path.join(out, "results.jsonl"), "a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main()
