/** What is said of one bandit in any view. Law: a verdict needs an interval, and an unknown is not a zero. */

import { attribute, el, svg, write } from "./elements.js";
import { GLYPHS, bps, digitsFor, fixed, known, percent, plural, signed, verdict } from "./format.js";
import { armClass } from "./palette.js";

export const CLIPPED_OFTEN = 0.2; // as the alert ArmstreamRewardsClipped

export const addressOf = (id) => `#/bandit/${encodeURIComponent(id)}`;

/** The rule as a person says it: exp3ix with both estimators has a name for each. */
export const ruleOf = (row) => [row.rule, row.estimator].filter(Boolean).join(" · ") || "no weights were published yet";

/** Arms from the heaviest on: [[name, weight]]. */
export const heaviest = (row) =>
  row.arms.map((arm, index) => [arm, row.weights[index]]).sort((a, b) => (b[1] ?? 0) - (a[1] ?? 0));

export const weightsInWords = (row) =>
  heaviest(row)
    .map(([arm, weight]) => `${arm} ${percent(weight)}`)
    .join(", ");

export function warmingText(row) {
  const needed = row.warm_start_steps;
  return needed ? `warming ${fixed(row.steps)} of ${fixed(needed)}` : "warming";
}

/** The states that are worth a word: WARMING, PAUSED, clipped often. */
export function pills(row) {
  return [
    row.phase === "WARMING"
      ? el("span", { class: "pill warming", title: "Too little was learned yet to be blended in" }, warmingText(row))
      : null,
    row.paused
      ? el("span", { class: "pill paused", title: "An operator paused it: rewards are withheld" }, "paused")
      : null,
  ].filter(Boolean);
}

/** Weights now, as one bar. */
export class Bar {
  constructor() {
    this.element = el("div", { class: "bar", role: "img" });
  }

  set(row) {
    const key = row.arms.join("\n");
    if (key !== this.key) {
      this.key = key;
      this.element.replaceChildren(...row.arms.map((arm) => el("span", { class: armClass(arm), title: arm })));
    }
    row.weights.forEach((weight, index) => {
      const part = this.element.children[index];
      const width = `${((weight ?? 0) * 100).toFixed(1)}%`;
      if (part && part.style.width !== width) part.style.width = width;
    });
    attribute(this.element, "aria-label", `Weights: ${row.arms.length ? weightsInWords(row) : "none yet"}`);
  }
}

/** An interval a trade on a scale that all rows share; 0 is in the middle. */
export class IntervalMark {
  constructor() {
    this.band = svg("rect", { y: 5, height: 6, rx: 1 });
    this.middle = svg("rect", { y: 2, height: 12, width: 2 });
    this.element = svg(
      "svg",
      { class: "interval", viewBox: "0 0 96 16", width: 96, height: 16, "aria-hidden": "true" },
      svg("line", { x1: 48, x2: 48, y1: 0, y2: 16 }),
      this.band,
      this.middle,
      (this.less = svg("path", { class: "beyond", d: "M7 3 L0 8 L7 13 Z" })),
      (this.more = svg("path", { class: "beyond", d: "M89 3 L96 8 L89 13 Z" })),
    );
  }

  set(interval, reach) {
    const isKnown = interval && known(interval.per_trade_bps) && known(interval.per_trade_error_bps);
    attribute(this.element, "class", `interval ${verdict(interval)}${isKnown ? "" : " unknown"}`);
    if (!isKnown) return;
    const x = (value) => 48 + 48 * Math.max(-1, Math.min(1, value / reach));
    const [from, to] = [-1, 1].map((side) => interval.per_trade_bps + side * interval.per_trade_error_bps);
    const [low, high] = [x(from), x(to)];
    attribute(this.less, "visibility", from < -reach ? null : "hidden");
    attribute(this.more, "visibility", to > reach ? null : "hidden");
    attribute(this.middle, "visibility", Math.abs(interval.per_trade_bps) > reach ? "hidden" : null);
    attribute(this.band, "x", low.toFixed(1));
    attribute(this.band, "width", Math.max(1, high - low).toFixed(1));
    attribute(this.middle, "x", (x(interval.per_trade_bps) - 1).toFixed(1));
  }
}

/** "▲ +0.62 ± 0.14", with the verdict as a word for who sees no colour. */
export class Above {
  constructor() {
    this.glyph = el("span", { class: "glyph", "aria-hidden": "true" });
    this.value = el("b");
    this.error = el("span", { class: "error" });
    this.word = el("span", { class: "unseen" });
    this.element = el("span", { class: "earned" }, this.glyph, this.value, this.error, this.word);
  }

  set(interval) {
    const says = verdict(interval);
    attribute(this.element, "class", `earned ${says}`);
    write(this.glyph, interval ? GLYPHS[says] : "");
    const digits = digitsFor(interval?.per_trade_error_bps);
    write(this.value, interval ? signed(interval.per_trade_bps, digits) : "—");
    write(
      this.error,
      interval && known(interval.per_trade_error_bps) ? ` ± ${fixed(interval.per_trade_error_bps, digits)}` : "",
    );
    write(this.word, ` ${VERDICTS[says]}`);
  }
}

export const VERDICTS = {
  above: "above",
  below: "below",
  even: "cannot be told apart from chance",
  none: "no estimate yet",
};

/** What learning earned over another way of choosing, in one sentence for a desk head. */
export function verdictSentence(interval, other, isShort = false) {
  if (!interval) return [`Nothing can be said yet about learning against ${other}.`, "none"];
  const says = verdict(interval);
  const over = isShort ? "" : ` over ${plural(interval.trades, "trade")}`;
  const digits = digitsFor(interval.per_trade_error_bps);
  const error = fixed(interval.per_trade_error_bps, digits);
  const number = `${signed(interval.per_trade_bps, digits)} ± ${error} bps a trade`;
  if (says === "above") return [`Learning earns more than ${other}: ${number}${over}.`, says];
  if (says === "below") return [`Learning earns less than ${other}: ${number}${over}.`, says];
  if (says === "none") return [`Too little is known yet about learning against ${other}${over}.`, says];
  return [`Learning cannot be told apart from ${other} yet: ${number}${over}.`, says];
}

/** Who leads, and since when by the weights that are known: {arm, ts, isWhole} where it led all the time. */
export function leaderOf({ ts, arms, series }) {
  const leads = (at) => {
    const most = Math.max(...series.map((values) => values[at] ?? -1));
    return series.findIndex((values) => values[at] === most);
  };
  if (!ts.length || !arms.length) return null;
  const arm = leads(ts.length - 1);
  let first = ts.length - 1;
  while (first > 0 && leads(first - 1) === arm) first--;
  return { arm: arms[arm], ts: ts[first], isWhole: first === 0 };
}

export const closesOf = ({ closes }) => {
  const withheld = Object.entries(closes?.withheld ?? {}).sort((a, b) => b[1] - a[1]);
  const left = withheld.reduce((sum, [, count]) => sum + count, 0);
  return { learned: closes?.learned ?? 0, left, withheld, all: (closes?.learned ?? 0) + left };
};

/** "6,121 learned from + 80 withheld (warming up)" */
export function closesText(row) {
  const { learned, left, withheld } = closesOf(row);
  const why =
    withheld.length === 1
      ? withheld[0][0]
      : withheld.map(([reason, count]) => `${fixed(count)} ${reason}`).join(", ");
  return `${fixed(learned)} learned from${left ? ` + ${fixed(left)} withheld (${why})` : ""}`;
}

export const rewardText = (part) => (part?.count ? bps(part.mean_bps) : "—");
export const clippedOften = (row) => known(row.clipped_share) && row.clipped_share > CLIPPED_OFTEN;
