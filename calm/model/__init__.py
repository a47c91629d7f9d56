"""Roots: parts put together, and their losses. `vae_stage` trains the VAE, the others generate."""
