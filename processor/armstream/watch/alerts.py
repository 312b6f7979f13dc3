"""What an alert would say, from what the page knows. Law: each alert names its remedy, and holds as long as its rule.

They are those of deploy/prometheus/rules.yml that can be told from the topics, the group and, where a setting names
the processors, their metrics. Each has its section in docs/operating/alerts.md.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple

from armstream.stages.facts import SECOND_MICROS
from armstream.watch.facts import UNKNOWN, GroupFacts, ProcessorFacts
from armstream.watch.history import CLIPPED_REWARDS, History
from armstream.watch.views import Alert, RuleView

_MINUTE: Final = 60 * SECOND_MICROS
_LAG_RECORDS: Final = 10_000  # more than one full transaction
_KEPT_MICROS: Final = 11 * _MINUTE
_STEP_MICROS: Final = 5 * SECOND_MICROS
_NAMED: Final = 3

Severity = Literal["red", "amber"]
_OF_PROCESSORS: Final = (
    *("ArmstreamTargetDown", "ArmstreamRestoreStuck", "ArmstreamTransactionsFailing"),
    *("ArmstreamDuplicates", "ArmstreamMemoryFull"),
)


@dataclass(frozen=True, slots=True)
class _Rule:
    """`after_micros`: how long it must hold before it is told."""

    severity: Severity
    after_micros: int
    looks_for: str
    remedy: str


RULES: Final[dict[str, _Rule]] = {
    "ArmstreamDown": _Rule(
        "red",
        _MINUTE,
        "no processor is in the group for 1 min",
        "Nobody learns; engines keep the last weights. Start a processor (armstream run); its last log line says why "
        "it stopped. All gone at once is usually Kafka: armstream topics check says whether it answers.",
    ),
    "ArmstreamNotReady": _Rule(
        "red",
        2 * _MINUTE,
        "nobody owns a partition for 2 min",
        "The bandits of these partitions do not learn. A processor left, with nobody to take over: start it again "
        "under its name. One that restores says in its metrics how far it is.",
    ),
    "ArmstreamTargetDown": _Rule(
        "amber",
        _MINUTE,
        "a processor's metrics do not answer for 1 min",
        "The processor is gone, or its metrics cannot be reached. Its partitions move to the others after 10 s. Start "
        "it again under its name, or mend watch.processors.",
    ),
    "ArmstreamRestoreStuck": _Rule(
        "amber",
        30 * SECOND_MICROS,
        "a restore goes on for more than 30 s",
        "A restore waits for an open transaction. It ends when the processor that was killed is back under its name, "
        "at the latest after kafka.transaction_timeout_ms.",
    ),
    "ArmstreamLagRising": _Rule(
        "amber",
        5 * _MINUTE,
        "a topic is more than 10,000 records behind, and falls further, for 5 min",
        "More comes in than is learned from. One CPU at 100 %: add processors, up to the number of partitions. CPU "
        "idle: Kafka is slow.",
    ),
    "ArmstreamNoCommit": _Rule(
        "red",
        _MINUTE,
        "records wait, and nothing is committed for 3 min",
        "Its log names the Kafka error that it retries. With two topics of trades, one may wait for the other. A "
        "restart is safe at any moment.",
    ),
    "ArmstreamTransactionsFailing": _Rule(
        "amber",
        0,
        "more than 5 transactions of a processor failed in 10 min",
        "A rebalance or a broker's restart aborts a few, which is harmless. Many: brokers that come and go, two "
        "processes with one name, or a record too large for a topic (armstream topics check).",
    ),
    "ArmstreamDeadLetters": _Rule(
        "amber",
        0,
        "a dead letter in the last 15 min",
        "These inputs taught nothing. Each says its reason below; docs/reference/errors.md says what usually causes "
        "its class, and what to do.",
    ),
    "ArmstreamManyDeadLetters": _Rule(
        "red",
        5 * _MINUTE,
        "more than 1 % of the input become dead letters for 5 min",
        "A sender is broken, and its trades are not learned from. Mend it; it sends the mended events under new "
        "event_ids.",
    ),
    "ArmstreamDuplicates": _Rule(
        "amber",
        5 * _MINUTE,
        "more than 5 % of the input is known already for 5 min",
        "A sender repeats itself: look for two engines that send the same trades, or a feed that is read from its "
        "beginning again. Duplicates change nothing.",
    ),
    "ArmstreamMemoryFull": _Rule(
        "amber",
        5 * _MINUTE,
        "positions are forgotten before their window is over for 5 min",
        "Finished positions are forgotten early. Raise limits.positions_remembered, and give the process the memory "
        "for it; or shorten rewards.dedupe_window_seconds.",
    ),
    "ArmstreamRewardsClipped": _Rule(
        "amber",
        15 * _MINUTE,
        "more than 20 % of an hour's rewards are clipped for 15 min",
        "reward_bound_bps is too small for this flow, or costs and prices are not in the units that you think. "
        "armstream arms set-bound BANDIT BPS changes it and keeps what was learned.",
    ),
    "ArmstreamBoundUnfit": _Rule(
        "amber",
        15 * _MINUTE,
        "of a bandit's last 500 rewards more than 20 % or less than 1 % are clipped for 15 min",
        "Above 20 % large wins count as little as middling ones; below 1 % it learns slower than it could. "
        "armstream arms set-bound BANDIT BPS changes the bound and keeps what was learned.",
    ),
}


class _Sample(NamedTuple):
    ts: int
    lag_records: dict[str, int]  # by topic
    committed: int
    letters: int
    failed: dict[str, int]  # by processor
    events: dict[str, int]
    duplicates: dict[str, int]


@dataclass(slots=True)
class Alarms:
    """Which rules hold, since when. It is asked every few seconds with what is known."""

    _since: dict[str, int] = field(default_factory=dict)
    _samples: deque[_Sample] = field(default_factory=deque)

    def alerts(
        self, now: int, history: History, group: GroupFacts | None, processors: tuple[ProcessorFacts, ...]
    ) -> list[Alert]:
        """Red ones first."""
        self._sample(now, history, group, processors)
        holding = dict(self._holding(now, history, group, processors))
        self._since = {name: self._since.get(name, now) for name in holding}
        told = [
            Alert(name, RULES[name].severity, text, RULES[name].remedy)
            for name, text in holding.items()
            if now - self._since[name] >= RULES[name].after_micros
        ]
        return sorted(told, key=lambda alert: alert.severity != "red")

    def _sample(
        self, now: int, history: History, group: GroupFacts | None, processors: tuple[ProcessorFacts, ...]
    ) -> None:
        if self._samples and now - self._samples[-1].ts < _STEP_MICROS:
            return
        lag: dict[str, int] = {}
        for (topic, _), facts in () if group is None else group.places.items():
            lag[topic] = lag.get(topic, 0) + (facts.lag_records or 0)
        self._samples.append(
            _Sample(
                now,
                lag,
                0 if group is None else group.committed,
                history.letters_taken,
                {one.url: one.failed_transactions for one in processors if not one.error},
                {one.url: one.events for one in processors if not one.error},
                {one.url: one.duplicates for one in processors if not one.error},
            )
        )
        while now - self._samples[0].ts > _KEPT_MICROS:
            self._samples.popleft()

    def _then(self, now: int, micros: int) -> _Sample:
        """The oldest sample that is not older than so much."""
        return next((sample for sample in self._samples if now - sample.ts <= micros), self._samples[-1])

    def _holding(
        self, now: int, history: History, group: GroupFacts | None, processors: tuple[ProcessorFacts, ...]
    ) -> Iterator[tuple[str, str]]:
        if group is not None:
            yield from self._of_group(now, group)
        yield from self._of_processors(now, processors)
        yield from self._of_records(now, history)

    def _of_group(self, now: int, group: GroupFacts) -> Iterator[tuple[str, str]]:
        if group.state == UNKNOWN:
            return
        if not group.members:
            yield "ArmstreamDown", f"No processor is in the group (it is {group.state}); no weights are learned."
            return
        without = [place for place in group.places if group.owner(place) is None]
        if without and group.state == "STABLE":
            named = ", ".join(f"{topic}:{number}" for topic, number in sorted(without)[:_NAMED])
            more = f" and {len(without) - _NAMED} more" if len(without) > _NAMED else ""
            yield "ArmstreamNotReady", f"Nobody owns {named}{more}: their bandits do not learn."
        last, then = self._samples[-1], self._then(now, 5 * _MINUTE)
        before = then.lag_records
        rising = [topic for topic, lag in last.lag_records.items() if lag > max(_LAG_RECORDS, before.get(topic, 0))]
        if rising:
            topic = rising[0]
            yield "ArmstreamLagRising", f"{topic}: {last.lag_records[topic]:,} records behind, and more each minute."
        then = self._then(now, 2 * _MINUTE)
        if (
            now - then.ts >= _MINUTE
            and then.committed == last.committed
            and all(sum(sample.lag_records.values()) > 0 for sample in self._samples if sample.ts >= then.ts)
        ):
            lag = sum(last.lag_records.values())
            seconds = (now - then.ts) // SECOND_MICROS
            yield "ArmstreamNoCommit", f"{lag:,} records wait, and nothing was committed for {seconds} s."

    def _of_processors(self, now: int, processors: tuple[ProcessorFacts, ...]) -> Iterator[tuple[str, str]]:
        down = [one.url for one in processors if one.error]
        if down:
            yield "ArmstreamTargetDown", f"{_named(down)} does not answer on /metrics."
        stuck = [one for one in processors if one.ready is False and one.restore_remaining_records > 0]
        if stuck:
            yield (
                "ArmstreamRestoreStuck",
                f"{stuck[0].url} restores, {stuck[0].restore_remaining_records:,} records to go.",
            )
        last, then = self._samples[-1], self._then(now, 10 * _MINUTE)
        failed = _more(then.failed, last.failed)
        worst = max(failed, key=lambda url: failed[url], default=None)
        if worst is not None and failed[worst] > 5:
            yield "ArmstreamTransactionsFailing", f"{worst}: {failed[worst]} transactions failed in 10 minutes."
        events = sum(_more(then.events, last.events).values())
        duplicates = sum(_more(then.duplicates, last.duplicates).values())
        if duplicates > 10 and duplicates > 0.05 * events > 0:
            yield "ArmstreamDuplicates", f"{duplicates / events:.0%} of the input is known already."
        for one in processors:
            window, setting = one.dedupe_window_seconds, one.dedupe_window_setting_seconds
            if window is not None and setting is not None and window < setting:
                text = f"{one.url}: duplicates are known for {window:,.0f} s only, not {setting:,.0f}."
                yield "ArmstreamMemoryFull", text
                break

    def _of_records(self, now: int, history: History) -> Iterator[tuple[str, str]]:
        lately = history.letters_lately(now)
        lately.pop("SKIPPED", None)  # somebody's own decision
        if lately:
            named = ", ".join(f"{count} {name}" for name, count in lately.most_common())
            yield "ArmstreamDeadLetters", f"Dead letters of the last 15 minutes: {named}."
        last, then = self._samples[-1], self._then(now, 5 * _MINUTE)
        letters, records = last.letters - then.letters, last.committed - then.committed
        if records > 0 and letters > 0.01 * records:
            yield "ArmstreamManyDeadLetters", f"{letters / records:.1%} of the input become dead letters."
        clipped, count = history.clipped_lately(now)
        if count > 100 and clipped > 0.2 * count:
            yield "ArmstreamRewardsClipped", f"{clipped / count:.0%} of the last hour's rewards are clipped."
        unfit = [
            f"{bandit.bandit_id} {share:.1%}"
            for bandit in history.bandits.values()
            if len(bandit.clipped) == CLIPPED_REWARDS
            and (share := bandit.clipped_share) is not None
            and not 0.01 <= share <= 0.2
        ]
        if unfit:
            should = f"Clipped of the last {CLIPPED_REWARDS} rewards, and 1 % to 20 % should be"
            yield "ArmstreamBoundUnfit", f"{should}: {_named(unfit)}."


def _more(then: dict[str, int], last: dict[str, int]) -> dict[str, int]:
    """By how much each processor's count grew; one that began anew counts from there."""
    return {url: max(count - then.get(url, count), 0) for url, count in last.items()}


def rules(*, has_processors: bool) -> list[RuleView]:
    """What is looked at; five need the processors' metrics."""
    return [
        RuleView(name, rule.severity, rule.looks_for, has_processors or name not in _OF_PROCESSORS)
        for name, rule in RULES.items()
    ]


def _named(found: list[str]) -> str:
    return ", ".join(found[:_NAMED]) + (f" and {len(found) - _NAMED} more" if len(found) > _NAMED else "")
