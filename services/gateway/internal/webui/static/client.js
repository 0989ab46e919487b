// A client of the protocol parley.v1.json: one WebSocket at a time, one session, any number of rooms. It keeps every
// promise on the client's side: nothing is lost, repeated or out of order across reconnects, restarts and reloads.
//
//   const client = new Client({ url, store });
//   client.on("change", (room) => …);   // lines, queue or phase of a room changed: draw it
//   client.on("state", (state) => …);   // {phase: idle|connecting|open|waiting|closed, …}
//   client.join("room-1"); client.publish("room-1", "hello");
//
// Other events: message (room, frame) for each delivery, signal (frame), notice (error frame that fits nothing else),
// frame (direction, text) for each frame as it is on the wire.
import { Room } from "./room.js";
import { backoff, kindOf, mayReconnect } from "./rules.js";

const FRAME_BYTES = 64 << 10;
const OPEN_MS = 10_000; // for the connection and its session
const ANSWER_MS = 10_000; // the server answers a publish within 5 s
const IDLE_MS = 20_000; // without a frame: ping
const PONG_MS = 8_000;
const STEADY_MS = 5_000; // a connection that lasted starts the backoff afresh
const SAVE_MS = 250;
const REMOVED = {
  kicked: "You were taken out of this room.",
  banned: "You are banned from this room.",
  forbidden: "This room does not let you in any more.",
};

export class Client {
  rooms = new Map();
  state = { phase: "idle" };
  #listeners = {};
  #ws;
  #session; // {token, member, mine}: mine = every member this tab has been
  #ids = 0;
  #calls = new Map();
  #attempt = 0;
  #timer;
  #ticker;
  #unsaved = new Set();

  constructor({ url, store }) {
    this.url = url;
    this.store = store;
    this.#session = store.get("session") ?? {};
    this.mine = new Set(this.#session.mine);
  }

  on(event, listener) {
    (this.#listeners[event] ??= []).push(listener);
  }

  get member() {
    return this.#session.member;
  }

  // ---- what the user asks for

  connect() {
    clearTimeout(this.#timer);
    if (this.#ws) return;
    const ws = new WebSocket(this.url + (this.url.includes("?") ? "&" : "?") + "hello=1", "parley.v1.json");
    this.#ws = ws;
    this.#set({ phase: "connecting" });
    this.#timer = setTimeout(() => this.#lose("no answer"), OPEN_MS);
    ws.onopen = () => this.#hello();
    ws.onmessage = (e) => ws === this.#ws && this.#receive(e.data);
    ws.onclose = (e) => ws === this.#ws && this.#ended(e.code, e.reason);
  }

  /** Connects now if waiting to. */
  hurry() {
    if (this.state.phase === "waiting") this.connect();
  }

  /** Gives the session up and connects as a new member. */
  renew() {
    this.#remember({ token: undefined });
    this.#attempt = 0;
    this.connect();
  }

  join(id) {
    let room = this.rooms.get(id);
    if (!room) this.rooms.set(id, (room = new Room(id, this.store.get("room:" + id))));
    room.wanted = true;
    if (room.phase !== "joined") this.#ask(room);
    return room;
  }

  /** Leaves once nothing of ours waits to be sent. */
  leave(id) {
    const room = this.rooms.get(id);
    if (!room) return;
    room.wanted = false;
    this.#settleLeave(room);
  }

  publish(id, content) {
    const room = this.rooms.get(id);
    const item = room.queue.push(content, Date.now());
    if (new Blob([JSON.stringify(publishFrame(room, item))]).size > FRAME_BYTES) {
      room.queue.refuse(item, { code: "TOO_LARGE", message: "a frame holds 64 KiB" }, Date.now());
    }
    this.#flush(room);
  }

  retry(id, messageId) {
    const room = this.rooms.get(id);
    room.queue.retry(messageId, Date.now());
    this.#flush(room);
  }

  discard(id, messageId) {
    const room = this.rooms.get(id);
    const item = room.queue.remove(messageId);
    this.#flush(room);
    return item;
  }

  signal(id, type, content = "") {
    if (this.rooms.get(id)?.phase === "joined") this.#send({ signal: { target: id, type, content } });
  }

  presence(id) {
    return this.#call({ presence: { room_id: id } });
  }

  history(id, bounds = {}) {
    return this.#call({ history: { room_id: id, ...bounds } });
  }

  /** Loads the page before the oldest line. Rejects when the connection ends. */
  async older(room) {
    const before = room.first;
    const page = await this.history(room.id, before === undefined ? {} : { before_seq: String(before) });
    if (room.first !== before && before !== undefined) return; // a reset came between
    room.merge(page, this.mine, Date.now());
    room.older = !!page.more && page.messages?.length > 0;
    this.#changed(room);
  }

  /** Writes what is not saved yet; for pagehide. */
  save() {
    for (const room of this.#unsaved) {
      const all = room.snapshot();
      const key = "room:" + room.id;
      this.store.set(key, all) || this.store.set(key, { ...all, lines: [], older: true });
    }
    this.#unsaved.clear();
  }

  // ---- the connection

  #hello() {
    const rooms = [...this.rooms.values()].filter((r) => r.wanted || r.queue.busy);
    for (const r of rooms) r.phase = "asked";
    this.offered = this.#session.token;
    this.#send({ hello: { session_token: this.offered, attempt: Date.now(), rooms: rooms.map((r) => r.position()) } });
  }

  #receive(text) {
    this.heard = Date.now();
    this.pinged = 0;
    this.#emit("frame", "in", text);
    const envelope = JSON.parse(text);
    const kind = kindOf(envelope);
    const frame = envelope[kind];
    const call = this.#calls.get(envelope.id);
    if (call && (kind === "error" || kind === "history_page" || kind === "presence_state")) {
      this.#calls.delete(envelope.id);
      return kind === "error" ? call.reject(frame) : call.resolve(frame);
    }
    const room = this.rooms.get(frame?.room_id ?? frame?.target);
    this["on_" + kind]?.(frame, room, envelope.id);
  }

  on_session(f) {
    clearTimeout(this.#timer);
    this.#remember({ token: f.token, member: f.member_id });
    for (const room of this.rooms.values()) room.queue.orphan(f.member_id);
    const named = new Set(this.rooms.keys());
    for (const id of f.rooms ?? []) if (!named.has(id)) this.#send({ leave_room: { room_id: id } });
    this.opened = Date.now();
    this.#ticker = setInterval(() => this.#tick(), 1000);
    this.#set({ phase: "open", node: f.node, dc: f.dc, resumed: !!f.resumed });
    // A join asked for while the session was on its way.
    for (const room of this.rooms.values()) if (room.wanted && room.phase === "idle") this.#ask(room);
  }

  on_room_joined(f, room) {
    if (!room) return this.#send({ leave_room: { room_id: f.room_id } });
    room.onJoined(f);
    room.tries = 0;
    this.#flush(room);
    this.#settleLeave(room);
  }

  on_room_left(f, room) {
    if (room?.phase !== "joined") return;
    room.phase = "idle";
    room.fault = f.reason
      ? { code: f.reason.toUpperCase(), message: f.message ?? REMOVED[f.reason] ?? REMOVED.kicked }
      : { code: "LEFT", message: "You are no longer in this room." };
    this.#changed(room);
  }

  on_message(f, room) {
    const verdict = room?.onMessage(f, this.mine, Date.now());
    if (verdict === "gap") this.#ask(room);
    if (verdict !== "accept") return;
    this.#emit("message", room, f);
    this.#flush(room, false);
  }

  on_ack(f, room) {
    room?.onAck(f, Date.now());
    if (room) this.#flush(room);
  }

  on_signal(f) {
    this.#emit("signal", f);
  }

  on_reset(f, room) {
    room?.onReset(f, this.member, Date.now());
    // The membership may be among what was lost; what waits in the queue goes out behind the answer.
    if (room && f.reason === "rewound") this.#ask(room);
    if (room) this.#flush(room);
  }

  on_reconnect(f) {
    this.#timer = setTimeout(() => this.#lose(f.reason ?? "asked to reconnect", Math.random() * 250), f.after_ms ?? 0);
  }

  on_error(f, room, id) {
    for (const r of room ? [room] : this.rooms.values()) {
      const item = r.queue.items.find((i) => i.id === f.message_id || (id && i.n === id));
      if (item) {
        r.queue.refuse(item, f, Date.now());
        return this.#flush(r);
      }
    }
    if (room?.phase !== "asked") return this.#emit("notice", f);
    room.phase = "idle";
    if (!f.retryable) room.fault = f;
    else setTimeout(() => room.wanted && this.#ask(room), Math.max(f.retry_after_ms ?? 0, backoff((room.tries = (room.tries ?? 0) + 1))));
    this.#changed(room);
  }

  #tick() {
    const now = Date.now();
    if (now - this.opened > STEADY_MS) this.#attempt = 0;
    if (this.pinged && now - this.pinged > PONG_MS) return this.#lose("no answer");
    for (const { queue } of this.rooms.values()) {
      if (queue.items.some((i) => i.state === "sent" && now - i.sentAt > ANSWER_MS)) return this.#lose("no answer");
    }
    if (!this.pinged && now - this.heard > IDLE_MS) {
      this.pinged = now;
      this.#send({ ping: {} });
    }
  }

  /** Gives the connection up without waiting for the other side to agree. */
  #lose(reason, delay) {
    const ws = this.#ws;
    this.#ended(1006, reason, delay);
    ws?.close(1000);
  }

  #ended(code, reason, delay = backoff(this.#attempt++)) {
    this.#ws = undefined;
    clearTimeout(this.#timer);
    clearInterval(this.#ticker);
    this.pinged = 0;
    for (const call of this.#calls.values()) call.reject({ code: "CLOSED" });
    this.#calls.clear();
    for (const room of this.rooms.values()) {
      if (code === 1009) this.#tooBig(room);
      room.phase = "idle";
      room.queue.lost();
      this.#changed(room);
    }
    if (code === 4500 && this.offered) {
      this.#remember({ token: undefined }); // the session was refused: a new one may not be
    } else if (!mayReconnect(code)) {
      return this.#set({ phase: "closed", code, reason });
    }
    this.#set({ phase: "waiting", code, reason, retryAt: Date.now() + delay });
    this.#timer = setTimeout(() => this.connect(), delay);
  }

  /** The server would not read a frame of this size; sending it again would only close the next connection too. */
  #tooBig({ queue }) {
    const sent = queue.items.filter((i) => i.state === "sent").sort((a, b) => b.content.length - a.content.length);
    if (sent[0]) queue.refuse(sent[0], { code: "TOO_LARGE", message: "larger than the server takes" }, Date.now());
  }

  // ---- rooms

  #ask(room) {
    if (this.state.phase !== "open") return;
    room.phase = "asked";
    this.#send({ join_room: room.position() });
  }

  #settleLeave(room) {
    if (room.wanted || room.queue.busy) return;
    if (room.phase !== "idle") this.#send({ leave_room: { room_id: room.id } });
    this.rooms.delete(room.id);
    // Coming back starts at the head again; what the user still has to decide about is kept.
    this.store.set("room:" + room.id, { items: room.queue.items });
    this.#unsaved.delete(room);
  }

  /** Saves, then writes what may be written: an attempt must be on record before it is made. */
  #flush(room, now = true) {
    const open = this.state.phase === "open" && room.phase === "joined";
    const items = open ? room.queue.take(Date.now(), this.member, room.cursor.seq) : [];
    for (const item of items) item.n = ++this.#ids;
    this.#changed(room, now || items.length > 0);
    for (const item of items) this.#send(publishFrame(room, item), item.n);
    if (!open) return;
    if (room.queue.doubtful().length) this.#verify(room);
    clearTimeout(room.timer);
    if (room.queue.due) room.timer = setTimeout(() => this.#flush(room), Math.max(0, room.queue.due - Date.now()));
    if (!room.wanted) this.#settleLeave(room);
  }

  /** Looks in the history for messages that are too old to be sent again blindly. */
  async #verify(room) {
    if (room.verifying) return;
    room.verifying = true;
    try {
      const items = room.queue.doubtful();
      let after = Math.min(...items.map((i) => i.base ?? 0));
      let page = { more: true };
      for (let n = 0; page.more && n < 20; n++) {
        page = await this.history(room.id, { after_seq: String(after), limit: 500 });
        room.resolve(page, this.mine, Date.now());
        after = page.messages?.at(-1)?.seq ?? after;
      }
      room.queue.missing(items, !page.more);
      this.#flush(room);
    } catch {
      // The connection ended; joining again asks again.
    } finally {
      room.verifying = false;
    }
  }

  // ---- plumbing

  #call(frame) {
    if (this.state.phase !== "open") return Promise.reject({ code: "CLOSED" });
    const id = ++this.#ids;
    return new Promise((resolve, reject) => {
      this.#calls.set(id, { resolve, reject });
      this.#send(frame, id);
    });
  }

  #send(frame, id) {
    if (this.#ws?.readyState !== WebSocket.OPEN) return;
    const text = JSON.stringify(id ? { id, ...frame } : frame);
    this.#ws.send(text);
    this.#emit("frame", "out", text);
  }

  #remember(part) {
    Object.assign(this.#session, part);
    if (part.member) this.mine.add(part.member);
    this.store.set("session", { ...this.#session, mine: [...this.mine].slice(-20) });
  }

  #changed(room, now = true) {
    this.#unsaved.add(room);
    if (now) this.save();
    else this.saving ??= setTimeout(() => ((this.saving = undefined), this.save()), SAVE_MS);
    this.#emit("change", room);
  }

  #set(state) {
    this.state = { ...state, attempt: this.#attempt, member: this.member };
    this.#emit("state", this.state);
  }

  #emit(event, ...args) {
    for (const listener of this.#listeners[event] ?? []) listener(...args);
  }
}

const publishFrame = (room, item) => ({
  message: { target: room.id, content: item.content, message_id: item.id, sent_at: new Date(item.at).toISOString() },
});
