/** What the server streams, kept as it was last said. Law: after a break the whole is asked for again, without end.

Age is counted from the server's clock and the time since it spoke: this computer's own clock may be wrong.
*/

const SILENCE_MS = 15_000;
const RETRY_MS = 3_000;
const NO_SPARK = { ts: [], weights: [] };

export class Feed {
  constructor(address) {
    this.address = address;
    this.rows = new Map();
    this.about = {};
    this.pulse = null;
    this.operate = null;
    this.connection = "connecting"; // then "open" or "lost"
    this.heardAt = performance.now();
    this.pulseAt = performance.now();
    this.listeners = new Set();
  }

  /** listener(kind, ids): "snapshot", "rows", "gone", "pulse", "operate" or "connection". Returns what ends it. */
  subscribe(listener) {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  start() {
    this.open();
    setInterval(() => {
      if (performance.now() - this.heardAt > SILENCE_MS) this.open();
    }, RETRY_MS);
  }

  open() {
    this.source?.close();
    this.heardAt = performance.now();
    const source = new EventSource(this.address);
    this.source = source;
    source.onerror = () => {
      this.connected("lost");
      if (source.readyState === EventSource.CLOSED) setTimeout(() => this.source === source && this.open(), RETRY_MS);
    };
    this.on("snapshot", (whole) => {
      this.rows = new Map(whole.bandits.map((row) => [row.bandit_id, row]));
      this.about = { version: whole.version, cluster: whole.cluster, group: whole.group, topics: whole.topics };
      this.heard(whole.pulse);
      this.operate = whole.operate;
      this.connected("open");
      return [...this.rows.keys()];
    });
    this.on("rows", ({ bandits }) =>
      bandits.map((row) => {
        this.rows.set(row.bandit_id, { ...row, spark: row.spark ?? this.rows.get(row.bandit_id)?.spark ?? NO_SPARK });
        return row.bandit_id;
      }),
    );
    this.on("gone", ({ bandits }) => {
      bandits.forEach((id) => this.rows.delete(id));
      return bandits;
    });
    this.on("pulse", (pulse) => this.heard(pulse));
    this.on("operate", (operate) => {
      // what was said and did not change is null
      const last = operate.dead_letters.last ?? this.operate?.dead_letters.last ?? [];
      this.operate = { ...operate, dead_letters: { ...operate.dead_letters, last } };
    });
  }

  on(kind, take) {
    const source = this.source;
    source.addEventListener(kind, ({ data }) => {
      if (this.source !== source) return;
      this.heardAt = performance.now();
      this.tell(kind, take(JSON.parse(data)) ?? []);
    });
  }

  heard(pulse) {
    this.pulse = pulse;
    this.pulseAt = performance.now();
  }

  connected(connection) {
    if (connection === "lost") this.heardAt = performance.now();
    if (this.connection === connection) return;
    this.connection = connection;
    this.tell("connection", []);
  }

  tell(kind, ids) {
    this.listeners.forEach((listener) => listener(kind, ids));
  }

  /** The server's time now, in micros; null before it spoke. */
  now() {
    return this.pulse ? this.pulse.now + (performance.now() - this.pulseAt) * 1000 : null;
  }

  /** The alerts that stand, [] before the first word. */
  alerts() {
    return this.operate?.alerts ?? [];
  }
}
