// The rules of the protocol that need no state. Pure.

/** What to do with a delivery, given the cursor: the seq of the last message taken. */
export function streamRule(cursor, prevSeq, seq) {
  if (seq <= cursor) return "drop";
  return prevSeq <= cursor ? "accept" : "gap";
}

/** Milliseconds before attempt n (0 = the first retry): full jitter between 250 ms and a bound that doubles up to 5 s. */
export function backoff(n, random = Math.random) {
  const bound = Math.min(5000, 500 * 2 ** Math.min(n, 10));
  return Math.round(250 + random() * (bound - 250));
}

/** Close codes 4500 to 4999 ask the client to stay away; after every other end it may connect again. */
export const mayReconnect = (code) => code < 4500 || code > 4999;

/** 64-bit integers arrive as strings, and 0 is omitted. */
export const num = (v) => Number(v ?? 0);

/** The kind of a frame: the one field of the envelope that is not its id. */
export const kindOf = (envelope) => Object.keys(envelope).find((k) => k !== "id") ?? "";

export const validRoom = (id) => /^[A-Za-z0-9._:-]{1,128}$/.test(id);

/** A UUIDv7. Not crypto.randomUUID, which plain http origins do not have. */
export function uuid7(now = Date.now()) {
  const b = crypto.getRandomValues(new Uint8Array(16));
  for (let i = 0; i < 6; i++) b[i] = Math.floor(now / 2 ** (40 - 8 * i)) & 255;
  b[6] = (b[6] & 15) | 112;
  b[8] = (b[8] & 63) | 128;
  const hex = Array.from(b, (x) => x.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
}
