/** Numbers and times as text. Law: what is unknown is a dash, every time is UTC, and digits line up. */

export const UNKNOWN = "—";
const MINUS = "−";
const NARROW = "\u202f";
const MICROS = 1e6;
const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const formats = Array.from(
  { length: 7 },
  (_, digits) => new Intl.NumberFormat("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits }),
);

export const known = (value) => typeof value === "number" && Number.isFinite(value);

/** 1234.5 -> 1,234.50; a small number that rounds to nothing has no sign. */
export function fixed(value, digits = 0) {
  if (!known(value)) return UNKNOWN;
  const text = formats[digits].format(Math.abs(value));
  return value < 0 && /[1-9]/.test(text) ? MINUS + text : text;
}

export function signed(value, digits = 2) {
  const text = fixed(value, digits);
  return known(value) && value > 0 && /[1-9]/.test(text) ? `+${text}` : text;
}

/** .4321 -> 43 %; a part that is there, but rounds to nothing, is "<1 %". */
export function percent(share, digits = 0) {
  if (!known(share)) return UNKNOWN;
  const least = 10 ** -digits;
  if (share > 0 && share * 100 < least / 2) return `<${fixed(least, digits)}${NARROW}%`;
  return `${fixed(share * 100, digits)}${NARROW}%`;
}

/** How many digits of a mean its error leaves: 0.62 ± 0.14, 39.9 ± 65.9, 1,204 ± 310. */
export const digitsFor = (error) => (!known(error) || error < 10 ? 2 : error < 100 ? 1 : 0);

/** A sentence of the server with the numbers of this page: −1,045.3 for -1045.3; a part of a name is left. */
export const prose = (text) =>
  (text ?? "").replace(/(^|[\s(±])(-?)(\d+)(\.\d+)?(?=$|[\s,;:)]|\.(?:\s|$))/g, (_, before, minus, whole, part) => {
    const grouped = whole.length > 4 || (minus && whole.length > 3) || (part && whole.length > 3);
    return before + (minus && MINUS) + (grouped ? formats[0].format(Number(whole)) : whole) + (part ?? "");
  });

/** As many digits as such a number is read with: 123,456 · 1,234 · 12.3 · 1.23. */
export function bps(value) {
  return signed(value, !known(value) || Math.abs(value) < 10 ? 2 : Math.abs(value) < 1000 ? 1 : 0);
}

export const plusMinus = (value) => (known(value) ? `±${NARROW}${fixed(value, Math.abs(value) < 100 ? 2 : 0)}` : "");
export const price = (value) => (known(value) ? String(value) : UNKNOWN);

const two = (number) => String(number).padStart(2, "0");
const dateOf = (ts) => new Date(ts / 1000);

export function clock(ts) {
  if (!known(ts)) return UNKNOWN;
  const at = dateOf(ts);
  return `${two(at.getUTCHours())}:${two(at.getUTCMinutes())}:${two(at.getUTCSeconds())}`;
}

export function day(ts) {
  if (!known(ts)) return UNKNOWN;
  const at = dateOf(ts);
  return `${at.getUTCFullYear()}-${two(at.getUTCMonth() + 1)}-${two(at.getUTCDate())}`;
}

export const dayClock = (ts) => (known(ts) ? `${day(ts)} ${clock(ts)}` : UNKNOWN);
export const dayClockUtc = (ts) => (known(ts) ? `${dayClock(ts)} UTC` : UNKNOWN);

/** A tick of a time axis whose ticks are so many seconds apart. */
export function tick(seconds, apart, isFirst) {
  const at = new Date(seconds * 1000);
  const date = `${at.getUTCDate()} ${MONTHS[at.getUTCMonth()]}`;
  if (apart >= 86400 * 300) return String(at.getUTCFullYear());
  if (apart >= 86400 * 28) return `${MONTHS[at.getUTCMonth()]} ${at.getUTCFullYear()}`;
  if (apart >= 86400) return date;
  const time = `${two(at.getUTCHours())}:${two(at.getUTCMinutes())}`;
  const whole = apart < 60 ? `${time}:${two(at.getUTCSeconds())}` : time;
  return isFirst || seconds % 86400 === 0 ? `${whole}\n${date}` : whole;
}

/** How long ago, from micros to micros, in one unit. */
export function age(ts, now) {
  if (!known(ts) || !known(now)) return UNKNOWN;
  const seconds = Math.max(0, (now - ts) / MICROS);
  return seconds < 1 ? "now" : `${duration(seconds)} ago`;
}

export function duration(seconds) {
  if (!known(seconds)) return UNKNOWN;
  if (seconds < 10) return `${fixed(seconds, seconds < 1 && seconds > 0 ? 1 : 0)} s`;
  if (seconds < 60) return `${Math.floor(seconds)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 172800) return `${Math.floor(seconds / 3600)} h`;
  return `${fixed(Math.floor(seconds / 86400))} d`;
}

export const plural = (count, one, many = `${one}s`) => `${fixed(count)} ${count === 1 ? one : many}`;

/** What an interval says: above, below, even (0 is inside), or none. */
export function verdict(interval) {
  if (!interval || !known(interval.low_bps) || !known(interval.high_bps)) return "none";
  return interval.low_bps > 0 ? "above" : interval.high_bps < 0 ? "below" : "even";
}

export const GLYPHS = { above: "▲", below: "▼", even: "≈", none: "·" };
