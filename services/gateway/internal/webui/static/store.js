// This tab's memory across a reload: sessionStorage, or nothing where the browser refuses it.
const PREFIX = "parley:";

export class Store {
  get(key) {
    try {
      return JSON.parse(sessionStorage.getItem(PREFIX + key)) ?? undefined;
    } catch {
      return undefined;
    }
  }

  /** Returns false when it did not fit. */
  set(key, value) {
    try {
      sessionStorage.setItem(PREFIX + key, JSON.stringify(value));
      return true;
    } catch {
      return false;
    }
  }

  clear() {
    try {
      sessionStorage.clear();
    } catch {}
  }

  /**
   * A duplicated tab starts with a copy of this memory. It must become a member of its own, or the two would throw each
   * other out of the session: ask whether another tab lives on it, and forget it if so.
   */
  async claim() {
    const mine = this.get("tab");
    const channel = new BroadcastChannel(PREFIX + "tabs");
    const taken = mine && (await new Promise((resolve) => {
      channel.onmessage = (e) => e.data.held === mine && resolve(true);
      channel.postMessage({ asked: mine });
      setTimeout(resolve, 60, false);
    }));
    if (taken) this.clear();
    const tab = taken || !mine ? Math.random().toString(36).slice(2) : mine;
    this.set("tab", tab);
    channel.onmessage = (e) => e.data.asked === tab && channel.postMessage({ held: tab });
  }
}
