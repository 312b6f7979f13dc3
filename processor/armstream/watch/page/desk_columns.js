/** What a row of the desk has, and by what rows are chosen. Law: a column says how its number came about. */

import { clippedOften, heaviest } from "./bandits.js";
import { el } from "./elements.js";
import { GLYPHS, verdict } from "./format.js";

/** When a bandit changed last. */
export const change = (row) => row.last_change?.ts ?? row.ts;
export const COLUMNS = [
  { key: "bandit_id", title: "Bandit", value: (row) => row.bandit_id, kind: "bandit" },
  {
    key: "weights",
    title: "Weights now",
    value: (row) => heaviest(row)[0]?.[1],
    kind: "weights",
    falling: true,
    hint: "What each arm's probability comes from. Sorts by the heaviest arm's weight.",
  },
  { key: "spark", title: "Over time", kind: "spark" },
  {
    key: "effective_models",
    title: "In use",
    value: (row) => row.effective_models,
    kind: "number use",
    hint: "Effective number of models: 1 / sum of squared weights. Near 1: one arm has nearly all",
  },
  {
    key: "above_uniform",
    title: "Above uniform, bps",
    value: (row) => row.above_uniform?.per_trade_bps,
    kind: "number uniform",
    falling: true,
    hint: "What was earned less what equal weights would have earned, net, a trade, with its 95 % interval",
  },
  {
    key: "above_base",
    title: "Above base, bps",
    value: (row) => row.above_base?.per_trade_bps,
    kind: "number base",
    falling: true,
    hint: "The same against the base weights that a setting names",
  },
  {
    key: "day",
    title: "Reward, bps",
    value: (row) => (row.day?.count ? row.day.mean_bps : null),
    kind: "number reward",
    falling: true,
    hint: "Net reward a trade: of the last day, and ever. Sorts by the last day's.",
  },
  {
    key: "clipped_share",
    title: "Bound, bps",
    value: (row) => row.clipped_share,
    kind: "number bound",
    falling: true,
    hint: "Rewards beyond the bound are clipped to it. Clipped: of the last 500 learned from. Sorts by that share.",
  },
  {
    key: "last_change",
    title: "Last change",
    value: change,
    kind: "change",
    falling: true,
    hint: "The arm whose weight moved most, and the close or command that moved it. Sorts by when",
  },
];
export const SHOWN = [
  ["all", "All", () => true],
  ["above", `${GLYPHS.above} Above uniform`, (row) => verdict(row.above_uniform) === "above"],
  ["even", `${GLYPHS.even} Not told apart`, (row) => verdict(row.above_uniform) === "even"],
  ["below", `${GLYPHS.below} Below uniform`, (row) => verdict(row.above_uniform) === "below"],
  ["none", "No estimate", (row) => verdict(row.above_uniform) === "none"],
  ["warming", "Warming", (row) => row.phase === "WARMING"],
  ["paused", "Paused", (row) => row.paused],
  ["clipped", "Clipped often", clippedOften],
];
export const HINTS = {
  all: "Every bandit",
  above: "The 95 % interval lies above 0: learning earns more than equal weights would",
  even: "0 lies within the 95 % interval: the difference is within what chance gives",
  below: "The 95 % interval lies below 0: learning earns less than equal weights would",
  none: "Too few trades yet, or no propensity is known",
  warming: "Too little was learned yet to be blended in",
  paused: "An operator paused them: rewards are withheld",
  clipped: "More than 20 % of the rewards were beyond the bound",
};
/** What the columns mean, for who sees the page for the first time. */
export function howToRead() {
  const terms = [
    ["Weights now", "How much each arm counts. The longer its part of the bar, the more often it is drawn."],
    ["In use", "The effective number of models: 1 / sum of squared weights. Near 1: one arm has nearly all."],
    [
      "Above uniform",
      "What was earned more, net of costs, than equal weights on the same trades would have earned. " +
        "± is a 95 % interval. ▲ and ▼: it does not reach 0. ≈: it does, so the difference may be chance. " +
        "An arrow at the end of a bar: it goes on beyond the scale. " +
        "Of forty bandits that do not differ from uniform, one shows ▲ and one ▼ by chance.",
    ],
    ["Above base", "The same against the desk's own fixed weights, where a setting names them."],
    [
      "Bound",
      "Rewards beyond it are clipped to it. Clipped is the share of the last 500 rewards that it learned from. " +
        "More than 20 %: the bound is too small.",
    ],
    ["Last change", "The arm whose weight moved most, and what a close earned or lost, a trade."],
    ["Blended in", "How much of the learned weights engines get; the rest are the base weights, or equal ones."],
    ["Warming", "Too little was learned yet. Engines get the base weights, or equal ones, until it is LIVE."],
  ];
  return el(
    "details",
    { class: "how" },
    el("summary", {}, "How to read this"),
    el("dl", {}, ...terms.flatMap(([term, text]) => [el("dt", {}, term), el("dd", {}, text)])),
  );
}
