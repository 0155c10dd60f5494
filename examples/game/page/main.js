// The page of Reef: which of its two views is shown, and what the gateway's messages mean for them.
//
// Holds always: the backend says where one is; the page asks what is there after it has been told,
// for then nothing that happens there is missed.

import { Line, remembered } from "./line.js";
import { Lobby } from "./lobby.js";
import { MatchView } from "./match.js";

const $ = (id) => document.getElementById(id);
const NAMES = ["Otter", "Urchin", "Heron", "Nautilus", "Plover", "Seal", "Limpet", "Anemone", "Puffin", "Cuttlefish"];

let name = remembered.get("localStorage", "reef.name") ?? "";
let suggested = name || NAMES[Math.floor(Math.random() * NAMES.length)];
/** Which match the address names, until one has got there or has declined. */
let invited = new URLSearchParams(location.search).get("match");
let you = null;
let place = null;
let toastTimer = 0;
let turn = Promise.resolve();

const line = new Line(() => ({ name: name || suggested }), {
  place: arrive,
  message: receive,
  state(state, text) {
    $("state").dataset.state = state;
    $("state").textContent = text;
    $("retry").hidden = !["waiting", "offline", "elsewhere"].includes(state);
    $("retry").textContent = state === "elsewhere" ? "Play here" : "Try now";
  },
});

/** A request whose failure is told; who asks may still want to know of it. */
async function ask(action, fields) {
  try {
    return await line.request(action, fields);
  } catch (error) {
    toast(`${error.message[0].toUpperCase()}${error.message.slice(1)}`);
    throw error;
  }
}

const lobby = new Lobby({ sit: (id) => go("sit", { match: id }), watch: (id) => go("watch", { match: id }) });
const match = new MatchView(ask, (kind, to, link, data) => line.request(kind, { to, link, data }));

/** What may change where one is goes one by one: replies may overtake each other. */
function inTurn(next) {
  turn = turn.then(next, next);
  return turn;
}

/** To another place: a match, or the lobby. */
function go(action, fields) {
  return inTurn(async () => {
    const reply = await ask(action, fields).catch(() => null);
    if (reply) arrive(reply);
  });
}

/** The backend has said where one is. */
function arrive(reply) {
  you = reply.you;
  if (place !== reply.match) match.clear();
  place = reply.match;
  const url = new URL(location.href);
  if (place) url.searchParams.set("match", place);
  else if (!invited) url.searchParams.delete("match");
  history.replaceState(null, "", url);
  line.request("look").then(receive, () => {}); // a line that breaks now says hello again
  if (place) invited = null;
  else if (invited && !$("invited").open) $("invited").showModal();
}

function receive(event) {
  if (event.type === "lobby" && place === null) {
    lobby.render(event);
    view("lobby");
  } else if (event.type === "match" && event.match.id === place) {
    match.render(event.match, you);
    view("match");
  } else if (event.type === "closed" && event.match === place) {
    toast("This match has ended");
    go("leave");
  } else if (["offer", "answer", "candidate"].includes(event.type)) {
    match.signal(event);
  }
}

function view(which) {
  if (!$(which).hidden) return;
  $("lobby").hidden = which !== "lobby";
  $("match").hidden = $("match-buttons").hidden = which !== "match";
  if (which === "lobby") lobby.play();
  else lobby.rest();
  scrollTo(0, 0);
}

/** Under another name from now on; a line that is down says it when it is up. */
function called(next) {
  name = next.trim() || suggested;
  $("name").value = name;
  remembered.set("localStorage", "reef.name", name);
  return inTurn(() => line.hello().catch(() => {}));
}

$("name").value = $("invited-name").value = suggested;
$("name").addEventListener("change", () => called($("name").value));
$("open-form").addEventListener("submit", (event) => {
  event.preventDefault();
  if ($("name").value.trim() !== name) called($("name").value);
  go("open", { size: Number(new FormData($("open-form")).get("size")) });
});

function accept(action) {
  const id = invited;
  invited = null;
  $("invited").close();
  called($("invited-name").value);
  go(action, { match: id });
}
$("invited-form").addEventListener("submit", (event) => { event.preventDefault(); accept("sit"); });
$("invited-watch").addEventListener("click", () => accept("watch"));
$("invited").addEventListener("cancel", () => { invited = null; arrive({ you, match: place }); });

// Leaving gives up a match that is being played: then it takes a second click.
$("leave").addEventListener("click", () => {
  if (!match.atStake || $("leave").dataset.sure) return go("leave");
  sure(true);
  setTimeout(sure, 3_000, false);
});
function sure(asked) {
  if (asked) $("leave").dataset.sure = "asked";
  else delete $("leave").dataset.sure;
  $("leave").lastElementChild.textContent = asked ? "Give up?" : "Leave";
}
$("to-lobby").addEventListener("click", () => go("leave"));
for (const id of ["invite", "copy"]) $(id).addEventListener("click", async () => {
  try {
    await navigator.clipboard.writeText(location.href);
    toast("The link is copied");
  } catch {
    toast(location.href); // a browser that will not copy shows it
  }
});
$("retry").addEventListener("click", () => line.now(true));

function toast(text) {
  clearTimeout(toastTimer);
  $("toast").textContent = text;
  toastTimer = setTimeout(() => { $("toast").textContent = ""; }, 4_000);
}

line.connect();
