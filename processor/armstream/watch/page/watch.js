/** The page: which view is open, and the line at the top that says whether all is well. Law: it only reads. */

import { openBandit } from "./bandit.js";
import { lagRecords, rateDigits, rates } from "./cluster.js";
import { openCompare } from "./compare.js";
import { openDesk } from "./desk.js";
import { attribute, el, show, write } from "./elements.js";
import { Feed } from "./feed.js";
import { UNKNOWN, age, clock, dayClockUtc, fixed, known } from "./format.js";
import { openOperate } from "./operate.js";
import { learnArms } from "./palette.js";

const VIEWS = { desk: openDesk, bandit: openBandit, operate: openOperate, compare: openCompare };
const STATES = {
  live: ["Live", "good"],
  reading: ["Reading back", "warn"],
  "no-broker": ["No broker", "bad"],
  "no-records": ["No records", "warn"],
  error: ["Error", "bad"],
};
const place = (id) => document.getElementById(id);
const feed = new Feed("events");
const pulse = new Map();
let view = null;
let shown = {};

/** "#/bandit/us-equities" -> {name: "bandit", id: "us-equities"} with what stands after "?". */
function wish() {
  const [path, query] = location.hash.replace(/^#\/?/, "").split("?");
  const [name, ...id] = path.split("/");
  return {
    name: name in VIEWS ? name : "desk",
    id: id.length ? decoded(id.join("/")) : "",
    ...Object.fromEntries(new URLSearchParams(query)),
  };
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function open() {
  const wanted = wish();
  if (wanted.name === "bandit" && !wanted.id) wanted.name = "desk";
  const before = shown;
  view?.close();
  shown = wanted;
  place("main").dataset.view = wanted.name;
  view = VIEWS[wanted.name](feed, place("main"), wanted);
  const current = wanted.name === "bandit" ? "desk" : wanted.name;
  document
    .querySelectorAll("nav a")
    .forEach((link) => attribute(link, "aria-current", link.dataset.view === current ? "page" : null));
  if (wanted.name === "desk" && before.name === "bandit") view.focus(before.id);
  writeTitle();
}

function writeTitle() {
  const red = feed.alerts().filter(({ severity }) => severity === "red").length;
  const lost = feed.connection === "lost" ? "(not connected) " : red ? `(${red}) ` : "";
  document.title = `${lost}${view?.title ?? ""} · Armstream`;
}

/** One part of the line at the top: built once, then only written. */
function part(key, title, kind = "") {
  const value = el("dd");
  pulse.set(key, value);
  return el("div", { class: `${key} ${kind}`.trim() }, el("dt", {}, title), value);
}

function writePulse() {
  const now = feed.now();
  const { pulse: last } = feed;
  const [text, kind] =
    feed.connection === "lost"
      ? ["Not connected", "bad"]
      : !last
        ? ["Connecting", "warn"]
        : (STATES[last.state] ?? [last.state, "warn"]);
  const state = pulse.get("state");
  attribute(state, "class", `state ${kind}`);
  write(state, text);
  write(pulse.get("last"), last ? age(last.last_record_ts, now) : UNKNOWN);
  const { events } = rates(feed);
  write(pulse.get("events"), known(events) ? `${fixed(events, rateDigits(events))}/s` : UNKNOWN);
  write(pulse.get("lag"), fixed(lagRecords(feed)));
  write(pulse.get("dead"), fixed(last?.dead_letters_today));
  attribute(pulse.get("dead"), "class", last?.dead_letters_today ? "warn" : null);
  place("pulse").classList.toggle("has-dead", Boolean(last?.dead_letters_today));
  write(pulse.get("utc"), clock(now));
}

/** What is wrong, in one line under the top, with what to do; nothing where nothing is. */
function writeBanner() {
  const red = feed.alerts().filter(({ severity }) => severity === "red");
  const { pulse: last } = feed;
  let says = null;
  if (feed.connection === "lost") {
    says = [
      "bad",
      "No connection to armstream watch.",
      `${known(feed.now()) ? `What stands here is of ${dayClockUtc(last.now)}. ` : ""}` +
        "The page tries again by itself. Check that “armstream watch” runs, and that it has not too many pages open.",
    ];
  } else if (last && ["no-broker", "error"].includes(last.state)) {
    says = ["bad", STATES[last.state][0] === "Error" ? "Reading stopped." : "Kafka does not answer.", last.text];
  } else if (red.length) {
    says = [
      "bad",
      `${red[0].name}: ${red[0].text}`,
      red[0].remedy + (red.length > 1 ? ` And ${red.length - 1} more under Operate.` : ""),
    ];
  } else if (last?.state === "reading" && feed.rows.size) {
    const { read, of } = last.progress ?? {};
    says = [
      "warn",
      "Reading rewards back.",
      `${of ? `${fixed(read)} of ${fixed(of)}. ` : ""}Sums and intervals grow until it is done.`,
    ];
  }
  const banner = place("banner");
  show(
    banner,
    says !== null && !(shown.name === "operate" && says[0] === "bad" && red.length && feed.connection === "open"),
  );
  if (says) {
    attribute(banner, "class", `banner ${says[0]}`);
    const text = says.join("\n");
    if (banner.dataset.says !== text) {
      banner.dataset.says = text;
      banner.replaceChildren(el("b", {}, says[1]), " ", says[2]);
    }
  }
  const count = feed.alerts().length;
  show(place("alert-count"), count > 0);
  attribute(place("alert-count"), "class", `count ${red.length ? "red" : "amber"}`);
  write(place("alert-count"), `${count}`);
  attribute(place("alert-count"), "aria-label", count === 1 ? "1 alert" : `${count} alerts`);
  announce(
    says
      ? `${says[1]} ${says[2]}`
      : last
        ? `${STATES[last.state]?.[0] ?? last.state}. ${count ? `${count} alerts.` : "No alert."}`
        : "",
  );
}

/** Said to a screen reader when it changes: what state all is in, never a tick. */
let announced = "";
function announce(text) {
  const stable = text.replace(/[\d,]+ of [\d,]+\. /, "").replace(/What stands here is of [^.]*\. /, "");
  if (stable === announced) return;
  announced = stable;
  write(place("announce"), text);
}

function writeFoot() {
  const { version, cluster, group } = feed.about;
  place("foot").replaceChildren(
    ...[
      version ? `Armstream ${version}` : "Armstream",
      cluster ? el("span", {}, "cluster ", el("bdi", {}, cluster)) : null,
      group ? el("span", {}, "group ", el("bdi", {}, group)) : null,
      "all times UTC",
      "this page only reads",
    ]
      .filter(Boolean)
      .map((text) => el("span", {}, text)),
  );
}

const missed = new Set();
function hear(kind, ids) {
  if (kind === "snapshot" || kind === "rows") learnArms(ids.map((id) => feed.rows.get(id)));
  if (document.hidden) {
    missed.add(kind);
  } else {
    view?.update(kind, ids);
    if (["pulse", "snapshot", "operate", "connection"].includes(kind)) writePulse();
  }
  if (kind === "snapshot") writeFoot();
  if (kind !== "rows") {
    writeBanner();
    writeTitle();
  }
}

function build() {
  place("pulse").append(
    part("state", "State"),
    part("last", "last record"),
    part("events", "events"),
    part("lag", "lag"),
    part("dead", "dead letters today"),
    part("utc", "UTC"),
  );
  place("skip").addEventListener("click", (event) => {
    event.preventDefault();
    place("main").focus();
  });
  addEventListener("hashchange", open);
  document.addEventListener("keydown", (event) => {
    const isTyping = /INPUT|SELECT|TEXTAREA/.test(event.target.tagName);
    if (event.key === "Escape" && shown.name === "bandit" && !isTyping) location.hash = "#/desk";
  });
  document.addEventListener("visibilitychange", () => {
    if (document.hidden || !missed.size) return;
    missed.clear();
    view?.update("snapshot", [...feed.rows.keys()]);
    writePulse();
  });
  setInterval(() => !document.hidden && writePulse(), 1000);
  feed.subscribe(hear);
  writePulse();
  writeFoot();
  feed.start();
  open();
}

build();
