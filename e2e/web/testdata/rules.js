// Cases for the page's pure modules, run in the browser. The value is the list of what failed.
(async () => {
  const { streamRule, backoff, mayReconnect, uuid7, kindOf, num, validRoom } = await import(new URL("rules.js", location).href);
  const { PublishQueue, SAFE_MS } = await import(new URL("queue.js", location).href);
  const { Room } = await import(new URL("room.js", location).href);
  const failures = [];
  const equal = (got, want, what) => {
    if (JSON.stringify(got) !== JSON.stringify(want)) failures.push(`${what}: got ${JSON.stringify(got)}, want ${JSON.stringify(want)}`);
  };
  const contents = (items) => items.map((i) => i.content);

  // The stream rule: accept iff prev_seq <= cursor < seq.
  equal(streamRule(5, 5, 6), "accept", "the next one");
  equal(streamRule(7, 5, 9), "accept", "events between that are no messages");
  equal(streamRule(6, 5, 6), "drop", "a repeat");
  equal(streamRule(9, 5, 6), "drop", "an old one");
  equal(streamRule(5, 6, 7), "gap", "one is missing");
  equal(streamRule(0, 0, 1), "accept", "the first");

  // Backoff: full jitter, 250 to 500 ms at first, never above 5 s.
  equal([backoff(0, () => 0), backoff(0, () => 1)], [250, 500], "first backoff");
  equal([backoff(2, () => 0), backoff(2, () => 1)], [250, 2000], "third backoff");
  equal([backoff(99, () => 0), backoff(99, () => 1)], [250, 5000], "late backoff");
  equal([1000, 1006, 4000, 4499, 4500, 4999, 5000].map(mayReconnect), [true, true, true, true, false, false, true], "close codes");

  const ids = Array.from({ length: 200 }, (_, n) => uuid7(1_700_000_000_000 + n));
  equal(ids.every((id) => /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/.test(id)), true, "UUIDv7 form");
  equal([...ids].sort(), ids, "UUIDv7 order");
  equal([kindOf({ id: 1, ack: {} }), kindOf({}), num("7"), num(undefined)], ["ack", "", 7, 0], "frames");
  equal(["a", "A.b:c_d-9", "", "a b", "ä", "x".repeat(128), "x".repeat(129)].map(validRoom), [true, true, false, false, false, true, false], "room names");

  // The queue sends in order, up to its window.
  {
    const q = new PublishQueue();
    for (let n = 0; n < 40; n++) q.push("m" + n, 1000);
    const sent = q.take(1000, "me", 7);
    equal(sent.length, 32, "window");
    equal(contents(sent).slice(0, 3), ["m0", "m1", "m2"], "order");
    equal(q.take(1001, "me", 7), [], "the window is full");
    q.remove(sent[5].id);
    equal(contents(q.take(1002, "me", 7)), ["m32"], "an answer makes room");
    q.lost();
    equal(contents(q.take(1003, "me", 9)).slice(0, 7), ["m0", "m1", "m2", "m3", "m4", "m6", "m7"], "again after a loss, in order");
    equal([q.items[0].base, q.items[0].first, q.items[0].id === sent[0].id], [7, 1000, true], "what the first attempt knew is kept");
  }
  // Nothing overtakes a refused message.
  {
    const q = new PublishQueue();
    const [a, b] = [q.push("a", 0), q.push("b", 0)];
    q.take(0, "me", 0);
    q.push("c", 0);
    q.refuse(a, { code: "BUSY", retryable: true }, 10, () => 0);
    equal([a.state, q.due, contents(q.take(100, "me", 0))], ["waiting", 260, []], "held");
    q.remove(b.id);
    equal(contents(q.take(260, "me", 0)), ["a"], "alone when due");
    equal(q.take(300, "me", 0), [], "held until answered");
    q.refuse(a, { code: "BUSY", retryable: true, retry_after_ms: 4000 }, 300, () => 0);
    equal(q.due, 4300, "the server's wish counts");
    q.lost();
    equal(contents(q.take(400, "me", 0)), ["a"], "a new connection asks at once, still alone");
    q.remove(a.id);
    equal(contents(q.take(500, "me", 0)), ["c"], "then the others");
  }
  // Refusals end after a while, or at once.
  {
    const q = new PublishQueue();
    const [a, b] = [q.push("a", 0), q.push("b", 0)];
    q.take(0, "me", 0);
    q.refuse(a, { code: "MUTED" }, 0);
    q.refuse(b, { code: "BUSY", retryable: true }, 0);
    q.take(9000, "me", 0);
    q.refuse(b, { code: "BUSY", retryable: true }, 30_001);
    equal([a.state, a.error.retryable, b.state, b.error.retryable, q.busy], ["refused", false, "refused", true, false], "given up");
    q.push("c", 0);
    equal(contents(q.take(31_000, "me", 0)), ["c"], "others go on");
    const id = b.id;
    q.retry(b.id, 32_000);
    equal([contents(q.take(32_000, "me", 0)), b.id === id], [["b"], true], "the user tries again, same id");
  }
  // Beyond the dedupe window the history decides.
  {
    const q = new PublishQueue();
    const old = q.push("old", 1);
    q.push("new", 1);
    q.take(1, "me", 3);
    q.lost();
    equal(q.take(SAFE_MS + 2, "me", 9), [], "nothing is sent blindly");
    equal([contents(q.doubtful()), old.base], [["old"], 3], "to be looked up");
    q.missing(q.doubtful(), true);
    equal([contents(q.take(SAFE_MS + 3, "me", 9)), old.base], [["old"], 9], "not stored: sent as if for the first time");
    q.lost();
    q.take(3 * SAFE_MS, "me", 9);
    q.missing(q.doubtful(), false);
    equal(old.state, "unknown", "too much to read: the user decides");
  }
  // As a new member nothing tried is repeated.
  {
    const q = new PublishQueue();
    const tried = q.push("tried", 0);
    q.take(1, "one", 0);
    const fresh = q.push("fresh", 0);
    q.lost();
    q.orphan("one");
    equal(tried.state, "queued", "the same member");
    q.orphan("two");
    equal([tried.state, fresh.state], ["unknown", "queued"], "another member");
    const id = tried.id;
    q.retry(tried.id, 5);
    equal([tried.state, tried.id === id], ["queued", false], "sent again as a new message");
  }

  // A room: own message once, whichever of ack and delivery comes first.
  const mine = new Set(["me"]);
  const message = (seq, prev, sender, id) => ({ seq: String(seq), prev_seq: String(prev), sender, message_id: id, content: id, sent_at: "2026-01-02T03:04:05Z" });
  for (const order of ["ack first", "delivery first"]) {
    const r = new Room("r");
    r.onJoined({ seq: "4", incarnation: "9" });
    const item = r.queue.push("x", 0);
    r.queue.take(0, "me", 4);
    const steps = [() => r.onAck({ message_id: item.id, seq: "5" }, 0), () => equal(r.onMessage(message(5, 4, "me", item.id), mine, 0), "accept", order)];
    if (order === "delivery first") steps.reverse();
    steps[0]();
    equal(r.lines.length + r.undelivered.length, 1, order + ", between");
    steps[1]();
    equal([r.lines.map((l) => [l.seq, l.key === item.id]), r.undelivered, r.queue.items, r.cursor], [[[5, true]], [], [], { seq: 5, message_id: item.id, incarnation: "9" }], order);
    equal(r.onMessage(message(5, 4, "me", item.id), mine, 0), "drop", order + ", repeated");
  }
  // An ack never moves the cursor.
  {
    const r = new Room("r");
    r.onJoined({ seq: "4" });
    const item = r.queue.push("x", 0);
    r.queue.take(0, "me", 4);
    r.onAck({ message_id: item.id, seq: "6" }, 0);
    equal(r.position(), { room_id: "r", after_seq: "4", after_message_id: "", incarnation: "0" }, "cursor after an ack");
    equal([r.onMessage(message(5, 4, "you", "y"), mine, 0), r.lines.length, r.undelivered.length], ["accept", 1, 1], "others come first");
  }
  // Cursor and resets.
  {
    const r = new Room("r");
    equal(r.position(), { room_id: "r" }, "no cursor: from the head");
    equal(r.onMessage(message(1, 0, "you", "a"), mine, 0), "drop", "not joined");
    r.onJoined({ seq: "3", incarnation: "1" });
    equal(r.onMessage(message(9, 8, "you", "b"), mine, 0), "gap", "gap");
    r.merge({ messages: [message(2, 1, "you", "c"), message(3, 2, "me", "d")] }, mine, 0);
    equal([r.lines.map((l) => l.seq), r.cursor.seq], [[2, 3], 3], "history does not move the cursor");
    r.onJoined({ seq: "9", recovered: false, incarnation: "2" });
    equal([r.cursor.seq, r.cursor.incarnation], [3, "1"], "until the reset the cursor is of the old history");
    r.acked = [{ id: "p", content: "p", member: "me", seq: 3, ackedAt: 0 }, { id: "q", content: "q", member: "me", seq: 3, ackedAt: 50_000 }, { id: "s", content: "s", member: "other", seq: 3, ackedAt: 50_000 }];
    r.onReset({ seq: "9", reason: "rewound" }, "me", 70_000);
    equal([r.cursor, r.lines.map((l) => l.divider), r.queue.items.map((i) => i.id)], [{ seq: 9, message_id: "", incarnation: "2" }, ["rewound"], ["q"]], "rewound");
    r.onReset({ seq: "20", reason: "trimmed" }, "me", 70_000);
    equal([r.cursor.seq, r.lines.length, r.queue.items.length], [20, 2, 1], "trimmed keeps what is on the screen");
  }
  // What is saved is bounded and whole.
  {
    const r = new Room("r");
    r.onJoined({ seq: "0" });
    for (let n = 1; n <= 300; n++) r.onMessage(message(n, n - 1, "you", "m" + n), mine, 0);
    const again = new Room("r", JSON.parse(JSON.stringify(r.snapshot())));
    equal([again.lines.length, again.lines[0].seq, again.lines.at(-1).seq, again.cursor.seq, again.older], [200, 101, 300, 300, true], "saved");
    for (let n = 301; n <= 304; n++) r.onMessage({ ...message(n, n - 1, "you", "m" + n), content: "x".repeat(100_000) }, mine, 0);
    equal(r.snapshot().lines.map((l) => l.seq), [303, 304], "saved within bounds");
  }
  return failures;
})()
