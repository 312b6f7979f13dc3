/** Whether it runs: lag, owners, commits, dead letters. Law: what is wrong stands first, with what to do. */

import { PROCESSORS_SECONDS, lagRecords, rateDigits, rates } from "./cluster.js";
import { csvLink } from "./csv.js";
import { attribute, cell, el, figures, name, number, show, table, write } from "./elements.js";
import { UNKNOWN, age, clock, day, dayClock, dayClockUtc, duration, fixed, known, plural, prose } from "./format.js";
import { box } from "./bandit.js";

const IDLE_MICROS = 60e6;

export function openOperate(feed, main) {
  return new Operate(feed, main);
}

class Operate {
  constructor(feed, main) {
    Object.assign(this, { feed, title: "Operate", only: null });
    this.alerts = el("div", { class: "alerts" });
    this.rulesCount = el("span");
    this.rulesList = el("ul");
    this.rules = el("details", { class: "rules" }, el("summary", {}, this.rulesCount), this.rulesList);
    this.figures = el("div");
    this.partitions = table("Partitions", [
      { title: "Partition" },
      { title: "Lag, records", number: true },
      { title: "Lag, time", number: true },
      { title: "Committed", number: true, wide: true, hint: "The next offset that the group reads" },
      { title: "End", number: true, wide: true },
      { title: "Owner" },
    ]);
    this.members = table("Members of the group", [
      { title: "Client" },
      { title: "Host" },
      { title: "Version" },
      { title: "Partitions" },
    ]);
    this.processors = table("Processors", [
      { title: "Metrics" },
      { title: "State" },
      { title: "Version", wide: true },
      { title: "Events / s", number: true, wide: true },
      { title: "Commits / s", number: true, wide: true },
      { title: "Commit p50 · p99, ms", number: true, hint: "Half of its commits, and 99 of 100, took no longer" },
      { title: "To restore", number: true, wide: true },
      { title: "Failed", number: true, hint: "Transactions that failed since it started" },
      { title: "Up", number: true, wide: true },
    ]);
    this.noProcessor = el(
      "p",
      { class: "nothing" },
      "No address is named. Commit times, restores and failed transactions " +
        "come from the processors' own metrics: name their addresses in the section “watch” of the settings.",
    );
    this.tasks = table("Tasks", [{ title: "Task" }, { title: "Written by" }, { title: "Last snapshot", number: true }]);
    this.classes = el("div", { class: "choices", role: "group", "aria-label": "Dead letters of class" });
    this.letters = el("div", { class: "letters" });
    const partitions = box("Partitions", "What the group has not read yet, and who reads it", this.partitions.element);
    partitions.querySelector(".box-head").append(csvLink("CSV", { view: "operate" }));
    main.replaceChildren(
      el("h1", { class: "unseen" }, "Operate"),
      this.alerts,
      this.rules,
      this.figures,
      el(
        "div",
        { class: "grid most-first" },
        partitions,
        el(
          "div",
          { class: "stack" },
          box("Members of the group", null, this.members.element),
          box("Tasks", "Each task's state, by its last snapshot", this.tasks.element),
        ),
      ),
      box(
        "Processors",
        `Rates and times of the last ${PROCESSORS_SECONDS}\u202fs`,
        this.processors.element, this.noProcessor,
      ),
      box(
        "Dead letters",
        "Input that could not be applied. The last ones, whole; open one to see why and what it was",
        this.classes,
        this.letters,
      ),
    );
    this.update("operate");
    scrollTo(0, 0);
  }

  close() {}

  update(kind) {
    if (kind === "rows" || kind === "gone") return;
    this.writeFigures();
    this.writeRules();
    if (kind === "pulse" || !this.feed.operate) return;
    const { operate } = this.feed;
    this.writeAlerts();
    this.writePartitions(operate.partitions);
    this.writeMembers(operate.members);
    this.writeProcessors(operate.processors ?? []);
    this.tasks.body.replaceChildren(
      ...(none(operate.tasks, 3, "No task was written yet.") ??
        operate.tasks.map((task) =>
          el(
            "tr",
            {},
            el("th", { scope: "row" }, String(task.task)),
            cell(task.version ?? UNKNOWN),
            el("td", { class: "number", title: dayClockUtc(task.snapshot_ts) }, this.snapshotText(task)),
          ),
        )),
    );
    this.writeDeadLetters(operate.dead_letters);
  }

  writeAlerts() {
    const alerts = [...this.feed.alerts()].sort((a, b) => (b.severity === "red") - (a.severity === "red"));
    const key = JSON.stringify(alerts);
    if (key === this.alertsKey) return;
    this.alertsKey = key;
    this.alerts.replaceChildren(
      ...(alerts.length
        ? alerts.map(({ name: title, severity, text, remedy }) =>
            el(
              "section",
              { class: `alert ${severity}` },
              el("h2", {}, el("span", { class: "level" }, severity === "red" ? "Alert" : "Warning"), " ", title),
              el("p", {}, text),
              el("p", { class: "remedy" }, el("b", {}, "Do: "), remedy),
            ),
          )
        : []),
    );
  }

  /** How many rules were looked at, and when; opened, each with what it looks for. */
  writeRules() {
    const { operate, pulse } = this.feed;
    const rules = operate?.rules ?? [];
    show(this.rules, rules.length > 0);
    if (!rules.length) return;
    const watched = rules.filter((rule) => rule.is_watched);
    const stands = this.feed.alerts().length;
    const what = stands ? `${plural(stands, "alert stands", "alerts stand")}` : "✓ No alert stands";
    const looked = age(pulse?.alerts_looked_ts, this.feed.now());
    write(this.rulesCount, `${what}: ${plural(watched.length, "rule")} looked at ${looked}`);
    attribute(this.rulesCount, "class", stands ? null : "calm");
    const key = JSON.stringify([rules, this.feed.alerts()]);
    if (key === this.rulesKey) return;
    this.rulesKey = key;
    const standing = new Set(this.feed.alerts().map((alert) => alert.name));
    this.rulesList.replaceChildren(
      ...rules.map((rule) =>
        el(
          "li",
          { class: rule.is_watched ? null : "dim" },
          el("b", {}, rule.name),
          ` ${rule.looks_for}`,
          standing.has(rule.name) ? el("span", { class: "bad" }, " · stands") : "",
          rule.is_watched ? "" : " · not looked at: no processor's metrics are named",
        ),
      ),
    );
  }

  /** When a task wrote its state; one that has nothing to do says so. */
  snapshotText({ task, snapshot_ts: ts }) {
    const inputs = this.feed.operate.partitions.filter(({ partition }) => partition === task);
    const old = age(ts, this.feed.now());
    if (!inputs.length || inputs.some((one) => one.lag_records !== 0)) return old;
    if (inputs.every(({ end }) => !end)) return "idle: no input yet";
    return known(ts) && this.feed.now() - ts > IDLE_MICROS ? `idle: all input is read · ${old}` : old;
  }

  writeFigures() {
    const { pulse, operate } = this.feed;
    if (!pulse) return;
    const lags = operate?.partitions.map(({ lag_seconds: lag }) => lag).filter(known) ?? [];
    const processors = operate?.processors ?? [];
    const sum = (field) =>
      processors.some((one) => known(one[field]))
        ? processors.reduce((total, one) => total + (one[field] ?? 0), 0)
        : null;
    const lag = lagRecords(this.feed);
    const { events, commits, note, commitsTitle } = rates(this.feed);
    const unowned = operate?.partitions.filter(({ owner }) => !owner).length ?? 0;
    this.figures.replaceChildren(
      figures(
        [
          ["Events", `${fixed(events, rateDigits(events))} / s`, note],
          [commitsTitle, `${fixed(commits, 1)} / s`, note],
          [
            "Lag",
            known(lag) ? plural(lag, "record") : UNKNOWN,
            lags.length ? `at most ${duration(Math.max(...lags))}` : "",
            lag > 10_000 ? "warn" : "",
            "The sum of the partitions below, of one reading; how long the oldest of them waits",
          ],
          [
            "Group",
            operate?.group_state ?? UNKNOWN,
            unowned ? `${plural(unowned, "partition")} without owner` : "every partition owned",
            unowned ? "warn" : "",
          ],
          [
            "To restore",
            known(sum("restore_remaining_records")) ? plural(sum("restore_remaining_records"), "record") : UNKNOWN,
          ],
          [
            "Failed transactions",
            fixed(sum("failed_transactions")),
            "since each started",
            sum("failed_transactions") > 5 ? "warn" : "",
          ],
          ["Dead letters today", fixed(pulse.dead_letters_today), "UTC day", pulse.dead_letters_today ? "warn" : ""],
          [
            "Last record",
            age(pulse.last_record_ts, this.feed.now()),
            known(pulse.last_record_ts) ? `${clock(pulse.last_record_ts)} UTC` : "",
          ],
        ],
        "In numbers",
      ),
    );
  }

  writePartitions(partitions) {
    this.partitions.body.replaceChildren(
      ...(none(partitions, 6, "The group's offsets are not known yet.") ??
        partitions.map((one) =>
          el(
            "tr",
            { class: one.owner ? null : "unowned" },
            el("th", { scope: "row" }, name(one.topic), el("span", { class: "dim" }, ` ${one.partition}`)),
            number(fixed(one.lag_records), one.lag_records > 10_000 ? "warn" : ""),
            number(duration(one.lag_seconds)),
            number(fixed(one.committed), "wide"),
            number(fixed(one.end), "wide"),
            cell(
              one.owner
                ? el("span", {}, name(one.owner.client_id), el("span", { class: "dim wide" }, ` ${one.owner.host}`))
                : el("span", { class: "warn" }, "nobody"),
            ),
          ),
        )),
    );
  }

  writeMembers(members) {
    this.members.body.replaceChildren(
      ...(none(members, 4, "Nobody is in the group: start a processor with “armstream run”.") ??
        members.map((one) =>
          el(
            "tr",
            {},
            el("th", { scope: "row" }, name(one.client_id)),
            cell(name(one.host)),
            cell(one.version ?? UNKNOWN),
            cell(partitionsText(one.partitions)),
          ),
        )),
    );
  }

  writeProcessors(processors) {
    show(this.noProcessor, processors.length === 0);
    show(this.processors.element, processors.length > 0);
    this.processors.body.replaceChildren(
      ...processors.map((one) =>
        el(
          "tr",
          {},
          el("th", { scope: "row" }, name(one.url.replace(/^https?:\/\/|\/metrics$/g, ""), { title: one.url })),
          cell(
            one.error
              ? el("span", { class: "bad", title: one.error }, one.error)
              : one.ready === null
                ? UNKNOWN
                : one.ready
                  ? el("span", { class: "good" }, "ready")
                  : el("span", { class: "warn" }, "not ready"),
          ),
          cell(one.version ?? UNKNOWN, "wide"),
          number(fixed(one.events_per_second, 1), "wide"),
          number(fixed(one.commits_per_second, 1), "wide"),
          number(
            known(one.commit_p99_ms) ? `${milliseconds(one.commit_p50_ms)} · ${milliseconds(one.commit_p99_ms)}` : UNKNOWN,
          ),
          number(fixed(one.restore_remaining_records), "wide"),
          number(fixed(one.failed_transactions), one.failed_transactions ? "warn" : ""),
          number(duration(one.uptime_seconds), "wide"),
        ),
      ),
    );
  }

  writeDeadLetters({ by_class: byClass, last }) {
    const key = JSON.stringify([byClass, last[0] ?? null, this.only]);
    if (key === this.lettersKey) return;
    this.lettersKey = key;
    const choose = (only) => () => {
      this.only = only;
      this.writeDeadLetters(this.feed.operate.dead_letters);
    };
    this.classes.replaceChildren(
      ...(Object.entries(byClass).length
        ? [
            ["All", null, Object.values(byClass).reduce((a, b) => a + b, 0)],
            ...Object.entries(byClass)
              .sort((a, b) => b[1] - a[1])
              .map(([title, count]) => [title, title, count]),
          ].map(([title, only, count]) =>
            el(
              "button",
              { type: "button", class: "choice", "aria-pressed": String(this.only === only), onclick: choose(only) },
              title,
              " ",
              el("b", {}, fixed(count)),
            ),
          )
        : []),
    );
    const shown = last.filter((letter) => !this.only || letter.class === this.only);
    const isOpen = new Set([...this.letters.querySelectorAll("details[open]")].map((one) => one.dataset.at));
    this.letters.replaceChildren(
      ...(shown.length
        ? shown.map((letter) => this.letter(letter, isOpen))
        : [
            el(
              "p",
              { class: "nothing" },
              last.length ? "None of this class among the last ones." : "No dead letter. All input was applied.",
            ),
          ]),
    );
  }

  letter(letter, isOpen) {
    const at = `${letter.topic}:${letter.partition}:${letter.offset}`;
    const today = day(letter.ts) === day(this.feed.now());
    const fact = (title, value) => [el("dt", {}, title), el("dd", {}, el("bdi", {}, value ?? UNKNOWN))];
    const whole = el(
      "details",
      { "data-at": at, open: isOpen.has(at) },
      el(
        "summary",
        {},
        el("time", { title: dayClockUtc(letter.ts) }, today ? clock(letter.ts) : dayClock(letter.ts)),
        el("b", { class: "class" }, letter.class),
        el("bdi", { class: "at dim" }, at),
        el("bdi", { class: "error-text" }, prose(letter.error)),
        letter.remedy ? el("span", { class: "remedy" }, el("b", {}, "Do: "), letter.remedy) : null,
      ),
      el(
        "dl",
        { class: "facts" },
        ...fact("Why", letter.error),
        ...fact("Bandit", letter.bandit_id),
        ...fact("Event", letter.event_id),
        ...fact("Source", at),
        ...fact("Key", letter.key),
        ...fact("Headers", headersText(letter.headers)),
        ...fact("Time", dayClockUtc(letter.ts)),
      ),
      el("pre", { tabindex: 0, "aria-label": "The record's value" }, valueText(letter.value)),
      el("p", { class: "dim" }, "In a terminal: ", el("code", {}, `armstream dead-letters show ${at}`)),
      el(
        "p",
        { class: "dim" },
        "Once the cause is mended: ",
        el("code", {}, `armstream dead-letters resend ${at} --reason "…" --dry-run`),
      ),
    );
    return whole;
  }
}

/** Buckets of a histogram tell no more than two digits: 7.2, 19, 490. */
const milliseconds = (value) => (value < 10 ? fixed(value, 1) : fixed(Number(value.toPrecision(2))));

/** ["trades:0", "trades:1", "trades:2", "trades:5"] -> "trades 0–2, 5". */
function partitionsText(partitions) {
  const byTopic = new Map();
  for (const one of partitions) {
    const at = one.lastIndexOf(":");
    const topic = one.slice(0, at);
    byTopic.set(topic, [...(byTopic.get(topic) ?? []), Number(one.slice(at + 1))]);
  }
  return [...byTopic].map(([topic, numbers]) => `${topic} ${runs(numbers)}`).join("; ") || UNKNOWN;
}

function runs(numbers) {
  const found = [];
  for (const number of numbers.sort((a, b) => a - b)) {
    const last = found.at(-1);
    if (last && last[1] === number - 1) last[1] = number;
    else found.push([number, number]);
  }
  return found.map(([first, last]) => (first === last ? first : `${first}–${last}`)).join(", ");
}

const none = (list, columns, text) =>
  list.length ? null : [el("tr", {}, el("td", { colspan: columns, class: "nothing" }, text))];

function headersText(headers) {
  const pairs = Array.isArray(headers)
    ? headers.map((one) => (Array.isArray(one) ? one : [one.name, one.value]))
    : Object.entries(headers ?? {});
  return pairs.length ? pairs.map(([key, value]) => `${key}: ${value}`).join("\n") : "none";
}

function valueText(value) {
  if (value === null || value === undefined) return "no value";
  return typeof value === "string" ? value : JSON.stringify(value, null, 2);
}
