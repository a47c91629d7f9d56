"""F5-TTS by its Python class (f5_tts.api.F5TTS of the wheel f5-tts 1.1.22)."""

from __future__ import annotations


def load(options):
    from f5_tts.api import F5TTS

    model = F5TTS(
        model=options["model"],
        ckpt_file=options["weights"],
        vocab_file=options["vocab_file"],
        device=options["device"] or None,
    )

    def make(task):
        # Without the words of the reference the package transcribes it by a recogniser.
        samples, sample_rate, _ = model.infer(
            ref_file=task["reference"],
            ref_text=task["reference_text"],
            gen_text=task["text"],
            nfe_step=options["num_steps"],
            cfg_strength=options["guidance"],
            seed=task["seed"],
        )
        return samples, sample_rate

    return make
