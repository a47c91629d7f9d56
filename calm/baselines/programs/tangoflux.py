"""TangoFlux by its package's Python class (TangoFluxInference)."""

from __future__ import annotations


def load(options):
    from tangoflux import TangoFluxInference

    model = TangoFluxInference(name=options["weights"])

    def make(task):
        duration = min(task["seconds"] or options["seconds"], options["max_seconds"])
        samples = model.generate(
            task["text"], steps=options["num_steps"], duration=duration, guidance_scale=options["guidance"]
        )
        return samples, model.vae.config.sampling_rate

    return make
