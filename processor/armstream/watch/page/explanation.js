/** Why one version moved the weights. Law: what the record itself says stands at once; the rest is asked for. */

import { cell, el, name, number, table } from "./elements.js";
import { bps, dayClockUtc, fixed, known, percent, price } from "./format.js";
import { armClass } from "./palette.js";

const ANSWER_MS = 60_000;

/** Fills `place` with the record, then with what the server derives from the log. */
export async function explanation(place, id, reward) {
  const more = el(
    "div",
    { class: "more", role: "status" },
    el("p", { class: "dim" }, "Reading its fill and close from the log …"),
  );
  place.replaceChildren(el("div", { class: "explanation" }, recorded(reward), more));
  try {
    const query = new URLSearchParams({ id, version: reward.version });
    const answer = await fetch(`explain?${query}`, { signal: AbortSignal.timeout(ANSWER_MS) });
    if (!answer.ok) throw new Error((await answer.text()).slice(0, 500) || `The server answered ${answer.status}.`);
    more.replaceChildren(...explained(await answer.json(), reward.version));
  } catch (error) {
    const text =
      error.name === "TimeoutError" || error instanceof TypeError ? "The server does not answer." : error.message;
    more.replaceChildren(
      el("p", { class: "warn" }, text),
      el(
        "p",
        {},
        "The same in a terminal: ",
        el("code", {}, `armstream explain ${quoted(id)} --version ${reward.version}`),
      ),
    );
  }
}

const quoted = (text) => (/^[\w.:/-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`);

/** The audit record in words. */
function recorded(reward) {
  const arms = table("Arms of the reward", [
    { title: "Arm" },
    { title: "Share", number: true },
    { title: "Propensity", number: true },
    { title: "Estimate", number: true },
    { title: "Weight", number: true },
  ]);
  const moves = new Map((reward.moved ?? []).map((move) => [move.name, move]));
  const names = [...new Set([...reward.arms.map((arm) => arm.name), ...moves.keys()])];
  arms.body.append(
    ...names.map((arm) => {
      const part = reward.arms.find((one) => one.name === arm);
      const move = moves.get(arm);
      return el(
        "tr",
        {},
        el("th", { scope: "row" }, el("i", { class: `swatch ${armClass(arm)}` }), name(arm)),
        number(percent(part?.share)),
        number(fixed(part?.propensity, 3)),
        number(fixed(part?.estimate, 4)),
        number(move ? `${percent(move.before, 2)} → ${percent(move.after, 2)}` : "—"),
      );
    }),
  );
  return el(
    "div",
    { class: "recorded" },
    el("p", {}, el("b", {}, `Version ${fixed(reward.version)}`), ` · ${dayClockUtc(reward.ts)}`),
    reward.applied ? null : el("p", { class: "warn" }, `Withheld from the learner: ${reward.detail}`),
    arms.element,
    el(
      "dl",
      { class: "facts" },
      ...fact("Part of the decision", percent(reward.weight, 1)),
      ...fact("Counted", reward.counted ? "yes, as a decision" : "no: a later part of one"),
      ...fact("Learning rate", known(reward.eta) ? String(Number(reward.eta.toPrecision(5))) : "—"),
      ...fact("Propensity", SOURCES[reward.propensity_source] ?? "—"),
      ...fact("Position", reward.position_id),
      ...fact("Fill", reward.fill_event_id),
      ...fact("Close", reward.close_event_id),
      ...fact("Quantity", price(reward.quantity)),
    ),
  );
}

const SOURCES = { LOGGED: "as logged with the fill", CURRENT: "the current one: none was logged", NONE: "none" };
const fact = (title, value) => [el("dt", {}, title), el("dd", {}, el("bdi", {}, value))];

function explained(whole, version) {
  const parts = (whole.parts ?? []).filter((part) => (whole.parts.length === 1 ? true : part.version === version));
  return [
    ...parts.flatMap(partOf),
    whole.text ? el("p", { class: `result ${whole.result}` }, RESULTS[whole.result] ?? "", whole.text) : null,
    ...(whole.notes ?? []).map((note) => el("p", { class: "dim" }, note)),
  ].filter(Boolean);
}

const RESULTS = { agrees: "✓ ", differs: "✗ ", unchecked: "" };

function partOf(part) {
  return [
    el("p", { class: "text" }, part.text),
    part.missing ? el("p", { class: "warn" }, part.missing) : null,
    part.kind === "reward" ? trade(part) : null,
    part.kind === "reward" ? costs(part) : null,
    part.steps?.length ? formula(part.steps) : null,
  ].filter(Boolean);
}

function trade({ fill, close }) {
  if (!fill || !close) return null;
  return el(
    "p",
    {},
    el("b", {}, `${fill.side} ${price(fill.quantity)} `),
    name(fill.instrument_id),
    ` at ${[price(fill.price), fill.currency].filter(Boolean).join(" ")}, ${dayClockUtc(fill.ts)}; `,
    `closed ${price(close.quantity)} at ${price(close.price)}, ${dayClockUtc(close.ts)}.`,
  );
}

function costs(part) {
  const lines = [
    ["Gross", part.gross_bps],
    ["Fees of the fill", part.fill_fees_bps],
    ["Fees of the close", part.close_fees_bps],
    ["Slippage", part.slippage_bps],
    ["Net", part.reward_bps],
  ].filter(([, value]) => known(value));
  if (lines.length < 2) return null;
  return el(
    "dl",
    { class: "costs" },
    ...lines.map(([title, value]) =>
      el(
        "div",
        {},
        el("dt", {}, title),
        el("dd", { class: title === "Net" ? (value < 0 ? "bad" : "good") : null }, `${bps(value)} bps`),
      ),
    ),
  );
}

function formula(steps) {
  const lines = table(
    "The formula with its numbers",
    [{ title: "" }, { title: "Formula" }, { title: "With the numbers" }, { title: "Is", number: true }],
    { class: "formula" },
  );
  lines.body.append(
    ...steps.map((step) =>
      el(
        "tr",
        {},
        el("th", { scope: "row" }, el("bdi", {}, step.name)),
        cell(el("code", {}, step.formula)),
        cell(el("code", {}, step.numbers)),
        number([typeof step.value === "number" ? digits(step.value) : (step.value ?? "—"), step.unit].join(" ").trim()),
      ),
    ),
  );
  return lines.element;
}

/** Five digits behind the point, without the zeros at the end; tiny and huge ones by powers of ten. */
const digits = (value) =>
  value === 0 || (Math.abs(value) >= 1e-4 && Math.abs(value) < 1e6)
    ? fixed(value, 5).replace(/\.?0+$/, "")
    : value.toExponential(3);
