// What requests write: a pane that follows and searches.

import { html, useEffect, useMemo, useRef, useState } from "./vendor/preact.js";
import { follow } from "./api.js";
import { lastOf, spans } from "./ansi.js";
import { bytes, count, plain } from "./words.js";
import { Failure, Icon, memo } from "./ui.js";

const most = 5000, longest = 4000; // lines that are kept, characters of one
const block = 100; // lines that are drawn together

// A Log is the lines of one or several streams, by where they came from.
class Log {
  constructor() {
    this.lines = [];
    this.open = new Map(); // stream → the line that goes on
    this.dropped = 0;
    this.serial = 0;
  }

  add(key, text, extra) {
    const parts = text.split("\n");
    parts.forEach((part, i) => {
      let line = this.open.get(key);
      while (part.length || !line) {
        if (!line || line.text.length >= longest) {
          line = { id: this.serial++, text: "", ...extra };
          this.lines.push(line);
          this.open.set(key, line);
        }
        const room = longest - line.text.length;
        line.text += part.slice(0, room);
        part = part.slice(room);
        line.drawn = null;
      }
      if (i < parts.length - 1) this.open.delete(key);
      else if (line.text === "") { // nothing has come after the newline yet
        this.lines.pop();
        this.serial--;
        this.open.delete(key);
      }
    });
    const over = this.lines.length - most;
    if (over > block) {
      this.lines.splice(0, over);
      this.dropped += over;
    }
  }

  cut(key, n) {
    this.open.delete(key);
    this.lines.push({ id: this.serial++, text: `${bytes(n)} of output were not kept`, note: true });
  }
}

function draw(line, needle) {
  if (line.note) return html`<div class="line cutmark" key=${line.id}>${line.text}</div>`;
  line.drawn ??= spans(lastOf(line.text))[0];
  return html`<div class=${"line " + line.stream} key=${line.id}>${line.from && html`<a class="source" href=${"#/request/" + line.request}>${plain(line.from)}</a>`}<span>${line.drawn.map(([t, c]) => mark(t, c, needle))}${line.drawn.length === 0 ? "\u200b" : ""}</span></div>`;
}

function mark(t, c, needle) {
  if (!needle) return c ? html`<span class=${c}>${t}</span>` : t;
  const out = [];
  const low = t.toLowerCase();
  let at = 0;
  for (let i = low.indexOf(needle); i >= 0; i = low.indexOf(needle, at)) {
    out.push(t.slice(at, i), html`<mark>${t.slice(i, i + needle.length)}</mark>`);
    at = i + needle.length;
  }
  out.push(t.slice(at));
  return html`<span class=${c}>${out}</span>`;
}

const Block = memo(({ lines, needle, version }) => html`<div class="block" data-version=${version}>${lines.map((l) => draw(l, needle))}</div>`);

// Output shows what path streams; many says that it is of several requests.
export function Output({ path, label, many = false }) {
  const log = useMemo(() => new Log(), [path]);
  const [, draw] = useState(0), [error, setError] = useState(null), [live, setLive] = useState(true), [following, setFollowing] = useState(true), [needle, setNeedle] = useState("");
  const pane = useRef(), due = useRef(false);
  useEffect(() => {
    const next = { stdout: 0, stderr: 0 };
    setError(null);
    setLive(true);
    const refresh = () => {
      if (due.current) return;
      due.current = true;
      requestAnimationFrame(() => { due.current = false; draw((n) => n + 1); });
    };
    return follow(() => (many ? path : `${path}&stdout=${next.stdout}&stderr=${next.stderr}`), {
      once: !many,
      each: (line) => {
        if (line.stream) {
          next[line.stream] = line.next;
          const key = line.stream + (line.request || "");
          if (line.cut) log.cut(key, line.cut);
          const piece = line.base64 ? atob(line.base64) : line.text || "";
          if (piece) log.add(key, piece, { stream: line.stream, from: line.name, request: line.request });
        } else if (line.state && !many) setLive(false);
        refresh();
      },
      broken: (problem) => { if (problem.status) { setError(problem); setLive(false); } },
    });
  }, [path]);
  useEffect(() => {
    if (following && pane.current) pane.current.scrollTop = pane.current.scrollHeight;
  });
  const query = needle.toLowerCase();
  const lines = query ? log.lines.filter((l) => !l.note && l.text.toLowerCase().includes(query)) : log.lines;
  const blocks = [];
  for (let i = 0; i < lines.length; i += block) blocks.push(lines.slice(i, i + block));
  const scrolled = () => {
    const p = pane.current;
    setFollowing(p.scrollHeight - p.scrollTop - p.clientHeight < 24);
  };
  return html`<div class=${"output" + (many ? " everything" : "")}><div class="output-tools">
      <label class="search"><span class="hidden">Find in the output</span><${Icon} name="search" /><input type="search" placeholder="Find in the output" value=${needle} onInput=${(e) => setNeedle(e.target.value)} /></label>
      ${query && html`<span class="dim" role="status">${count(lines.length, "line")}</span>`}
      <button type="button" class="quiet small" aria-pressed=${following ? "true" : "false"} onClick=${() => setFollowing(!following)}><${Icon} name="down" />Follow</button></div>
    ${error && html`<${Failure} error=${error} />`}
    <div class="pane" ref=${pane} tabindex="0" role="log" aria-label=${label} aria-live="off" onScroll=${scrolled}>
      ${log.dropped > 0 && html`<div class="line cutmark">${count(log.dropped, "earlier line")} are not shown; 'hearth logs' has what is kept</div>`}
      ${blocks.map((b, i) => html`<${Block} key=${b[0].id} lines=${b} needle=${query} version=${i === blocks.length - 1 ? log.serial + ":" + b[b.length - 1].text.length + ":" + b.length : b.length} />`)}
      ${lines.length === 0 && html`<p class="pane-empty">${query ? "No line matches." : live ? "Nothing was written yet." : "Nothing was written."}</p>`}</div></div>`;
}

// Everything is what all requests that run write, in one place.
export const Everything = () => html`<${Output} many path="/v1/output?follow" label="Output of all that runs" />`;
