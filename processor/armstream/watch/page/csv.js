/** What is shown, as a file. Law: a cell that a spreadsheet would take for a formula is text. */

import { el } from "./elements.js";

const quoted = (value) => {
  const text = value === null || value === undefined ? "" : String(value);
  const safe = typeof value === "string" && /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
  return /[",\n\r]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
};

export const csvOf = (rows) => rows.map((row) => row.map(quoted).join(",")).join("\r\n") + "\r\n";
/** Micros as ISO 8601, to the micro. */
export const isoTime = (ts) =>
  ts ? `${new Date(ts / 1000).toISOString().slice(0, -1)}${String(ts % 1000).padStart(3, "0")}Z` : "";

/** A button that saves what `rows()` gives: a heading line, then values. */
export function csvButton(text, file, rows) {
  return el(
    "button",
    {
      type: "button",
      class: "quiet",
      onclick: () => {
        const address = URL.createObjectURL(new Blob([csvOf(rows())], { type: "text/csv;charset=utf-8" }));
        const link = el("a", { href: address, download: file });
        link.click();
        setTimeout(() => URL.revokeObjectURL(address), 10_000);
      },
    },
    text,
  );
}

/** A link to what the server writes. */
export const csvLink = (text, query) =>
  el("a", { class: "quiet", href: `csv?${new URLSearchParams(query)}`, download: true }, text);
