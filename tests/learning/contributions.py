"""What each attribution makes of one blended trade: `python -m tests.learning.contributions` prints the table of
docs/rules/attribution.md.

The trade: 150 to 150.50 at 1 and 5 bps, 27.3333 bps net, by three models with shares .5, .3 and .2.
"""

from collections.abc import Mapping

from armstream.learning import Exp3IXBandit, TradeResult, Update, update_after_trade

SHARES = {"lightgbm": 0.5, "ridge": 0.3, "lstm": 0.2}
TRADE = TradeResult(150.0, 150.5, fees_bps=1.0, slippage_bps=5.0, model_contributions=SHARES)
ATTRIBUTIONS = ("undivided", "simultaneous", "sequential")
RULES: Mapping[str, Mapping[str, object]] = {
    "shipped": {"estimator": "implicit", "gamma": 0.0, "eta_max": None},
    "importance": {},
    "importance, eta = .01": {"eta": 0.01},
}
MANY = 200


def learner(rule: str) -> Exp3IXBandit:
    return Exp3IXBandit(len(SHARES), list(SHARES), **RULES[rule])  # type: ignore[arg-type] # names and kinds vary


def after(rule: str, attribution: str, n_trades: int) -> tuple[Update, list[float]]:
    """What the last of so many such trades did, and the weights then."""
    bandit = learner(rule)
    for _ in range(n_trades):
        update = update_after_trade(bandit, TRADE, attribution)
    return update, bandit.read().weights


def table() -> list[str]:
    """The rows of a Markdown table."""
    rows = [
        f"| rule | attribution | T | estimates | weights after it | weights after {MANY} such trades |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for rule in RULES:
        for attribution in ATTRIBUTIONS:
            update, first = after(rule, attribution, 1)
            many = after(rule, attribution, MANY)[1]
            counted = len(SHARES) if attribution == "sequential" else 1
            estimates = ", ".join(f"{each:.4g}" for each in update.estimates)
            shown = " | ".join(", ".join(f"{each:.3f}" for each in weights) for weights in (first, many))
            rows.append(f"| {rule} | {attribution} | +{counted} | {estimates} | {shown} |")
    return rows


if __name__ == "__main__":
    print("\n".join(table()))  # noqa: T201 - a script
