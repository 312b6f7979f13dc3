"""One choice and one update without Kafka, beside river's Exp3, in turns in one process: `--kernels`.

Law: each chooses by its own numbers and learns what its choice earned, with the probability of the choice. Time is
the processor's, so that what else runs takes none of it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from statistics import median
from time import process_time
from timeit import timeit

from river.bandit import Exp3

from armstream.learning import Exp3IXBandit, TsallisBandit

ARMS = (5, 64)
STEPS_A_ROUND = 500
RIVER = "river's Exp3"

Step = Callable[[], None]


@dataclass(frozen=True, slots=True)
class Kernel:
    """Processor microseconds of one choice and one update, by round."""

    name: str
    arms: int
    micros: list[float] = field(default_factory=list)


def measure(rounds: int) -> list[Kernel]:
    """Each kernel once a round."""
    kernels = [(Kernel(name, arms), make(arms)) for arms in ARMS for name, make in KERNELS.items()]
    for _ in range(rounds):
        for kernel, step in kernels:
            kernel.micros.append(timeit(step, timer=process_time, number=STEPS_A_ROUND) / STEPS_A_ROUND * 1e6)
    return [kernel for kernel, _ in kernels]


def table(kernels: list[Kernel]) -> list[str]:
    """Medians, and the ratio to river's of the same round: its median and range."""
    river = {kernel.arms: kernel.micros for kernel in kernels if kernel.name == RIVER}
    lines = ["| arms | kernel | us | ratio to river's Exp3 | from | to |", "| --: | --- | --: | --: | --: | --: |"]
    for kernel in kernels:
        ratios = [ours / theirs for ours, theirs in zip(kernel.micros, river[kernel.arms], strict=True)]
        shown = " | ".join(f"{each:.2f}" for each in (median(kernel.micros), median(ratios), min(ratios), max(ratios)))
        lines.append(f"| {kernel.arms} | {kernel.name} | {shown} |")
    return lines


def _exp3ix(arms: int) -> Step:
    learner = Exp3IXBandit(arms, gamma=0.0, eta_max=None, estimator="implicit", seed=1)

    def step() -> None:
        draw = learner.decide()
        learner.update(draw.arm, _reward(draw.arm), draw.propensity)

    return step


def _tsallis(arms: int) -> Step:
    learner = TsallisBandit(arms, reward_bound_bps=100.0, seed=1)

    def step() -> None:
        draw = learner.decide()
        learner.update(draw.arm, _reward(draw.arm), probabilities=draw.probabilities, eta=draw.eta)

    return step


def _river(arms: int) -> Step:
    policy = Exp3(gamma=0.01, seed=1)
    names: list[int | str] = list(range(arms))

    def step() -> None:
        arm = int(policy.pull(names))
        policy.update(arm, _reward(arm) / 100.0)  # type: ignore[no-untyped-call]  # it has no hints

    return step


def _reward(arm: int) -> float:
    """Some arms earn, others lose."""
    return 10.0 if arm % 2 else -10.0


KERNELS: Mapping[str, Callable[[int], Step]] = {"Exp3-IX": _exp3ix, "Tsallis-INF": _tsallis, RIVER: _river}
