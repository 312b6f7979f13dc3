/** Charts over time, drawn by uPlot on a canvas. Law: each has its title, its unit, and the same in words beside it.

Times on the axis are whole numbers of UTC seconds, so that no time zone of the browser comes in.
*/

import { attribute, el, write } from "./elements.js";
import { bps, dayClock, dayClockUtc, duration, fixed, known, percent, tick } from "./format.js";
import { armClass, armColour, armDash, armFill, colour } from "./palette.js";

const HEIGHT = 210;
const MINUTE = 60;
const HOUR = 3600;
const DAY = 86400;
const STEPS = [
  1,
  2,
  5,
  10,
  15,
  30,
  MINUTE,
  2 * MINUTE,
  5 * MINUTE,
  10 * MINUTE,
  15 * MINUTE,
  30 * MINUTE,
  HOUR,
  2 * HOUR,
  3 * HOUR,
  6 * HOUR,
  12 * HOUR,
  DAY,
  2 * DAY,
  7 * DAY,
  14 * DAY,
  30 * DAY,
  91 * DAY,
  365 * DAY,
  1826 * DAY,
];
const LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
const MARKS_LISTED = 8;
const LEAST_GAP = 30; // seconds
const GAP_STEPS = 20; // as many usual steps without a record are a gap
const FEWEST_STEPS = 8;
export const NAMED_LINES = 12;
const FONT = '11px "Inter", "Segoe UI", "Helvetica Neue", Arial, sans-serif';
const open = new Set();

/** Colours are read when something is drawn: the scheme may change under an open page. */
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () =>
  requestAnimationFrame(() => open.forEach((chart) => chart.redraw())),
);

/** Micros that may step back (an event's own time) as seconds that do not. */
export function secondsOf(ts) {
  let latest = -Infinity;
  return ts.map((micros) => (latest = Math.max(latest, micros / 1e6)));
}

/** Series that begin and end where others do: nothing is known before them, and their last value holds. */
export function spanning({ ts, series }, from, to) {
  const [before, after] = [ts.length > 0 && from < ts[0], ts.length > 0 && to > Math.max(...ts)];
  return {
    ts: [...(before ? [from] : []), ...ts, ...(after ? [to] : [])],
    series: series.map((values) => values && [...(before ? [null] : []), ...values, ...(after ? [values.at(-1)] : [])]),
  };
}

/** Where no record came for long, of times in micros: [[from, to]], twenty times the usual step and more. */
export function gapsOf(ts) {
  const xs = secondsOf([...ts].sort((a, b) => a - b));
  const steps = xs.slice(1).map((x, at) => x - xs[at]);
  const usual = steps.filter((step) => step > 0).sort((a, b) => a - b);
  if (usual.length < FEWEST_STEPS) return [];
  const most = Math.max(LEAST_GAP, GAP_STEPS * usual[usual.length >> 1]);
  return steps.flatMap((step, at) => (step > most ? [[xs[at], xs[at + 1]]] : []));
}

/** The same rows with one that knows nothing in each gap, so that no line goes over it. */
function broken(xs, columns, gaps) {
  const inner = gaps.map(([from, to]) => (from + to) / 2).filter((x) => xs.length && x > xs[0] && x < xs.at(-1));
  if (!inner.length) return [xs, columns];
  const rows = [...xs.map((x, at) => [x, at]), ...inner.map((x) => [x, -1])].sort((a, b) => a[0] - b[0]);
  const pick = (values) => values && rows.map(([, at]) => (at < 0 ? null : values[at]));
  return [rows.map(([x]) => x), columns.map(pick)];
}

const gapText = ([from, to]) => `No record for ${duration(to - from)}, from ${dayClockUtc(from * 1e6)}. `;

/** What the charts have in common: a figure with title, legend with values, canvas, marks, and words. */
class Chart {
  constructor(title, note, { height = HEIGHT, unit = "bps", isSigned = true } = {}) {
    Object.assign(this, { unit, isSigned, gaps: [] });
    this.height = height;
    this.legend = el("ul", { class: "legend" });
    this.at = el("span", { class: "at" });
    this.canvas = el("div", { class: "canvas", role: "img" });
    this.marks = el("ol", { class: "marks" });
    this.empty = el("p", { class: "nothing", hidden: true });
    this.element = el(
      "figure",
      { class: "chart" },
      el("figcaption", {}, el("h3", {}, title), el("p", { class: "note" }, note, " ", this.at)),
      this.legend,
      this.empty,
      this.canvas,
      this.marks,
    );
    this.title = title;
    this.lines = [];
    this.listed = [];
    this.sizes = new ResizeObserver(() => this.resize());
    this.sizes.observe(this.canvas);
    open.add(this);
  }

  close() {
    this.sizes.disconnect();
    this.plot?.destroy();
    open.delete(this);
  }

  redraw() {
    this.plot?.redraw(false, true);
  }

  resize() {
    const width = Math.floor(this.canvas.clientWidth);
    if (this.plot && width > 0 && width !== this.plot.width) this.plot.setSize({ width, height: this.height });
  }

  /** Draws anew where the lines are others, else puts the new values in. */
  draw(key, data, options, nothing) {
    const isEmpty = data[0].length < 2 || data.length < 2;
    this.empty.hidden = !isEmpty;
    this.canvas.hidden = this.legend.hidden = isEmpty;
    write(this.empty, nothing);
    if (isEmpty) return;
    if (this.key === key && this.plot) {
      this.plot.setData(data, !this.isZoomed());
    } else {
      this.plot?.destroy();
      this.key = key;
      const width = Math.max(240, Math.floor(this.canvas.clientWidth) || 600);
      this.plot = new uPlot({ ...this.common(), ...options, width, height: this.height }, data, this.canvas);
    }
    this.values(null);
  }

  /** Shows the last so many seconds; all of it again where there is less. */
  range(seconds) {
    if (!this.plot) return;
    const [xs] = this.plot.data;
    const end = xs[xs.length - 1];
    this.plot.setScale("x", { min: Math.max(xs[0], end - seconds), max: end });
  }

  isZoomed() {
    const [xs] = this.plot.data;
    const { min, max } = this.plot.scales.x;
    return known(min) && (min > xs[0] || max < xs[xs.length - 1]);
  }

  common() {
    const ink = () => colour("--dim");
    const line = () => colour("--line");
    const axis = { stroke: ink, font: FONT, grid: { stroke: line, width: 1 }, ticks: { show: false } };
    return {
      legend: { show: false },
      cursor: { sync: { key: "time" }, points: { show: false }, y: false, drag: { x: true, y: false, dist: 6 } },
      axes: [
        {
          ...axis,
          grid: { show: false },
          incrs: STEPS,
          space: 64,
          gap: 6,
          size: (_, texts) => (texts?.some((text) => text.includes("\n")) ? 36 : 22),
          values: (_, splits, __, ___, apart) => splits.map((at, index) => tick(at, apart, index === 0)),
        },
        {
          ...axis,
          gap: 6,
          space: 34,
          size: (_, texts) => 14 + 6.4 * Math.max(5, ...(texts ?? []).map((text) => text.length)),
          values: (_, splits) => splits.map((value) => this.axisText(value, splits)),
        },
      ],
      hooks: {
        setCursor: [(plot) => this.values(plot.cursor.idx)],
        draw: [(plot) => this.drawGaps(plot), (plot) => this.drawMarks(plot)],
      },
    };
  }

  axisText(value, splits) {
    if (this.unit === "share") return percent(value);
    const apart = splits.length > 1 ? Math.abs(splits[1] - splits[0]) : 1;
    return fixed(value, apart >= 1 ? 0 : apart >= 0.1 ? 1 : 2);
  }

  text(value) {
    if (this.unit === "share") return percent(value, 1);
    return this.isSigned ? bps(value) : bps(value).replace("+", "");
  }

  /** The legend's numbers: where the pointer is, else the newest. */
  values(index) {
    const ts = this.plot?.data[0];
    if (!ts) return;
    const at = known(index) ? index : ts.length - 1;
    write(this.at, known(index) ? dayClockUtc(ts[at] * 1e6) : "");
    this.lines.forEach(({ shown }, line) => shown && write(shown, this.text(this.lines[line].values[at])));
  }

  setLines(lines) {
    this.lines = lines;
    this.legend.replaceChildren(
      ...lines.map((line) => {
        line.shown = el("b", { class: "value" });
        return el(
          "li",
          {},
          el("i", { class: line.swatch }),
          el("bdi", { class: "name", title: line.name }, line.name),
          line.shown,
        );
      }),
    );
  }

  setMarks(marks) {
    this.listed = marks.map((mark, index) => ({ ...mark, letter: LETTERS[index % 26] }));
    const last = this.listed.slice(-MARKS_LISTED);
    const before = this.listed.length - last.length;
    this.marks.replaceChildren(
      ...(before ? [el("li", { class: "dim" }, `${before} earlier marks are on the chart only`)] : []),
      ...last.map(({ letter, ts, kind, text }) =>
        el(
          "li",
          { class: `mark-${kind}` },
          el("b", {}, letter),
          el("time", {}, dayClock(ts).slice(0, 16)),
          el("bdi", { title: text }, text),
        ),
      ),
    );
  }

  /** Says in each gap that there is nothing, and for how long. */
  drawGaps(plot) {
    const context = plot.ctx;
    const { left, top, width, height } = plot.bbox;
    context.save();
    context.font = `${11 * devicePixelRatio}px ${FONT.slice(5)}`;
    context.textAlign = "center";
    for (const [from, to] of this.gaps) {
      const [begin, end] = [from, to].map((at) =>
        Math.min(left + width, Math.max(left, plot.valToPos(at, "x", true))),
      );
      if (end - begin < 2) continue;
      context.fillStyle = colour("--soft");
      context.fillRect(begin, top, end - begin, height);
      const text = `no record ${duration(to - from)}`;
      if (context.measureText(text).width > end - begin - 4 * devicePixelRatio) continue;
      context.fillStyle = colour("--dim");
      context.fillText(text, (begin + end) / 2, top + height / 2);
    }
    context.restore();
  }

  drawMarks(plot) {
    const context = plot.ctx;
    const { left, top, width, height } = plot.bbox;
    const ratio = devicePixelRatio;
    context.save();
    context.font = `600 ${10 * ratio}px ${FONT.slice(5)}`;
    context.textAlign = "center";
    for (const { ts, letter } of this.listed) {
      const x = Math.round(plot.valToPos(ts / 1e6, "x", true)) + 0.5;
      if (x < left || x > left + width) continue;
      context.strokeStyle = colour("--ink");
      context.lineWidth = ratio;
      context.setLineDash([3 * ratio, 3 * ratio]);
      context.beginPath();
      context.moveTo(x, top);
      context.lineTo(x, top + height);
      context.stroke();
      context.fillStyle = colour("--ink");
      context.fillRect(x - 7 * ratio, top, 14 * ratio, 13 * ratio);
      context.fillStyle = colour("--card");
      context.fillText(letter, x, top + 10 * ratio);
    }
    context.restore();
  }

  describe(text) {
    attribute(this.canvas, "aria-label", `${this.title}. ${text}`);
  }
}

/** Shares of one whole as areas on each other; they hold until the next version, so the areas are steps. */
export class WeightsChart extends Chart {
  constructor(title, note, options = {}) {
    super(title, note, { unit: "share", ...options });
  }

  set({ ts, arms, series: given, marks = [], gaps = [] }) {
    this.gaps = gaps;
    const [xs, series] = broken(secondsOf(ts), given, gaps);
    const isThere = xs.map((_, at) => series.some((values) => known(values[at])));
    const shares = series.map((values) => values.map((value, at) => (isThere[at] ? (value ?? 0) : null)));
    const tops = [];
    shares.forEach((values, arm) => tops.push(values.map((value, at) => value === null ? null : value + (arm ? tops[arm - 1][at] : 0))));
    const key = arms.join("\n");
    if (key !== this.named) {
      this.named = key;
      this.setLines(arms.map((arm) => ({ name: arm, swatch: `swatch ${armClass(arm)}` })));
    }
    this.lines.forEach((line, arm) => (line.values = series[arm]));
    this.setMarks(marks);
    const painted = arms.map((arm, index) => ({ arm, tops: tops[index] })).reverse(); // the topmost first, then over it
    const options = {
      padding: [8, 10, 0, 0],
      scales: { x: { time: false }, y: { range: [0, 1] } },
      series: [
        {},
        ...painted.map(({ arm }) => ({
          fill: (plot) => armFill(plot.ctx, arm),
          stroke: () => colour("--card"),
          width: 1,
          points: { show: false },
          paths: uPlot.paths.stepped({ align: 1 }),
        })),
      ],
    };
    this.draw(key, [xs, ...painted.map((line) => line.tops)], options, "No weights were published yet.");
    this.describe(
      xs.length < 2
        ? "Nothing to draw yet."
        : `From ${dayClockUtc(ts[0])} to ${dayClockUtc(ts.at(-1))}: ${gaps.map(gapText).join("")}${arms
            .map(
              (arm, index) => `${arm} from ${percent(series[index].find(known))} to ${percent(series[index].at(-1))}`,
            )
            .join(", ")}.`,
    );
  }
}

/** Lines of one unit, each with its name at its end, and a band where it has an interval. */
export class LinesChart extends Chart {
  /** lines: [{name, values, arm | tone, low, high}] with tone "first" or "second" where it is not an arm's. */
  set({ ts, lines: given, marks = [], gaps = [], nothing = "Nothing to draw yet." }) {
    this.gaps = gaps;
    const whole = secondsOf(ts);
    const [xs] = broken(whole, [], gaps);
    const lines = given
      .filter(({ values }) => values.some(known))
      .map((line) => {
        const [, [values, low, high]] = broken(whole, [line.values, line.low, line.high], gaps);
        return { ...line, values, low, high };
      });
    const key = lines.map(({ name, arm, tone, low }) => [name, arm, tone, Boolean(low)].join("\t")).join("\n");
    if (key !== this.named) {
      this.named = key;
      this.setLines(
        lines.map(({ name, arm, tone }) => ({
          name,
          swatch: arm ? `swatch line ${armClass(arm)}` : `swatch line tone-${tone}`,
        })),
      );
    }
    this.lines.forEach((line, index) => (line.values = lines[index].values));
    this.setMarks(marks);
    const data = [xs];
    const series = [{}];
    const bands = [];
    for (const { arm, tone, values, low, high } of lines) {
      const stroke = () => (arm ? armColour(arm) : colour(`--tone-${tone}`));
      if (low) {
        data.push(high, low);
        series.push(
          { stroke: null, width: 0, points: { show: false } },
          { stroke: null, width: 0, points: { show: false } },
        );
        bands.push({ series: [series.length - 2, series.length - 1], fill: () => faint(stroke()) });
      }
      data.push(values);
      series.push({
        stroke,
        width: 1.75,
        dash: arm ? armDash(arm) : tone === "second" ? [6, 3] : [],
        points: { show: false },
      });
    }
    const options = {
      padding: [8, this.canvas.clientWidth > 480 ? 92 : 12, 0, 0],
      scales: { x: { time: false }, y: { range: (_, low, high) => around(low, high) } },
      series,
      bands,
    };
    this.ends = lines;
    this.draw(`${key}\n${this.canvas.clientWidth > 480}`, data, options, nothing);
    this.describe(
      xs.length < 2
        ? nothing
        : `From ${dayClockUtc(ts[0])} to ${dayClockUtc(ts.at(-1))}. ${gaps.map(gapText).join("")}${lines
            .map(
              (line) =>
                `${line.name}: ${this.text(line.values.findLast(known))}${this.unit === "share" ? "" : " bps"}${
                  line.low
                    ? `, 95 % interval from ${bps(line.low.findLast(known))} to ${bps(line.high.findLast(known))}`
                    : ""
                }`,
            )
            .join("; ")}.`,
    );
  }

  common() {
    const common = super.common();
    common.hooks.drawAxes = [(plot) => this.drawZero(plot)];
    common.hooks.draw.push((plot) => this.drawEnds(plot));
    return common;
  }

  drawZero(plot) {
    const y = Math.round(plot.valToPos(0, "y", true)) + 0.5;
    const { left, top, width, height } = plot.bbox;
    if (y < top || y > top + height) return;
    plot.ctx.save();
    plot.ctx.strokeStyle = colour("--dim");
    plot.ctx.lineWidth = devicePixelRatio;
    plot.ctx.beginPath();
    plot.ctx.moveTo(left, y);
    plot.ctx.lineTo(left + width, y);
    plot.ctx.stroke();
    plot.ctx.restore();
  }

  /** Names at the ends of the lines, moved apart where they would lie on each other. */
  drawEnds(plot) {
    const { left, top, width, height } = plot.bbox;
    if (plot.width * devicePixelRatio - left - width < 60 * devicePixelRatio || this.ends.length > NAMED_LINES) return;
    const gap = 13 * devicePixelRatio;
    const ends = this.ends
      .map(({ name, arm, tone, values }) => ({
        name,
        stroke: arm ? armColour(arm) : colour(`--tone-${tone}`),
        y: plot.valToPos(values.findLast(known), "y", true),
      }))
      .filter(({ y }) => Number.isFinite(y))
      .sort((a, b) => a.y - b.y);
    ends.forEach((end, index) => (end.y = Math.max(end.y, index ? ends[index - 1].y + gap : top + gap / 2)));
    ends
      .toReversed()
      .forEach((end, index, all) => (end.y = Math.min(end.y, index ? all[index - 1].y - gap : top + height - 2)));
    const context = plot.ctx;
    context.save();
    context.font = `${11 * devicePixelRatio}px ${FONT.slice(5)}`;
    context.textBaseline = "middle";
    context.textAlign = "left";
    for (const { name, stroke, y } of ends) {
      context.fillStyle = stroke;
      context.fillRect(
        left + width + 4 * devicePixelRatio,
        y - devicePixelRatio,
        8 * devicePixelRatio,
        2 * devicePixelRatio,
      );
      context.fillStyle = colour("--ink");
      context.fillText(cut(context, name, 74 * devicePixelRatio), left + width + 16 * devicePixelRatio, y);
    }
    context.restore();
  }
}

function cut(context, text, width) {
  let shown = text.slice(0, 40);
  while (shown.length > 1 && context.measureText(shown).width > width)
    shown = `${shown.replace(/…$/, "").slice(0, -1)}…`;
  return shown;
}

/** The range of values with 0 in it, and some air. */
function around(low, high) {
  const [least, most] = [Math.min(0, low ?? 0), Math.max(0, high ?? 0)];
  const air = (most - least || 1) * 0.06;
  return [least < 0 ? least - air : 0, most > 0 ? most + air : least < 0 ? 0 : 1];
}

const faint = (hex) => `${hex}${"2b"}`;

/** A small picture of shares over time, in a row of a table. */
export function drawSpark(canvas, { ts, weights }, arms) {
  const { clientWidth: width, clientHeight: height } = canvas;
  if (!width) return;
  const ratio = devicePixelRatio;
  if (canvas.width !== width * ratio) [canvas.width, canvas.height] = [width * ratio, height * ratio];
  const context = canvas.getContext("2d");
  context.clearRect(0, 0, canvas.width, canvas.height);
  if (ts.length < 2) return;
  const xs = secondsOf(ts);
  const scale = canvas.width / (xs.at(-1) - xs[0] || 1);
  let floor = xs.map(() => 0);
  arms.forEach((arm, index) => {
    const roof = floor.map((value, at) => value + (weights[index]?.[at] ?? 0));
    context.fillStyle = armFill(context, arm);
    context.beginPath();
    steps(context, xs, roof, scale, canvas.height, false);
    steps(context, xs, floor, scale, canvas.height, true);
    context.fill();
    floor = roof;
  });
}

function steps(context, xs, values, scale, height, isBack) {
  const at = (index) => (xs[index] - xs[0]) * scale;
  const y = (index) => height - values[index] * height;
  if (isBack) {
    for (let index = xs.length - 1; index >= 0; index--) {
      if (index < xs.length - 1) context.lineTo(at(index + 1), y(index));
      context.lineTo(at(index), y(index));
    }
  } else {
    xs.forEach((_, index) => {
      if (index) context.lineTo(at(index), y(index - 1));
      context.lineTo(at(index), y(index));
    });
  }
}
