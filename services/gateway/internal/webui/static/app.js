// Wires the page to the client: one room on the screen, named in ?room=.
import { Client } from "./client.js";
import { kindOf, validRoom } from "./rules.js";
import { Store } from "./store.js";
import { avatar, el, nick, View } from "./view.js";
import { wireDrawer } from "./wire.js";

const $ = (id) => document.getElementById(id);
const scroll = $("scroll");
const text = $("text");
const TYPING_MS = 2500;
const PRESENCE_MS = 3000;

const store = new Store();
await store.claim();
const url = new URL(document.querySelector("[name=parley-ws]").content, location.href);
url.protocol = url.protocol.replace("http", "ws");
const client = new Client({ url: url.href, store });
const view = new View($("lines"), { retry: (id) => client.retry(room.id, id), discard });

let room; // the Room on the screen
let atEnd = true;
let unseen = 0;
let loading = false;
let asking = false;
let here = new Set();
let due = false;
let first; // seq of the first line on the screen
let typed = 0;
const typing = new Map(); // member → when they stop unless they go on

// ---- rooms

function roomInURL() {
  const id = new URLSearchParams(location.search).get("room");
  return validRoom(id ?? "") ? id : "room-1";
}

function show(id) {
  if (room?.id === id) return;
  if (room) client.leave(room.id);
  room = client.join(id);
  $("room").value = id;
  typing.clear();
  people();
  unseen = 0;
  atEnd = true;
  const link = new URL("?room=" + encodeURIComponent(id), location.href).href;
  $("second").href = $("tab").href = link;
  $("cli").textContent = `parley chat ${id} --server ${url.href}`;
  redraw();
  refreshPeople();
}

function go(id) {
  if (!validRoom(id)) return note("A room’s name has letters, digits and . _ : - only.");
  if (id !== room.id) history.pushState(null, "", "?room=" + encodeURIComponent(id));
  show(id);
  text.focus();
}

// ---- drawing

function redraw() {
  if (due) return;
  due = true;
  if (document.hidden) setTimeout(draw, 200); // hidden tabs have no frames, but a title
  else requestAnimationFrame(draw);
}

function draw() {
  due = false;
  const fromEnd = scroll.scrollHeight - scroll.scrollTop;
  if (atEnd) room.trim();
  const shown = view.draw(room, client.member);
  // Keep the end in view, or the line that is being read while older ones come in above it.
  if (atEnd) scroll.scrollTop = scroll.scrollHeight;
  else if (room.first !== first) scroll.scrollTop = scroll.scrollHeight - fromEnd;
  first = room.first;
  const joined = room.phase === "joined";
  $("older").parentNode.hidden = !shown;
  $("older").hidden = !room.older;
  $("older").textContent = loading ? "Loading…" : "Load older messages";
  $("start").hidden = room.older;
  $("start").textContent = `This is where #${room.id} begins.`;
  $("empty").hidden = shown > 0 || !joined || room.older;
  document.body.dataset.phase = room.fault ? "fault" : room.phase;
  text.placeholder = `Message #${room.id}` + (client.member ? ` as ${nick(client.member)}` : "");
  text.disabled = !!room.fault;
  banner();
  document.title = (unseen ? `(${unseen}) ` : "") + `#${room.id} · Parley`;
  $("jump").hidden = atEnd;
  $("jump").textContent = unseen ? `${unseen} new ${unseen > 1 ? "messages" : "message"} ↓` : "Newest ↓";
  if (joined && room.older && room.lines.length < 30) older();
}

async function older() {
  if (loading) return;
  loading = true;
  try {
    await client.older(room);
  } catch {
    await new Promise((resolve) => setTimeout(resolve, 1000)); // asked again while it is wanted
  }
  loading = false;
  redraw();
}

/** What needs the user's decision: the server sent us away, or the room did. */
function banner() {
  const closed = client.state.phase === "closed" && client.state;
  $("banner").hidden = !closed && !room.fault;
  if ($("banner").hidden) return;
  const why = closed
    ? { 4503: "You are banned.", 4504: "This session goes on in another tab." }[closed.code] ?? `The server closed the connection: ${closed.reason || "no reason given"} (${closed.code}).`
    : `#${room.id}: ${room.fault.message || room.fault.code}`;
  const act = closed ? el("button", { onclick: () => client.renew() }, "Start a new session") : el("button", { onclick: () => client.join(room.id) }, "Join again");
  $("banner").replaceChildren(why, act);
}

function note(message) {
  $("notice").textContent = message;
  clearTimeout(note.timer);
  note.timer = setTimeout(() => ($("notice").textContent = ""), 6000);
}

function pill() {
  const s = client.state;
  const left = Math.max(0, Math.ceil((s.retryAt - Date.now()) / 1000));
  const words = {
    idle: ["Starting", ""],
    connecting: [s.attempt ? "Reconnecting…" : "Connecting…", "Waiting for the server"],
    open: ["Connected", `${s.node ?? ""} · ${s.dc ?? ""}`],
    waiting: [`Reconnecting in ${left} s`, `${s.reason || "connection lost"} (${s.code}). Press to try now.`],
    closed: [`Closed: ${s.reason || s.code}`, `Close code ${s.code}. Press to start again.`],
  }[s.phase];
  const conn = $("conn");
  if (conn.dataset.conn !== s.phase) $("announce").textContent = words[0];
  conn.dataset.conn = s.phase;
  conn.title = words[1];
  conn.lastChild.replaceChildren(words[0], s.phase === "open" ? el("small", {}, " " + words[1]) : "");
  clearTimeout(pill.timer);
  if (s.phase === "waiting") pill.timer = setTimeout(pill, 250);
}

// ---- people

async function refreshPeople() {
  clearTimeout(refreshPeople.timer);
  refreshPeople.timer = setTimeout(refreshPeople, document.hidden ? 4 * PRESENCE_MS : PRESENCE_MS);
  if (room.phase !== "joined" || asking) return;
  const asked = room;
  asking = true;
  const state = await client.presence(room.id).catch(() => undefined);
  asking = false;
  if (state && asked === room) people(state);
}

/** Somebody is heard of who is not in the list yet. */
function heard(member) {
  if (here.has(member)) return;
  here.add(member);
  refreshPeople();
}

function people(state = {}) {
  here = new Set((state.members ?? []).map((m) => m.member_id));
  const members = [...(state.members ?? [])].sort((a, b) => (b.member_id === client.member) - (a.member_id === client.member) || a.member_id.localeCompare(b.member_id));
  $("count").textContent = $("count").dataset.count = state.count ?? "–";
  const more = (state.count ?? 0) - Math.min(members.length, 200);
  $("members").replaceChildren(...members.slice(0, 200).map((m) =>
    el("li", { "data-member": m.member_id, title: m.member_id }, avatar(m.member_id), el("span", {}, nick(m.member_id)),
      el("small", {}, m.member_id === client.member ? "you" : m.connections > 1 ? `${m.connections} tabs` : ""))));
  if (more > 0) $("members").append(el("li", {}, `and ${more} more`));
}

function drawTyping() {
  const now = Date.now();
  for (const [member, until] of typing) if (until < now) typing.delete(member);
  const names = [...typing.keys()].map(nick);
  const verb = names.length > 1 ? "are" : "is";
  $("typing").textContent = names.length > 3 ? "Several people are typing…" : names.length ? `${names.join(", ")} ${verb} typing…` : "";
  if (names.length) setTimeout(drawTyping, 1000);
}

// ---- sending

function send() {
  const content = text.value.trim();
  if (!content) return;
  atEnd = true;
  typed = 0;
  client.publish(room.id, content);
  text.value = "";
  grow();
}

function discard(id) {
  const item = client.discard(room.id, id);
  if (item && !text.value) text.value = item.content;
  grow();
  text.focus();
}

function grow() {
  text.style.height = "auto";
  text.style.height = Math.min(text.scrollHeight, innerHeight / 3) + "px";
}

// ---- events of the client

client.on("state", () => {
  pill();
  redraw();
  if (client.state.phase === "open") setTimeout(refreshPeople, 200);
});
client.on("change", (r) => r === room && redraw());
client.on("message", (r, m) => {
  if (r !== room) return;
  heard(m.sender);
  if (typing.delete(m.sender)) drawTyping();
  if (client.mine.has(m.sender)) return;
  if (document.hidden || !atEnd) unseen++;
  $("announce").textContent = `${nick(m.sender)}: ${m.content ?? ""}`.slice(0, 300);
});
client.on("signal", (s) => {
  if (s.target !== room.id || s.type !== "typing") return;
  heard(s.sender);
  typing.set(s.sender, Date.now() + 2 * TYPING_MS);
  drawTyping();
});
client.on("notice", (e) => note(`${e.code}: ${e.message ?? ""}`));
wireDrawer(client, $, kindOf);

// ---- events of the page

addEventListener("online", () => client.hurry());
addEventListener("pagehide", () => client.save());
addEventListener("popstate", () => show(roomInURL()));
document.addEventListener("visibilitychange", () => {
  if (document.hidden) return;
  client.hurry();
  if (atEnd) unseen = 0;
  refreshPeople();
  redraw();
});
addEventListener("keydown", (e) => {
  if ((e.ctrlKey || e.metaKey) && e.key === "k") {
    e.preventDefault();
    $("room").select();
  } else if (e.key === "Escape") {
    panel(false);
    $("room").value = room.id;
    text.focus();
  } else if (e.key.length === 1 && !e.ctrlKey && !e.metaKey && !e.altKey && document.activeElement === document.body) text.focus();
});

scroll.addEventListener("scroll", () => {
  atEnd = scroll.scrollHeight - scroll.scrollTop - scroll.clientHeight < 40;
  if (atEnd) unseen = 0;
  if (scroll.scrollTop < 200 && room.older && room.phase === "joined" && !atEnd) older();
  redraw();
});
new ResizeObserver(() => atEnd && (scroll.scrollTop = scroll.scrollHeight)).observe(scroll);
$("older").onclick = older;
$("jump").onclick = () => scroll.scrollTo({ top: scroll.scrollHeight, behavior: "smooth" });
$("conn").onclick = () => {
  if (client.state.phase === "closed") client.renew();
  else client.hurry();
};
$("switch").onsubmit = (e) => {
  e.preventDefault();
  go($("room").value.trim());
};
$("composer").onsubmit = (e) => {
  e.preventDefault();
  send();
};
text.onkeydown = (e) => {
  if (e.key !== "Enter" || e.shiftKey || e.isComposing) return;
  e.preventDefault();
  send();
};
text.oninput = () => {
  grow();
  if (!text.value || Date.now() - typed < TYPING_MS) return;
  typed = Date.now();
  client.signal(room.id, "typing");
};
$("invite").onclick = async () => {
  const link = $("tab").href;
  try {
    await navigator.clipboard.writeText(link);
    note("Link copied: send it to somebody.");
  } catch {
    prompt("Link to this room", link);
  }
};
function panel(open) {
  document.body.classList.toggle("people", open);
  $("people-button").setAttribute("aria-expanded", open);
}
$("people-button").onclick = () => panel(!document.body.classList.contains("people"));
document.querySelector(".chat").onpointerdown = () => panel(false);

show(roomInURL());
client.connect();
if (matchMedia("(pointer: fine)").matches) text.focus();
