// What a seat looks like, everywhere: a colour (reef.css) and a shape, so that colours need not be
// told apart. Elements are made here, text from others becomes text nodes.

export const SHAPES = [
  { name: "circle", path: "M1 0A1 1 0 1 1-1 0A1 1 0 1 1 1 0Z" },
  { name: "triangle", path: "M0-1.12L1.1.82H-1.1Z" },
  { name: "square", path: "M-.86-.86H.86V.86H-.86Z" },
  { name: "star", path: "M0-1.3L.4-.4L1.3 0L.4.4L0 1.3L-.4.4L-1.3 0L-.4-.4Z" },
];

export function svg(name, attributes = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

export function html(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === true) element.setAttribute(key, "");
    else if (value !== false && value !== undefined) element.setAttribute(key, value);
  }
  element.append(...children);
  return element;
}

/** A pointy hexagon around 0,0. */
export function hexagon(radius) {
  const corners = Array.from({ length: 6 }, (_, i) => {
    const angle = Math.PI / 6 + (i * Math.PI) / 3;
    return `${(radius * Math.cos(angle)).toFixed(2)} ${(radius * Math.sin(angle)).toFixed(2)}`;
  });
  return `M${corners.join("L")}Z`;
}

/** The middle of a cell, in the board's units. */
export const SIZE = 20;
export const middle = ([q, r]) => [Math.sqrt(3) * SIZE * (q + r / 2), 1.5 * SIZE * r];

/** A piece around 0,0. */
export function piece(seat, scale = 1) {
  const shape = svg("path", { class: "mark", d: SHAPES[seat].path, transform: `scale(${6.6 * scale})` });
  return svg("g", { class: `piece seat-${seat}` }, svg("path", { class: "tile", d: hexagon(15.6 * scale) }), shape);
}

/** A piece as a picture of its own, or an empty place. */
export function badge(seat, taken = true) {
  const content = taken ? piece(seat) : svg("path", { class: "free-seat", d: hexagon(15) });
  return svg("svg", { class: "badge", viewBox: "-20 -20 40 40", "aria-hidden": "true" }, content);
}
