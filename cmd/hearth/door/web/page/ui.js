// The parts that all views are made of.

import { Component, h, html, useEffect, useRef, useState } from "./vendor/preact.js";
import { plain, states } from "./words.js";

function differs(a, b) {
  for (const k in a) if (a[k] !== b[k]) return true;
  for (const k in b) if (!(k in a)) return true;
  return false;
}

// memo draws a part anew only where what it shows is another.
export function memo(part) {
  return class extends Component {
    shouldComponentUpdate(next) {
      return differs(this.props, next);
    }
    render(props) {
      return h(part, props);
    }
  };
}

const paths = {
  plus: "M8 3v10M3 8h10", close: "M4 4l8 8M12 4l-8 8", search: "M7 12a5 5 0 1 1 0-10 5 5 0 0 1 0 10zM11 11l3 3", check: "M3 8.500l3.500 3.500L13 5",
  warn: "M8 2.500 14.500 13.500h-13zM8 6.500v3.500M8 11.800v.4", key: "M10.5 8.500a3.500 3.500 0 1 0-3.400-2.700L2 11v3h3v-2h2v-2l1.200-1.200M11 5v.1", pulse: "M1.500 8H5l2-5 3 10 2-5h2.500",
  stop: "M4 4h8v8H4z", down: "M8 3v9M4 8.500 8 12.500l4-4", copy: "M5.500 5.500v-3h8v8h-3M2.500 5.500h8v8h-8z", again: "M13 8a5 5 0 1 1-1.500-3.600M12 1.500v3.500H8.500",
  to: "M2.500 8h10M9 4.500 12.500 8 9 11.500", lines: "M2.500 4h11M2.500 8h11M2.500 12h7", bin: "M3 4.500h10M6 4.500v-2h4v2M4.500 4.500l.5 9h6l.5-9",
};

// Icon stands beside words, never for them.
export const Icon = ({ name }) => html`<svg class="icon" viewBox="0 0 16 16" aria-hidden="true" focusable="false"><path d=${paths[name]} /></svg>`;

export const Chip = ({ tone = "", children, title }) => html`<span class=${"chip " + tone} title=${title}>${children}</span>`;

export const State = ({ of, code }) => {
  const [word, tone] = states[of] || [of, ""];
  return html`<span class=${"state " + tone}><i class="dot" aria-hidden="true"></i>${word}${code ? ` (${code})` : ""}</span>`;
};

// Meter is a bar with its words and numbers; calm says that it may well be full.
export function Meter({ label, value, most, text, calm }) {
  const share = most > 0 ? Math.min(1, Math.max(0, value / most)) : 0;
  const tone = calm ? "" : share > 0.9 ? "bad" : share > 0.75 ? "warn" : "";
  return html`<div class="meter">
    <span class="meter-label">${label}</span><span class="meter-text">${text}</span>
    <span class="bar" role="meter" aria-label=${label} aria-valuemin="0" aria-valuemax="100" aria-valuenow=${Math.round(share * 100)} aria-valuetext=${text}>
      <span class=${"fill " + tone} style=${{ width: share * 100 + "%" }}></span>
    </span></div>`;
}

export function Copy({ text, label = "Copy" }) {
  const [done, setDone] = useState(false);
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text);
      setDone(true);
      setTimeout(() => setDone(false), 1500);
    } catch { /* the text can be selected */ }
  };
  return html`<button type="button" class="quiet small" onClick=${copy}><${Icon} name=${done ? "check" : "copy"} />${done ? "Copied" : label}</button>`;
}

// Command is a line for a terminal.
export const Command = ({ text }) => html`<div class="command"><code>${text}</code><${Copy} text=${text} /></div>`;

export const Empty = ({ title, children }) => html`<div class="empty"><p class="empty-title">${title}</p>${children}</div>`;

export const Loading = ({ rows = 3, kind = "row" }) =>
  html`<div class=${"loading " + kind} role="status"><span class="hidden">Loading</span>${Array.from({ length: rows }, (_, i) => html`<div class="ghost" key=${i}></div>`)}</div>`;

export const Note = ({ tone, title, children }) => html`<div class=${"note " + tone} role=${tone === "bad" ? "alert" : undefined}>
  <${Icon} name=${tone === "good" ? "check" : "warn"} /><div><p><strong>${title}</strong></p>${children}</div></div>`;

export const Failure = ({ error }) => html`<${Note} tone="bad" title=${plain(error.message)}>
  ${error.reasons?.length > 0 && html`<ul class="reasons">${error.reasons.map((r) => html`<li key=${r.node}><strong>${plain(r.name)}</strong> ${plain(r.reason)}</li>`)}</ul>`}</${Note}>`;

// Panel is what stands beside the lists, or before them on a phone. Its title takes
// the focus, and what had it gets it back.
export function Panel({ title, close, actions, children, label }) {
  const heading = useRef();
  useEffect(() => {
    const before = document.activeElement;
    heading.current.focus({ preventScroll: true });
    heading.current.closest("aside").scrollTop = 0;
    return () => before?.isConnected && before.focus({ preventScroll: true });
  }, [label]);
  return html`<aside class="panel" aria-labelledby="panel-title">
    <header class="panel-head"><h2 id="panel-title" tabindex="-1" ref=${heading}>${title}</h2>
      <div class="actions">${actions}<a class="button quiet" href="#/" onClick=${close}><${Icon} name="close" />Close</a></div></header>
    <div class="panel-body">${children}</div></aside>`;
}

// useNow has a part drawn anew from time to time, since what it says grows old.
export function useNow(ms) {
  const [, tick] = useState(0);
  useEffect(() => {
    const timer = setInterval(() => document.hidden || tick((n) => n + 1), ms);
    return () => clearInterval(timer);
  }, [ms]);
  return Date.now();
}

// useWide tells a desk from a phone.
const desk = matchMedia("(min-width: 64rem)");
export function useWide() {
  const [wide, setWide] = useState(desk.matches);
  useEffect(() => {
    const change = () => setWide(desk.matches);
    desk.addEventListener("change", change);
    return () => desk.removeEventListener("change", change);
  }, []);
  return wide;
}
