"""The pickle of a sharded checkpoint: members of torch's enumerations, as every Python writes them, and nothing else."""

from __future__ import annotations

import os
import pickle

import pytest
from torch.distributed.checkpoint.metadata import _MEM_FORMAT_ENCODING, Metadata

from calm.errors import CheckpointError
from calm.training.sharded_checkpoint import METADATA, _Reader


class Asked:
    """Pickles as ``getattr(owner, name)``, the way of Python 3.11.0 to 3.11.3 with members of enumerations."""

    def __init__(self, owner: object, name: str) -> None:
        self.owner, self.name = owner, name

    def __reduce__(self):
        return getattr, (self.owner, self.name)


def read(folder, value):
    (folder / METADATA).write_bytes(pickle.dumps(value))
    return _Reader(folder).read_metadata()


def test_a_member_of_an_enumeration_is_read_as_older_pythons_write_it(tmp_path):
    member = next(iter(_MEM_FORMAT_ENCODING))
    assert read(tmp_path, Asked(_MEM_FORMAT_ENCODING, member.name)) is member


@pytest.mark.parametrize("asked", [Asked(Metadata, "__init__"), Asked(_MEM_FORMAT_ENCODING, "__class__"), Asked(os.stat_result, "n_fields")])
def test_anything_else_is_refused(tmp_path, asked):
    with pytest.raises(CheckpointError, match=r"asks for|names"):
        read(tmp_path, asked)
