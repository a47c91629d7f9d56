"""The listening test: blind, randomised, in the browser; every rating is stored at once.

    test = prepare(manifest, systems={"ours": "clips/ours", "original": None}, folder="runs/listen")
    serve(test, on_ready=announce)
    results = summarise("runs/listen")
"""

from __future__ import annotations

from calm.listening.prepare import prepare
from calm.listening.records import ListeningTest, Settings
from calm.listening.server import serve
from calm.listening.summary import summarise

__all__ = ["ListeningTest", "Settings", "prepare", "serve", "summarise"]
