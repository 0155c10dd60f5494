// The customer's view: orders, how far they are, and what was told about them.
//
// In:  updates, pushed to every tab of the user, and those that were missed. Out: a receipt for each.
//
// Holds always: an update is shown once, however often it comes; it is acknowledged until the
// backend has noted that; `last` is the newest update before which nothing is lacking.

import { $, arrange, capital, drawing, element, money, orderHead, randomMark, saysOf, several, time, toast } from "./parts.js";

const STATES = ["placed", "packed", "shipped", "delivered"];
const MOST_RECEIPTS = 100;
const MOST_IN_FEED = 50;
/** An answer may have got lost with the backend while the socket stayed open. */
const ASK_AGAIN_MS = 5_000;

export class Customer {
  #account;
  #line;
  #tab = randomMark();
  #orders = new Map();
  #cards = new Map();
  #have = new Set();
  #unnoted = new Set();
  #last = 0;
  #caughtUp = false;
  #everCaughtUp = false;
  #timer = 0;
  /** Under which key the order in the form is placed: pressed twice, it is one order. */
  #orderKey = randomMark();
  #unseen = 0;

  constructor(account, line) {
    this.#account = account;
    this.#line = line;
  }

  async start() {
    $("customer").hidden = false;
    const [{ items, most }, { orders, last_update: last }] = await Promise.all([
      this.#account.call("GET", "api/catalogue"), this.#account.call("GET", "api/orders"),
    ]);
    this.#last = last;
    for (const order of orders) this.#orders.set(order.id, order);
    this.#offer(items, most);
    this.#showOrders();
    $("away-close").onclick = () => { $("away").hidden = true; };
    addEventListener("visibilitychange", () => { if (!document.hidden) this.#title(0); });
    this.#line.addEventListener("state", ({ detail }) => (detail === "open" ? this.#catchUp() : this.#cutOff()));
    this.#line.addEventListener("message", ({ data }) => this.#hear(data));
  }

  #cutOff() {
    this.#caughtUp = false;
    clearTimeout(this.#timer);
  }

  #catchUp(cursor = 0) {
    this.#line.send({ action: "since", after: this.#last, cursor });
    this.#receipts();
    this.#lookAgain();
  }

  #lookAgain() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      if (!this.#caughtUp) this.#catchUp();
      else if (this.#unnoted.size > 0) this.#receipts();
    }, ASK_AGAIN_MS);
  }

  #hear(message) {
    switch (message.type) {
      case "update":
        this.#take([message.update], "now");
        break;
      case "missed":
        this.#take(message.updates, this.#everCaughtUp ? "caught up" : "missed");
        if (message.cursor !== null) return this.#catchUp(message.cursor);
        this.#caughtUp = this.#everCaughtUp = true;
        break;
      case "noted":
        for (const id of message.ids) this.#unnoted.delete(id);
        if (this.#unnoted.size > 0) this.#receipts();
        return;
      default: // an error, of the gateway or the backend: asked again in a moment
        return;
    }
    // Before the answer to `since` has come, something older may still be lacking.
    if (this.#caughtUp) this.#last = Math.max(this.#last, ...this.#have);
  }

  #take(updates, how) {
    const fresh = updates.filter(({ id }) => !this.#have.has(id));
    for (const update of updates) {
      this.#have.add(update.id);
      this.#unnoted.add(update.id);
    }
    for (const update of fresh) {
      const known = this.#orders.get(update.order.id);
      if (!known || known.update < update.order.update) this.#orders.set(update.order.id, update.order);
      this.#feed(update, how);
    }
    if (fresh.length > 0) this.#showOrders(new Set(fresh.map(({ order }) => order.id)));
    if (document.hidden) this.#title(this.#unseen + fresh.length);
    if (updates.length > 0) this.#receipts();
  }

  #receipts() {
    const ids = [...this.#unnoted].slice(0, MOST_RECEIPTS);
    if (ids.length === 0) return;
    this.#line.send({ action: "received", tab: this.#tab, ids });
    this.#lookAgain();
  }

  // ── What one sees ────────────────────────────────────────────────────────────────────────

  #title(unseen) {
    this.#unseen = unseen;
    document.title = `${unseen > 0 ? `(${unseen}) ` : ""}${this.#account.user.name} – Tidegate notify`;
  }

  #feed(update, how) {
    const entry = (note) => element("li", { data: { update: update.id, how } },
      element("span", { className: "mark", data: { state: update.state }, aria: { hidden: "true" } }),
      element("div", { className: "body" },
        element("p", { className: "says" }, saysOf(update)),
        element("p", { className: "meta" }, time(update.at), ` · ${update.order.item}${note}`)));
    if (how === "missed") {
      $("away-list").append(entry(""));
      $("away").hidden = false;
    }
    $("updates").prepend(entry(how === "now" ? "" : ` · ${how}`));
    while ($("updates").children.length > MOST_IN_FEED) $("updates").lastChild.remove();
    $("updates-empty").hidden = true;
  }

  #showOrders(fresh = null) {
    const newestFirst = [...this.#orders.values()].sort((a, b) => b.id - a.id);
    for (const order of newestFirst) {
      if (!fresh || fresh.has(order.id)) this.#cards.set(order.id, card(order, fresh !== null));
    }
    arrange($("orders"), newestFirst.map(({ id }) => this.#cards.get(id)));
    $("orders-count").textContent = newestFirst.length > 0 ? several(newestFirst.length, "order") : "";
    $("orders-empty").hidden = newestFirst.length > 0;
  }

  #offer(items, most) {
    $("items").replaceChildren(...items.map(({ id, name, cents }, index) =>
      element("label", { className: "item" },
        element("input", { type: "radio", name: "item", value: id, required: true, checked: index === 0 }),
        drawing(id), element("span", {}, name), element("span", { className: "cost" }, money(cents)))));
    $("quantity").max = most;
    $("new").oninput = () => { this.#orderKey = randomMark(); };
    $("new").onsubmit = async (event) => {
      event.preventDefault();
      $("place").disabled = true;
      try {
        const { item, quantity } = Object.fromEntries(new FormData($("new")));
        const { order } = await this.#account.call("POST", "api/orders", {
          body: { item, quantity: Number(quantity) }, headers: { "Idempotency-Key": this.#orderKey },
        });
        this.#orderKey = randomMark();
        if (!this.#orders.has(order.id)) {
          this.#orders.set(order.id, order);
          this.#showOrders(new Set([order.id]));
        }
      } catch (error) {
        toast(`Not placed: ${error.message}`);
      }
      $("place").disabled = false;
    };
  }
}

function card(order, fresh) {
  const under = element("p", {}, `Order ${order.id}`);
  return element("li", { className: fresh ? "order fresh" : "order", data: { order: order.id, state: order.state } },
    orderHead(order, element("span", { className: "price" }, money(order.cents)), under),
    way(order));
}

/** The steps that were taken with their times, and those to come, where any will. */
function way(order) {
  const steps = order.way.map(({ state, at }, index) => {
    const now = index === order.way.length - 1;
    return element("li", { className: `past${now ? " now" : ""} ${state}`, ...(now && { aria: { current: "step" } }) },
      capital(state), time(at));
  });
  const ahead = order.state === "cancelled" ? [] : STATES.slice(STATES.indexOf(order.state) + 1);
  steps.push(...ahead.map((state) => element("li", {}, capital(state), element("span", { className: "hidden" }, ", to come"))));
  return element("ol", { className: "way", aria: { label: "How far it is" } }, ...steps);
}
