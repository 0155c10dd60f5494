// What the views are made of: elements, drawings, and how times, sums and states read.
//
// Holds always: text becomes text nodes, never markup.

export const $ = (id) => document.getElementById(id);

/** An element with properties (`data` and `aria` by their short names) and children. */
export function element(tag, { data = {}, aria = {}, ...properties } = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  Object.assign(made.dataset, data);
  for (const [name, value] of Object.entries(aria)) made.setAttribute(`aria-${name}`, value);
  made.append(...children.filter((child) => child !== null));
  return made;
}

const PATHS = {
  lantern: "M9 3.5h6M8 8h8l1 10H7zM9 8a3 3 0 0 1 6 0M6 21h12v-3H6zM12 11v4",
  rope: "M12 4a8 4 0 1 0 .01 0M4 8v4c0 2.2 3.6 4 8 4s8-1.8 8-4V8M4 12v4c0 2.2 3.6 4 8 4s8-1.8 8-4v-4M12 7a2.5 1 0 1 0 .01 0",
  oar: "M20.5 3.5L10 14M11.5 12.5c-2-1-4.5 0-6 1.800C4 16 3.300 18 3.5 20.5c2.5.2 4.5-.5 6.200-2 1.800-1.5 2.800-4 1.800-6z",
  chart: "M3.5 6.5l5.5-2 6 2 5.5-2v13l-5.5 2-6-2-5.5 2zM9 4.5v13M15 6.5v13",
  kettle: "M6 20h12l1-6a7 7 0 0 0-14 0zM19 14l2.5-3M8 8.5a4 4 0 0 1 8 0M12 4v3",
  bell: "M12 3v2M6 17c1.5-1.5 1.5-3.5 1.5-6a4.5 4.5 0 0 1 9 0c0 2.5 0 4.5 1.5 6zM10.5 20.5h3",
  all: "M2.5 12.5l4 4L14 8.5M11 15l1.5 1.5 8-8",
  some: "M4 12.5l5 5L20 6.5",
  none: "M20 14.5A8.5 8.5 0 1 1 9.5 4a7 7 0 0 0 10.5 10.5z",
  next: "M5 12h13M13 6.5l5.5 5.5-5.5 5.5",
  waiting: "M12 7v5l3 2M12 3.5a8.5 8.5 0 1 0 .01 0",
  refused: "M12 8v5M12 16.5v.01M12 3.5a8.5 8.5 0 1 0 .01 0",
  parcel: "M4 8l8-4 8 4v8l-8 4-8-4zM4 8l8 4 8-4M12 12v8",
};

export function drawing(name) {
  const SVG = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", PATHS[name] ?? PATHS.parcel);
  svg.append(path);
  return svg;
}

export const money = (cents) =>
  new Intl.NumberFormat("en-IE", { style: "currency", currency: "EUR" }).format(cents / 100);

export function time(ms) {
  const at = new Date(ms);
  const today = at.toDateString() === new Date().toDateString();
  const text = at.toLocaleString("en-GB", {
    hour: "2-digit", minute: "2-digit", ...(today ? {} : { day: "numeric", month: "short" }),
  });
  return element("time", { dateTime: at.toISOString(), title: at.toLocaleString("en-GB") }, text);
}

/** `1 tab`, `2 tabs`. */
export const several = (count, noun) => `${count} ${noun}${count === 1 ? "" : "s"}`;

export const capital = (text) => text[0].toUpperCase() + text.slice(1);

const SAYS = {
  placed: "was placed", packed: "is packed", shipped: "is on its way", delivered: "was delivered", cancelled: "was cancelled",
};
export const saysOf = (update) => `Order ${update.order.id} ${SAYS[update.state] ?? `is ${update.state}`}`;

const HUES = { Ada: 170, Grace: 280, Wren: 30 };
export function avatar(name) {
  const hue = HUES[name] ?? [...name].reduce((sum, letter) => (sum * 31 + letter.codePointAt(0)) % 360, 7);
  const made = element("span", { className: "avatar", aria: { hidden: "true" } }, name.slice(0, 1));
  made.style.setProperty("--hue", hue);
  return made;
}

export const randomMark = () =>
  Array.from(crypto.getRandomValues(new Uint8Array(12)), (byte) => byte.toString(16).padStart(2, "0")).join("");

export function orderHead(order, beside, under) {
  return element("div", { className: "order-head" },
    element("span", { className: "art" }, drawing(order.art)),
    element("div", { className: "order-title" },
      element("h3", {}, order.quantity > 1 ? `${order.quantity} × ${order.item}` : order.item),
      under),
    beside);
}

/** Makes these the list's children, and touches those that stay as little as it can: what moves
 *  loses its focus, and a click that has begun on it. */
export function arrange(list, children) {
  const wanted = new Set(children);
  for (const child of [...list.children]) if (!wanted.has(child)) child.remove();
  children.forEach((child, index) => {
    if (list.children[index] !== child) list.insertBefore(child, list.children[index] ?? null);
  });
}

let toastTimer = 0;
export function toast(text) {
  $("toast").textContent = text;
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => { $("toast").textContent = ""; }, 6_000);
}
