// Run something: a form, and where it would go while it is filled in.

import { html, useEffect, useRef, useState } from "./vendor/preact.js";
import { call } from "./api.js";
import { may, put, state } from "./store.js";
import { plain, seconds, size, span, words } from "./words.js";
import { Empty, Failure, Panel } from "./ui.js";
import { Why } from "./why.js";

const blank = { image: "", command: "", name: "", node: "", memory: "", cpus: "", timeout: "", env: "", network: "", notHere: false };

const quote = (word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`);

// formOf fills the form with what was asked for before.
const formOf = (s) => ({
  ...blank, image: s.image, command: s.args.map(quote).join(" "), name: s.tags?.name || "", node: s.node || "", env: s.env.join("\n"), network: s.network || "", notHere: s.not_here,
  memory: s.memory ? `${Math.ceil(s.memory / 2 ** 20)}m` : "", cpus: s.cpus ? String(s.cpus) : "", timeout: s.timeout_ms ? `${Math.ceil(s.timeout_ms / 1000)}s` : "",
});

// serviceOf reads the form; what does not do is told by field.
function serviceOf(f) {
  const service = { image: f.image.trim() }, wrong = {};
  try {
    service.args = words(f.command);
  } catch (error) {
    wrong.command = error.message;
  }
  if (f.name.trim()) service.tags = { name: f.name.trim() };
  if (f.node) service.node = f.node;
  if (f.network) service.network = f.network;
  if (f.notHere) service.not_here = true;
  const env = f.env.split("\n").map((l) => l.trim()).filter(Boolean);
  if (env.length) service.env = env;
  const bad = env.find((l) => !/^[^=]+=/.test(l));
  if (bad) wrong.env = `“${bad}” is not of the form NAME=value`;
  if (f.memory.trim() && !(service.memory = size(f.memory))) wrong.memory = "write it like 512m or 2g";
  if (f.cpus.trim() && !((service.cpus = Number(f.cpus)) > 0)) wrong.cpus = "write it like 2 or 0.5";
  if (f.timeout.trim() && !((service.timeout_ms = Math.round(seconds(f.timeout) * 1000)) > 0)) wrong.timeout = "write it like 90s, 10m or 2h";
  return { service, wrong };
}

function Field({ id, label, hint, wrong, children }) {
  return html`<div class=${"field" + (wrong ? " wrong" : "")}><label for=${id}>${label}</label>${children}
    ${wrong ? html`<p class="field-note bad" id=${id + "-note"} role="alert">${wrong}</p>` : hint && html`<p class="field-note dim" id=${id + "-note"}>${hint}</p>`}</div>`;
}

// usePlan asks where a service would go, a moment after it has stopped changing.
function usePlan(service, ready) {
  const [plan, setPlan] = useState(null), [error, setError] = useState(null), [asking, setAsking] = useState(false);
  const asked = JSON.stringify(service);
  useEffect(() => {
    if (!ready) {
      setPlan(null);
      setError(null);
      setAsking(false);
      return;
    }
    const stop = new AbortController();
    setAsking(true);
    const timer = setTimeout(async () => {
      try {
        setPlan(await call("/v1/plan", { method: "POST", body: { service }, signal: stop.signal }));
        setError(null);
      } catch (problem) {
        if (stop.signal.aborted) return;
        setError(problem);
        setPlan(null);
      }
      setAsking(false);
    }, 250);
    return () => { clearTimeout(timer); stop.abort(); };
  }, [asked, ready]);
  return [plan, error, asking];
}

function Forecast({ plan, error, asking, ready }) {
  if (!ready) return html`<p class="dim">Name an image, and this says where it would run.</p>`;
  if (error) return html`<${Failure} error=${error} />`;
  if (!plan) return html`<p class="dim" role="status">Asking where it would run…</p>`;
  const able = plan.candidates.filter((c) => !c.code);
  const best = able[0];
  return html`<p role="status" class=${asking ? "stale" : ""}>${best ? html`It would most likely run on <strong>${plain(best.name)}</strong>, in ${best.guess ? "about " : ""}${span(best.estimate_ms)}.` : html`<strong class="bad">No device can run this.</strong>`}</p><${Why} decision=${plan} chosen="first choice" />`;
}

export function RunPanel({ again }) {
  const [f, setF] = useState(blank), [failed, setFailed] = useState(null), [busy, setBusy] = useState(false), [tried, setTried] = useState(false);
  const image = useRef();
  useEffect(() => {
    if (again) call(`/v1/requests/${encodeURIComponent(again)}`).then((d) => setF(formOf(d.service)), setFailed);
  }, [again]);
  useEffect(() => { image.current?.focus({ preventScroll: true }); }, []);
  const { service, wrong } = serviceOf(f);
  const ready = !!service.image && Object.keys(wrong).length === 0;
  const [plan, error, asking] = usePlan(service, ready);
  if (state.status && !may("run")) return html`<${Panel} title="Run" label="run"><${Empty} title="This link may only look."><p>A link that may run things is made with 'hearth web --may run'.</p></${Empty}></${Panel}>`;
  const set = (key) => (e) => setF({ ...f, [key]: e.target.type === "checkbox" ? e.target.checked : e.target.value });
  const run = async (e) => {
    e.preventDefault();
    setTried(true);
    if (!ready) {
      image.current.focus();
      return;
    }
    setBusy(true);
    setFailed(null);
    try {
      const made = await call("/v1/requests", { method: "POST", body: { service } });
      put(made);
      location.hash = "#/request/" + made.id;
    } catch (problem) {
      setFailed(problem);
      setBusy(false);
    }
  };
  const nodes = [...state.devices.values()].filter((d) => d.role === "node" && !d.gone).map((d) => d.name).sort();
  const input = (key, extra) => html`<input id=${key} name=${key} value=${f[key]} onInput=${set(key)} autocomplete="off" autocapitalize="off" spellcheck=${false} aria-describedby=${key + "-note"} aria-invalid=${wrong[key] ? "true" : undefined} ...${extra} />`;
  return html`<${Panel} title="Run something" label="run"><form onSubmit=${run} novalidate>
      <${Field} id="image" label="Image" wrong=${tried && !service.image ? "name an image, such as busybox" : ""} hint="as for docker, such as busybox or ghcr.io/me/job:2">${input("image", { ref: image, required: true })}</${Field}>
      <${Field} id="command" label="Command" wrong=${wrong.command} hint="leave it empty for the image's own">${input("command")}</${Field}>
      <${Field} id="name" label="Name" hint="to find it by">${input("name")}</${Field}>
      <details open=${again ? true : undefined}><summary>More</summary><div class="fields">
        <${Field} id="node" label="Only on"><select id="node" value=${f.node} onChange=${set("node")}><option value="">any device</option>${nodes.map((n) => html`<option key=${n} value=${n}>${plain(n)}</option>`)}</select></${Field}>
        <${Field} id="network" label="Network"><select id="network" value=${f.network} onChange=${set("network")}><option value="">the node's choice</option><option value="none">none</option><option value="bridge">bridge</option></select></${Field}>
        <${Field} id="memory" label="Memory" wrong=${wrong.memory} hint="such as 512m or 2g">${input("memory")}</${Field}>
        <${Field} id="cpus" label="Cores" wrong=${wrong.cpus} hint="such as 2 or 0.5">${input("cpus", { inputmode: "decimal" })}</${Field}>
        <${Field} id="timeout" label="At most" wrong=${wrong.timeout} hint="such as 90s, 10m or 2h">${input("timeout")}</${Field}>
        <div class="field check"><label><input type="checkbox" checked=${f.notHere} onChange=${set("notHere")} /> not on this device</label></div>
        <${Field} id="env" label="Environment" wrong=${wrong.env} hint="NAME=value, one a line"><textarea id="env" rows="3" value=${f.env} onInput=${set("env")} spellcheck=${false} aria-describedby="env-note"></textarea></${Field}>
      </div></details>
      ${failed && html`<${Failure} error=${failed} />`}
      <p class="submit"><button type="submit" class="primary" disabled=${busy}>${busy ? "Asking…" : "Run"}</button></p>
    </form><section class="forecast" aria-labelledby="forecast"><h3 id="forecast">Where it would run</h3><${Forecast} plan=${plan} error=${error} asking=${asking} ready=${ready} /></section></${Panel}>`;
}
