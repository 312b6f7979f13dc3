/** One bandit: what has weight, what it earned, and why it moved. Law: nothing moves away under who reads it. */

import {
  Bar,
  clippedOften,
  closesOf,
  closesText,
  heaviest,
  leaderOf,
  pills,
  rewardText,
  ruleOf,
  verdictSentence,
} from "./bandits.js";
import { LinesChart, WeightsChart, gapsOf, spanning } from "./charts.js";
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

const AGAIN_MS = 2_000;
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
    Object.assign(this, { feed, id, title: id, opened: new Map(), readAt: 0, isClosed: false });
    Object.assign(this, { whole: null, readRow: null }); // tiles and charts are of one reading
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
    this.regret = new LinesChart("Estimated regret", "Cumulative, bps, against the best arm so far", {
      isSigned: false,
    });
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
    if (ids.includes(this.id) && !this.whole) this.writeRow();
    this.tick();
  }

  tick() {
    const row = this.row();
    if (this.changed && row) write(this.changed, age(row.last_change?.ts ?? row.ts, this.feed.now()));
    const isNew = this.feed.rows.get(this.id) !== this.readRow;
    if (row && isNew && performance.now() - this.readAt > AGAIN_MS) this.read();
  }

  /** What is shown of it: as it was when its charts were read. */
  row() {
    return this.whole?.row ?? this.feed.rows.get(this.id);
  }

  async read() {
    this.readAt = performance.now();
    this.readRow = this.feed.rows.get(this.id);
    try {
      const whole = await readBandit(this.id);
      if (this.isClosed) return;
      this.whole = whole;
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

  writeRow() {
    const row = this.row();
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
      this.bestArm(),
      first
        ? el(
            "span",
            {},
            "Most weight: ",
            name(first[0]),
            ` ${percent(first[1])}`,
            this.leadText(first[0]),
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
          [
            "Ever, bps a trade",
            rewardText(row.ever),
            sinceText(row.ever),
            "",
            "A trade is a decision: closes of parts of it count together. Those withheld were earned too, and count",
          ],
          [
            "Models in use",
            fixed(row.effective_models, 1),
            `of ${row.arms.length}`,
            "",
            "Effective number of models: 1 / sum of squared weights. Near 1: one arm has nearly all",
          ],
          [
            "Bound, bps",
            known(row.bound_bps) ? fixed(row.bound_bps, 1) : "not yet",
            known(row.clipped_share) ? `${percent(row.clipped_share, 1)} clipped` : "",
            clippedOften(row) ? "warn" : "",
            "Rewards beyond the bound are clipped to it. Clipped: of the last 500 that it learned from",
          ],
          [
            "Blended in",
            percent(row.blend_alpha),
            "of learned weights",
            "",
            "How much of the learned weights engines get; the rest are the base weights, or equal ones",
          ],
          [
            "Closes",
            fixed(closesOf(row).all),
            closesText(row),
            "",
            "Closes that are known here; one that realises a part of a fill counts as one",
          ],
          [
            "Steps",
            fixed(row.steps),
            `version ${fixed(row.version)}`,
            "",
            "Decisions that it learned from. The version counts each close and each command",
          ],
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

  /** By how much a trade the best arm would have earned more, where that is beyond its error. */
  bestArm() {
    const regret = this.whole?.regret;
    if (!regret || regret.per_trade_low_bps <= 0) return "";
    const digits = digitsFor(regret.per_trade_bps);
    return el(
      "span",
      {},
      `About ${fixed(regret.per_trade_bps, digits)} bps a trade below its best model, `,
      name(regret.arm),
      " (estimated). ",
    );
  }

  /** Since when the heaviest arm leads, as far as the weights are known. */
  leadText(arm) {
    const leader = this.whole && leaderOf(this.whole.weights);
    if (leader?.arm !== arm) return "";
    const isToday = day(leader.ts) === day(this.feed.now() ?? leader.ts);
    const since = (isToday ? clock(leader.ts) : dayClock(leader.ts)).slice(0, isToday ? 5 : 16);
    return leader.isWhole ? `, leader since ${since} and before` : `, leader since ${since}`;
  }

  writeWhole({ weights, marks, reward, arms, experts, rewards, not_estimated: left }) {
    const from = Math.min(...weights.ts.slice(0, 1), ...reward.ts.slice(0, 1));
    const to = Math.max(...weights.ts.slice(-1), ...reward.ts.slice(-1));
    const gaps = gapsOf([...weights.ts, ...reward.ts]);
    this.weights.set({ arms: weights.arms, marks, gaps, ...spanning(weights, from, to) });
    const { ts } = spanning({ ts: reward.ts, series: [] }, from, to);
    const held = (...series) => spanning({ ts: reward.ts, series }, from, to).series;
    const above = (of, title, tone) => {
      const [values, low, high] = held(of.bps, of.low, of.high);
      return { name: title, tone, values, low, high };
    };
    this.uniform.set({
      ts,
      gaps,
      nothing: "No interval yet: it needs trades with a known propensity.",
      lines: [
        ...(reward.above_uniform ? [above(reward.above_uniform, "above uniform", "first")] : []),
        ...(reward.above_base ? [above(reward.above_base, "above base", "second")] : []),
      ],
    });
    this.byArm.set({
      ts,
      gaps,
      nothing: FEW,
      lines: inOrder(reward.by_arm.names, weights.arms).map((arm) => ({
        name: arm,
        arm,
        values: held(reward.by_arm.series[reward.by_arm.names.indexOf(arm)])[0],
      })),
    });
    this.regret.set({
      ts,
      gaps,
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
    const groups = commitsOf(rewards);
    let count = 0;
    const first = this.all ? groups : groups.filter((group) => (count += group.length) - group.length < FIRST_REWARDS);
    show(this.moreRows, groups.length > first.length);
    write(this.moreRows, `Show all ${rewards.length}`);
    this.moreRows.onclick = () => {
      this.all = true;
      this.rewards.body.append(...groups.slice(first.length).flatMap((group) => this.commitRows(group)));
      show(this.moreRows, false);
    };
    this.rewards.body.replaceChildren(
      ...(rewards.length
        ? first.flatMap((group) => this.commitRows(group))
        : [el("tr", {}, el("td", { colspan: 7, class: "nothing" }, "No reward yet: one comes with the first close."))]),
    );
  }

  /** The rewards of one commit: one time, each reward, and the one move of the weights that they made together. */
  commitRows(group) {
    const today = day(this.feed.now() ?? this.row()?.ts);
    const { ts } = group[0];
    const over = group.length > 1 ? group.length : null;
    const time = el("time", { title: dayClockUtc(ts) }, day(ts) === today ? clock(ts) : dayClock(ts));
    const rows = group.map((reward, index) => {
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
        { class: [reward.applied ? "" : "withheld", index < group.length - 1 ? "goes-on" : ""].join(" ").trim() || null },
        index ? null : el("td", { rowspan: over }, time),
        number(fixed(reward.version), "wide"),
        number(bps(reward.reward_bps), reward.reward_bps < 0 ? "bad" : "good"),
        cell(drawn(reward)),
        number(drawnPropensity(reward), "wide"),
        index ? null : el("td", { class: "moved", rowspan: over }, movedMost(group)),
        cell(why),
      );
      why.addEventListener("click", () => this.explain(reward, rows.at(-1), why));
      return row;
    });
    return rows;
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

/** Rewards beside each other that one vector holds, newest first. */
function commitsOf(rewards) {
  const groups = [];
  for (const reward of rewards) {
    const last = groups.at(-1);
    if (last && known(reward.published_version) && last[0].published_version === reward.published_version)
      last.push(reward);
    else groups.push([reward]);
  }
  return groups;
}

function movedMost(group) {
  const withheld = group.filter(({ applied }) => !applied);
  if (withheld.length === group.length)
    return el("span", { class: "dim", title: withheld[0].detail }, `withheld: ${prose(withheld[0].detail)}`);
  const most = [...(group[0].moved ?? [])]
    .sort((a, b) => Math.abs(b.after - b.before) - Math.abs(a.after - a.before))
    .slice(0, 2);
  return el(
    "span",
    {},
    ...(most.length ? [] : ["—"]),
    ...most.flatMap(({ name: arm, before, after }, index) => [
      index ? ", " : "",
      name(arm),
      ` ${fixed(before * 100, 1)} → ${percent(after, 1)}`,
    ]),
    group.length > 1 ? el("span", { class: "dim" }, ` by these ${group.length} together`) : "",
    withheld.length ? el("span", { class: "dim" }, `, ${withheld.length} withheld`) : "",
  );
}
