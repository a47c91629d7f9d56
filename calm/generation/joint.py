"""One block for any courses together: every step of the ODE, and every pass of the backbone, serves all of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from calm.generation.course import Block, Course
from calm.generation.guidance import GUIDANCE
from calm.generation.solver import Point, solve, trajectory
from calm.model.branch import Branch
from calm.model.generator import Generator
from calm.model.halves import pair_rows

__all__ = ["Turn", "advance"]


def advance(model: Generator, courses: Sequence[Course]) -> list[Block]:
    """Make the next block of every course, each at its own place; they must have one block size.

    Each result is that of the course alone, but for rounding. All wait for the one with the most steps.
    """
    turn = Turn(model, courses)
    latents = turn.solve()
    blocks = [course.block(one, stop) for course, one, stop in zip(courses, latents, turn.keep(), strict=True)]
    for course in courses:
        course.index += 1
    return blocks


class Turn:
    """The current block of every course: ``solve``, then ``keep``. Arguments as for ``advance``."""

    @torch.no_grad()
    def __init__(self, model: Generator, courses: Sequence[Course]) -> None:
        self._courses, self._cohorts = courses, _cohorts(model, courses)
        self._branch = model.join([course.branch for cohort in self._cohorts for course in cohort.courses])
        self._ends: list[Tensor] = []

    @torch.no_grad()
    def solve(self) -> list[Tensor]:
        """The block's latents [B, K, C] of every course."""
        self._ends = solve(_Velocities(self._branch, self._cohorts), [cohort.trajectory for cohort in self._cohorts])
        return self._by_course(self._ends)

    @torch.no_grad()
    def keep(self) -> list[Tensor]:
        """Take the block into the history; return the stop head's logits [B, K] of every course."""
        stops = _append(self._branch, self._cohorts, self._ends).split([cohort.num_rows for cohort in self._cohorts])
        return self._by_course([cohort.conditional(stop) for cohort, stop in zip(self._cohorts, stops, strict=True)])

    def _by_course(self, values: Sequence[Tensor]) -> list[Tensor]:
        """Values of every cohort's requests, in the order of the courses."""
        found = {}
        for cohort, value in zip(self._cohorts, values, strict=True):
            found |= zip(map(id, cohort.courses), value.split([len(course) for course in cohort.courses]), strict=True)
        return [found[id(course)] for course in self._courses]


def _append(branch: Branch, cohorts: Sequence[_Cohort], ends: Sequence[Tensor]) -> Tensor:
    """Give every branch its finished block, and where it can be done begin the next one; return all stop logits."""
    rows = _join(cohort.for_branches(end) for cohort, end in zip(cohorts, ends, strict=True))
    time = _join(cohort.history_time for cohort in cohorts)
    courses = [course for cohort in cohorts for course in cohort.courses]
    sizes = [size for cohort in cohorts for size in cohort.sizes]
    if not branch.can_begin:
        for course in courses:
            course.begun = None
        return branch.append(rows, time=time)
    noise = _join(cohort.for_branches(cohort.noise(ahead=1)) for cohort in cohorts)
    stops, begun = branch.append_and_begin(rows, noise, time=time)
    for course, velocity in zip(courses, begun.to(rows.dtype).split(sizes), strict=True):
        course.begun = velocity
    return stops


class _Cohort:
    """Courses that are sampled by one rule: the same times, the same guidance, scales of their own.

    Args:
        like: a weight of the model, for device and type.
    """

    def __init__(self, courses: Sequence[Course], *, latent_dim: int, like: Tensor) -> None:
        self.courses, settings = courses, courses[0].settings
        # The ODE state stays in float32.
        dtype = torch.promote_types(like.dtype, torch.float32)
        self._state, self._latent_dim = {"device": like.device, "dtype": dtype}, latent_dim
        solver, grid = settings.solver, settings.grid
        self.trajectory = trajectory(self.noise(), num_steps=settings.num_steps, solver=solver, grid=grid)
        self.guided, self.interval = settings.guided, settings.guidance_interval
        self.rule = GUIDANCE[settings.guidance]
        scales = [scale for course in courses for scale in course.settings.cfg_scale]
        self.scale = torch.tensor(scales, device=like.device, dtype=dtype)[:, None, None]
        times = [course.settings.history_time for course in courses for _ in range(self.num_branches * len(course))]
        self.history_time = torch.tensor(times, device=like.device, dtype=dtype)
        if self.guided:
            rows = (numbers.to(like.device) for numbers in pair_rows(self.sizes))
            self._conditional, self._unconditional, self._source = rows

    def noise(self, *, ahead: int = 0) -> Tensor:
        """What the current blocks, or those ahead, start from, [B, K, C]."""
        return _join(course.noise(self._latent_dim, ahead=ahead) for course in self.courses).to(**self._state)

    @property
    def num_branches(self) -> int:
        return 2 if self.guided else 1

    @property
    def sizes(self) -> list[int]:
        """Rows of every course in the branch."""
        return [self.num_branches * len(course) for course in self.courses]

    @property
    def num_rows(self) -> int:
        return sum(self.sizes)

    def for_branches(self, x: Tensor) -> Tensor:
        """With guidance the conditional and the unconditional branch share every pass."""
        return x.index_select(0, self._source) if self.guided else x

    def conditional(self, rows: Tensor) -> Tensor:
        return rows.index_select(0, self._conditional) if self.guided else rows

    def velocity(self, rows: Tensor, t: float) -> Tensor:
        """The guided velocity [B, K, C] at time t, of the velocities of all rows of the branch."""
        conditional = self.conditional(rows)
        low, high = self.interval
        if not self.guided or not low <= t <= high:
            return conditional
        return self.rule(conditional, rows.index_select(0, self._unconditional), self.scale)


class _Velocities:
    """Velocities of all cohorts by one evaluation of the network."""

    def __init__(self, branch: Branch, cohorts: Sequence[_Cohort]) -> None:
        self.branch, self.cohorts = branch, cohorts
        self._sizes = [cohort.num_rows for cohort in cohorts]
        self._begun = [course.begun for cohort in cohorts for course in cohort.courses]

    def __call__(self, points: Sequence[Point]) -> list[Tensor]:
        pairs = list(zip(self.cohorts, points, strict=True))
        found = self._evaluate(pairs).split(self._sizes)
        return [cohort.velocity(part, point.t) for (cohort, point), part in zip(pairs, found, strict=True)]

    def _evaluate(self, pairs: Sequence[tuple[_Cohort, Point]]) -> Tensor:
        """The velocities of all rows of the branch; the first ones may be known from the pass before."""
        begun, self._begun = self._begun, []
        if begun and all(velocity is not None for velocity in begun):
            return _join(begun)
        points = [point for _, point in pairs]
        rows = _join(cohort.for_branches(point.x) for cohort, point in pairs)
        asked = [_per_row(rows, [(cohort.num_rows, point.t) for cohort, point in pairs])]
        if any(point.span is not None for point in points):
            asked.append(_per_row(rows, [(cohort.num_rows, point.span or 0.0) for cohort, point in pairs]))
        found = self.branch.velocity(rows, *asked).to(rows.dtype)
        if any(velocity is not None for velocity in begun):
            # What was begun goes on as it would alone, to the bit.
            parts = found.split([size for cohort in self.cohorts for size in cohort.sizes])
            found = torch.cat([part if known is None else known for part, known in zip(parts, begun, strict=True)])
        return found


def _cohorts(model: Generator, courses: Sequence[Course]) -> list[_Cohort]:
    alike: dict[tuple, list[Course]] = {}
    for course in courses:
        s = course.settings
        alike.setdefault((s.num_steps, s.solver, s.grid, s.guidance, s.guidance_interval, s.guided), []).append(course)
    return [_Cohort(some, latent_dim=model.vae.latent_dim, like=model.null_text) for some in alike.values()]


def _per_row(like: Tensor, values: Iterable[tuple[int, float]]) -> Tensor:
    """Every value so many times, [B]."""
    return _join(like.new_full((count,), value) for count, value in values)


def _join(parts: Iterable[Tensor]) -> Tensor:
    parts = list(parts)
    return parts[0] if len(parts) == 1 else torch.cat(parts)
