// One chart's points, by their numbers.
//
// In:  samples and stretches of history, in any order, twice or not at all.
// Out: columns for the chart; which number is the first that is missing.
//
// Holds always: a number is here once; at most `kept` numbers up to the newest are here; what is
// missing in between is a hole, never a neighbour's value.

export class Points {
  #width;
  #kept;
  /** The number of the first tick held; `#ticks[i]` is tick `#first + i`, or undefined: a hole. */
  #first = 1;
  #ticks = [];

  constructor(width, kept) {
    this.#width = width;
    this.#kept = kept;
  }

  get newest() {
    return this.#first + this.#ticks.length - 1;
  }

  /** How many are held. */
  get count() {
    return this.#ticks.reduce((count, tick) => count + (tick ? 1 : 0), 0);
  }

  /** How many are missing between the first and the newest. */
  get missing() {
    return this.#ticks.length - this.count;
  }

  /** Everything up to this number is here: what to ask from. 0 where nothing is. */
  get complete() {
    const hole = this.#ticks.findIndex((tick) => !tick);
    return this.#ticks.length === 0 ? 0 : hole < 0 ? this.newest : this.#first + hole - 1;
  }

  /** The newest tick, `{at, values}`. */
  get last() {
    return this.#ticks.at(-1);
  }

  clear() {
    this.#first = 1;
    this.#ticks = [];
  }

  /** `values` is null where nothing was measured. */
  add(n, at, values) {
    if (this.#ticks.length === 0) this.#first = n;
    if (n <= this.newest - this.#kept) return;
    if (n < this.#first) {
      this.#ticks.unshift(...new Array(this.#first - n).fill(undefined));
      this.#first = n;
    }
    while (this.newest < n) this.#ticks.push(undefined);
    this.#ticks[n - this.#first] ??= { at, values: values ?? new Array(this.#width).fill(null) };
    const over = this.#ticks.length - this.#kept;
    if (over > 0) {
      this.#ticks.splice(0, over);
      this.#first += over;
    }
  }

  /** A `history` message of the backend. */
  addHistory({ from, at, steps, series }) {
    let time = at;
    const length = series[0].length;
    for (let i = 0; i < length; i += 1) {
      if (i > 0) time += steps[i - 1];
      this.add(from + i, time, series.map((column) => column[i]));
    }
  }

  /** `[times in seconds, first series, second series, …]`; holes are null, at a time in between. */
  columns() {
    const columns = Array.from({ length: this.#width + 1 }, () => []);
    let time = 0;
    for (const tick of this.#ticks) {
      time = tick ? tick.at / 1000 : time + 0.001;
      columns[0].push(time);
      for (let i = 0; i < this.#width; i += 1) columns[i + 1].push(tick?.values[i] ?? null);
    }
    return columns;
  }
}
