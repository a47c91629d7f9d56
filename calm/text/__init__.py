"""Task and words -> speakable words -> one description -> token ids."""

from __future__ import annotations

from calm.text.attributes import analyse, analyse_speech, canonical
from calm.text.description import STYLES, Describer, describe
from calm.text.normalize import ended, normalize, tidy
from calm.text.phoneme_tokenizer import PhonemeTokenizer
from calm.text.tempo import named_tempo
from calm.text.tokenizer import ByteTokenizer, HubTokenizer, Tokenizer, build_tokenizer

__all__ = [
    "STYLES",
    "ByteTokenizer",
    "Describer",
    "HubTokenizer",
    "PhonemeTokenizer",
    "Tokenizer",
    "analyse",
    "analyse_speech",
    "build_tokenizer",
    "canonical",
    "describe",
    "ended",
    "named_tempo",
    "normalize",
    "tidy",
]
