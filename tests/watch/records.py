"""Records as processors publish them, in few words."""

from collections.abc import Sequence

from armstream.events import ArmWeight, CommandApplied, DeadLetter, Reward, RewardArm, Source, WeightVector

ARMS = ("ridge", "lstm")
SECOND = 1_000_000
NOON = 1_795_867_200_000_000  # 2026-11-28T12:00:00Z


def vector(
    bandit_id: str = "book",
    version: int = 1,
    weights: Sequence[float] = (0.5, 0.5),
    arms: Sequence[str] = ARMS,
    bound_bps: float = 100.0,
    estimator: str = "implicit",
) -> WeightVector:
    return WeightVector(
        bandit_id=bandit_id,
        version=version,
        algorithm="exp3ix",
        estimator=estimator,
        arms=tuple(ArmWeight(name, weight, weight) for name, weight in zip(arms, weights, strict=True)),
        gamma=0.0,
        eta=0.1,
        reward_bound_bps=bound_bps,
        total_steps=version,
        phase="LIVE",
        blend_alpha=0.3,
        cause_event_id="cause",
        ts_event=NOON,
    )


def reward(
    bandit_id: str = "book",
    version: int = 1,
    reward_bps: float = 10.0,
    arm: str = "ridge",
    propensity: float = 0.5,
    weight: float = 1.0,
    applied: bool = True,
    detail: str = "",
) -> Reward:
    return Reward(
        bandit_id=bandit_id,
        version=version,
        position_id=f"p{version}",
        fill_event_id=f"f{version}",
        close_event_id=f"c{version}",
        quantity=100.0,
        reward_bps=reward_bps,
        weight=weight,
        applied=applied,
        counted=applied,
        total_steps=version,
        arms=(RewardArm(arm, 1.0, propensity if applied else None, 0.5 if applied else None),),
        propensity_source="LOGGED" if applied else None,
        eta=0.1 if applied else None,
        ts_event=NOON,
        detail=detail,
    )


def obeyed(
    action: str, version: int, bandit_id: str = "book", command_id: str = "cli-1", detail: str = ""
) -> CommandApplied:
    return CommandApplied(bandit_id, version, command_id, action, "APPLIED", NOON, detail)  # type: ignore[arg-type]


def letter(error_class: str = "LATE", value: bytes = b"\xff", key: bytes = b"book", offset: int = 7) -> DeadLetter:
    return DeadLetter(Source("trades", 0, offset, key, value), error_class, "too late", NOON)  # type: ignore[arg-type]
