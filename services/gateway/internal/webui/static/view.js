// Draws a room's lines. State goes in, elements come out; content is only ever text, never markup.
const GROUP_MS = 5 * 60_000;
const FOLD_CHARS = 2000;
const REASONS = {
  rewound: "The room lost its newest messages and starts again here",
  trimmed: "Older messages are past this room’s retention",
  replay_limit: "You were away for many messages; scroll up to read them",
};
const time = new Intl.DateTimeFormat([], { hour: "2-digit", minute: "2-digit" });
const date = new Intl.DateTimeFormat([], { weekday: "long", day: "numeric", month: "long" });
const day = (at) => (new Date(at).toDateString() === new Date().toDateString() ? "Today" : date.format(at));

/** An element: el("p.note", {title}, "text", child). A property starting with data- or aria- is set as an attribute. */
export function el(spec, props = {}, ...children) {
  const [tag, ...classes] = spec.split(".");
  const e = document.createElement(tag);
  if (classes.length) e.className = classes.join(" ");
  for (const [k, v] of Object.entries(props)) k.includes("-") ? e.setAttribute(k, v) : (e[k] = v);
  e.append(...children);
  return e;
}

function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  use.setAttribute("href", "#i-" + name);
  svg.append(use);
  return svg;
}

/** A member's name as we show it: long ids are cut, the full one is in the title. */
export const nick = (member = "") => (member.length > 28 ? member.slice(0, 12) + "…" + member.slice(-6) : member);

export function avatar(member = "") {
  let hash = 7;
  for (const c of member) hash = (hash * 31 + c.codePointAt(0)) >>> 0;
  const words = member.split(/[^\p{L}\p{N}]+/u).filter(Boolean);
  const initials = words.length > 1 ? words.map((w) => [...w][0]) : [...member];
  const e = el("span.avatar", { "aria-hidden": "true" }, initials.slice(0, 2).join(""));
  e.style.setProperty("--hue", (hash * 137) % 360);
  return e;
}

/** Text with its web addresses as links. */
function linked(text) {
  return text.split(/(https?:\/\/[^\s<>"]+[^\s<>".,;:!?)\]])/).map((part, n) =>
    n % 2 ? el("a", { href: part, target: "_blank", rel: "noopener noreferrer nofollow" }, part) : part);
}

/** What a line's delivery state looks like: [state, icon, explanation]. */
function delivery(line) {
  if (line.seq) return ["durable", "check", `durable at seq ${line.seq}`];
  const why = line.error ? line.error.code + (line.error.message && `: ${line.error.message}`) : "";
  if (line.state === "refused") return ["refused", "cross", why];
  if (line.state === "unknown") return ["unknown", "ask", "Outcome unknown: the session ended before the answer came"];
  return ["sending", "clock", why ? `${why}; trying again` : "sending"];
}

export class View {
  #elements = new Map(); // key → {element, drawn}

  constructor(list, on) {
    this.list = list;
    this.on = on; // retry(id), discard(id)
  }

  /** Makes the list show exactly this room as it is now; elements of lines that stay are kept. */
  draw(room, member) {
    const own = (i) => ({ ...i, sender: i.member ?? member, own: true, key: i.id });
    const all = [...room.lines, ...room.undelivered.map(own), ...room.queue.items.map(own)];
    const keep = new Set();
    let previous = {};
    let next = this.list.firstChild;
    for (const line of all) {
      const key = String(line.key ?? line.seq);
      keep.add(key);
      const fresh = !previous.at || new Date(previous.at).toDateString() !== new Date(line.at).toDateString();
      const joined = !fresh && !previous.divider && previous.sender === line.sender && line.at - previous.at < GROUP_MS;
      const heading = fresh ? day(line.at || Date.now()) : "";
      const drawn = [line.seq, line.state, line.error?.message, joined, heading].join();
      let entry = this.#elements.get(key);
      if (entry?.drawn !== drawn) {
        const element = line.divider ? this.#divider(line) : this.#line(line, joined);
        if (heading) element.dataset.day = heading;
        if (entry) {
          if (next === entry.element) next = element;
          entry.element.replaceWith(element);
        }
        this.#elements.set(key, (entry = { element, drawn }));
      }
      if (entry.element === next) next = next.nextSibling;
      else this.list.insertBefore(entry.element, next);
      previous = line;
    }
    for (const [key, { element }] of this.#elements) {
      if (keep.has(key)) continue;
      element.remove();
      this.#elements.delete(key);
    }
    return all.length;
  }

  #divider(line) {
    const text = REASONS[line.divider] ?? line.divider;
    return el("li.divider", { "data-reset": line.divider }, el("span", {}, text, el("code", {}, `reset: ${line.divider}`)));
  }

  #line(line, joined) {
    const [state, glyph, why] = delivery(line);
    const text = el("div.text", { dir: "auto", "data-text": "" }, ...linked(line.content));
    const meta = el("div.meta", { title: line.own ? why : "" });
    if (line.own) meta.append(icon(glyph), el("span.away", {}, why));
    meta.append(el("time", {}, line.at ? time.format(line.at) : ""), el("span.seq", {}, line.seq ? "#" + line.seq : ""));
    const body = el("div.body", {}, el("b.who", { title: line.sender }, line.own ? nick(line.sender) + " (you)" : nick(line.sender)), text);
    if (line.content.length > FOLD_CHARS) {
      text.classList.add("folded");
      body.append(el("button.more", { onclick: (e) => (text.classList.remove("folded"), e.target.remove()) }, "Show all"));
    }
    if (state === "refused" || state === "unknown") body.append(this.#fault(line, state, why));
    else if (line.error) body.append(el("p.fault", {}, why));
    return el("li.line" + (joined ? ".joined" : "") + (line.own ? ".own" : ""), {
      "data-line": "", "data-seq": line.seq ?? "", "data-state": state, "data-message-id": line.id, "data-sender": line.sender ?? "",
    }, avatar(line.sender), body, meta);
  }

  #fault(line, state, why) {
    const again = state === "unknown" || line.error.retryable;
    const row = el("p.fault", { "data-fault": line.error?.code ?? "" }, why, " ");
    if (again) row.append(el("button", { onclick: () => this.on.retry(line.id), "data-retry": "" }, state === "unknown" ? "Send again" : "Retry"), " ");
    row.append(el("button", { onclick: () => this.on.discard(line.id), "data-discard": "" }, again ? "Discard" : "Edit"));
    return row;
  }
}
