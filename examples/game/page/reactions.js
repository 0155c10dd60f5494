// The reactions that players send each other, drawn here: not every machine has a font for emoji.

import { svg } from "./look.js";

const INK = "#3b2c00";
const face = (...more) => [["circle", { cx: 12, cy: 12, r: 10.2, fill: "#f4c534" }], ...more];
const line = (d) => ["path", { d, fill: "none", stroke: INK, "stroke-width": 1.7, "stroke-linecap": "round" }];
const eye = (cx) => ["circle", { cx, cy: 9.6, r: 1.35, fill: INK }];

const PICTURES = {
  laugh: face(line("M6.6 10.2q1.7-2.4 3.4 0M14 10.2q1.7-2.4 3.4 0"), ["path", { d: "M6.4 13.2h11.2a5.6 5.2 0 0 1-11.2 0z", fill: INK }], ["path", { d: "M9.2 17.2a3.6 2.4 0 0 1 5.6 0a5.6 5.2 0 0 1-5.6 0z", fill: "#e2574c" }]),
  wow: face(eye(8.4), eye(15.6), ["ellipse", { cx: 12, cy: 16, rx: 2.3, ry: 2.9, fill: INK }], line("M6.6 6.4q1.5-1.2 3-.6M14.4 5.8q1.5-.6 3 .6")),
  ouch: face(line("M6.8 8.6l3 1.5-3 1.5M17.2 8.6l-3 1.5 3 1.5M8 17.4q2-2.4 4 0t4 0")),
  heart: [["path", { d: "M12 21C5 15.8 2.2 12.3 2.2 8.6A5.3 5.3 0 0 1 12 5.9a5.3 5.3 0 0 1 9.8 2.7C21.8 12.3 19 15.8 12 21z", fill: "#e2475c" }]],
  wave: [["path", { d: "M1.8 20.4C2.6 11 7.4 4 14 4c4.7 0 8 3.2 8 6.9 0 2.6-1.9 4.5-4.3 4.5-2 0-3.5-1.3-3.5-3-2.7 1.5-3.3 5.5-.2 8z", fill: "#3793c4" }], ["path", { d: "M7.2 16.6C8 12 10.2 8.6 13.6 7.6", fill: "none", stroke: "#fff", "stroke-width": 1.6, "stroke-linecap": "round", opacity: 0.8 }]],
  star: [["path", { d: "M12 1.9l3.05 6.3 6.95.95-5.05 4.85 1.23 6.9L12 17.6l-6.18 3.3 1.23-6.9L2 9.15l6.95-.95z", fill: "#f0a92e", stroke: "#f0a92e", "stroke-width": 1.2, "stroke-linejoin": "round" }]],
};

export const REACTIONS = Object.keys(PICTURES);

export function picture(reaction) {
  return svg("svg", { viewBox: "0 0 24 24", "aria-hidden": "true" }, ...PICTURES[reaction].map(([name, attributes]) => svg(name, attributes)));
}
