// The warehouse's view: what is to be done, and how each update fared.
//
// In:  all orders when the line opens, then each one that changes. Out: an order's next state.
//
// Holds always: what was pushed while the orders were being read is shown over them, so that the
// view ends with the newest.

import { $, arrange, avatar, capital, drawing, element, orderHead, several, time, toast } from "./parts.js";

const DO = { packed: "Pack", shipped: "Ship", delivered: "Deliver", cancelled: "Cancel" };
const READ_AGAIN_MS = 3_000;
const MOST_DELIVERIES = 60;
const MOST_TABS = 10;

export class Warehouse {
  #account;
  #line;
  #orders = new Map();
  #cards = new Map();
  #entries = new Map();
  #reading = false;
  #again = false;
  #meanwhile = [];

  constructor(account, line) {
    this.#account = account;
    this.#line = line;
  }

  async start() {
    $("warehouse").hidden = false;
    this.#line.addEventListener("state", ({ detail }) => { if (detail === "open") this.#read(); });
    this.#line.addEventListener("message", ({ data }) => {
      if (data.type === "anew") this.#read();
      else if (data.type === "order" && this.#reading) this.#meanwhile.push(data.order);
      else if (data.type === "order") this.#show([data.order]);
    });
  }

  async #read() {
    if (this.#reading) {
      this.#again = true;
      return;
    }
    this.#reading = true;
    try {
      const { orders } = await this.#account.call("GET", "api/warehouse/orders");
      this.#show([...orders, ...this.#meanwhile]);
    } catch {
      setTimeout(() => { if (this.#line.open) this.#read(); }, READ_AGAIN_MS);
    } finally {
      this.#meanwhile = [];
      this.#reading = false;
    }
    if (this.#again) {
      this.#again = false;
      this.#read();
    }
  }

  async #move(order, state) {
    try {
      const { order: moved } = await this.#account.call("POST", `api/warehouse/orders/${order.id}/state`, { body: { state } });
      // A push with news of its delivery may have been quicker than this answer.
      if (this.#orders.get(order.id).update < moved.update) this.#show([moved]);
    } catch (error) {
      toast(`Order ${order.id} stays as it is: ${error.message}`);
      this.#read();
    }
  }

  #show(changed) {
    const focused = document.activeElement?.closest?.("[data-order]")?.dataset.order;
    for (const order of changed) {
      this.#orders.set(order.id, order);
      this.#cards.set(order.id, this.#card(order));
      for (const delivery of order.deliveries) this.#entries.set(delivery.id, entry(order, delivery));
    }
    const orders = [...this.#orders.values()].sort((a, b) => b.id - a.id);
    const todo = orders.filter((order) => order.next.length > 0);
    const done = orders.filter((order) => order.next.length === 0);
    arrange($("todo"), todo.map(({ id }) => this.#cards.get(id)));
    arrange($("done"), done.map(({ id }) => this.#cards.get(id)));
    const newest = [...this.#entries.keys()].sort((a, b) => b - a).slice(0, MOST_DELIVERIES);
    arrange($("deliveries"), newest.map((id) => this.#entries.get(id)));
    $("todo-count").textContent = todo.length > 0 ? several(todo.length, "order") : "";
    $("done-count").textContent = done.length;
    $("todo-empty").hidden = todo.length > 0;
    $("done-box").hidden = done.length === 0;
    // The button that was pressed may be gone; its successor is where one goes on.
    if (focused && !document.activeElement?.closest?.("[data-order]")) {
      document.querySelector(`#todo [data-order="${focused}"] .button:last-child`)?.focus({ preventScroll: true });
    }
  }

  #card(order) {
    const under = element("p", {}, `Order ${order.id} · ${order.customer}`);
    const act = (state) => element("button", {
      type: "button",
      className: state === "cancelled" ? "button quiet" : "button",
      aria: { label: `${DO[state]} order ${order.id}` },
      data: { to: state },
      onclick: ({ currentTarget }) => {
        currentTarget.disabled = true;
        this.#move(order, state).finally(() => { currentTarget.disabled = false; });
      },
    }, DO[state]);
    return element("li", { className: "order", data: { order: order.id, state: order.state } },
      orderHead(order, element("span", { className: "chip" }, capital(order.state)), under),
      element("div", { className: "order-foot" },
        fared(order.deliveries.at(-1)),
        ...[...order.next].reverse().map(act)));
  }
}

function entry(order, delivery) {
  // A tab of the browser for each connection that it went to, filled where the tab has said so.
  const tabs = Math.max(delivery.connections ?? 0, delivery.tabs);
  return element("li", { data: { delivery: delivery.id } },
    avatar(order.customer),
    element("div", { className: "body" },
      element("p", { className: "line" }, element("span", {}, `${order.customer}: ${order.id} ${delivery.state}`), meta(delivery)),
      fared(delivery),
      element("div", { className: "beneath" },
        ...Array.from({ length: Math.min(tabs, MOST_TABS) }, (_, index) =>
          element("span", { className: index < delivery.tabs ? "tab has" : "tab", aria: { hidden: "true" } })),
        element("p", { className: "push", title: `Idempotency-Key: ${delivery.push}` }, `push ${delivery.push.slice(0, 8)}`))));
}

const meta = (delivery) => element("span", { className: "meta" }, time(delivery.at));

function fared(delivery) {
  const [how, text] = fate(delivery);
  return element("p", { className: "delivery", data: { how } }, drawing(how), element("span", {}, text));
}

function fate({ sent, refused, tries, connections, tabs }) {
  if (refused) return ["refused", tabs > 0 ? `not pushed; received by ${several(tabs, "tab")} on asking` : "not pushed: the gateway refused it"];
  if (!sent) {
    return tries === 0 ? ["next", "about to be pushed"] : ["waiting", `waiting for the gateway, tried ${several(tries, "time")}`];
  }
  if (connections === 0) {
    return tabs === 0
      ? ["none", "not online; will see it at the next sign-in"]
      : ["all", `was not online; received by ${several(tabs, "tab")} since`];
  }
  return [tabs >= connections ? "all" : "some", `sent to ${several(connections, "connection")}, received by ${several(tabs, "tab")}`];
}
