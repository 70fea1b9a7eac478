// The devices: a card each, and a panel with all that one tells.

import { Component, html, useEffect, useState } from "./vendor/preact.js";
import { call } from "./api.js";
import { forgetDevice, look, may, state } from "./store.js";
import { bytes, cores, count, ended, plain, since, span, title } from "./words.js";
import { Chip, Command, Empty, Failure, Icon, Loading, Meter, Panel, State } from "./ui.js";

const hot = 75; // °C from which a temperature is worth a look
const rows = 3; // requests on a card

// condition is a device's state in a word, and its tone.
export function condition(d) {
  if (d.gone) return ["gone", "warn"];
  if (d.draining) return ["draining", "warn"];
  if (d.missing_limits.length) return ["takes no work", "warn"];
  if (d.not_ready) return ["starting", "wait"];
  if (d.role !== "node") return ["asks only", "idle"];
  if (d.running + d.queued === 0) return ["idle", "good"];
  return [d.queued ? `${d.running} running, ${d.queued} waiting` : `${d.running} running`, "busy"];
}

const used = (d) => Math.min(d.cpus, Math.max(0, d.cpus - d.cpu_free + d.cpu_others));

const Work = ({ of }) => html`<ul class="work" aria-label="What runs here">
  ${of.slice(0, rows).map((r) => html`<li key=${r.id}><a href=${"#/request/" + r.id}><i class=${"dot " + (r.state === "running" ? "busy" : "wait")} aria-hidden="true"></i>
    <span class="cut">${plain(title(r))}</span><span class="dim cut">${plain(r.image)}</span></a></li>`)}
  ${of.length > rows && html`<li class="dim">and ${of.length - rows} more</li>`}</ul>`;

// Of many cards only those in sight are drawn anew.
const sight = new IntersectionObserver((entries) => {
  for (const e of entries) cards.get(e.target)?.sees(e.isIntersecting);
}, { rootMargin: "300px" });
const cards = new WeakMap();

class Card extends Component {
  componentDidMount() {
    cards.set(this.base, this);
    sight.observe(this.base);
  }
  componentWillUnmount() {
    sight.unobserve(this.base);
  }
  sees(seen) {
    this.unseen = !seen;
    if (seen && this.missed) this.setState({});
  }
  shouldComponentUpdate(next) {
    const news = this.missed || Object.keys(next).some((k) => next[k] !== this.props[k]);
    this.missed = news && this.unseen;
    return news && !this.unseen;
  }
  render(props) {
    return drawn(props);
  }
}

function drawn({ d, work, open }) {
  const [word, tone] = condition(d);
  return html`<li class=${"card device" + (d.gone ? " gone" : "") + (open ? " open" : "")}>
    <div class="card-head"><h3><a href=${"#/device/" + d.peer_id} class="cut">${plain(d.name)}</a></h3><span class=${"state " + tone}><i class="dot" aria-hidden="true"></i>${word}</span></div>
    <p class="chips">${d.self && html`<${Chip} tone="accent">this device</${Chip}>`}<${Chip}>${d.role}</${Chip}><${Chip}>${d.arch || "unknown"}</${Chip}>
      ${d.temperature_c >= hot && html`<${Chip} tone="warn">${d.temperature_c} °C</${Chip}>`}
      ${d.throttled > 0.05 && html`<${Chip} tone="warn">slowed by ${Math.round(d.throttled * 100)} %</${Chip}>`}
      ${d.accelerators.map((a) => html`<${Chip} key=${a}>${plain(a)}</${Chip}>`)}</p>
    ${d.gone ? html`<p class="dim">Not seen since ${since(d.gone)}.</p>`
    : d.role !== "node" ? html`<p class="dim">${d.not_ready ? "Its container engine has not answered yet." : "It asks for work and runs none."}</p>`
    : html`<${Meter} calm label="Processor" value=${used(d)} most=${d.cpus} text=${`${cores(used(d))} of ${count(d.cpus, "core")}`} />
      <${Meter} label="Memory" value=${d.memory_total - d.memory_free} most=${d.memory_total} text=${`${bytes(d.memory_total - d.memory_free)} of ${bytes(d.memory_total)}`} />`}
    ${work.length > 0 && !d.gone && html`<${Work} of=${work} />`}</li>`;
}

const none = [];
let lastWork = new Map();

// workOf lists what runs on each device; lists that are as before stay the same.
function workOf(requests) {
  const by = new Map();
  for (const r of requests.values()) {
    if (!r.node || ended(r.state)) continue;
    if (!by.has(r.node)) by.set(r.node, []);
    by.get(r.node).push(r);
  }
  for (const [node, list] of by) {
    const old = lastWork.get(node);
    if (old?.length === list.length && old.every((r, i) => r === list[i])) by.set(node, old);
  }
  lastWork = by;
  return by;
}

const rank = (d) => (d.gone ? 2 : d.self ? 0 : 1);

const batch = 24; // cards that are drawn at first, and more in each frame

// useGrowing counts up to all, a batch a frame: a hundred cards at once would take long.
function useGrowing(all) {
  const [n, setN] = useState(batch);
  useEffect(() => {
    if (n >= all) return;
    const frame = requestAnimationFrame(() => setN(n + batch));
    return () => cancelAnimationFrame(frame);
  }, [n, all]);
  return n;
}

export function Devices({ open }) {
  const shown = useGrowing(state.devices.size);
  if (!state.knowsDevices) return html`<section aria-labelledby="devices"><h2 id="devices">Devices</h2><${Loading} rows=${3} kind="cards" /></section>`;
  const list = [...state.devices.values()].sort((a, b) => rank(a) - rank(b) || a.name.localeCompare(b.name));
  const work = workOf(state.requests);
  return html`<section aria-labelledby="devices"><h2 id="devices">Devices</h2>
    <ul class="cards">${list.slice(0, shown).map((d) => html`<${Card} key=${d.peer_id} d=${d} work=${work.get(d.peer_id) || none} open=${open === d.peer_id} />`)}</ul>
    ${list.length === 1 && html`<${Empty} title="This device is alone.">
      <p>Others join by themselves once they have the same secret. Copy it there, and start it:</p>
      <${Command} text="hearth up --secret-file secret" /></${Empty}>`}</section>`;
}

const Row = ({ name, children }) => (children ? html`<div><dt>${name}</dt><dd>${children}</dd></div>` : null);

// DevicePanel is all that one device tells.
export function DevicePanel({ id }) {
  const d = state.devices.get(id);
  const [error, setError] = useState(null), [busy, setBusy] = useState(false);
  if (!d) return html`<${Panel} title="Device" label=${id}>${state.knowsDevices ? html`<${Empty} title="This device is not in the mesh."><p>It left more than a day ago, or its address was mistyped.</p></${Empty}>` : html`<${Loading} />`}</${Panel}>`;
  const drain = async () => {
    setBusy(true);
    setError(null);
    try {
      await call("/v1/drain", { method: "POST", body: { off: d.draining } });
      await look();
    } catch (problem) {
      setError(problem);
    }
    setBusy(false);
  };
  const [word, tone] = condition(d);
  const work = [...state.requests.values()].filter((r) => r.node === id && !ended(r.state));
  const labels = Object.entries(d.labels).map(([k, v]) => `${k}=${v}`);
  return html`<${Panel} label=${id} title=${plain(d.name)}
    actions=${d.self && may("all") && d.role === "node" && html`<button type="button" onClick=${drain} disabled=${busy}>${d.draining ? "Take work again" : "Take no new work"}</button>`}>
    <p class="lead"><span class=${"state " + tone}><i class="dot" aria-hidden="true"></i>${word}</span> ${d.gone && html`<span class="dim">not seen since ${since(d.gone)}</span>`}</p>
    ${error && html`<${Failure} error=${error} />`}
    ${d.gone && html`<p><button type="button" class="quiet" onClick=${() => { forgetDevice(id); location.hash = "#/"; }}><${Icon} name="bin" />Take it off this page</button></p>`}
    ${d.role === "node" && !d.gone && html`<div class="meters">
      <${Meter} calm label="Processor" value=${used(d)} most=${d.cpus} text=${`${cores(used(d))} of ${count(d.cpus, "core")}, ${cores(d.cpu_others)} by other programs`} />
      <${Meter} label="Memory" value=${d.memory_total - d.memory_free} most=${d.memory_total} text=${`${bytes(d.memory_total - d.memory_free)} of ${bytes(d.memory_total)}`} /></div>`}
    <h3>What runs here</h3>
    ${work.length ? html`<ul class="plain">${work.map((r) => html`<li key=${r.id}><a href=${"#/request/" + r.id}>${plain(title(r))}</a> <span class="dim">${plain(r.image)}</span> <${State} of=${r.state} /></li>`)}</ul>` : html`<p class="dim">Nothing.</p>`}
    <h3>About it</h3>
    <dl class="facts">
      <${Row} name="Role">${d.role === "node" ? "node: it runs work" : "device: it asks for work"}</${Row}>
      <${Row} name="System">${d.os && `${d.os}, ${d.arch}`}</${Row}>
      <${Row} name="Runs work with">${d.drivers.map(plain).join(", ")}</${Row}>
      <${Row} name="Speed of a core">${d.speed ? `${d.speed.toFixed(2)} of the reference device's` : ""}</${Row}>
      <${Row} name="Free disk">${d.disk_free ? bytes(d.disk_free) : ""}</${Row}>
      <${Row} name="Temperature">${d.temperature_c ? `${d.temperature_c} °C` : ""}</${Row}>
      <${Row} name="Images come at">${d.pull_rate ? bytes(d.pull_rate) + "/s" : ""}</${Row}>
      <${Row} name="Round trip">${d.rtt_ms ? span(d.rtt_ms) : ""}</${Row}>
      <${Row} name="Address">${d.address && html`<code>${plain(d.address)}</code>`}</${Row}>
      <${Row} name="Labels">${labels.map((l) => html`<${Chip} key=${l}>${plain(l)}</${Chip}>`)}</${Row}>
      <${Row} name="Lacks limits">${d.missing_limits.join(", ")}</${Row}>
      <${Row} name="Claims the name">${plain(d.claimed_name)}</${Row}>
      <${Row} name="Runs twice, also at">${plain(d.copy_address)}</${Row}>
      <${Row} name="Version">${plain(d.version)}</${Row}>
      <${Row} name="ID"><code class="break">${d.peer_id}</code></${Row}>
    </dl></${Panel}>`;
}
