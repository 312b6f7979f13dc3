/** Two bandits, or two arms, side by side. Law: both stand on one axis of time and one of value. */

import { ruleOf } from "./bandits.js";
import { box, card, readBandit } from "./bandit.js";
import { LinesChart, WeightsChart, gapsOf, spanning } from "./charts.js";
import { csvButton, isoTime } from "./csv.js";
import { el, name, number, show, table } from "./elements.js";
import { bps, digitsFor, fixed, known, percent, signed } from "./format.js";
import { ranges } from "./ranges.js";

const AGAIN_MS = 10_000;

export function openCompare(feed, main, parameters) {
  return new Compare(feed, main, parameters);
}

class Compare {
  constructor(feed, main, { a, arm_a: armA, b, arm_b: armB }) {
    Object.assign(this, { feed, title: "Compare", isClosed: false, readAt: 0 });
    this.sides = [
      { id: a ?? "", arm: armA ?? "", tone: "first" },
      { id: b ?? "", arm: armB ?? "", tone: "second" },
    ];
    this.sides.forEach((side, index) => this.chooser(side, index));
    this.names = el("datalist", { id: "bandits" });
    this.note = el("div", { class: "empty" });
    this.says = el("p", { class: "says", "aria-live": "off" });
    this.facts = table(
      "Side by side",
      [{ title: "" }, { title: "A", number: true }, { title: "B", number: true }, { title: "A less B", number: true }],
      { class: "facts-table" },
    );
    this.above = new LinesChart("Earned above uniform", "Net, cumulative, bps; bands: 95 % intervals");
    this.earned = new LinesChart("Earned", "Net, cumulative, bps");
    this.weight = new LinesChart("Weight", "Share of the bandit", { unit: "share" });
    this.stacks = this.sides.map(
      (side) => new WeightsChart(`Weights of ${side.tone === "first" ? "A" : "B"}`, "Share of each arm"),
    );
    this.charts = [this.above, this.earned, this.weight, ...this.stacks];
    this.weightCard = card(this.weight.element);
    this.stackCards = this.stacks.map((chart) => card(chart.element));
    this.body = el(
      "div",
      { hidden: true },
      this.says,
      ranges(this.charts),
      el("div", { class: "grid two" }, card(this.earned.element), (this.aboveCard = card(this.above.element))),
      this.weightCard,
      el("div", { class: "grid two" }, ...this.stackCards),
      box("Side by side", null, this.facts.element),
    );
    main.replaceChildren(
      el("h1", { class: "unseen" }, "Compare"),
      this.names,
      el(
        "div",
        { class: "versus" },
        this.sides[0].element,
        el("span", { class: "dim", "aria-hidden": "true" }, "against"),
        this.sides[1].element,
        el("span", { class: "right" }, (this.csv = csvButton("CSV", "armstream-compare.csv", () => this.rows()))),
      ),
      this.note,
      this.body,
    );
    this.listNames();
    if (feed.pulse) this.read();
    scrollTo(0, 0);
  }

  chooser(side, index) {
    const letter = "AB"[index];
    side.input = el("input", {
      type: "text",
      list: "bandits",
      value: side.id,
      placeholder: "Bandit",
      autocomplete: "off",
      spellcheck: "false",
      "aria-label": `Bandit ${letter}`,
      onchange: () => this.choose(side, side.input.value.trim(), ""),
    });
    side.arms = el("select", {
      "aria-label": `Bandit or model of ${letter}`,
      onchange: () => this.choose(side, side.id, side.arms.value),
    });
    side.element = el(
      "div",
      { class: "side" },
      el("b", { class: `letter tone-${side.tone}` }, letter),
      side.input,
      el("label", {}, el("span", { class: "dim" }, "bandit or model"), " ", side.arms),
    );
  }

  listNames() {
    const ids = [...this.feed.rows.keys()].sort();
    const key = ids.join("\n");
    if (key === this.namesKey) return;
    this.namesKey = key;
    this.names.replaceChildren(...ids.map((id) => el("option", { value: id })));
    if (!this.sides[0].id && ids.length)
      [this.sides[0].id, this.sides[1].id] = [ids[0], this.sides[1].id || ids[1] || ids[0]];
    else if (!this.sides[1].id && ids.length) this.sides[1].id = ids.find((id) => id !== this.sides[0].id) ?? ids[0];
    for (const side of this.sides) this.listArms(side);
  }

  listArms(side) {
    if (document.activeElement !== side.input) side.input.value = side.id;
    const arms = this.feed.rows.get(side.id)?.arms ?? [];
    side.arms.replaceChildren(
      el("option", { value: "" }, "the whole bandit"),
      ...arms.map((arm) => el("option", { value: arm }, arm)),
    );
    side.arms.value = arms.includes(side.arm) ? side.arm : "";
  }

  choose(side, id, arm) {
    Object.assign(side, { id, arm });
    this.listArms(side);
    const [a, b] = this.sides;
    const query = new URLSearchParams({
      a: a.id,
      ...(a.arm && { arm_a: a.arm }),
      b: b.id,
      ...(b.arm && { arm_b: b.arm }),
    });
    history.replaceState(null, "", `#/compare?${query}`);
    this.read();
  }

  close() {
    this.isClosed = true;
    this.charts.forEach((chart) => chart.close());
  }

  update(kind) {
    if (kind === "snapshot" || kind === "rows" || kind === "gone") this.listNames();
    if (kind === "snapshot" || (kind === "pulse" && performance.now() - this.readAt > AGAIN_MS)) this.read();
  }

  async read() {
    this.readAt = performance.now();
    if (!this.sides.every(({ id }) => id)) {
      return this.say(
        "Nothing to compare yet",
        this.feed.rows.size
          ? "Choose two bandits, or two arms, above."
          : "There is no bandit yet. One is made by its first fill.",
      );
    }
    const wanted = this.sides.map(({ id, arm }) => `${id}\n${arm}`).join("\n");
    try {
      const wholes = await Promise.all(this.sides.map(({ id }) => readBandit(id)));
      if (this.isClosed || wanted !== this.sides.map(({ id, arm }) => `${id}\n${arm}`).join("\n")) return;
      this.sides.forEach((side, index) => (side.whole = wholes[index]));
      show(this.note, false);
      show(this.body, true);
      this.write();
    } catch (error) {
      if (!this.isClosed && this.body.hidden) {
        this.say(
          "Nothing to show",
          error.name === "TimeoutError" || error instanceof TypeError
            ? "The server does not answer. The page asks again."
            : error.message,
        );
      }
    }
  }

  say(title, text) {
    this.note.replaceChildren(el("h2", {}, title), el("p", {}, text));
    show(this.note, true);
    show(this.body, false);
  }

  write() {
    const lines = this.sides.map((side, index) => ({ ...side, letter: "AB"[index], of: of(side) }));
    const drawn = (values) => joined(lines.map((line) => ({ ts: values(line.of).ts, values: values(line.of).values })));
    const all = this.sides.flatMap(({ whole }) => [...whole.weights.ts, ...whole.reward.ts]);
    const gaps = gapsOf(all);
    const [from, to] = [Math.min(...all), Math.max(...all)];
    const named = (one) => `${one.letter} ${one.arm || one.id}`;
    const earned = drawn(({ earned: values, ts }) => ({ ts, values: [values] }));
    this.earned.set({
      ts: earned.ts,
      gaps,
      lines: lines.map((line, index) => ({ name: named(line), tone: line.tone, values: earned.sides[index][0] })),
    });
    const isArms = lines.some(({ arm }) => arm);
    [this.aboveCard, this.weightCard].forEach((element, index) => show(element, index === 0 ? !isArms : isArms));
    this.stackCards.forEach((element) => show(element, !isArms));
    if (isArms) {
      const weights = drawn(({ weight, weight_ts: ts }) => ({ ts, values: [weight] }));
      this.weight.set({
        ts: weights.ts,
        gaps,
        lines: lines
          .map((line, index) => ({ name: named(line), tone: line.tone, values: weights.sides[index][0] }))
          .filter(({ values }) => values.some(known)),
      });
    } else {
      const above = drawn(({ above: part, ts }) => ({ ts, values: [part.bps, part.low, part.high] }));
      this.above.set({
        ts: above.ts,
        gaps,
        lines: lines.map((line, index) => {
          const [values, low, high] = above.sides[index];
          return { name: named(line), tone: line.tone, values, low, high };
        }),
      });
      this.stacks.forEach((chart, index) =>
        chart.set({
          arms: this.sides[index].whole.weights.arms,
          marks: this.sides[index].whole.marks,
          gaps,
          ...spanning(this.sides[index].whole.weights, from, to),
        }),
      );
    }
    this.says.replaceChildren(...verdictOf(lines));
    this.writeFacts(lines);
  }

  writeFacts(lines) {
    const rows = facts(lines).filter(({ values }) => values.some((value) => value !== null && value !== undefined));
    this.facts.element.tHead.rows[0].cells[1].replaceChildren("A ", name(lines[0].arm || lines[0].id));
    this.facts.element.tHead.rows[0].cells[2].replaceChildren("B ", name(lines[1].arm || lines[1].id));
    this.facts.body.replaceChildren(
      ...rows.map(({ title, values, text, difference }) =>
        el(
          "tr",
          {},
          el("th", { scope: "row" }, title),
          ...values.map((value, index) => labelled("AB"[index], text(value))),
          labelled("A less B", difference && values.every(known) ? difference(values[0] - values[1]) : ""),
        ),
      ),
    );
  }

  rows() {
    const lines = this.sides
      .filter(({ whole }) => whole)
      .map((side, index) => ({ ...side, letter: "AB"[index], of: of(side) }));
    return [
      ["side", "bandit_id", "arm", "ts_utc", "earned_cumulative_bps", "above_uniform_bps", "low_bps", "high_bps"],
      ...lines.flatMap(({ letter, id, arm, of: side }) =>
        side.ts.map((ts, at) => [
          letter,
          id,
          arm,
          isoTime(ts),
          side.earned[at],
          ...(arm ? ["", "", ""] : [side.above.bps[at], side.above.low[at], side.above.high[at]]),
        ]),
      ),
    ];
  }
}

/** One side's series: of the whole bandit, or of one of its arms. */
function of({ whole, arm }) {
  const { reward, weights } = whole;
  const at = reward.by_arm.names.indexOf(arm);
  return {
    ts: reward.ts,
    earned: arm ? (reward.by_arm.series[at] ?? reward.ts.map(() => null)) : reward.cumulative_bps,
    above: reward.above_uniform ?? { bps: [], low: [], high: [] },
    weight_ts: weights.ts,
    weight: weights.series[weights.arms.indexOf(arm)] ?? [],
  };
}

/** A number with the heading of its column, which a phone shows beside it. */
function labelled(heading, text) {
  const cell = number(text);
  cell.dataset.of = heading;
  return cell;
}

/** Which side earned more a trade, and whether that can be told from chance, in a sentence. */
function verdictOf(lines) {
  const isArms = lines.some(({ arm }) => arm);
  const means = lines.map(({ whole, arm }) => {
    const one = whole.arms.find(({ name: named }) => named === arm);
    return arm ? (one?.mean_bps ?? null) : whole.row.ever.count ? whole.row.ever.mean_bps : null;
  });
  if (!means.every(known)) return ["One side has earned nothing yet: there is nothing to compare."];
  const [better, worse] = means[0] >= means[1] ? [0, 1] : [1, 0];
  const more = means[better] - means[worse];
  const side = (index) => el("span", {}, `${"AB"[index]} (`, el("bdi", {}, lines[index].arm || lines[index].id), ")");
  const earns = fixed(more, 1) === "0.0" ? [`A and B earn the same a trade`] : [side(better), ` earns ${fixed(more, 1)} bps a trade more than `, side(worse)];
  const pair = isArms
    ? lines.map(({ whole, arm }) => {
        const one = whole.arms.find(({ name: named }) => named === arm);
        return one && known(one.error_bps) ? [one.mean_bps, one.error_bps] : null;
      })
    : lines.map(({ whole }) =>
        whole.row.above_uniform
          ? [whole.row.above_uniform.per_trade_bps, whole.row.above_uniform.per_trade_error_bps]
          : null,
      );
  const what = isArms ? "their rewards" : "their advantages over uniform";
  if (!pair.every(Boolean)) return [el("b", {}, ...earns), `; ${what} cannot be compared yet.`];
  const difference = pair[0][0] - pair[1][0];
  const within = Math.hypot(pair[0][1], pair[1][1]);
  const digits = digitsFor(within);
  const numbers = `${fixed(Math.abs(difference), digits)} ± ${fixed(within, digits)}`;
  const isTold = Math.abs(difference) > within;
  return [
    el("b", {}, ...earns),
    isTold
      ? isArms
        ? `; that is beyond chance (${numbers}).`
        : `; ${"AB"[difference > 0 ? 0 : 1]} has the larger advantage over uniform (by ${numbers}).`
      : `; ${what} are not told apart (${numbers}).`,
  ];
}

/** Series of different times on one axis: each holds its last value until its next. */
function joined(sides) {
  const ts = [...new Set(sides.flatMap((side) => side.ts))].sort((a, b) => a - b);
  return {
    ts,
    sides: sides.map((side) =>
      side.values.map((values) => {
        let at = -1;
        return ts.map((time) => {
          while (at + 1 < side.ts.length && side.ts[at + 1] <= time) at++;
          return at < 0 ? null : (values?.[at] ?? null);
        });
      }),
    ),
  };
}

const error = (value) => fixed(value, digitsFor(value));

/** The error of a difference of two bandits, whose draws are independent. */
const both = (errors) => (errors.every(known) ? ` ± ${error(Math.hypot(...errors))}` : "");

function facts(lines) {
  const isArms = lines.some(({ arm }) => arm);
  const row = (value) =>
    lines.map(({ whole, arm }) => value(whole.row, whole.arms.find((one) => one.name === arm) ?? {}, arm));
  const line = (title, value, text, difference) => ({ title, values: row(value), text, difference });
  const share = (value) => `${signed(value * 100, 1)}\u202f%`;
  const plain = (value) => value ?? "—";
  return [
    line("Rule", (whole) => ruleOf(whole), plain),
    line(
      "Trades",
      (whole, arm, named) => (named ? arm.pulls : whole.ever.count),
      (value) => fixed(value),
      (value) => signed(value, 0),
    ),
    line("Reward a trade, bps", (whole, arm, named) => (named ? arm.mean_bps : whole.ever.mean_bps), bps, bps),
    ...(isArms
      ? [
          line("± of it (95 %), bps", (_, arm) => arm.error_bps, error),
          line(
            "Weight now",
            (_, arm, named) => (named ? arm.weight : null),
            (value) => percent(value, 1),
            share,
          ),
          line(
            "Probability now",
            (_, arm, named) => (named ? arm.probability : null),
            (value) => percent(value, 1),
            share,
          ),
          line(
            "Effective sample",
            (whole, arm, named) => (named ? arm.effective_sample : whole.above_uniform?.effective_sample),
            (value) => fixed(value),
          ),
        ]
      : [
          line("Last day, bps a trade", (whole) => (whole.day.count ? whole.day.mean_bps : null), bps, bps),
          line(
            "Above uniform, bps a trade",
            (whole) => whole.above_uniform?.per_trade_bps,
            bps,
            (value) => bps(value) + both(row((whole) => whole.above_uniform?.per_trade_error_bps)),
          ),
          line("± of it (95 %)", (whole) => whole.above_uniform?.per_trade_error_bps, error),
          line("Above uniform in all, bps", (whole) => whole.above_uniform?.cumulative_bps, bps, bps),
          line("Above base, bps a trade", (whole) => whole.above_base?.per_trade_bps, bps, bps),
          line(
            "Models in use",
            (whole) => whole.effective_models,
            (value) => fixed(value, 1),
            (value) => signed(value, 1),
          ),
          line(
            "Bound, bps",
            (whole) => whole.bound_bps,
            (value) => fixed(value, 1),
            (value) => signed(value, 1),
          ),
          line(
            "Clipped",
            (whole) => whole.clipped_share,
            (value) => percent(value, 1),
            share,
          ),
        ]),
  ];
}
