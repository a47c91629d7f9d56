"""Leaf computes, root conducts: a part never logs, optimises, or hooks into the trainer."""

from __future__ import annotations

import ast

import pytest

from tests.architecture.sources import dotted, parse, place, python_files

PARTS = ("vae", "backbone", "head", "expert")
CONDUCTING = {
    "configure_optimizers",
    "configure_gradient_clipping",
    "manual_backward",
    "optimizers",
    "lr_schedulers",
    "save_hyperparameters",
    "log",
    "log_dict",
    "trainer",
    "global_step",
    "current_epoch",
    "training_step",
    "validation_step",
    "test_step",
}


def violations(tree: ast.Module) -> list[ast.AST]:
    """Places where a class of the tree does what only a root or `Part` may do."""
    found: list[ast.AST] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            name = dotted(node)
            own = name.startswith("self.") and name.split(".")[1] in CONDUCTING
            found += [node] if own or name.startswith(("torch.optim", "optim.")) else []
        elif isinstance(node, ast.FunctionDef):
            found += [node] if node.name in CONDUCTING or node.name.startswith("on_") else []
        elif isinstance(node, ast.Import | ast.ImportFrom):
            modules = [getattr(node, "module", None) or "", *(alias.name for alias in node.names)]
            found += [node] if any(m.startswith(("lightning", "torch.optim")) for m in modules) else []
    return found


@pytest.mark.parametrize("package", PARTS)
def test_parts_do_not_log_optimise_or_hook(package):
    assert [place(file, node) for file in python_files(package) for node in violations(parse(file))] == []


@pytest.mark.parametrize(
    "body",
    [
        "self.log('x', 1)",
        "x = self.trainer.world_size",
        "torch.optim.Adam([])",
        "import lightning",
        "def on_train_start(self): ...",
        "def configure_optimizers(self): ...",
    ],
)
def test_a_violation_is_recognised(body):
    assert violations(ast.parse(f"class Leaf:\n    def forward(self):\n        {body}\n"))
