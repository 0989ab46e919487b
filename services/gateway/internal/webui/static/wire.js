// The drawer that shows the frames as they are on the wire.
import { el } from "./view.js";

const KEEP = 200;
const clock = new Intl.DateTimeFormat([], { hour: "2-digit", minute: "2-digit", second: "2-digit", fractionalSecondDigits: 3, hour12: false });

export function wireDrawer(client, $, kindOf) {
  const frames = [];
  const list = $("frames");
  const noise = (f) => $("quiet").checked && /^(presence|ping|pong)/.test(f.kind);

  function row({ direction, kind, text, at }) {
    return el("li", { "data-frame": kind, "data-direction": direction },
      el("time", {}, clock.format(at)), el("b", { title: direction === "in" ? "from the server" : "to the server" }, direction === "in" ? "↓" : "↑"), el("code", {}, text));
  }
  function redraw() {
    list.replaceChildren(...frames.filter((f) => !noise(f)).map(row));
    list.scrollTop = list.scrollHeight;
  }
  function toggle(open) {
    $("wire").hidden = !open;
    $("wire-button").setAttribute("aria-expanded", open);
    if (open) redraw();
    else list.replaceChildren();
  }

  client.on("frame", (direction, text) => {
    // Screens are shared: a session's token is not for everybody.
    const shown = text.replace(/("(?:session_)?token":")([^"]{6})[^"]*/g, "$1$2…");
    const frame = { direction, text: shown, kind: kindOf(JSON.parse(text)), at: Date.now() };
    frames.push(frame);
    if (frames.length > KEEP) frames.shift();
    if ($("wire").hidden || noise(frame)) return;
    const follow = list.scrollHeight - list.scrollTop - list.clientHeight < 40;
    list.append(row(frame));
    if (list.children.length > KEEP) list.firstChild.remove();
    if (follow) list.scrollTop = list.scrollHeight;
  });
  $("quiet").onchange = redraw;
  $("clear").onclick = () => {
    frames.length = 0;
    redraw();
  };
  $("wire-button").onclick = () => toggle($("wire").hidden);
  $("wire-close").onclick = () => {
    toggle(false);
    $("wire-button").focus();
  };
}
