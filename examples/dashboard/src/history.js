// The last few minutes of samples, and how they are told.
//
// In:  one sample per tick. Out: the messages that carry one value or many.
//
// Holds always: ticks are numbered without gaps, from 1, within one run of the backend. A viewer
// that has a number missing can name it, and one that has another run's numbers has none of these.

import { randomBytes } from "node:crypto";

export class History {
  /** Tells this run's numbers from those of the run before. */
  run = randomBytes(6).toString("hex");
  /** The newest tick's number; 0 before the first. */
  newest = 0;
  #size;
  #ticks = [];

  /** Keeps `size` ticks. */
  constructor(size) {
    this.#size = size;
  }

  /** `values`: by chart, an array or null. */
  add(at, values) {
    this.newest += 1;
    this.#ticks.push({ at, values });
    if (this.#ticks.length > this.#size) this.#ticks.shift();
  }

  /** The newest values of all charts; what greets a viewer. */
  current() {
    const { at, values } = this.#ticks.at(-1) ?? { at: 0, values: {} };
    return { run: this.run, n: this.newest, at, values };
  }

  /** The newest value of one chart, as its group gets it. */
  sample(chart) {
    const { at, values } = this.#ticks.at(-1);
    return { type: "sample", chart, run: this.run, n: this.newest, at, values: values[chart] };
  }

  /**
   * What one chart's viewer lacks who has everything up to `since` of `run`. By columns, for a
   * message is bounded: `at` is the first tick's time, `steps` the milliseconds from each to the
   * next, `series` one column for each. A tick without values is null in all of them.
   */
  after(chart, width, run, since) {
    const oldest = this.newest - this.#ticks.length + 1;
    const from = run === this.run ? Math.min(Math.max(since + 1, oldest), this.newest + 1) : oldest;
    const ticks = this.#ticks.slice(from - oldest);
    return {
      type: "history",
      chart,
      run: this.run,
      from,
      at: ticks[0]?.at ?? 0,
      steps: ticks.slice(1).map(({ at }, i) => at - ticks[i].at),
      series: Array.from({ length: width }, (_, i) => ticks.map(({ values }) => values[chart]?.[i] ?? null)),
    };
  }
}
