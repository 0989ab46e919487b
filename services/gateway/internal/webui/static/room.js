// What one tab knows of one room: cursor, lines, and its own messages on their way. Pure.
import { PublishQueue } from "./queue.js";
import { num, streamRule } from "./rules.js";

const KEEP_LINES = 1000; // in memory
const SAVE_LINES = 200; // across a reload
const SAVE_CHARS = 256 << 10;
const REPUBLISH_MS = 60_000;

export class Room {
  constructor(id, saved = {}) {
    this.id = id;
    this.cursor = saved.cursor; // {seq, message_id, incarnation}: up to where the stream was taken
    this.lines = saved.lines ?? []; // by seq; no hole except at a divider
    this.older = saved.older ?? true; // whether there may be lines before the first
    this.queue = new PublishQueue(saved.items);
    this.acked = saved.acked ?? []; // own messages of the last minute known to be durable, and those not delivered yet
    this.incarnation = this.cursor?.incarnation ?? "0";
    this.phase = "idle"; // idle | asked | joined
    this.fault = undefined; // why joining failed for good
  }

  snapshot() {
    let chars = 0;
    const lines = this.lines.slice(-SAVE_LINES).reverse();
    const end = lines.findIndex((l) => (chars += l.content?.length ?? 0) > SAVE_CHARS);
    const kept = (end < 0 ? lines : lines.slice(0, end)).reverse();
    const older = this.older || kept.length < this.lines.length;
    return { cursor: this.cursor, lines: kept, older, items: this.queue.items, acked: this.acked };
  }

  /** This room in `hello` or `join_room`. Without a cursor the stream starts at the head. */
  position() {
    const { id: room_id, cursor: c } = this;
    if (!c) return { room_id };
    return { room_id, after_seq: String(c.seq), after_message_id: c.message_id, incarnation: c.incarnation };
  }

  get first() {
    return this.lines.find((l) => !l.divider)?.seq;
  }

  /** Own messages that are durable but not delivered yet; they stand below the lines. */
  get undelivered() {
    return this.acked.filter((a) => a.seq > (this.cursor?.seq ?? 0) && !this.lines.some((l) => l.seq === a.seq));
  }

  onJoined(f) {
    this.phase = "joined";
    this.fault = undefined;
    this.incarnation = f.incarnation ?? "0";
    if (!this.cursor) this.cursor = { seq: num(f.seq), message_id: "", incarnation: this.incarnation };
    // Not recovered: a reset follows and moves the cursor. Until then the old one keeps its old incarnation.
    else if (f.recovered) this.cursor.incarnation = this.incarnation;
  }

  /** Takes a delivery by the stream rule; returns the rule's verdict. */
  onMessage(m, mine, now) {
    if (this.phase !== "joined" || !this.cursor) return "drop";
    const seq = num(m.seq);
    const verdict = streamRule(this.cursor.seq, num(m.prev_seq), seq);
    if (verdict !== "accept") return verdict;
    this.cursor = { seq, message_id: m.message_id ?? "", incarnation: this.incarnation };
    this.#show(m, mine, now);
    return verdict;
  }

  /** Forgets the oldest of very many lines; not while the user reads them. */
  trim() {
    if (this.lines.length < KEEP_LINES + 200) return;
    this.lines.splice(0, this.lines.length - KEEP_LINES);
    this.older = true;
  }

  /** Adds a page of history that touches the lines, or stands alone. */
  merge(page, mine, now) {
    for (const m of page.messages ?? []) this.#show(m, mine, now);
  }

  onAck(a, now) {
    const item = this.queue.remove(a.message_id);
    if (item) this.#settle(item, num(a.seq), now);
  }

  /** Reads a page only for what became of own messages. */
  resolve(page, mine, now) {
    for (const m of page.messages ?? []) {
      const item = mine.has(m.sender) && this.queue.remove(m.message_id);
      if (item) this.#settle(item, num(m.seq), now);
    }
  }

  onReset(f, member, now) {
    const seq = num(f.seq);
    if (f.reason !== "trimmed") {
      // The lines may be of a lost history, or far behind: the history brings what is there now.
      this.lines = [];
      this.older = true;
    }
    if (f.reason === "rewound") {
      // A copy that survived is at its old seq or was never stored: the same id makes repeating it harmless.
      const fresh = this.acked.filter((a) => now - a.ackedAt < REPUBLISH_MS && a.member === member);
      this.queue.restore(fresh.map((a) => ({ ...a, first: a.ackedAt, base: Math.min(a.seq - 1, seq) })));
      this.acked = [];
      // Without a room_joined before it, the incarnation of what goes on is not known: the answer to the next join tells.
      if (this.cursor?.incarnation === this.incarnation) this.incarnation = "0";
    }
    this.cursor = { seq, message_id: "", incarnation: this.incarnation };
    this.#insert({ seq: seq + 0.5, divider: f.reason, at: now });
  }

  #show(m, mine, now) {
    const line = { seq: num(m.seq), id: m.message_id, sender: m.sender, content: m.content ?? "", at: Date.parse(m.sent_at) };
    line.own = mine.has(line.sender);
    const item = line.own && this.queue.remove(line.id);
    if (item) {
      line.key = item.id; // the same line on the screen before and after
      this.#remember(item, line.seq, now);
    } else if (line.own && this.acked.some((a) => a.id === line.id)) line.key = line.id;
    this.#insert(line);
  }

  #settle(item, seq, now) {
    this.#remember(item, seq, now);
    // The stream has passed this seq, so it will not be delivered: show it from what we know, unless it is older than
    // the lines.
    if (seq > (this.cursor?.seq ?? 0) || !(seq >= this.first)) return;
    this.#insert({ seq, id: item.id, sender: item.member, content: item.content, at: item.at, own: true, key: item.id });
  }

  #remember(item, seq, now) {
    this.acked.push({ ...item, seq, ackedAt: now });
    const cursor = this.cursor?.seq ?? 0;
    this.acked = this.acked.filter((a) => a.seq > cursor || now - a.ackedAt < REPUBLISH_MS);
  }

  #insert(line) {
    let at = this.lines.length;
    while (at > 0 && this.lines[at - 1].seq > line.seq) at--;
    if (this.lines[at - 1]?.seq !== line.seq) this.lines.splice(at, 0, line);
  }
}
