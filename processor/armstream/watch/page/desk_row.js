/** One row of the desk. Law: it is built once, and only what changed is written. */

import { Above, Bar, IntervalMark, addressOf, clippedOften, heaviest, pills, rewardText, ruleOf } from "./bandits.js";
import { drawSpark } from "./charts.js";
import { COLUMNS, change } from "./desk_columns.js";
import { attribute, el, name, show, write } from "./elements.js";
import { age, bps, day, fixed, known, percent, plural, prose } from "./format.js";

export class DeskRow {
  constructor() {
    this.link = el("a", { class: "open" });
    this.pills = el("span", { class: "pills" });
    this.rule = el("span");
    this.bar = new Bar();
    this.leaders = el("div", { class: "second leaders" });
    this.spark = el("canvas", { class: "spark", role: "img" });
    this.use = pair();
    this.mark = new IntervalMark();
    this.uniform = new Above();
    this.uniformSum = el("div", { class: "second" });
    this.base = new Above();
    this.baseSum = el("div", { class: "second" });
    this.reward = new Reward();
    this.bound = pair();
    this.change = el("div", { class: "first" });
    this.moved = el("span", { class: "moved-most" });
    this.clipped = el("span", { class: "pill clipped", title: "Beyond the bound: it was learned from as if it were this" });
    this.change.append(this.moved, this.clipped);
    this.changeAge = el("span", { class: "age" });
    this.cause = el("span");
    this.changeWhy = el("div", { class: "second" }, this.changeAge, this.cause);
    this.uniformUnit = el("div", { class: "second narrow-only" }, "bps a trade above uniform");
    const cells = [
      [el("div", { class: "first" }, this.link), el("div", { class: "second" }, this.pills, this.rule)],
      [this.bar.element, this.leaders],
      [this.spark],
      this.use.nodes,
      [this.mark.element, el("div", {}, el("div", { class: "first" }, this.uniform.element), this.uniformUnit, this.uniformSum)],
      [el("div", { class: "first" }, this.base.element), this.baseSum],
      this.reward.nodes,
      this.bound.nodes,
      [this.change, this.changeWhy],
    ];
    this.element = el(
      "tr",
      { role: "row" },
      ...cells.map((nodes, index) =>
        el("td", { role: "cell", class: COLUMNS[index].kind }, el("div", { class: "within" }, ...nodes)),
      ),
    );
  }

  set(row, reach, now) {
    if (row === this.row && reach === this.reach) return;
    const isNew = row !== this.row;
    [this.row, this.reach] = [row, reach];
    this.mark.set(row.above_uniform, reach);
    if (isNew) this.write(row);
    this.tick(now);
  }

  write(row) {
    this.element.dataset.id = row.bandit_id;
    attribute(this.link, "href", addressOf(row.bandit_id));
    if (this.link.textContent !== row.bandit_id) this.link.replaceChildren(name(row.bandit_id));
    const states = pills(row);
    if (this.pills.textContent !== states.map(({ textContent }) => textContent).join(""))
      this.pills.replaceChildren(...states);
    write(
      this.rule,
      row.phase === "WARMING" ? row.rule : row.rule ? `${row.rule} · ${plural(row.steps, "step")}` : ruleOf(row),
    );
    attribute(this.rule, "title", `${ruleOf(row)}, version ${fixed(row.version)}`);
    this.bar.set(row);
    this.writeLeaders(heaviest(row).slice(0, 2));
    attribute(
      this.leaders,
      "title",
      heaviest(row)
        .map(([arm, weight]) => `${arm} ${percent(weight, 1)}`)
        .join("\n"),
    );
    this.writeSpark(row);
    this.use.write(fixed(row.effective_models, 1), row.arms.length ? `of ${row.arms.length}` : "");
    this.uniform.set(row.above_uniform);
    write(
      this.uniformSum,
      row.above_uniform ? `${bps(row.above_uniform.cumulative_bps)} in all` : "no estimate yet",
    );
    show(this.uniformUnit, Boolean(row.above_uniform));
    this.base.set(row.above_base);
    write(this.baseSum, row.above_base ? `${bps(row.above_base.cumulative_bps)} in all` : "");
    this.reward.set(row);
    this.bound.write(
      known(row.bound_bps) ? fixed(row.bound_bps) : "not yet",
      known(row.clipped_share) ? `${percent(row.clipped_share)} clipped` : "",
      clippedOften(row) ? "warn" : "",
    );
    this.writeChange(row.last_change);
  }

  /** The move of weights first, then what brought it. */
  writeChange(change) {
    const { text, kind, move, cause, clipped_to_bps: clippedTo } = change ?? {};
    write(this.moved, prose(move || text) || kind || "—");
    show(this.clipped, known(clippedTo));
    write(this.clipped, known(clippedTo) ? `clipped to ${fixed(clippedTo)}` : "");
    write(this.cause, move ? ` · ${prose(cause)}` : "");
    const whole = prose(text) || null;
    [this.change, this.changeWhy].forEach((element) => attribute(element, "title", whole));
  }

  /** The heaviest, and the second where there is room for it whole. */
  writeLeaders(two) {
    two.forEach(([arm, weight], index) => {
      const place = this.leaders.children[index] ?? this.leaders.appendChild(el("span"));
      write(place, `${arm} ${percent(weight)}`);
    });
    while (this.leaders.children.length > two.length) this.leaders.lastChild.remove();
  }

  writeSpark(row) {
    drawSpark(this.spark, row.spark, row.arms);
    const { ts, weights } = row.spark;
    attribute(
      this.spark,
      "aria-label",
      ts.length < 2
        ? "Weights over time: nothing yet"
        : `Weights since ${day(ts[0])}: ${row.arms
            .map(
              (arm, index) =>
                `${arm} from ${percent(weights[index]?.find(known))} to ${percent(weights[index]?.at(-1))}`,
            )
            .join(", ")}`,
    );
  }

  tick(now) {
    write(this.changeAge, age(change(this.row), now));
  }
}

/** Net reward a trade of the last day, and under it ever. */
class Reward {
  constructor() {
    this.day = el("b");
    this.ever = el("span");
    this.nodes = [
      el("div", { class: "first" }, this.day, el("span", { class: "unit" }, "day")),
      el("div", { class: "second" }, this.ever, el("span", { class: "unit" }, "ever")),
    ];
  }

  set({ day: today, ever }) {
    write(this.day, rewardText(today));
    write(this.ever, rewardText(ever));
    attribute(this.nodes[0], "title", plural(today?.count ?? 0, "trade"));
    attribute(
      this.nodes[1],
      "title",
      known(ever?.since_ts) ? `${plural(ever.count, "trade")} since ${day(ever.since_ts)}` : null,
    );
  }
}

function pair() {
  const [first, second] = [el("div", { class: "first" }), el("div", { class: "second" })];
  return {
    nodes: [first, second],
    write: (one, two, kind = "") => {
      write(first, one);
      write(second, two);
      attribute(second, "class", `second ${kind}`.trim());
    },
  };
}
