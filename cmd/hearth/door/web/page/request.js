// One request: its state and what can be done, its output, its life, why it is there.

import { html, useEffect, useState } from "./vendor/preact.js";
import { call } from "./api.js";
import { drop, may, state } from "./store.js";
import { ago, bytes, clock, command, ended, plain, span, states, title } from "./words.js";
import { Chip, Copy, Empty, Failure, Icon, Loading, Note, Panel, State } from "./ui.js";
import { Output } from "./output.js";
import { Why } from "./why.js";

const advice = {
  image_not_found: "Check the spelling of the image, or whether its registry asks for a login.", pull_failed: "See whether a device reaches the registry: its doctor knows.",
  no_node: "“Why here” below says what each device lacks.", policy: "The owner of a device says what may run there: 'hearth policy'.", node_lost: "See whether the device is on and in the network.",
  engine_down: "Start the container engine on that device.", start_failed: "Check the command: it may not exist in the image.", timeout: "Give it more time, or find out what it waits for in its output.",
  disk_full: "Make room on that device's disk.",
};

const Step = ({ e, since }) => html`<li class=${"step " + (states[e.state]?.[1] || "")}><i class="dot" aria-hidden="true"></i><div>
  <strong>${states[e.state]?.[0] || e.state}</strong>${e.node_name && html` <span>on ${plain(e.node_name)}</span>`}${e.exit_code !== undefined && html` <span>with exit code ${e.exit_code}</span>`}
  ${e.queue_place > 0 && html` <span class="dim">${e.queue_place} before it</span>`}${e.attempt > 1 && html` <span class="dim">attempt ${e.attempt}</span>`}
  ${e.reason && html`<p class="dim break">${plain(e.reason)}</p>`}</div>
  <time class="dim" dateTime=${e.at} title=${e.at && clock(e.at)}>${e.at && since ? (new Date(e.at) - since < 1 ? clock(e.at) : "+" + span(new Date(e.at) - since)) : ""}</time></li>`;

// steps leaves out what says nothing new.
const steps = (events) => events.filter((e, i) => i === 0 || e.state !== events[i - 1].state || e.reason !== events[i - 1].reason || e.attempt !== events[i - 1].attempt);

const Fact = ({ name, children }) => (children && children !== "" ? html`<div><dt>${name}</dt><dd>${children}</dd></div>` : null);

const Asked = ({ s }) => html`<dl class="facts">
  <${Fact} name="Image"><code class="break">${plain(s.image)}</code></${Fact}>
  <${Fact} name="Command">${s.args.length > 0 && html`<code class="break">${s.args.map(plain).join(" ")}</code>`}</${Fact}>
  <${Fact} name="Environment">${s.env.length > 0 && html`<code class="break">${s.env.map(plain).join("\n")}</code>`}</${Fact}>
  <${Fact} name="Processor">${s.cpus && `${s.cpus} cores`}</${Fact}>
  <${Fact} name="Memory">${s.memory && bytes(s.memory)}</${Fact}>
  <${Fact} name="At most">${s.timeout_ms && span(s.timeout_ms)}</${Fact}>
  <${Fact} name="Only on">${plain(s.node)}</${Fact}>
  <${Fact} name="Needs">${Object.entries(s.labels || {}).map(([k, v]) => html`<${Chip} key=${k}>${plain(`${k}=${v}`)}</${Chip}>`)}</${Fact}>
  <${Fact} name="Network">${plain(s.network)}</${Fact}>
  <${Fact} name="Folders">${s.mounts.length > 0 && s.mounts.map((m) => html`<div key=${m.target}><code class="break">${plain(`${m.source} → ${m.target}`)}</code></div>`)}</${Fact}>
  <${Fact} name="When lost">${s.retry > 0 && `tried ${s.retry} more times`}</${Fact}>
  <${Fact} name="Tags">${Object.entries(s.tags || {}).map(([k, v]) => html`<${Chip} key=${k}>${plain(`${k}=${v}`)}</${Chip}>`)}</${Fact}></dl>`;

function Actions({ r, fail }) {
  const [busy, setBusy] = useState(false), [sure, setSure] = useState(false);
  if (!may("run")) return null;
  const act = (what) => async () => {
    setBusy(true);
    fail(null);
    try {
      await what();
    } catch (error) {
      fail(error);
    }
    setBusy(false);
    setSure(false);
  };
  const path = `/v1/requests/${encodeURIComponent(r.id)}`;
  if (!ended(r.state)) return html`<button type="button" class="danger" disabled=${busy} onClick=${act(() => call(path + "/stop", { method: "POST", body: {} }))}><${Icon} name="stop" />${busy ? "Stopping…" : "Stop"}</button>`;
  if (!sure) return html`<a class="button" href=${"#/run/" + r.id}><${Icon} name="again" />Run again</a><button type="button" class="quiet" onClick=${() => setSure(true)}><${Icon} name="bin" />Forget</button>`;
  const forget = async () => {
    await call(path, { method: "DELETE" });
    drop(r.id);
    location.hash = "#/";
  };
  return html`<button type="button" class="danger" disabled=${busy} onClick=${act(forget)}>Forget it and its output</button><button type="button" class="quiet" onClick=${() => setSure(false)}>Keep</button>`;
}

export function RequestPanel({ id, now }) {
  const known = state.requests.get(id);
  const [detail, setDetail] = useState(null), [error, setError] = useState(null), [failed, setFailed] = useState(null), [tab, setTab] = useState("output");
  // What its events say anew is asked for again: its life, and why it is where it is.
  const version = known ? [known.state, known.attempt, known.reason, known.queue_place].join() : "";
  useEffect(() => {
    const stop = new AbortController();
    setError(null);
    call(`/v1/requests/${encodeURIComponent(id)}`, { signal: stop.signal }).then(setDetail, (e) => stop.signal.aborted || setError(e));
    return () => stop.abort();
  }, [id, version, state.link === "live"]);
  useEffect(() => { setDetail(null); setFailed(null); setTab("output"); }, [id]);
  const whole = detail?.id === id ? detail : null;
  const r = known || whole;
  if (!r) return html`<${Panel} title=${plain(id)} label=${id}>${error ? (error.status === 404 ? html`<${Empty} title="This request is not known any more."><p>What has ended is dropped after a day, or when somebody forgets it.</p></${Empty}>` : html`<${Failure} error=${error} />`) : html`<${Loading} />`}</${Panel}>`;
  const decision = whole?.decisions.at(-1);
  const took = r.started && r.ended ? new Date(r.ended) - new Date(r.started) : 0;
  const bad = ["failed", "refused", "timed_out", "lost", "unknown"].includes(r.state);
  const tabs = [["output", "Output"], ["life", "Timeline"], ["why", "Why here"], ["asked", "What was asked"]];
  return html`<${Panel} label=${id} title=${plain(title(r))} actions=${html`<${Actions} key=${id} r=${r} fail=${setFailed} />`}>
    <p class="lead"><${State} of=${r.state} />${r.node_name && html`<span>on <a href=${"#/device/" + r.node}>${plain(r.node_name)}</a></span>`}
      <span class="dim">asked on ${plain(r.from_name)} ${r.accepted ? ago(r.accepted, now) : ""}${took > 0 ? `, ran for ${span(took)}` : ""}</span></p>
    <p class="mono dim break">${plain(command(r)).slice(0, 600)}</p>
    ${failed && html`<${Failure} error=${failed} />`}
    ${bad && html`<${Note} tone=${r.state === "unknown" ? "warn" : "bad"} title=${plain(r.reason) || (r.exit_code !== undefined ? `It ended with exit code ${r.exit_code}.` : states[r.state][0])}>
      <p>${advice[r.code] || (r.exit_code !== undefined ? "What it wrote may say why." : "")}</p></${Note}>`}
    ${r.state === "placing" && r.queue_place > 0 && html`<${Note} tone="warn" title=${`It waits: ${r.queue_place} before it on ${plain(r.node_name)}.`} />`}
    <div class="tabs wide" role="group" aria-label="What to show">${tabs.map(([key, word]) => html`<button key=${key} type="button" aria-pressed=${tab === key ? "true" : "false"} onClick=${() => setTab(key)}>${word}</button>`)}</div>
    ${tab === "output" && html`<${Output} key=${id} path=${`/v1/requests/${encodeURIComponent(id)}/output?follow`} label=${`Output of ${title(r)}`} />`}
    ${tab !== "output" && !whole && html`<${Loading} />`}
    ${tab === "life" && whole && html`<ol class="timeline">${steps(whole.events).map((e, i) => html`<${Step} key=${i} e=${e} since=${whole.accepted && new Date(whole.accepted)} />`)}</ol>`}
    ${tab === "why" && whole && (decision ? html`<${Why} decision=${decision} />` : html`<${Empty} title="It was not placed yet." />`)}
    ${tab === "asked" && whole && html`<${Asked} s=${whole.service} /><p class="dim">ID <code>${r.id}</code> <${Copy} text=${r.id} label="Copy the ID" /></p>`}</${Panel}>`;
}
