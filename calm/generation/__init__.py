"""Life with a trained model: prompts in, audio out, whole or streamed."""

from calm.generation.pipeline import AudioCALM
from calm.generation.request import Generation, VoiceReference

__all__ = ["AudioCALM", "Generation", "VoiceReference"]
