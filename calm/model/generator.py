"""`Generator`: what both readings of AR-Flow share: parts, rows of a sequence, routing, losses.

Subclasses say where the flow runs: in the backbone (`ar_flow`) or in the head (`head_flow`).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from calm.backbone import Backbone, Cache, JointCache, Residual
from calm.errors import ConfigError
from calm.expert import Expert
from calm.head import FlowHead, StopHead
from calm.head.base import TimeEmbedding
from calm.model.branch import ROWS_TOGETHER, Branch
from calm.model.distributed import Window
from calm.model.flow import FlowTerms, Targets, aggregate_losses, home_of, noise_bins, target_latents
from calm.model.generator_config import GeneratorConfig
from calm.model.objective import Flow, Objective
from calm.model.prompt import Prompt
from calm.model.routing import idle_output, route, routed_residual
from calm.model.timing import Timing, with_moments
from calm.part import Part
from calm.sequence import Rows, allow, block_mask, pack, prefix_rows
from calm.types import Batch, Task
from calm.vae import VAE

__all__ = ["Generator", "GeneratorConfig"]


class Generator(Part):
    """Abstract root: VAE (frozen), backbone, head, optional expert, and the few layers that join them."""

    def __init__(
        self,
        config: GeneratorConfig,
        *,
        vae: VAE,
        backbone: Backbone,
        head: FlowHead,
        expert: Expert | None = None,
        objective: Objective | None = None,
    ) -> None:
        super().__init__()
        self.config = config
        self.vae = vae.eval().requires_grad_(False)
        self.backbone, self.head, self.expert = backbone, head, expert
        self.objective = objective or Flow()
        dim = backbone.dim
        self.audio_in = nn.Linear(vae.latent_dim, dim)
        self.time = TimeEmbedding(dim)
        #: reference, text, clean target, noisy target
        self.segment = nn.Embedding(4, dim)
        self.null_text = nn.Parameter(torch.zeros(dim))
        self.stop = StopHead(dim)
        self.timing = Timing(dim, frame_seconds=vae.hop / vae.sample_rate) if config.timing else None
        for weight in (self.audio_in.weight, self.segment.weight, self.null_text):
            nn.init.normal_(weight, std=0.02)
        self.expert_enabled = expert is not None
        #: what keeps earlier rows in generation
        self.cache_type: Callable[..., Cache] = Cache
        #: counts of the batches of one optimizer step, where gradients are accumulated over several
        self.window: Window | None = None

    @property
    def tokenizer(self):
        return self.backbone.tokenizer

    @property
    def history(self) -> int | None:
        return self.config.num_history_blocks or None

    def train(self, mode: bool = True) -> Generator:
        super().train(mode)
        self.vae.eval()
        return self

    def param_groups(self) -> Iterable[dict[str, Any]]:
        joints = [self.audio_in, self.time, self.segment, self.stop, *([] if self.timing is None else [self.timing])]
        own = [self.null_text, *(p for module in joints for p in module.parameters())]
        groups = [*self.backbone.param_groups(), *self.head.param_groups(), {"part": "audio", "params": own}]
        return groups + ([] if self.expert is None else list(self.expert.param_groups()))

    # Rows -------------------------------------------------------------------------------------

    def embed_prefix(self, prompt: Prompt) -> tuple[Tensor, Rows]:
        """Reference and text rows [B, R + T, D] with their metadata."""
        dropped = prompt.num_text == 0
        ids = prompt.text if prompt.text.shape[1] else prompt.text.new_zeros(len(prompt), 1)
        text = self.backbone.embed_text(ids)
        # A prompt without text keeps one row, the learned null prefix.
        text = torch.where(dropped[:, None, None], self.null_text, text) + self.segment.weight[1]
        reference = self.embed_audio(prompt.reference, torch.ones_like(prompt.reference[:, :1, 0]), segment=0)
        rows = prefix_rows(
            num_reference=prompt.num_reference,
            num_text=prompt.num_text.clamp_min(1),
            reference_length=reference.shape[1],
            text_length=text.shape[1],
        )
        return torch.cat([reference, text], dim=1), rows

    def embed_audio(self, latents: Tensor, time: Tensor, *, segment: int) -> Tensor:
        """Audio rows: Linear(latent) + time + segment. latents [..., F, C], time [..., F] or [..., 1] -> [..., F, D]."""
        latents = latents.to(self.audio_in.weight.dtype)
        return self.audio_in(latents) + self.time(time) + self.segment.weight[segment]

    def moments(self, rows: Rows, timing: Tensor) -> Tensor | None:
        """What rows are told of their moment, [B, N, D], to be added; None for a model that tells nothing."""
        return None if self.timing is None else self.timing(rows, timing)

    def pass_rows(
        self,
        x: Tensor,
        *,
        positions: Tensor,
        mask: Tensor | Sequence[Tensor | None] | None,
        residual: Residual | None,
        cache: Cache | JointCache,
    ) -> Tensor:
        """Pass the rows [B, N, D] of a block in generation; `calm.model.compiled` puts a compiled form in its place."""
        return self.backbone(x, positions=positions, mask=mask, residual=residual, cache=cache)

    def target_start(self, prompt: Prompt) -> Tensor:
        """Rotary position [B] of target frame 0."""
        if self.config.target_positions == "beside_words":
            return prompt.num_reference + prompt.num_before_words(self.tokenizer.first_spoken_id)
        return prompt.num_reference + prompt.num_text.clamp_min(1)

    def training_mask(self, rows: Rows):
        """The one mask for a training sequence, in the form that the chosen kernel takes."""
        device = rows.kind.device.type
        if self.config.kernel(device, num_rows=len(rows)) == "flex":
            if device != "cuda":
                allowed = "auto, dense"
                raise ConfigError("FlexAttention trains on CUDA only", where="model.attention: flex", allowed=allowed)
            return block_mask(rows, history=self.history)
        return allow(rows, rows, history=self.history)

    def pass_sequences(self, x: Tensor, rows: Rows, prompt: Prompt) -> tuple[Tensor, Tensor]:
        """Pass training sequences [B, N, D] through the backbone, packed where ``pack_rows`` says so.

        Returns hidden states [B, N, D], without meaning where there is padding, and the idle term of the expert.
        """
        x, task = with_moments(x, self.moments(rows, prompt.timing)), prompt.task
        packing = pack(rows, length=self.config.pack_rows) if self.config.pack_rows else None
        if packing is not None:
            x, rows, task = packing.enter(x), packing.rows, packing.of_clips(task)
        residual, idle = self.training_residual(rows, task)
        hidden = self.backbone(x, positions=rows.position, mask=self.training_mask(rows), residual=residual)
        return (hidden if packing is None else packing.leave(hidden)), idle

    # Expert -----------------------------------------------------------------------------------

    def route(self, rows: Rows, task: Tensor) -> dict[Task, Tensor]:
        """Task of the expert -> flat indices [R] of its rows; none while the expert is switched off."""
        if not self.expert_enabled:
            return {served: task.new_empty(0) for served in self.expert.tasks}
        return route(self.expert, rows, task)

    def training_residual(self, rows: Rows, task: Tensor) -> tuple[Residual | None, Tensor]:
        """The hook by which the backbone meets the expert in training, and the idle term of the tasks without rows.

        The idle term is 0 and belongs in the loss, see `idle_output`. It leaves the hidden states alone, so a task
        without rows pays nothing.
        """
        if self.expert is None:
            return None, self.null_text.new_zeros(())
        index = self.route(rows, task)
        idle = idle_output(self.expert, [served for served in index if not len(index[served])], like=self.null_text)
        return self._residual(index), idle

    def generation_residual(self, rows: Rows, task: Tensor) -> Residual | None:
        """The hook in generation; None where the expert has nothing to do."""
        return None if self.expert is None else self._residual(self.route(rows, task), multiple=ROWS_TOGETHER)

    def _residual(self, index: dict[Task, Tensor], *, multiple: int = 1) -> Residual | None:
        routed = {task: rows for task, rows in index.items() if len(rows)}
        return routed_residual(self.expert, routed, multiple=multiple) if routed else None

    # Losses -----------------------------------------------------------------------------------

    def losses(self, batch: Batch, *, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """``loss`` = flow + stop_weight * stop, and readings by task. Randomness comes from ``generator``."""
        terms = self.flow_terms(batch, generator)
        return aggregate_losses(terms, stop_weight=self.config.stop_weight, window=self.window)

    def parameters_by_loss(self) -> dict[str, list[nn.Parameter]]:
        """The parameters that each loss trains: the stop head sees detached states, so no parameter has two losses."""
        stop = list(self.stop.parameters())
        return {"flow": [p for p in self.parameters() if not any(p is other for other in stop)], "stop": stop}

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        # Readings by task exist only for the tasks of a batch, and ranks hold different ones: reduced over
        # ranks they would desynchronise. `errors_by_noise` carries them as sums instead.
        losses = self.losses(batch)
        values = {f"val/{name}": losses[name] for name in ("loss", "flow", "stop")}
        self.log_dict(values, batch_size=len(batch), sync_dist=True)

    def errors_by_noise(
        self, batch: Batch, *, num_bins: int, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Summed squared error and number of frames by task and noise level, both [3, num_bins]."""
        return noise_bins(self.flow_terms(batch, generator), num_bins=num_bins)

    def flow_terms(self, batch: Batch, generator: torch.Generator | None) -> FlowTerms:
        """Prepare latents, prompts and noise, and run the model once."""
        config = self.config
        # On the CPU where there is no generator: the number is needed there, at once.
        host = torch.device("cpu") if generator is None else generator.device
        choice = torch.randint(len(config.block_sizes), (), generator=generator, device=host)
        block_size = config.block_sizes[int(choice)]
        targets = Targets.prepare(
            target_latents(self.vae, batch, block_size=block_size),
            num_frames=-(-batch.num_samples // self.vae.hop),
            complete=batch.complete,
            task=batch.task,
            block_size=block_size,
            num_copies=config.num_noisy_copies,
            generator=generator,
        )
        prompt = self.prompt_of(batch)
        if self.training:
            prompt = self._drop_conditions(prompt, generator)
        history, history_time = self.histories(prompt, targets, generator)
        return self.objective.terms(self, prompt, targets, history=history, history_time=history_time)

    def histories(self, prompt: Prompt, targets: Targets, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
        """What the clean rows of a training sequence hold [B, F, C], and the times that they are said to be at [B, 1]."""
        return targets.history(
            probability=self.config.history_noise_probability if self.training else 0.0,
            level=self.config.history_noise_level,
            generator=generator,
        )

    def prompt_of(self, batch: Batch) -> Prompt:
        """The conditions of a training batch."""
        if batch.reference_latents is not None:
            reference = self.vae.normalize(batch.reference_latents)
        elif batch.reference.shape[-1]:
            reference = self.vae.to_latents(batch.reference)
        else:
            reference = batch.audio.new_zeros(len(batch), 0, self.vae.latent_dim)
        return Prompt(
            task=batch.task,
            text=batch.text,
            num_text=batch.num_text,
            reference=reference,
            num_reference=-(-batch.num_reference // self.vae.hop),
            timing=batch.timing,
        )

    @abstractmethod
    def predict(
        self, prompt: Prompt, targets: Targets, *, history: Tensor, history_time: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Run a whole training sequence.

        Args:
            history: latents of the clean rows [B, F, C], perhaps slightly noised; history_time: [B, F] or [B, 1].

        Returns: velocity [B, M, F, C], stop logits [B, F], and the idle term (0, for gradients).
        """

    @abstractmethod
    def open(
        self, prompt: Prompt, *, block_size: int, window_blocks: int | None = None, max_blocks: int | None = None
    ) -> Branch:
        """Start a cached rollout.

        Args:
            block_size: K. window_blocks: sliding history; None for all. max_blocks: as many are expected at most.
        """

    @abstractmethod
    def join(self, branches: Sequence[Branch]) -> Branch:
        """One branch over the rows of several of one block size, for their current block: until its ``append``."""

    def _drop_conditions(self, prompt: Prompt, generator: torch.Generator | None) -> Prompt:
        u = torch.rand(len(prompt), generator=generator, device=home_of(generator, prompt.task)).to(prompt.task.device)
        both, text = self.config.drop_all, self.config.drop_all + self.config.drop_text
        reference = text + self.config.drop_reference
        prompt = prompt.drop(text=u < text, reference=(u < both) | ((u >= text) & (u < reference)))
        if self.timing is None:
            return prompt
        u = torch.rand(len(prompt), generator=generator, device=home_of(generator, prompt.task)).to(prompt.task.device)
        return prompt.drop_seconds(u < self.config.drop_seconds)
