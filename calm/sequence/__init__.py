"""Row metadata and the one mask."""

from calm.sequence.layout import Rows, block_rows, prefix_rows, training_rows
from calm.sequence.mask import allow, block_mask, mask_function
from calm.sequence.packing import Packing, pack

__all__ = ["Packing", "Rows", "allow", "block_mask", "block_rows", "mask_function", "pack", "prefix_rows", "training_rows"]
