"""The table of all sizes: parameters, work, memory of a rank and days of every experiment, counted, not measured.

    python benchmarks/sizes.py             # writes docs/SIZES.md
    python benchmarks/sizes.py --print

Everything is counted on the meta device, in under a minute on a CPU core; nothing is downloaded and no shards are read.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from calm.audio import write_bytes
from calm.config import load_config
from calm.doctor import Hardware, Size, size_of
from calm.model.checkpoint import without_weights

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "SIZES.md"
GENERATORS = ("audiocalm_1p7b", "audiocalm_0p6b", "audiocalm_300m", "audiocalm_100m", "mini", "tiny")
STAGES = ("audiocalm_vae_44k", "mini_vae", "tiny_vae")
#: without shards the lengths of clips are those that `calm doctor` assumes
NO_SHARDS = ("data.sources=[]", "data.train=no_shards", "data.validation=null")
H100, A800 = Hardware(), Hardware(peak_tflops=312.0)

HEAD = """# Sizes

One file each in `conf/experiment`. Written by `python benchmarks/sizes.py`; a test keeps it current. The same figures for a configuration of your own, with your shards: `calm doctor experiment=NAME ... --gpus 8 --peak-tflops 989 --mfu 0.3`. All of it is counted; nothing at the sizes above `mini` has been trained yet.

"""

TAIL = f"""
## What is assumed

- Memory is the predicted peak of one of {H100.num_gpus} ranks on CUDA at the experiment's precision and largest batch (all clips as long as `data.max_seconds`), audio encoded on the way. "Layers again" is `trainer.activation_checkpointing=layers`: a step then does up to a third more work. FSDP is `trainer=fsdp`, DDP `trainer=ddp`. A device of 80 GB holds 74.5 GiB.
- A generator's FLOPs are six for every weight of a matrix and row, and attention (formula: `calm/doctor/cost.py`), over clips of half of `data.max_seconds`; layers done again, norms and the frozen VAE are not in them. They agree with `torch.utils.flop_counter` within 3 % on a small model (`tests/doctor/test_size.py`).
- A VAE's FLOPs are counted by `torch.utils.flop_counter` on the meta device, phase by phase; its memory in float32. Its convolutions are bound by memory traffic: the days are a lower bound, not a plan.
- Days are FLOPs of all steps over GPUs x peak x MFU. The MFU of {H100.mfu:g} is an assumption; nobody has measured this code on {H100.num_gpus} GPUs. 989 TFLOP/s is an H100 SXM, 312 an A800 or A100, dense bfloat16.
- Embeddings of Qwen3 are tied to a head that is not used here, so they count once.
"""


def table(sizes: list[Size], *, columns: tuple[str, ...]) -> str:
    """A Markdown table, one row for each size."""
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    lines += ["| " + " | ".join(cell for cell in row(size)) + " |" for size in sizes]
    return "\n".join(lines) + "\n"


def row(size: Size) -> list[str]:
    """The cells of one size."""
    own = {part.part: part.parameters for part in size.parts}
    is_stage = "vae.encoder" in own
    names = (("vae.encoder",), ("vae.decoder",), ("adversary",)) if is_stage else (("backbone",), ("text",), ("head", "audio"), ("expert",), ("vae",))
    parts = [millions(sum(own.get(name, 0) for name in group)) for group in names]
    memory = [least(engine.gib, 0.1, f"{engine.gib:.1f}") for engine in size.memory]
    days = [least(days, 0.001, f"{days:.2g}") for days in (size.days, A800.days(size.total_flops))]
    return [f"`{size.name}`", millions(size.total), *parts, f"{size.max_steps:,}", f"{size.step_flops:.2e}", *memory, *days]


def least(value: float, limit: float, shown: str) -> str:
    """What is shown, or that it is less than anybody plans for."""
    return f"< {limit:g}" if value < limit else shown


def millions(count: int) -> str:
    """Parameters in millions; three figures at least."""
    return f"{count / 1e6:,.1f}" if count >= 1e7 else f"{count / 1e6:.3g}"


def sizes_of(names: tuple[str, ...]) -> list[Size]:
    """Count experiments, as the project's own files have them."""
    load = (load_config([f"experiment={name}", *NO_SHARDS], conf_dir=ROOT / "conf") for name in names)
    return [size_of(without_weights(config), hardware=H100) for config in load]


def page() -> str:
    """The whole page."""
    work = ("steps", "FLOPs a step")
    days = ("days, 8 x H100", "days, 8 x A800")
    generators = table(
        sizes_of(GENERATORS),
        columns=(
            "generator", "all, M", "backbone", "text", "head and joints", "expert", "VAE, frozen", *work,
            "GiB a rank: DDP", "DDP, layers again", "FSDP", "FSDP, layers again", *days,
        ),
    )  # fmt: skip
    stages = table(
        sizes_of(STAGES), columns=("VAE stage", "all, M", "encoder", "decoder", "adversary", *work, "GiB a rank: DDP", *days)
    )
    return f"{HEAD}## Generators\n\n{generators}\n## VAEs\n\n{stages}{TAIL}"


def main() -> None:
    """Write the page, or print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--print", action="store_true", dest="only_print", help="do not write docs/SIZES.md")
    if parser.parse_args().only_print:
        print(page())
    else:
        write_bytes(PAGE, page().encode())


if __name__ == "__main__":
    main()
