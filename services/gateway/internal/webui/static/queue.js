// The publishes of one room that are not known to be durable, in the order they were written. Pure: every rule about
// sending again is here, and no socket.
import { backoff, uuid7 } from "./rules.js";

// The room knows a message_id again for 2 minutes. An older attempt is looked up in the history before it is repeated.
export const SAFE_MS = 100_000;
const GIVE_UP_MS = 30_000;
const WINDOW = 32;

/*
 * An item's state:
 *
 *   queued ──take──► sent ──ack or own delivery──► (gone)
 *     ▲  ▲            │ ├─ retryable error ─► waiting ──due──► sent
 *     │  └─ lost ─────┘ └─ final error, or 30 s of retryable ones ─► refused (the user may retry)
 *     └── found missing ── check ◄── first attempt too long ago to repeat blindly
 *
 *   unknown: tried as a member we no longer are; sent again only when the user says so, as a new message.
 */
export class PublishQueue {
  constructor(items = []) {
    this.items = items;
    this.lost();
  }

  push(content, now, id = uuid7(now)) {
    const item = { id, content, at: now, state: "queued", refusals: 0 };
    this.items.push(item);
    return item;
  }

  find(id) {
    return this.items.find((i) => i.id === id);
  }

  /** Ends an item: it is durable, or the user gave it up. */
  remove(id) {
    const at = this.items.findIndex((i) => i.id === id);
    return at < 0 ? undefined : this.items.splice(at, 1)[0];
  }

  /** Puts messages whose storage was undone back in front, with their ids. */
  restore(items) {
    this.items.unshift(...items.map((i) => ({ ...i, state: "queued", refusals: 0 })));
  }

  /** Whether anything will still be sent without the user doing something. */
  get busy() {
    return this.items.some((i) => i.state !== "refused" && i.state !== "unknown");
  }

  /**
   * The items to write now, marked as sent by `member`; `cursor` is the room's seq that a stored copy will be above.
   * While an answer to a refused item is outstanding nothing overtakes it: a connection's order is kept.
   */
  take(now, member, cursor) {
    const out = [];
    const first = this.items.find((i) => i.refusals && i.state !== "refused" && i.state !== "unknown");
    let flying = this.items.filter((i) => i.state === "sent").length;
    for (const i of this.items) {
      if (i.state === "check") break;
      if (first && i !== first) continue;
      if (i.state !== "queued" && !(i.state === "waiting" && i.due <= now)) continue;
      if (i.first && now - i.first > SAFE_MS) {
        i.state = "check";
        break;
      }
      if (flying++ >= WINDOW) break;
      Object.assign(i, { state: "sent", sentAt: now, member, first: i.first ?? now, base: i.base ?? cursor });
      out.push(i);
    }
    return out;
  }

  /** Takes an `error` frame that answers an item. */
  refuse(item, error, now, random = Math.random) {
    item.error = { code: error.code, message: error.message ?? "", retryable: !!error.retryable };
    item.since ??= now;
    if (!error.retryable || now - item.since > GIVE_UP_MS) {
      item.state = "refused";
      return;
    }
    item.state = "waiting";
    item.due = now + Math.max(error.retry_after_ms ?? 0, backoff(item.refusals++, random));
  }

  /** The connection ended: what had no answer is sent again on the next one, with the same ids, in the same order. */
  lost() {
    for (const i of this.items) if (["sent", "waiting", "check"].includes(i.state)) i.state = "queued";
  }

  /** We are `member` now: what was tried as another may be stored, and a new member's copy would be a second one. */
  orphan(member) {
    for (const i of this.items) {
      if (i.first && i.member !== member && (i.state !== "refused" || i.error.retryable)) i.state = "unknown";
    }
  }

  /** Items whose fate the history can tell. */
  doubtful() {
    return this.items.filter((i) => i.state === "check" || (i.state === "unknown" && !i.looked));
  }

  /** The whole history after their base was read (or, if not complete, too much of it) and these were not in it. */
  missing(items, complete) {
    for (const i of items) {
      if (!this.items.includes(i)) continue;
      i.looked = true;
      if (i.state !== "check") continue;
      if (complete) Object.assign(i, { state: "queued", first: undefined, base: undefined });
      else i.state = "unknown";
    }
  }

  /** The user asks for another attempt. A message of unknown fate goes out as a new one: the same id proves nothing now. */
  retry(id, now) {
    const i = this.find(id);
    if (!i) return;
    if (i.state === "unknown") Object.assign(i, { id: uuid7(now), first: undefined, base: undefined, looked: false });
    Object.assign(i, { state: "queued", refusals: 0, since: undefined, error: undefined });
  }

  /** When `take` may have more to give although nothing happened; undefined = never. */
  get due() {
    return this.items.find((i) => i.state === "waiting")?.due;
  }
}
