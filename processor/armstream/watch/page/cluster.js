/** What the header and Operate say of the whole cluster. Law: a sum is that of the rows beside it, of one reading. */

import { known } from "./format.js";

export const PROCESSORS_SECONDS = 30; // over which a processor's own rates are

const total = (values) => (values.some(known) ? values.filter(known).reduce((sum, value) => sum + value, 0) : null);

/** Records that the group has not read: the sum of the partitions that are shown. */
export const lagRecords = ({ operate, pulse }) =>
  operate ? total(operate.partitions.map((one) => one.lag_records)) : (pulse?.lag_records ?? null);

/** Events and commits a second: the processors' own where they are asked, else what the topics show. */
export function rates({ operate, pulse }) {
  const processors = operate?.processors ?? [];
  const events = total(processors.map((one) => one.events_per_second));
  if (known(events)) {
    const silent = processors.filter((one) => !known(one.events_per_second)).length;
    return {
      events,
      commits: total(processors.map((one) => one.commits_per_second)),
      note: silent
        ? `${processors.length - silent} of ${processors.length} processors`
        : `processors, last ${PROCESSORS_SECONDS}\u202fs`,
      commitsTitle: "Commits",
    };
  }
  return {
    events: pulse?.events_per_second ?? null,
    commits: pulse?.commits_per_second ?? null,
    note: "by the topics, last 10\u202fs",
    commitsTitle: "Task snapshots",
  };
}

export const rateDigits = (value) => (value < 10 ? 1 : 0);
