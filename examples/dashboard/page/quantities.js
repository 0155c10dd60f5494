// How quantities are written: a number and a unit, of a width that hardly changes.
//
// In:  a value and its chart's unit, a time. Out: `{number, unit}`, texts, and where an axis ends.

const BYTES = ["B/s", "kB/s", "MB/s", "GB/s", "TB/s"];

/** `like`: the value whose size picks the unit, so that an axis has one unit from end to end. */
export function quantity(value, unit, like = value) {
  if (value === null || value === undefined) return { number: "–", unit: "" };
  switch (unit) {
    case "percent": return { number: value.toFixed(like === value ? 1 : 0), unit: "%" };
    case "mebibytes": return like >= 1024
      ? { number: short(value / 1024, like / 1024), unit: "GiB" }
      : { number: value.toFixed(0), unit: "MiB" };
    case "bytes_per_s": {
      const power = Math.min(BYTES.length - 1, like < 1000 ? 0 : Math.floor(Math.log10(like) / 3));
      return { number: power === 0 ? value.toFixed(0) : short(value / 1000 ** power, like / 1000 ** power), unit: BYTES[power] };
    }
    case "per_s": return { number: Math.round(value).toLocaleString("en"), unit: "/s" };
    default: return { number: value.toFixed(2), unit: "" };
  }
}

export function text(value, unit, like) {
  const { number, unit: of } = quantity(value, unit, like);
  return of ? `${number} ${of}` : number;
}

/** The numbers along an axis that ends at `top`: as few digits as tell them apart. */
export function tick(value, unit, top) {
  if (unit === "number") return Number.isInteger(top) && Number.isInteger(value) ? String(value) : value.toFixed(1);
  if (unit === "per_s") return `${value.toLocaleString("en")} /s`;
  const { number, unit: of } = quantity(value, unit, top);
  return `${Number(number)} ${of}`;
}

/** The time axis: how long ago, in a span of so many seconds. */
export function ago(seconds, span) {
  const rounded = Math.round(seconds);
  if (rounded === 0) return "now";
  return span > 120 ? `−${rounded / 60} min` : `−${rounded} s`;
}

/** A moment of the day. */
export const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });

/** The first of 1, 2, 4, 5 × 10ⁿ that is not below `value`, and not below `least`. */
export function axisEnd(value, least) {
  const wanted = Math.max(value, least);
  const power = 10 ** Math.floor(Math.log10(wanted));
  return [1, 2, 4, 5, 10].map((step) => step * power).find((end) => end >= wanted * 0.9999);
}

const short = (value, like) => value.toFixed(like >= 100 ? 0 : like >= 10 ? 1 : 2).replace(/^-0/, "0");
