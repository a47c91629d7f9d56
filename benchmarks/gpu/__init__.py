"""What only a GPU can show: kernels, a training step, generation, each beside its peer or its limit."""
