// The page: who is signed in, and which view that is. `?user=ada` says who this tab is, so that one
// browser can hold a customer's tabs and the warehouse's side by side.

import { Account, Away, Refused, SignedOut, call } from "./account.js";
import { Customer } from "./customer.js";
import { Line } from "./line.js";
import { $, avatar, capital, element, toast } from "./parts.js";
import { Warehouse } from "./warehouse.js";

const STATES = {
  connecting: "Connecting", open: "Live", waiting: "Connecting again", offline: "Offline",
};
const START_AGAIN_MS = 2_000;

const addressOf = (user) => `?user=${encodeURIComponent(user.id)}`;

async function main() {
  const { users } = await call("GET", "api/sessions");
  const wanted = new URLSearchParams(location.search).get("user");
  const user = users.find(({ id }) => id === wanted);
  if (user) await comeIn(user);
  else askWho(users, wanted);
}

function askWho(users, wanted) {
  document.title = "Sign in – Tidegate notify";
  $("sign-in").hidden = false;
  $("going-on").hidden = users.length === 0;
  $("signed-in").replaceChildren(...users.map((user) => element("li", {},
    element("a", { className: "person", href: addressOf(user) },
      avatar(user.name), element("span", {}, user.name), element("span", { className: "what" }, user.role)))));
  $("name").value = wanted ?? "";
  const choices = [...$("demo").querySelectorAll("button")];
  const mark = () => {
    for (const choice of choices) choice.setAttribute("aria-pressed", choice.dataset.name === $("name").value);
  };
  for (const choice of choices) {
    choice.onclick = () => {
      $("name").value = choice.dataset.name;
      mark();
      $("password").focus();
    };
  }
  $("name").oninput = mark;
  mark();
  $("sign-in-form").onsubmit = async (event) => {
    event.preventDefault();
    $("sign-in-error").textContent = "";
    try {
      const { user } = await call("POST", "api/session", { body: Object.fromEntries(new FormData(event.target)) });
      location.assign(addressOf(user));
    } catch (error) {
      $("sign-in-error").textContent = `${capital(error.message)}.`;
      $("password").select();
    }
  };
}

async function comeIn(user) {
  document.title = `${user.name} – Tidegate notify`;
  const account = new Account(user);
  const line = new Line(account);
  // Another tab of this person in this browser signs out: so does this one.
  const others = new BroadcastChannel(`notify.${user.id}`);
  const leave = () => {
    line.end();
    location.assign("./");
  };
  others.onmessage = leave;
  line.addEventListener("signedout", leave);
  line.addEventListener("state", ({ detail }) => {
    $("state").dataset.state = detail;
    $("state").textContent = STATES[detail];
    $("retry").hidden = detail !== "waiting";
  });
  $("retry").onclick = () => line.retry();
  $("role").textContent = user.role === "warehouse" ? "Warehouse" : "Orders";
  $("me-name").textContent = user.name;
  $("me-avatar").replaceWith(avatar(user.name));
  $("another-tab").href = addressOf(user);
  $("sign-out").onclick = async () => {
    try {
      await call("DELETE", `api/session/${encodeURIComponent(user.id)}`);
    } catch (error) {
      return toast(`Still signed in: ${error.message}`);
    }
    others.postMessage("signed out");
    leave();
  };
  $("head").hidden = false;
  const view = user.role === "warehouse" ? new Warehouse(account, line) : new Customer(account, line);
  try {
    await view.start();
  } catch (error) {
    if (error instanceof SignedOut) return leave();
    throw error;
  }
  line.connect();
}

/** A backend that is starting answers soon. */
async function untilItAnswers() {
  try {
    await main();
  } catch (error) {
    if (!(error instanceof Away) && !(error instanceof Refused && error.status >= 500)) throw error;
    toast("The backend does not answer yet.");
    setTimeout(untilItAnswers, START_AGAIN_MS);
  }
}

untilItAnswers();
