/** How much of the time the charts show. Law: all charts of a view show the same time. */

import { el } from "./elements.js";

const DAY = 86400;
const RANGES = [
  ["1 h", 3600],
  ["1 d", DAY],
  ["7 d", 7 * DAY],
  ["30 d", 30 * DAY],
  ["All", Infinity],
];

export function ranges(charts) {
  const buttons = RANGES.map(([title, seconds]) =>
    el(
      "button",
      {
        type: "button",
        class: "choice",
        "aria-pressed": String(title === "All"),
        onclick: (event) => {
          buttons.forEach((button) => button.setAttribute("aria-pressed", String(button === event.currentTarget)));
          charts.forEach((chart) => chart.range(seconds));
        },
      },
      title,
    ),
  );
  return el(
    "div",
    { class: "choices ranges", role: "group", "aria-label": "Time shown" },
    ...buttons,
    el("span", { class: "dim note" }, "UTC · drag in a chart to look closer"),
  );
}
