"""Other systems, built from their own packages with random weights: they are as fast as with trained ones."""
