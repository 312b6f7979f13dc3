/** One bandit: what has weight, what it earned, and why it moved. Law: nothing moves away under who reads it. */

import { Bar, clippedOften, heaviest, pills, rewardText, ruleOf, verdictSentence } from "./bandits.js";
import { LinesChart, WeightsChart, spanning } from "./charts.js";
import { csvLink } from "./csv.js";
import { cell, el, figures, name, number, show, table, write } from "./elements.js";
import { explanation } from "./explanation.js";
import {
  GLYPHS,
  age,
  bps,
  clock,
  day,
  dayClock,
  dayClockUtc,
  digitsFor,
  fixed,
  known,
  percent,
  plural,
  prose,
  signed,
  verdict,
} from "./format.js";
import { armClass } from "./palette.js";
import { ranges } from "./ranges.js";

const AGAIN_MS = 5_000;
const ANSWER_MS = 20_000;
const FIRST_REWARDS = 15;
const FEW = "Nothing to draw yet: the first estimates come with more rewards.";

export function openBandit(feed, main, { id }) {
  return new Bandit(feed, main, id);
}

/** What the server keeps of one bandit. Throws an Error whose message says what to do. */
export async function readBandit(id) {
  const answer = await fetch(`bandit?${new URLSearchParams({ id })}`, { signal: AbortSignal.timeout(ANSWER_MS) });
  if (answer.status === 404)
    throw new Error("The server knows no bandit of this name. It may have been made under another one.");
  if (!answer.ok) throw new Error(`The server answered ${answer.status}: ${(await answer.text()).slice(0, 300)}`);
  return answer.json();
}

class Bandit {
  constructor(feed, main, id) {
    Object.assign(this, { feed, id, title: id, opened: new Map(), readAt: 0, version: null, isClosed: false });
    this.heading = el("h1", { tabindex: -1 }, name(id));
    this.states = el("span", { class: "pills" });
    this.rule = el("span", { class: "dim" });
    this.says = el("p", { class: "says", "aria-live": "off" });
    this.figures = el("div");
    this.bar = new Bar();
    this.note = el("div", { class: "empty" }, el("p", {}, "Reading its history …"));
    this.body = el("div", { hidden: true });
    main.replaceChildren(
      el(
        "div",
        { class: "bandit" },
        el(
          "div",
          { class: "trail" },
          el("a", { href: "#/desk", class: "quiet" }, "← Desk"),
          el("span", { class: "keys dim" }, "Esc"),
          el(
            "span",
            { class: "right" },
            el("a", { class: "quiet", href: `#/compare?a=${encodeURIComponent(id)}` }, "Compare"),
            csvLink("CSV: weights", { view: "bandit", id, of: "weights" }),
            csvLink("rewards", { view: "bandit", id, of: "rewards" }),
            csvLink("arms", { view: "bandit", id, of: "arms" }),
          ),
        ),
        el("div", { class: "heading" }, this.heading, this.states, this.rule),
        this.says,
        this.figures,
        this.note,
        this.body,
      ),
    );
    this.build();
    this.writeRow();
    if (feed.pulse) this.read();
    this.heading.focus({ preventScroll: true });
    scrollTo(0, 0);
  }

  build() {
    this.weights = new WeightsChart("Weights over time", "Share of each arm", { height: 250 });
    this.uniform = new LinesChart("Earned above uniform", "Net, cumulative, bps; band: 95 % interval");
    this.byArm = new LinesChart("Earned by arm", "Net, cumulative, bps of its trades");
    this.regret = new LinesChart("Estimated regret", "Cumulative, bps, against the best arm so far");
    this.charts = [this.weights, this.uniform, this.byArm, this.regret];
    this.arms = table(
      "Arms",
      [
        { title: "Arm" },
        { title: "Weight", number: true },
        { title: "Probability", number: true, wide: true },
        { title: "Drawn", number: true, hint: "Decisions for which it was drawn" },
        { title: "Reward, bps", number: true, hint: "Mean net reward a trade, with its 95 % interval" },
        {
          title: "Sample",
          number: true,
          wide: "widest",
          hint: "Effective sample: how many equally weighted trades this is worth",
        },
      ],
      { class: "arms" },
    );
    this.experts = table("Experts", [{ title: "Expert" }, { title: "Weight", number: true }], { class: "arms" });
    this.expertsBox = box("Experts", "EXP4: policies that advise; weights of the policies", this.experts.element);
    this.rewards = table(
      "Last rewards",
      [
        { title: "Time, UTC" },
        { title: "Version", number: true, wide: true },
        { title: "Reward, bps", number: true },
        { title: "Drawn" },
        {
          title: "Propensity",
          number: true,
          wide: true,
          hint: "The probability that the drawn arm had when the decision was made",
        },
        { title: "Moved most" },
        { title: "" },
      ],
      { class: "rewards" },
    );
    this.leftOut = el("p", { class: "note left-out", hidden: true });
    this.moreRows = el("button", { type: "button", class: "quiet more-rows", hidden: true });
    this.waits = el("p", { class: "note", hidden: true }, "Newer rewards wait while you read here.");
    this.rewardsBox = box(
      "Last rewards, and why the weights moved",
      "A reward is what one close realised of one fill, net of fees and slippage",
      this.waits,
      this.rewards.element,
      this.moreRows,
    );
    this.body.append(
      ranges(this.charts),
      el(
        "div",
        { class: "grid most-first" },
        card(this.weights.element),
        box("Arms", "Net reward a trade, with its 95 % interval", this.arms.element),
      ),
      el(
        "div",
        { class: "grid three" },
        card(this.uniform.element),
        card(this.byArm.element),
        card(this.regret.element),
      ),
      this.leftOut,
      this.expertsBox,
      this.rewardsBox,
    );
  }

  close() {
    this.isClosed = true;
    this.charts.forEach((chart) => chart.close());
  }

  update(kind, ids) {
    if (kind === "pulse") return this.tick();
    if (kind === "operate" || kind === "connection") return;
    if (kind === "gone" && ids.includes(this.id)) return this.refuse("The server does not keep this bandit any more.");
    if (kind === "snapshot") this.read();
    if (ids.includes(this.id)) this.writeRow();
    this.tick();
  }

  tick() {
    const row = this.feed.rows.get(this.id);
    if (this.changed && row) write(this.changed, age(row.last_change?.ts ?? row.ts, this.feed.now()));
    if (row && row.version !== this.version && performance.now() - this.readAt > AGAIN_MS) this.read();
  }

  async read() {
    this.readAt = performance.now();
    try {
      const whole = await readBandit(this.id);
      if (this.isClosed) return;
      this.version = whole.row.version;
      if (!this.feed.rows.has(this.id)) this.feed.rows.set(this.id, whole.row);
      this.writeRow();
      show(this.note, false);
      show(this.body, true);
      this.writeWhole(whole);
    } catch (error) {
      if (!this.isClosed)
        this.refuse(
          error.name === "TimeoutError" || error instanceof TypeError
            ? "The server does not answer. The page asks again; check that armstream watch runs."
            : error.message,
        );
    }
  }

  /** Says why there is nothing, or nothing newer; what stands is left. */
  refuse(text) {
    const isEmpty = this.body.hidden;
    this.note.className = isEmpty ? "empty" : "alert amber";
    this.note.replaceChildren(
      el("h2", {}, isEmpty ? "No history to show" : "Nothing newer"),
      el("p", {}, text),
      el("p", {}, el("a", { href: "#/desk" }, "Back to the desk")),
    );
    show(this.note, true);
  }

  /** What the stream says of it: live, without asking. */
  writeRow() {
    const row = this.feed.rows.get(this.id);
    if (!row) return;
    this.states.replaceChildren(...pills(row));
    write(this.rule, ruleOf(row));
    const [first, second] = heaviest(row);
    const [uniform, says] = verdictSentence(row.above_uniform, "uniform");
    this.says.replaceChildren(
      el("span", { class: `glyph ${says}`, "aria-hidden": "true" }, GLYPHS[says]),
      " ",
      el("b", {}, uniform),
      " ",
      row.above_base ? el("span", {}, verdictSentence(row.above_base, "base", true)[0], " ") : "",
      first
        ? el(
            "span",
            {},
            "Most weight: ",
            name(first[0]),
            ` ${percent(first[1])}`,
            second ? ", then " : ".",
            second ? name(second[0]) : "",
            second ? ` ${percent(second[1])}.` : "",
          )
        : "",
    );
    this.changed = el("span");
    this.figures.replaceChildren(
      this.bar.element,
      figures(
        [
          ["Above uniform, in all, bps", bps(row.above_uniform?.cumulative_bps), interval(row.above_uniform)],
          ...(row.above_base
            ? [["Above base, in all, bps", bps(row.above_base.cumulative_bps), interval(row.above_base)]]
            : []),
          ["Last day, bps a trade", rewardText(row.day), plural(row.day?.count ?? 0, "trade")],
          ["Ever, bps a trade", rewardText(row.ever), sinceText(row.ever)],
          ["Models in use", fixed(row.effective_models, 1), `of ${row.arms.length}`],
          [
            "Bound, bps",
            known(row.bound_bps) ? fixed(row.bound_bps, 1) : "not yet",
            known(row.clipped_share) ? `${percent(row.clipped_share, 1)} clipped` : "",
            clippedOften(row) ? "warn" : "",
          ],
          ["Blended in", percent(row.blend_alpha), "of learned weights"],
          ["Steps", fixed(row.steps), `version ${fixed(row.version)}`],
        ],
        "In numbers",
      ),
    );
    if (row.last_change) {
      this.says.append(
        el(
          "span",
          { class: "dim" },
          " Last change ",
          this.changed,
          ": ",
          el("bdi", {}, prose(row.last_change.text)),
          ".",
        ),
      );
    }
    this.bar.set(row);
    write(this.changed, age(row.last_change?.ts ?? row.ts, this.feed.now()));
  }

  writeWhole({ weights, marks, reward, arms, experts, rewards, not_estimated: left }) {
    const from = Math.min(...weights.ts.slice(0, 1), ...reward.ts.slice(0, 1));
    const to = Math.max(...weights.ts.slice(-1), ...reward.ts.slice(-1));
    this.weights.set({ arms: weights.arms, marks, ...spanning(weights, from, to) });
    const { ts } = spanning({ ts: reward.ts, series: [] }, from, to);
    const held = (...series) => spanning({ ts: reward.ts, series }, from, to).series;
    const above = (of, title, tone) => {
      const [values, low, high] = held(of.bps, of.low, of.high);
      return { name: title, tone, values, low, high };
    };
    this.uniform.set({
      ts,
      nothing: "No interval yet: it needs trades with a known propensity.",
      lines: [
        ...(reward.above_uniform ? [above(reward.above_uniform, "above uniform", "first")] : []),
        ...(reward.above_base ? [above(reward.above_base, "above base", "second")] : []),
      ],
    });
    this.byArm.set({
      ts,
      nothing: FEW,
      lines: inOrder(reward.by_arm.names, weights.arms).map((arm) => ({
        name: arm,
        arm,
        values: held(reward.by_arm.series[reward.by_arm.names.indexOf(arm)])[0],
      })),
    });
    this.regret.set({
      ts,
      nothing: FEW,
      lines: [{ name: "regret", tone: "first", values: held(reward.regret_bps)[0] }],
    });
    this.writeLeftOut(left ?? {});
    this.writeArms(arms);
    this.writeExperts(experts ?? []);
    this.writeRewards(rewards);
  }

  /** Which rewards no estimate can rest on, and why. */
  writeLeftOut(left) {
    const reasons = Object.entries(left)
      .filter(([, count]) => count > 0)
      .sort((a, b) => b[1] - a[1]);
    show(this.leftOut, reasons.length > 0);
    write(
      this.leftOut,
      `Not in the estimates: ${reasons.map(([why, count]) => `${plural(count, "reward")} (${why})`).join(", ")}.`,
    );
  }

  writeArms(arms) {
    this.arms.body.replaceChildren(
      ...[...arms]
        .sort((a, b) => (b.weight ?? 0) - (a.weight ?? 0))
        .map((arm) =>
          el(
            "tr",
            {},
            el("th", { scope: "row" }, el("i", { class: `swatch ${armClass(arm.name)}` }), name(arm.name)),
            number(percent(arm.weight, 1)),
            number(percent(arm.probability, 1), "wide"),
            number(fixed(arm.pulls)),
            el(
              "td",
              { class: "number" },
              el("span", { class: clearly(arm) }, signed(arm.mean_bps, digitsFor(arm.error_bps))),
              el(
                "span",
                { class: "error" },
                known(arm.error_bps) ? ` ± ${fixed(arm.error_bps, digitsFor(arm.error_bps))}` : "",
              ),
            ),
            number(fixed(arm.effective_sample), "widest"),
          ),
        ),
    );
  }

  writeExperts(experts) {
    show(this.expertsBox, experts.length > 0);
    this.experts.body.replaceChildren(
      ...[...experts]
        .sort((a, b) => b.weight - a.weight)
        .map((expert) =>
          el("tr", {}, el("th", { scope: "row" }, name(expert.name)), number(percent(expert.weight, 1))),
        ),
    );
  }

  writeRewards(rewards) {
    const newest = rewards[0]?.version;
    const isRead = this.opened.size > 0 || this.rewards.element.matches(":hover, :focus-within");
    show(this.waits, isRead && this.newest !== undefined && newest !== this.newest);
    if (isRead && this.newest !== undefined) return;
    this.newest = newest;
    const shown = rewards.slice(0, this.all ? rewards.length : FIRST_REWARDS);
    show(this.moreRows, rewards.length > shown.length);
    write(this.moreRows, `Show all ${rewards.length}`);
    this.moreRows.onclick = () => {
      this.all = true;
      this.rewards.body.append(
        ...rewards
          .slice(FIRST_REWARDS)
          .map((reward, index) => this.rewardRow(reward, rewards[FIRST_REWARDS + index - 1])),
      );
      show(this.moreRows, false);
    };
    this.rewards.body.replaceChildren(
      ...(rewards.length
        ? shown.map((reward, index) => this.rewardRow(reward, rewards[index - 1]))
        : [el("tr", {}, el("td", { colspan: 7, class: "nothing" }, "No reward yet: one comes with the first close."))]),
    );
  }

  /** `newer` is the one above it: rewards of one commit move the weights together. */
  rewardRow(reward, newer) {
    const today = day(this.feed.now() ?? this.feed.rows.get(this.id)?.ts);
    const why = el(
      "button",
      {
        type: "button",
        class: "quiet why",
        "aria-expanded": "false",
        "aria-label": `Why version ${reward.version} moved the weights`,
      },
      "Why",
    );
    const row = el(
      "tr",
      { class: reward.applied ? null : "withheld" },
      el(
        "td",
        {},
        el(
          "time",
          { title: dayClockUtc(reward.ts) },
          day(reward.ts) === today ? clock(reward.ts) : dayClock(reward.ts),
        ),
      ),
      number(fixed(reward.version), "wide"),
      number(bps(reward.reward_bps), reward.reward_bps < 0 ? "bad" : "good"),
      cell(drawn(reward)),
      number(drawnPropensity(reward), "wide"),
      cell(movedMost(reward, newer), "moved"),
      cell(why),
    );
    why.addEventListener("click", () => this.explain(reward, row, why));
    return row;
  }

  /** Opens or closes what a reward did; the server is asked only then. */
  explain(reward, row, why) {
    const before = this.opened.get(reward.version);
    why.setAttribute("aria-expanded", String(!before));
    if (before) {
      before.remove();
      this.opened.delete(reward.version);
      return;
    }
    const place = el("td", { colspan: 7 });
    const opened = el("tr", { class: "explained" }, place);
    this.opened.set(reward.version, opened);
    row.after(opened);
    explanation(place, this.id, reward);
  }
}

export const card = (...content) => el("section", { class: "card" }, ...content);

export function box(title, note, ...content) {
  const head = el("div", { class: "box-head" }, el("h2", {}, ...[title].flat()));
  return el("section", { class: "card box" }, head, note ? el("p", { class: "note" }, note) : null, ...content);
}

const sinceText = (part) =>
  known(part?.since_ts)
    ? `${plural(part.count, "trade")} since ${day(part.since_ts)}`
    : plural(part?.count ?? 0, "trade");
const inOrder = (names, order) => [...names].sort((a, b) => order.indexOf(a) - order.indexOf(b));
const interval = (of) => (verdict(of) === "none" ? "no interval yet" : `${bps(of.low_bps)} to ${bps(of.high_bps)}`);

/** Good or bad where 0 is not within the interval. */
function clearly({ mean_bps: mean, error_bps: error }) {
  if (!known(mean) || !known(error) || Math.abs(mean) <= error) return "";
  return mean > 0 ? "good" : "bad";
}

function drawn({ arms }) {
  const shared = arms.filter(({ share }) => share > 0);
  if (shared.length === 1)
    return el("span", {}, el("i", { class: `swatch ${armClass(shared[0].name)}` }), name(shared[0].name));
  return shared.length ? `${shared.length} arms together` : "—";
}

function drawnPropensity({ arms, propensity_source: source }) {
  const [first, ...others] = arms.filter(({ share }) => share > 0);
  if (!first || others.length || !known(first.propensity)) return "—";
  return fixed(first.propensity, 3) + (source === "CURRENT" ? "*" : "");
}

function movedMost({ applied, detail, moved }, newer) {
  if (!applied) return el("span", { class: "dim", title: detail }, `withheld: ${detail}`);
  if (moved?.length && newer && JSON.stringify(moved) === JSON.stringify(newer.moved)) {
    return el("span", { class: "dim" }, "in the same commit as above");
  }
  const most = [...(moved ?? [])]
    .sort((a, b) => Math.abs(b.after - b.before) - Math.abs(a.after - a.before))
    .slice(0, 2);
  if (!most.length) return "—";
  return el(
    "span",
    {},
    ...most.flatMap(({ name: arm, before, after }, index) => [
      index ? ", " : "",
      name(arm),
      ` ${fixed(before * 100, 1)} → ${percent(after, 1)}`,
    ]),
  );
}
