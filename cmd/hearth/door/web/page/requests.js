// The requests: a list that typing narrows, the newest first.

import { html, useEffect, useMemo, useRef, useState } from "./vendor/preact.js";
import { state } from "./store.js";
import { ago, command, count, ended, plain, states, title } from "./words.js";
import { Command, Empty, Icon, Loading, memo, Note, State } from "./ui.js";

const page = 50;

const text = (r) => [r.id, r.tags?.name, r.image, ...r.args, r.state, states[r.state]?.[0], r.node_name, r.from_name, r.code].join(" ").toLowerCase();

const Row = memo(function Row({ r, now, open }) {
  const moved = r.node_name && r.node !== r.from;
  return html`<li class=${"request" + (open ? " open" : "")}><a href=${"#/request/" + r.id} aria-current=${open ? "true" : undefined}>
    <${State} of=${r.state} code=${r.state === "failed" && r.exit_code !== undefined ? r.exit_code : ""} />
    <span class="what"><strong class="cut">${plain(title(r))}</strong><span class="dim cut mono">${plain(command(r)).slice(0, 200)}</span></span>
    <span class="where">${moved ? html`<span class="cut" title="asked on">${plain(r.from_name)}</span><${Icon} name="to" /><span class="hidden">runs on</span>` : ""}<span class="cut">${r.node_name ? plain(r.node_name) : html`<span class="dim">nowhere yet</span>`}</span></span>
    <time class="when dim" dateTime=${r.accepted}>${r.accepted ? ago(r.accepted, now) : ""}</time></a></li>`;
});

// coarse rounds the time, so that a row is drawn anew only when it says another one.
function coarse(r, now) {
  const age = now - new Date(r.accepted);
  return age < 100_000 ? now : age < 5_400_000 ? Math.floor(now / 60_000) * 60_000 : Math.floor(now / 3_600_000) * 3_600_000;
}

export function Requests({ now, open }) {
  const [query, setQuery] = useState(""), [shown, setShown] = useState(page), [only, setOnly] = useState("all");
  const field = useRef();
  useEffect(() => {
    const slash = (e) => {
      if (e.key !== "/" || e.ctrlKey || e.metaKey || e.target.closest("input, textarea, select")) return;
      e.preventDefault();
      field.current?.focus();
    };
    addEventListener("keydown", slash);
    return () => removeEventListener("keydown", slash);
  }, []);
  const requests = state.requests;
  const sorted = useMemo(() => [...requests.values()].sort((a, b) => (a.accepted < b.accepted ? 1 : a.accepted > b.accepted ? -1 : 0)), [requests, state.version]);
  const list = useMemo(() => {
    const parts = query.toLowerCase().split(/\s+/).filter(Boolean);
    return sorted.filter((r) => (only === "all" || (only === "running") === !ended(r.state)) && parts.every((p) => text(r).includes(p)));
  }, [sorted, query, only]);
  if (!state.knowsRequests) return html`<section aria-labelledby="requests"><h2 id="requests">Requests</h2><${Loading} rows=${4} /></section>`;
  const tabs = [["all", "All"], ["running", "Running"], ["ended", "Ended"]];
  return html`<section aria-labelledby="requests"><div class="section-head"><h2 id="requests">Requests</h2>
      <div class="tools"><div class="tabs" role="group" aria-label="Which requests">${tabs.map(([id, word]) => html`<button key=${id} type="button" aria-pressed=${only === id ? "true" : "false"} onClick=${() => { setOnly(id); setShown(page); }}>${word}</button>`)}</div>
      <label class="search"><span class="hidden">Filter requests</span><${Icon} name="search" /><input ref=${field} type="search" placeholder="Filter requests" value=${query} onInput=${(e) => { setQuery(e.target.value); setShown(page); }} /></label></div></div>
    ${state.silent.length > 0 && html`<${Note} tone="warn" title=${`${state.silent.map(plain).join(", ")} did not answer: their requests are missing here.`} />`}
    ${requests.size === 0 ? html`<${Empty} title="Nothing was asked for yet."><p>Run something here with “Run”, or from a terminal:</p><${Command} text="hearth run busybox echo hello" /></${Empty}>`
    : list.length === 0 ? html`<${Empty} title="No request matches.">${query && html`<p><button type="button" class="quiet" onClick=${() => { setQuery(""); setOnly("all"); field.current.focus(); }}>Show all</button></p>`}</${Empty}>`
    : html`<ul class="requests">${list.slice(0, shown).map((r) => html`<${Row} key=${r.id} r=${r} now=${coarse(r, now)} open=${open === r.id} />`)}</ul>`}
    ${list.length > shown && html`<p class="more"><button type="button" class="quiet" onClick=${() => setShown(shown + page)}>Show ${Math.min(page, list.length - shown)} more of ${count(list.length - shown, "other")}</button></p>`}
    ${state.more > 0 && html`<p class="dim">${count(state.more, "older request")} can be seen with 'hearth ps --all'.</p>`}</section>`;
}
