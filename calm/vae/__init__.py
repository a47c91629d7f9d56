"""Audio VAEs: waveform <-> continuous latents. One file per architecture."""

from calm.vae.base import VAE, DecoderStream, Posterior

__all__ = ["VAE", "DecoderStream", "Posterior"]
