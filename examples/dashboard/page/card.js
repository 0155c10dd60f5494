// One chart as one sees it: its name, the newest value, the plot, its series, its switch.
//
// In:  columns of points, the time span to show. Out: the card's element; `onSwitch(on)`.
//
// Holds always: the card keeps its size, whatever it shows. Values are text as well as a picture:
// the plot is a slider along time, which the arrow keys move and a screen reader reads.

import uPlot from "./uplot.js";
import { ago, axisEnd, clock, quantity, text, tick } from "./quantities.js";

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
/** Where an axis ends at least, so that noise does not look like a mountain. */
const LEAST = { number: 1, bytes_per_s: 10_000, per_s: 10, mebibytes: 64 };

/** The colours of the scheme in use; read once, not for each line that is drawn. */
let colours = {};
const dark = matchMedia("(prefers-color-scheme: dark)");
function readColours() {
  const names = ["line", "soft", "series-1", "series-2", "series-3"];
  colours = Object.fromEntries(names.map((name) => [name, colour(`--${name}`)]));
}
readColours();

export class Card {
  #chart;
  #plot;
  #data = null;
  #end = 0;
  #span = 60;
  #top = null;
  /** Whether one looks at a moment of the past, by pointer or keys. */
  #looking = false;
  #parts;

  constructor(name, chart, onSwitch) {
    this.#chart = chart;
    this.element = document.getElementById("card").content.firstElementChild.cloneNode(true);
    const part = (selector) => this.element.querySelector(selector);
    this.element.dataset.chart = name;
    part("h2").textContent = chart.title;
    part("h2").id = `${name}-title`;
    this.element.setAttribute("aria-labelledby", `${name}-title`);
    part(".about").textContent = chart.about;
    this.switch = part("input");
    this.switch.setAttribute("aria-label", `${chart.title}: subscribe`);
    this.switch.addEventListener("change", () => onSwitch(this.switch.checked));
    this.#parts = { about: part(".about"), number: part(".number"), unit: part(".now .unit"), plot: part(".plot"), off: part(".off"), values: [] };
    part(".legend").append(...chart.series.map((series, i) => {
      const item = document.createElement("li");
      const value = document.createElement("b");
      item.dataset.series = i + 1;
      item.append(series, value);
      this.#parts.values.push(value);
      return item;
    }));
    this.#parts.plot.setAttribute("aria-label", `${chart.title}, a moment`);
    this.#parts.plot.addEventListener("keydown", (event) => this.#key(event));
    this.#parts.plot.addEventListener("blur", () => this.#lookAway());
    dark.addEventListener("change", () => { readColours(); this.#plot?.redraw(false); });
  }

  /** Makes the plot; the element must be in the page. */
  attach() {
    const { plot } = this.#parts;
    this.#plot = new uPlot(this.#options(), [[], ...this.#chart.series.map(() => [])], plot);
    new ResizeObserver(() => this.#plot.setSize({ width: plot.clientWidth, height: plot.clientHeight })).observe(plot);
  }

  /** What is known only when the machine has said so. */
  describe(about, top) {
    this.#parts.about.textContent = about;
    this.#top = top;
  }

  subscribed(on) {
    this.switch.checked = on;
    this.element.classList.toggle("is-off", !on);
    this.#parts.off.hidden = on;
    this.#parts.plot.tabIndex = on ? 0 : -1;
    this.#parts.plot.setAttribute("aria-hidden", String(!on));
    if (!on) this.#write(null);
  }

  /** `end` is the time at the right edge, seconds; `columns` as uPlot takes them. */
  draw(columns, end, span) {
    this.#data = columns;
    this.#end = end;
    this.#span = span;
    this.#plot.batch(() => {
      this.#plot.setData(columns, false);
      this.#plot.setScale("x", { min: end - span, max: end });
      this.#plot.setScale("y", { min: 0, max: this.#highest() });
    });
    if (!this.#looking) this.#write(columns[0].length - 1);
  }

  /** The end of the y axis, for what stands in the span. */
  #highest() {
    if (this.#top) return this.#top;
    const [times, ...series] = this.#data;
    let highest = 0;
    for (let i = times.length - 1; i >= 0 && times[i] >= this.#end - this.#span; i -= 1) {
      for (const values of series) highest = Math.max(highest, values[i] ?? 0);
    }
    return axisEnd(highest * 1.05, LEAST[this.#chart.unit]);
  }

  /** Writes the values of one moment, or none. */
  #write(index) {
    const { unit } = this.#chart;
    const values = this.#chart.series.map((_, i) => this.#data?.[i + 1][index] ?? null);
    const now = quantity(values[0], unit);
    this.#parts.number.textContent = now.number;
    this.#parts.unit.textContent = `${now.unit} ${this.#chart.series[0]}`.trim();
    values.forEach((value, i) => { this.#parts.values[i].textContent = text(value, unit); });
    // Whoever stands on the plot without moving is not told four times a second.
    if (index === null || index < 0 || (!this.#looking && document.activeElement === this.#parts.plot)) return;
    const { plot } = this.#parts;
    plot.setAttribute("aria-valuemin", -this.#span);
    plot.setAttribute("aria-valuemax", 0);
    plot.setAttribute("aria-valuenow", Math.round(this.#data[0][index] - this.#end));
    const when = this.#looking ? clock.format(this.#data[0][index] * 1000) : "now";
    plot.setAttribute("aria-valuetext", `${when}: ${this.#chart.series.map((name, i) => `${name} ${text(values[i], unit)}`).join(", ")}`);
  }

  #key(event) {
    const [times] = this.#data ?? [[]];
    const { idx } = this.#plot.cursor;
    const last = times.length - 1;
    const first = times.findIndex((time) => time >= this.#end - this.#span);
    const from = this.#looking && idx !== null && idx !== undefined ? idx : last;
    const steps = { ArrowLeft: -4, ArrowRight: 4, PageDown: -40, PageUp: 40, Home: -last, End: last };
    if (event.key === "Escape") return this.#lookAway();
    if (!(event.key in steps) || last < 0) return;
    event.preventDefault();
    const to = Math.min(last, Math.max(first, from + steps[event.key]));
    this.#plot.setCursor({ left: this.#plot.valToPos(times[to], "x"), top: this.#plot.bbox.height / 2 / devicePixelRatio });
  }

  #lookAway() {
    this.#plot.setCursor({ left: -10, top: -10 });
  }

  #looked() {
    const { idx, left } = this.#plot.cursor;
    this.#looking = left >= 0 && idx !== null && idx !== undefined;
    if (!this.switch.checked || !this.#data) return;
    this.element.classList.toggle("is-looking", this.#looking);
    this.#write(this.#looking ? idx : this.#data[0].length - 1);
  }

  #options() {
    const { unit, series } = this.#chart;
    const font = `12px ${getComputedStyle(document.body).fontFamily}`;
    const axis = { font, stroke: () => colours.soft, ticks: { show: false }, grid: { stroke: () => colours.line, width: 1 } };
    return {
      width: this.#parts.plot.clientWidth,
      height: this.#parts.plot.clientHeight,
      padding: [8, 16, 0, 0],
      legend: { show: false },
      cursor: { y: false, drag: { x: false, y: false }, sync: { key: "time", setSeries: false }, points: { size: 7, width: 0, fill: (_, i) => colours[`series-${i}`] } },
      scales: { x: { time: true, auto: false }, y: { auto: false, range: (_, min, max) => [min ?? 0, max ?? 1] } },
      axes: [
        // By age: the lines move, the labels do not.
        { ...axis, size: 24, gap: 6, splits: (_, __, min, max) => parts(this.#span === 60 ? 4 : 3, min, max),
          values: (_, splits) => splits.map((time) => ago(splits.at(-1) - time, this.#span)) },
        { ...axis, size: 66, gap: 8, splits: (_, __, min, max) => parts(4, min, max),
          values: (_, splits) => splits.map((value, i) => (i % 2 === 0 ? tick(value, unit, splits.at(-1)) : "")) },
      ],
      series: [{}, ...series.map((label, i) => ({
        label,
        width: i === 0 ? 2 : 1.5,
        stroke: () => colours[`series-${i + 1}`],
        fill: i === 0 ? (plot) => fade(plot, colours["series-1"]) : undefined,
        points: { show: false },
        spanGaps: false,
      }))],
      hooks: { setCursor: [() => this.#looked()] },
    };
  }
}

/** Both ends, and what parts the way between them into `count` equal steps. */
const parts = (count, min, max) => Array.from({ length: count + 1 }, (_, i) => min + ((max - min) * i) / count);

/** The first series stands on a ground that fades towards the axis. */
function fade(plot, from) {
  const { top, height } = plot.bbox;
  if (!(height > 0)) return from;
  const gradient = plot.ctx.createLinearGradient(0, top, 0, top + height);
  gradient.addColorStop(0, `${from}52`); // #rrggbb and how opaque
  gradient.addColorStop(1, `${from}0a`);
  return gradient;
}
