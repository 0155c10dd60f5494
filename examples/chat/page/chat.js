// The chat's page. Four parts: what it remembers, the line to the gateway, what the gateway's
// messages mean, and what one sees.
//
// Holds always: text from others becomes text nodes, never markup; a message is shown once,
// however often it arrives (its number in the room says whether it was here already).

const $ = (id) => document.getElementById(id);

// ── What is remembered ─────────────────────────────────────────────────────────────────────

/** Storage may be forbidden (private windows); the chat works without. */
const remembered = {
  get(store, key) { try { return store.getItem(key); } catch { return null; } },
  set(store, key, value) { try { store.setItem(key, value); } catch { /* then not */ } },
};

const randomMark = () =>
  Array.from(crypto.getRandomValues(new Uint8Array(12)), (b) => b.toString(16).padStart(2, "0")).join("");

/** The same in this tab after a reload or a reconnect: to the others it is the same person. */
const key = remembered.get(sessionStorage, "chat.key") ?? randomMark();
remembered.set(sessionStorage, "chat.key", key);

let name = remembered.get(localStorage, "chat.name") ?? "";
/** The room one wants to be in, as typed or linked. */
let wanted = new URLSearchParams(location.search).get("room")?.trim() || "lobby";

/** The room one is in, as the last `welcome` told it. */
const room = { name: null, log: null, lastSeq: 0, caughtUpAt: 0, you: null, people: new Map() };
/** What one has said and not seen come back: {mark, room, text, bubble, accepted}, oldest first. */
let unconfirmed = [];

// ── The line to the gateway ────────────────────────────────────────────────────────────────

const JOIN_WITHIN_MS = 10_000;
/** The gateway closes what is silent for ten minutes; joining again also fetches what is missing. */
const STILL_HERE_EVERY_MS = 4 * 60_000;
const LONGEST_WAIT_MS = 30_000;
const TYPING_EVERY_MS = 3_000;

const line = {
  url: null, socket: null, joined: false, joinMark: null, sending: null, failures: 0,
  /** Between `join` and the last `welcome`; wanted again meanwhile; what came in that time. */
  asking: false, askAgain: false, early: [],
  /** The room that this connection has been put into. */
  inRoom: null,
  retryTimer: 0, countdownTimer: 0, watchdog: 0, stillHere: 0, settled: 0,
};

async function connect() {
  clearWait();
  if (line.socket) return;
  showState("connecting");
  try {
    line.url ??= await socketUrl();
  } catch {
    return wait();
  }
  if (line.socket) return;
  const socket = new WebSocket(line.url);
  line.socket = socket;
  line.inRoom = null;
  line.watchdog = setTimeout(() => dropSocket(socket), JOIN_WITHIN_MS);
  socket.onopen = () => join();
  socket.onmessage = ({ data }) => { if (socket === line.socket) receive(data); };
  socket.onclose = () => dropSocket(socket);
}

/**
 * The page may be open under another name of this machine than the gateway's address has. Who one
 * is, is said when one connects: the gateway remembers it for as long as the connection lasts.
 */
async function socketUrl() {
  const answer = await fetch("config.json");
  const url = new URL((await answer.json()).url);
  if (["127.0.0.1", "localhost", "[::1]", "0.0.0.0"].includes(url.hostname)) url.hostname = location.hostname;
  url.searchParams.set("key", key);
  return url.href;
}

/** Ends a socket without waiting for the other side, which may be out of reach. */
function dropSocket(socket) {
  if (socket !== line.socket) return;
  line.socket = null;
  socket.onopen = socket.onmessage = socket.onclose = null;
  socket.close();
  notJoined();
  if (name) wait();
}

function notJoined() {
  line.joined = line.asking = false;
  line.early = [];
  line.sending = null;
  clearTimeout(line.watchdog);
  clearTimeout(line.settled);
  clearInterval(line.stillHere);
}

/** Exponential, and never the same for two browsers: they must not all come back at once. */
function wait() {
  clearWait();
  const longest = Math.min(LONGEST_WAIT_MS, 1_000 * 2 ** Math.min(line.failures++, 10));
  const until = Date.now() + longest * (0.5 + Math.random() / 2);
  const again = () => (line.socket ? join() : connect());
  line.retryTimer = setTimeout(again, until - Date.now());
  const count = () => { $("countdown").textContent = `in ${Math.max(1, Math.ceil((until - Date.now()) / 1000))} s`; };
  showState(navigator.onLine === false ? "offline" : "waiting");
  count();
  line.countdownTimer = setInterval(count, 500);
}

function clearWait() {
  clearTimeout(line.retryTimer);
  clearInterval(line.countdownTimer);
  line.retryTimer = 0;
  $("countdown").textContent = "";
}

function tryNow() {
  if (!line.retryTimer) return;
  clearWait();
  if (line.socket) join(); else connect();
}

function transmit(action, fields) {
  if (line.socket?.readyState !== WebSocket.OPEN) return;
  line.socket.send(JSON.stringify({ action, ...fields }));
}

/**
 * Asks for the room, and then for what was said since. Harmless where one is in it already. One
 * at a time: of two that are under way at once, the first could have the last word.
 */
function join() {
  clearWait();
  if (line.asking) return void (line.askAgain = true);
  line.joinMark = randomMark();
  line.asking = true;
  line.askAgain = false;
  clearTimeout(line.watchdog);
  const socket = line.socket;
  line.watchdog = setTimeout(() => dropSocket(socket), JOIN_WITHIN_MS);
  if (!line.joined) showState("connecting");
  transmit("join", { room: wanted, leaving: line.inRoom, name, ref: line.joinMark });
}

/** Only once the connection is in the room: what is said from then on reaches it by itself. */
function look() {
  transmit("look", { room: line.inRoom, log: room.log, since: room.lastSeq, ref: line.joinMark });
}

/** Takes up what the room heard while one was asking how things stand there. */
function asked() {
  clearTimeout(line.watchdog);
  line.asking = false;
  const early = line.early.splice(0);
  if (line.askAgain) return join();
  for (const event of early) heard(event);
}

/** One message at a time: the gateway hands on several of them in no particular order. */
function sendNext() {
  if (!line.joined || line.sending) return;
  const next = unconfirmed.find((m) => m.room === room.name && !m.accepted);
  if (!next) return;
  line.sending = next.mark;
  transmit("say", { room: next.room, text: next.text, ref: next.mark });
}

// ── What messages mean ─────────────────────────────────────────────────────────────────────

function receive(data) {
  let event;
  try { event = JSON.parse(data); } catch { return; }
  // The gateway's own error frames have no type: the chat's backend is away, or too busy.
  if (!event.type) { if (event.message) { notJoined(); wait(); } return; }
  if (answers.has(event.type)) return void meaning[event.type](event);
  if (line.asking) return void line.early.push(event);
  heard(event);
}

const answers = new Set(["ok", "error", "welcome"]);

/** An event of the room, or of all rooms. */
function heard(event) {
  if (event.room === undefined || event.room === room.name) meaning[event.type]?.(event);
}

const meaning = {
  welcome(event) {
    if (event.ref !== line.joinMark) return; // one has changed one's mind since
    if (line.askAgain) return asked();
    const first = !line.joined;
    line.joined = true;
    if (event.room !== room.name || event.log !== room.log) {
      Object.assign(room, { name: event.room, log: event.log, lastSeq: 0 });
      // Another log of the same room: the backend has forgotten what it had accepted.
      for (const said of unconfirmed) said.accepted = false;
      clearLog();
    }
    Object.assign(room, { caughtUpAt: event.seq, you: event.you, people: new Map(event.people.map((p) => [p.id, p])) });
    wanted = room.name;
    showHistory(event.messages);
    rememberPlace();
    showRoom();
    showPeople();
    showRooms(event.rooms);
    showCaughtUp();
    showState("open");
    if (first) {
      // Only a line that holds is a success; one that breaks each time must not be hurried.
      line.settled = setTimeout(() => { line.failures = 0; }, 5_000);
      line.stillHere = setInterval(join, STILL_HERE_EVERY_MS);
    }
    // A long history comes in pieces.
    if (event.messages.length > 0 && room.lastSeq < event.seq) return look();
    asked();
    sendNext();
  },

  message(event) {
    // A post was lost on its way: fetch it, and this one with it.
    if (event.seq > room.lastSeq + 1) return join();
    const atEnd = isAtEnd();
    const fresh = show(event);
    room.typing?.delete(event.person);
    showTyping();
    if (!fresh) return;
    if (atEnd || event.person === room.you) scrollToEnd(); else countUnseen();
    if (document.hidden && event.person !== room.you) countUnread();
  },

  joined({ person }) {
    room.people.set(person.id, person);
    showPeople();
    if (person.id !== room.you) notice(bdi(person.name), " joined");
  },

  left({ person }) {
    if (person.id === room.you) return join(); // taken for gone, and not gone
    room.people.delete(person.id);
    room.typing?.delete(person.id);
    showPeople();
    showTyping();
    notice(bdi(person.name), " left");
  },

  renamed({ person, was }) {
    room.people.set(person.id, person);
    showPeople();
    notice(bdi(was), person.id === room.you ? " (you) is now " : " is now ", bdi(person.name));
  },

  typing({ person }) {
    if (person.id === room.you) return; // in another window
    room.typing ??= new Map();
    clearTimeout(room.typing.get(person.id)?.timer);
    const timer = setTimeout(() => { room.typing.delete(person.id); showTyping(); }, TYPING_EVERY_MS + 2_000);
    room.typing.set(person.id, { name: person.name, timer });
    showTyping();
  },

  rooms({ rooms }) { showRooms(rooms); },

  /** The backend has started anew and asks who is here: not all at the same moment. */
  anew() {
    setTimeout(() => { if (line.socket?.readyState === WebSocket.OPEN && name) join(); }, Math.random() * 2_000);
  },

  ok({ ref, room: joined }) {
    if (ref === line.joinMark) {
      line.inRoom = joined;
      return line.askAgain ? asked() : look();
    }
    // The message itself may come before or after this, and takes it out of the list.
    const said = unconfirmed.find((m) => m.mark === ref);
    if (said) said.accepted = true;
    answered(ref);
  },

  error({ ref, code, message }) {
    if (code === "not_joined") {
      // The backend has started anew and knows nobody; what was said stays in line.
      notJoined();
      return ref === line.joinMark ? wait() : join();
    }
    if (ref && ref === line.joinMark) return refused(message);
    const said = unconfirmed.find((m) => m.mark === ref);
    if (said) failed(said, message); else toast(message);
    answered(ref);
  },
};

function answered(mark) {
  if (mark !== line.sending) return;
  line.sending = null;
  sendNext();
}

/** The room or the name will not do. Back to where one was, or ask again. */
function refused(message) {
  if (line.joined) {
    wanted = room.name;
    showRoom();
    toast(message);
  } else {
    askWho(message);
  }
  asked();
}

// ── What one sees: the log ─────────────────────────────────────────────────────────────────

const SAME_GROUP_MS = 5 * 60_000;
const MOST_BUBBLES = 600;
const log = $("messages");
const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const fullDate = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "medium" });
const dayDate = new Intl.DateTimeFormat(undefined, { weekday: "long", day: "numeric", month: "long" });
let lastDay = "";
let unseen = 0;
let unread = 0;

function element(tag, className, ...children) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  made.append(...children);
  return made;
}

/** A name inside a sentence: its writing direction stays its own. */
const bdi = (text) => element("bdi", "", text);

/** Shows a numbered message, unless it was here before. */
function show(message) {
  if (message.seq <= room.lastSeq) return false;
  room.lastSeq = message.seq;
  const mine = message.person === room.you;
  const said = mine && unconfirmed.find((m) => m.mark === message.ref);
  if (said) unconfirmed = unconfirmed.filter((m) => m !== said);
  const bubble = said?.bubble;
  if (bubble?.isConnected) {
    if (nothingBut(".pending", bubble)) {
      bubble.classList.remove("pending");
      stamp(bubble.querySelector("time"), message.at);
      return true;
    }
    removeBubble(bubble); // others were faster: it belongs below them
  }
  append(message, mine);
  return true;
}

function showHistory(messages) {
  if (room.lastSeq > 0 && messages[0]?.seq > room.lastSeq + 1) notice("Some messages in between are not kept any more.");
  const atEnd = isAtEnd();
  for (const message of messages) show(message);
  if (atEnd) scrollToEnd();
}

function append({ at, person, name: from, text }, mine) {
  $("empty").hidden = true;
  const day = new Date(at).toDateString();
  if (day !== lastDay) {
    lastDay = day;
    log.append(element("div", "day", dayName(at)));
  }
  let group = log.lastElementChild;
  const fits = group.matches(".group") && group.dataset.person === person && group.dataset.from === from
    && at - Number(group.dataset.at) < SAME_GROUP_MS;
  if (!fits) {
    group = element("div", mine ? "group own" : "group");
    Object.assign(group.dataset, { person, from });
    const bubbles = element("div", "bubbles");
    if (mine) bubbles.append(element("span", "hidden", "You"));
    else {
      group.append(avatar(person, from));
      bubbles.append(element("div", "from", bdi(from)));
    }
    group.append(bubbles);
    log.append(group);
  }
  group.dataset.at = at;
  const words = element("span", "text", ...withLinks(text));
  words.dir = "auto";
  const bubble = element("div", "bubble", words, stamp(element("time"), at));
  group.lastElementChild.append(bubble);
  trimLog();
  return bubble;
}

function removeBubble(bubble) {
  const group = bubble.closest(".group");
  bubble.remove();
  if (!group.querySelector(".bubble")) group.remove();
}

/** Whether each bubble and line below `bubble` matches `selector`. */
function nothingBut(selector, bubble) {
  const all = [...log.querySelectorAll(".bubble, .notice, .day")];
  return all.slice(all.indexOf(bubble) + 1).every((other) => other.matches(selector));
}

function stamp(time, at) {
  const date = new Date(at);
  time.dateTime = date.toISOString();
  time.title = fullDate.format(date);
  time.textContent = clock.format(date);
  return time;
}

function dayName(at) {
  const days = Math.round((new Date().setHours(12, 0, 0, 0) - new Date(at).setHours(12, 0, 0, 0)) / 86_400_000);
  return days === 0 ? "Today" : days === 1 ? "Yesterday" : dayDate.format(at);
}

/** Web addresses become links; everything else stays the text that it is. */
function withLinks(text) {
  return text.split(/(https?:\/\/[^\s<>"]+[^\s<>".,:;!?)\]'])/).map((part, i) => {
    if (i % 2 === 0) return part;
    const link = element("a", "", part);
    link.href = part;
    link.target = "_blank";
    link.rel = "noopener noreferrer";
    return link;
  });
}

function notice(...parts) {
  const atEnd = isAtEnd();
  $("empty").hidden = true;
  log.append(element("div", "notice", ...parts));
  if (atEnd) scrollToEnd();
}

function clearLog() {
  log.replaceChildren($("empty"));
  lastDay = "";
  room.typing = new Map();
  showTyping();
  seen();
}

function trimLog() {
  if (log.querySelectorAll(".bubble").length <= MOST_BUBBLES || !isAtEnd()) return;
  log.querySelector(".group")?.remove();
}

/** What is fetched is not read out; what is said from then on is. */
function showCaughtUp() {
  const done = room.lastSeq >= room.caughtUpAt;
  log.setAttribute("aria-busy", String(!done));
  $("empty").hidden = !done || log.childElementCount > 1;
  if (!done) return void log.setAttribute("aria-live", "off");
  for (const said of unconfirmed) if (said.room === room.name && !said.bubble?.isConnected) showUnconfirmed(said);
  setTimeout(() => log.setAttribute("aria-live", "polite"), 200);
}

const isAtEnd = () => log.scrollHeight - log.scrollTop - log.clientHeight < 60;

function scrollToEnd() {
  log.scrollTop = log.scrollHeight;
  seen();
}

function countUnseen() {
  unseen += 1;
  $("jump").textContent = unseen === 1 ? "1 new message ↓" : `${unseen} new messages ↓`;
  $("jump").hidden = false;
}

function seen() {
  unseen = 0;
  $("jump").hidden = true;
}

function countUnread() {
  unread += 1;
  showTitle();
}

const showTitle = () => {
  document.title = `${unread ? `(${unread}) ` : ""}#${room.name ?? wanted} · Tidegate chat`;
};

// ── What one sees: around the log ──────────────────────────────────────────────────────────

/** The same person has the same colour everywhere; neighbouring ids differ. */
function hue(id) {
  let h = 0;
  for (const c of id) h = (h * 31 + c.charCodeAt(0)) >>> 0;
  return Math.round((h * 137.508) % 360);
}

function initials(of) {
  const words = of.match(/[\p{L}\p{N}]+/gu) ?? [of];
  const shown = words.length > 1 ? [words[0], words[words.length - 1]] : words;
  return shown.map((word) => [...word][0]).join("").toUpperCase();
}

function avatar(id, of, made = element("span", "avatar")) {
  made.setAttribute("aria-hidden", "true");
  made.style.setProperty("--hue", hue(id));
  made.textContent = initials(of);
  return made;
}

const STATES = {
  idle: "Not connected", connecting: "Connecting", open: "Connected",
  waiting: "Reconnecting", offline: "Offline, trying again",
};

function showState(state) {
  const shown = $("state");
  if (shown.dataset.state !== state) {
    shown.dataset.state = state;
    shown.textContent = STATES[state];
  }
  $("retry").hidden = state !== "waiting" && state !== "offline";
}

function showRoom() {
  $("room-title").textContent = room.name ?? wanted;
  $("message").placeholder = `Write to #${room.name ?? wanted}`;
  showTitle();
}

function showPeople() {
  const people = [...room.people.values()];
  const me = room.people.get(room.you);
  const order = new Intl.Collator();
  people.sort((a, b) => (b === me) - (a === me) || order.compare(a.name, b.name) || (a.id < b.id ? -1 : 1));
  $("people").replaceChildren(...people.map((p) =>
    element("li", "", avatar(p.id, p.name), bdi(p.name), ...(p === me ? [element("span", "you", "you")] : []))));
  $("people-count").textContent = people.length || "";
  const others = people.length - 1;
  $("who").textContent = others < 1 ? "Only you are here" : others === 1 ? "You and 1 other" : `You and ${others} others`;
  showMe();
}

function showMe() {
  $("me-name").textContent = name;
  avatar(room.you ?? key, name || "?", $("me-avatar"));
}

function showRooms(rooms) {
  const list = $("rooms");
  const focused = document.activeElement?.closest("#rooms button")?.dataset.room;
  list.replaceChildren(...rooms.map(({ room: of, people }) => {
    const hash = element("span", "hash", "#");
    hash.setAttribute("aria-hidden", "true");
    const number = element("span", "number", String(people || ""));
    number.setAttribute("aria-label", people === 1 ? "1 person" : `${people} people`);
    const button = element("button", "", hash, bdi(of), number);
    button.type = "button";
    button.dataset.room = of;
    if (of === room.name) button.setAttribute("aria-current", "page");
    return element("li", "", button);
  }));
  if (focused) list.querySelector(`[data-room="${CSS.escape(focused)}"]`)?.focus();
}

function showTyping() {
  const names = [...(room.typing?.values() ?? [])].map((t) => t.name);
  $("typing").replaceChildren(...(names.length === 0 ? [] : names.length === 1 ? [bdi(names[0]), " is writing…"]
    : names.length === 2 ? [bdi(names[0]), " and ", bdi(names[1]), " are writing…"] : ["Several people are writing…"]));
}

let toastTimer = 0;
function toast(text) {
  $("toast").textContent = text.charAt(0).toUpperCase() + text.slice(1);
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => { $("toast").textContent = ""; }, 4_000);
}

/** The address bar is the invite link. */
function placeOf(of) {
  const url = new URL(location.href);
  url.search = new URLSearchParams({ room: of }).toString();
  url.hash = "";
  return url.href;
}

let placed = false;
function rememberPlace() {
  const place = placeOf(room.name);
  if (!placed) history.replaceState(null, "", place);
  else if (place !== location.href) history.pushState(null, "", place);
  placed = true;
}

function goTo(of) {
  closeSide();
  if (!of || of === room.name) return $("message").focus();
  wanted = of;
  if (line.socket?.readyState === WebSocket.OPEN) join();
  $("message").focus();
}

// ── What one does ──────────────────────────────────────────────────────────────────────────

const wide = matchMedia("(min-width: 761px)");

function openSide() {
  $("side").classList.add("open");
  $("shade").hidden = false;
  $("open-side").setAttribute("aria-expanded", "true");
  document.querySelector(".main").inert = true;
  $("close-side").focus();
}

function closeSide() {
  if (!$("side").classList.contains("open")) return;
  $("side").classList.remove("open");
  $("shade").hidden = true;
  $("open-side").setAttribute("aria-expanded", "false");
  document.querySelector(".main").inert = false;
  $("open-side").focus();
}

/** The card: at first for name and room, later for another name. */
function askWho(problem = "") {
  const first = !room.name;
  $("name").value = name;
  $("room").value = wanted;
  $("room-field").hidden = !first;
  $("room").required = first;
  $("cancel").hidden = first;
  $("welcome-title").textContent = first ? "Come in" : "Change your name";
  $("welcome-text").textContent = first
    ? "Pick a name that the others will see. No account, no password."
    : "What you have said already keeps your old name.";
  $("join").textContent = first ? "Join the room" : "Save";
  $("welcome-error").textContent = problem && problem.charAt(0).toUpperCase() + problem.slice(1);
  if (!$("welcome").open) $("welcome").showModal();
  $("name").select();
}

function fitComposer() {
  const box = $("message");
  const atEnd = isAtEnd();
  box.style.height = "";
  const needed = box.scrollHeight;
  if (needed > box.clientHeight) box.style.height = `${needed}px`;
  const left = box.maxLength - box.value.length;
  $("left").textContent = left <= 200 ? left : "";
  $("left").classList.toggle("near", left <= 20);
  if (atEnd) scrollToEnd();
}

function showUnconfirmed(said) {
  said.bubble = append({ at: Date.now(), person: room.you, name, text: said.text }, true);
  said.bubble.classList.add("pending");
}

function failed(said, why) {
  unconfirmed = unconfirmed.filter((m) => m !== said);
  const atEnd = isAtEnd();
  said.bubble?.classList.replace("pending", "failed");
  said.bubble?.append(element("span", "note", `Not sent: ${why}`));
  if (atEnd) scrollToEnd();
}

function say() {
  const box = $("message");
  const text = box.value.trim();
  if (!text || !room.name) return;
  const said = { mark: randomMark(), room: room.name, text, bubble: null };
  unconfirmed.push(said);
  showUnconfirmed(said);
  box.value = "";
  typingToldAt = 0;
  fitComposer();
  scrollToEnd();
  sendNext();
}

let typingToldAt = 0;
$("message").addEventListener("input", () => {
  fitComposer();
  if (!$("message").value.trim() || !line.joined || Date.now() - typingToldAt < TYPING_EVERY_MS) return;
  typingToldAt = Date.now();
  transmit("typing", { room: room.name });
});
$("message").addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  say();
});
$("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  say();
  $("message").focus();
});

$("welcome-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const given = $("name").value.trim();
  if (!given) return void ($("welcome-error").textContent = "A name is needed");
  name = given;
  remembered.set(localStorage, "chat.name", name);
  if (!room.name) wanted = $("room").value.trim() || "lobby";
  $("welcome").close();
  showMe();
  showRoom();
  $("message").focus();
  if (line.socket?.readyState === WebSocket.OPEN) join(); else connect();
});
$("welcome").addEventListener("cancel", (event) => { if (!room.name) event.preventDefault(); });
$("cancel").addEventListener("click", () => $("welcome").close());
$("change-name").addEventListener("click", () => { closeSide(); askWho(); });

$("rooms").addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (button) goTo(button.dataset.room);
});
$("new-room-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const given = $("new-room").value.trim();
  $("new-room").value = "";
  if (given) goTo(given);
});
$("invite").addEventListener("click", async () => {
  const link = placeOf(room.name ?? wanted);
  try {
    await navigator.clipboard.writeText(link);
    toast("Invite link copied");
  } catch {
    toast(link); // no clipboard outside https and localhost: then to read
  }
});

$("open-side").addEventListener("click", openSide);
$("close-side").addEventListener("click", closeSide);
$("shade").addEventListener("click", closeSide);
document.addEventListener("keydown", (event) => { if (event.key === "Escape") closeSide(); });
wide.addEventListener("change", closeSide);

$("jump").addEventListener("click", () => { scrollToEnd(); $("message").focus(); });
$("retry").addEventListener("click", tryNow);
log.addEventListener("scroll", () => { if (isAtEnd()) seen(); }, { passive: true });
// A phone's keyboard, a longer composer: the end stays in view.
let wasAtEnd = true;
log.addEventListener("scroll", () => { wasAtEnd = isAtEnd(); }, { passive: true });
new ResizeObserver(() => { if (wasAtEnd) scrollToEnd(); }).observe(log);

addEventListener("online", tryNow);
document.addEventListener("visibilitychange", () => {
  if (document.hidden) return;
  unread = 0;
  showTitle();
  tryNow();
});
addEventListener("popstate", () => goTo(new URLSearchParams(location.search).get("room") ?? "lobby"));

showRoom();
showMe();
if (name) { $("message").focus(); connect(); } else askWho();
