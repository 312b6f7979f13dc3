/** The desk: one row a bandit. Law: only the rows in sight are drawn, and none moves under a hand.

An order by a number that changes is made anew every five seconds, and not while the pointer or the keyboard is in the
table.
*/

import { addressOf } from "./bandits.js";
import { csvButton, isoTime } from "./csv.js";
import { COLUMNS, HINTS, SHOWN, howToRead } from "./desk_columns.js";
import { DeskRow } from "./desk_row.js";
import { attribute, el, name, show, write } from "./elements.js";
import { fixed, known, percent, plural } from "./format.js";
import { armClass } from "./palette.js";

const WIDE_ROW = 48;
const NARROW_ROW = 132;
const SPARE_ROWS = 6;
const ORDER_MS = 5_000;
const LEGEND_ARMS = 16;
const narrow = matchMedia("(max-width: 820px)");
const last = { order: "bandit_id", descending: false, wanted: "", only: "all", top: 0 };

export function openDesk(feed, main) {
  return new Desk(feed, main);
}

class Desk {
  constructor(feed, main) {
    this.feed = feed;
    this.title = "Desk";
    this.drawn = new Map(); // by bandit_id, the rows in sight
    this.order = [];
    this.current = null; // the row that Tab comes to
    this.isStale = true;
    this.orderedAt = 0;
    this.choices = new Map(SHOWN.map(([key, text]) => [key, this.choice(key, text)]));
    this.wanted = el("input", {
      type: "search",
      id: "wanted",
      value: last.wanted,
      placeholder: "Filter by name  /",
      "aria-label": "Filter bandits by name, rule or arm",
      autocomplete: "off",
      spellcheck: "false",
      oninput: () => this.filter({ wanted: this.wanted.value }),
    });
    this.orders = this.orderChoice();
    this.legend = el("ul", { class: "legend", "aria-label": "Colours of the arms" });
    this.empty = el("div", { class: "empty", hidden: true });
    this.build(main);
    this.onScroll = () => requestAnimationFrame(() => this.drawRows());
    this.onKey = (event) => this.key(event);
    addEventListener("scroll", this.onScroll, { passive: true });
    addEventListener("resize", this.onScroll);
    document.addEventListener("keydown", this.onKey);
    this.update("snapshot");
    scrollTo(0, last.top);
  }

  build(main) {
    this.headings = COLUMNS.map((column) => this.heading(column));
    this.above = el("tr", { class: "spacer", "aria-hidden": "true" }, el("td", { colspan: COLUMNS.length }));
    this.below = el("tr", { class: "spacer", "aria-hidden": "true" }, el("td", { colspan: COLUMNS.length }));
    this.body = el("tbody", { role: "rowgroup" }, this.above, this.below);
    this.table = el(
      "table",
      { class: "desk", role: "table", "aria-label": "Bandits" },
      el("colgroup", {}, ...COLUMNS.map(({ kind }) => el("col", { class: kind }))),
      el("thead", { role: "rowgroup" }, el("tr", { role: "row" }, ...this.headings)),
      this.body,
    );
    this.card = el("div", { class: "card rows" }, this.table);
    this.tools = el(
      "div",
      { class: "tools" },
      el("div", { class: "choices", role: "group", "aria-label": "Show" }, ...this.choices.values()),
      el(
        "div",
        { class: "right" },
        this.wanted,
        this.orders,
        csvButton("CSV", "armstream-desk.csv", () => this.csv()),
      ),
    );
    this.body.addEventListener("click", (event) => this.click(event));
    main.replaceChildren(
      el("h1", { class: "unseen" }, "Desk"),
      this.tools,
      this.legend,
      this.empty,
      this.card,
      howToRead(),
    );
  }

  choice(key, text) {
    const count = el("b");
    return el(
      "button",
      { type: "button", class: `choice ${key}`, title: HINTS[key], onclick: () => this.filter({ only: key }) },
      text,
      " ",
      count,
    );
  }

  heading(column) {
    if (!column.value) return el("th", { scope: "col", role: "columnheader", class: column.kind }, column.title);
    this.scale ??= ["least", "zero", "most"].map((end) => el("span", { class: end }));
    return el(
      "th",
      { scope: "col", role: "columnheader", class: column.kind },
      column.key === "above_uniform" ? el("span", { class: "scale", "aria-hidden": "true" }, ...this.scale) : null,
      el(
        "button",
        { type: "button", class: "sort", title: column.hint, onclick: () => this.sort(column) },
        column.title,
      ),
    );
  }

  orderChoice() {
    const choice = el(
      "select",
      {
        class: "orders",
        "aria-label": "Order by",
        onchange: () =>
          this.sort(
            COLUMNS.find(({ key }) => key === choice.value),
            false,
          ),
      },
      ...COLUMNS.filter(({ value }) => value).map(({ key, title }) => el("option", { value: key }, title)),
    );
    return choice;
  }

  close() {
    last.top = scrollY;
    removeEventListener("scroll", this.onScroll);
    removeEventListener("resize", this.onScroll);
    document.removeEventListener("keydown", this.onKey);
  }

  /** What came from the feed; `ids` are of the bandits that it concerns. */
  update(kind) {
    if (kind === "pulse") return this.tick();
    if (kind === "operate") return;
    this.isStale = true;
    this.arrange();
  }

  tick() {
    this.drawn.forEach((row) => row.tick(this.feed.now()));
    if (this.isStale && performance.now() - this.orderedAt > ORDER_MS) this.arrange();
    if (!this.feed.rows.size) this.say();
  }

  filter(wish) {
    Object.assign(last, wish);
    this.arrange(true);
  }

  sort(column, turns = true) {
    const isSame = last.order === column.key;
    last.descending = isSame && turns ? !last.descending : Boolean(column.falling);
    last.order = column.key;
    this.arrange(true);
  }

  /** Which rows there are, and in which order. */
  arrange(now = false) {
    const rows = [...this.feed.rows.values()];
    this.count(rows);
    const chosen = SHOWN.find(([key]) => key === last.only)[2];
    const wanted = last.wanted.trim().toLowerCase();
    const kept = rows.filter((row) => chosen(row) && (!wanted || matches(row, wanted)));
    const isDue = performance.now() - this.orderedAt > ORDER_MS && !this.card.matches(":hover, :focus-within");
    if (now || isDue || !this.order.length) {
      this.order = kept.sort(comparison()).map((row) => row.bandit_id);
      this.orderedAt = performance.now();
    } else {
      const left = new Map(kept.map((row) => [row.bandit_id, row]));
      this.order = this.order.filter((id) => left.delete(id)).concat([...left.keys()].sort());
    }
    this.isStale = false;
    this.reach = reachOf(kept);
    const end = fixed(this.reach, this.reach < 1 ? 3 : Number.isInteger(this.reach) ? 0 : 1).replace(/(\.\d*?)0+$/, "$1");
    [`−${end}`, "0", `+${end}`].forEach((text, index) => write(this.scale[index], text));
    this.say();
    this.headings.forEach((heading, index) =>
      attribute(
        heading,
        "aria-sort",
        COLUMNS[index].key === last.order ? (last.descending ? "descending" : "ascending") : null,
      ),
    );
    this.orders.value = last.order;
    this.table.classList.toggle(
      "has-base",
      rows.some((row) => row.above_base),
    );
    this.drawRows();
  }

  count(rows) {
    for (const [key, , isOf] of SHOWN) {
      const count = rows.filter(isOf).length;
      const button = this.choices.get(key);
      write(button.lastChild, fixed(count));
      attribute(button, "aria-pressed", last.only === key);
      show(button, count > 0 || key === "all" || last.only === key);
    }
    const arms = [...new Set(rows.flatMap((row) => row.arms))];
    const key = arms.join("\n");
    show(this.legend, arms.length <= LEGEND_ARMS);
    if (key === this.legendKey) return;
    this.legendKey = key;
    this.legend.replaceChildren(
      ...arms
        .slice(0, LEGEND_ARMS)
        .map((arm) => el("li", {}, el("i", { class: `swatch ${armClass(arm)}` }), name(arm))),
    );
  }

  /** Why no row is there, and what to do. */
  say() {
    const isEmpty = this.order.length === 0;
    show(this.card, !isEmpty);
    show(this.empty, isEmpty);
    show(this.tools, this.feed.rows.size > 0);
    if (!isEmpty) return;
    if (this.feed.rows.size) {
      this.empty.replaceChildren(
        el("h2", {}, "No bandit matches"),
        el("p", {}, `Nothing is “${SHOWN.find(([key]) => key === last.only)[1]}” and named like “${last.wanted}”. `),
        el(
          "button",
          {
            type: "button",
            onclick: () => {
              this.wanted.value = "";
              this.filter({ wanted: "", only: "all" });
            },
          },
          "Show all",
        ),
      );
      return;
    }
    const { pulse, about } = this.feed;
    const progress = pulse?.progress;
    const [title, text] = !pulse
      ? ["Connecting", "The page asks the server what there is."]
      : pulse.state === "reading"
        ? ["Reading rewards back", pulse.text || "The rows appear when the log was read."]
        : pulse.state === "no-broker"
          ? [
              "Kafka does not answer",
              pulse.text ||
                `Check that the brokers of ${about.cluster ?? "the cluster"} run, and that this computer reaches them.`,
            ]
          : pulse.state === "error"
            ? ["Reading stopped", pulse.text || "The server's log says why."]
            : [
                "No bandit yet",
                pulse.text ||
                  "A bandit is made by its first fill. Publish one to the trades topic, and " +
                    "check with “armstream topics check” that the topics are the right ones.",
              ];
    const bar = progress?.of
      ? el("progress", { max: progress.of, value: progress.read, "aria-label": "Rewards read" })
      : "";
    const counted = progress?.of
      ? el(
          "p",
          { class: "dim" },
          `${fixed(progress.read)} of ${plural(progress.of, "reward")} (${percent(progress.read / progress.of)})`,
        )
      : "";
    this.empty.replaceChildren(el("h2", {}, title), el("p", {}, text), bar, counted);
  }

  /** Draws the rows in sight, and a few beside them; keeps each node where it is. */
  drawRows() {
    const height = narrow.matches ? NARROW_ROW : WIDE_ROW;
    const top = this.body.getBoundingClientRect().top;
    const first = Math.max(0, Math.floor(-top / height) - SPARE_ROWS);
    const end = Math.min(this.order.length, Math.ceil((innerHeight - top) / height) + SPARE_ROWS);
    const ids = this.order.slice(first, Math.max(first, end));
    const wanted = new Set(ids);
    const focused = document.activeElement;
    for (const [id, row] of this.drawn) {
      if (wanted.has(id)) continue;
      row.element.remove();
      this.drawn.delete(id);
    }
    spacer(this.above, first * height);
    spacer(this.below, (this.order.length - first - ids.length) * height);
    attribute(this.table, "aria-rowcount", this.order.length + 1);
    if (!wanted.has(this.current)) this.current = ids[0] ?? null;
    let next = this.above.nextSibling;
    ids.forEach((id, index) => {
      if (!this.drawn.has(id)) this.drawn.set(id, new DeskRow());
      const row = this.drawn.get(id);
      if (row.element === next) next = next.nextSibling;
      else this.body.insertBefore(row.element, next);
      row.set(this.feed.rows.get(id), this.reach, this.feed.now());
      attribute(row.element, "aria-rowindex", first + index + 2);
      attribute(row.link, "tabindex", id === this.current ? 0 : -1);
    });
    if (focused?.isConnected && focused !== document.activeElement && this.body.contains(focused)) focused.focus();
  }

  click(event) {
    const row = event.target.closest("tr[data-id]");
    if (row && !event.target.closest("a") && !getSelection().toString()) location.hash = addressOf(row.dataset.id);
  }

  key(event) {
    if (event.key === "/" && !/INPUT|SELECT/.test(document.activeElement?.tagName)) {
      event.preventDefault();
      this.wanted.focus();
      return;
    }
    const id = document.activeElement?.closest?.("tr[data-id]")?.dataset.id;
    const moves = { ArrowDown: 1, ArrowUp: -1, PageDown: 10, PageUp: -10, Home: -Infinity, End: Infinity };
    if (id === undefined || !(event.key in moves)) return;
    event.preventDefault();
    const to = Math.max(0, Math.min(this.order.length - 1, this.order.indexOf(id) + moves[event.key]));
    this.focus(this.order[to]);
  }

  /** Brings a row into sight and the keyboard to it. */
  focus(id) {
    const index = this.order.indexOf(id);
    if (index < 0) return;
    const height = narrow.matches ? NARROW_ROW : WIDE_ROW;
    const top = this.body.getBoundingClientRect().top + index * height;
    if (top < 120) scrollBy(0, top - 120);
    else if (top + height > innerHeight - 20) scrollBy(0, top + height - innerHeight + 20);
    this.current = id;
    this.drawRows();
    this.drawn.get(id)?.link.focus({ preventScroll: true });
  }

  csv() {
    const interval = (of) => [
      of?.trades,
      of?.per_trade_bps,
      of?.per_trade_error_bps,
      of?.cumulative_bps,
      of?.low_bps,
      of?.high_bps,
      of?.effective_sample,
    ];
    const heads = (of) =>
      [
        "trades",
        "per_trade_bps",
        "per_trade_error_bps",
        "cumulative_bps",
        "low_bps",
        "high_bps",
        "effective_sample",
      ].map((field) => `${of}_${field}`);
    return [
      [
        "bandit_id",
        "rule",
        "estimator",
        "phase",
        "paused",
        "steps",
        "weights",
        "effective_models",
        ...heads("above_uniform"),
        ...heads("above_base"),
        "day_count",
        "day_mean_bps",
        "ever_count",
        "ever_mean_bps",
        "bound_bps",
        "clipped_share",
        "version",
        "ts_utc",
        "last_change",
      ],
      ...this.order
        .map((id) => this.feed.rows.get(id))
        .map((row) => [
          row.bandit_id,
          row.rule,
          row.estimator,
          row.phase,
          row.paused,
          row.steps,
          row.arms.map((arm, index) => `${arm}=${row.weights[index]}`).join(" "),
          row.effective_models,
          ...interval(row.above_uniform),
          ...interval(row.above_base),
          row.day?.count,
          row.day?.mean_bps,
          row.ever?.count,
          row.ever?.mean_bps,
          row.bound_bps,
          row.clipped_share,
          row.version,
          isoTime(row.ts),
          row.last_change?.text,
        ]),
    ];
  }
}

const matches = (row, wanted) =>
  [row.bandit_id, row.rule ?? "", ...row.arms].some((text) => text.toLowerCase().includes(wanted));

/** By the chosen column; what is unknown stands last either way, and equals stand by name. */
function comparison() {
  const { value } = COLUMNS.find(({ key }) => key === last.order);
  const sign = last.descending ? -1 : 1;
  return (a, b) => {
    const [x, y] = [value(a), value(b)];
    const [unknownX, unknownY] = [x === null || x === undefined, y === null || y === undefined];
    if (unknownX !== unknownY) return unknownX ? 1 : -1;
    if (x !== y && !unknownX) return (x < y ? -1 : 1) * sign;
    return a.bandit_id < b.bandit_id ? -1 : 1;
  };
}

/** The end of the scale that all intervals share: nine of ten lie within it, in steps that seldom change. */
function reachOf(rows) {
  const ends = rows
    .map(({ above_uniform: of }) =>
      of && known(of.per_trade_error_bps) ? Math.abs(of.per_trade_bps) + of.per_trade_error_bps : null,
    )
    .filter(known)
    .sort((a, b) => a - b);
  const wide = ends[Math.floor(ends.length * 0.9)] ?? ends.at(-1) ?? 1;
  const ten = 10 ** Math.floor(Math.log10(Math.max(wide, 0.01)));
  return [1, 1.5, 2, 3, 5, 7, 10].find((step) => step * ten >= wide) * ten;
}

function spacer(row, height) {
  const wanted = `${height}px`;
  if (row.firstChild.style.height !== wanted) row.firstChild.style.height = wanted;
  show(row, height > 0);
}
