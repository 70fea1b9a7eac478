// The stacks: applications that the mesh keeps up, and a panel with what each does.

import { html } from "./vendor/preact.js";
import { state } from "./store.js";
import { count, plain, span } from "./words.js";
import { Chip, Command, Empty, Loading, memo, Note, Panel } from "./ui.js";

// The states of a stack and of its instances: the word for people, and its tone.
const states = {
  starting: ["starting", "wait"], up: ["up", "good"], degraded: ["degraded", "bad"], stopped: ["stopped", "idle"], away: ["away", "warn"], down: ["taken down", "idle"],
  waiting: ["waiting", "wait"], pulling: ["fetching the image", "wait"], running: ["running", "busy"], unhealthy: ["unhealthy", "bad"],
  backoff: ["starting again soon", "warn"], completed: ["completed", "good"], failed: ["failed", "bad"],
};

const Is = ({ of }) => {
  const [word, tone] = states[of] || [of, ""];
  return html`<span class=${"state " + tone}><i class="dot" aria-hidden="true"></i>${word}</span>`;
};

const good = (s) => s.instances.filter((i) => i.state === "running" || i.state === "completed").length;

const Row = memo(({ s, open }) => html`<li class=${"request" + (open ? " open" : "")}><a href=${"#/stack/" + s.name} aria-current=${open ? "true" : undefined}>
  <${Is} of=${s.state} /><span class="what"><strong class="cut">${plain(s.name)}</strong><span class="dim cut">${s.reason ? plain(s.reason) : s.instances.map((i) => plain(i.service)).join(", ")}</span></span>
  <span class="where"><span class="cut">${plain(s.holder_name)}</span></span><span class="when dim">${good(s)} of ${s.instances.length}</span></a></li>`);

// Stacks shows nothing where there are none: they are not what a home begins with.
export function Stacks({ open }) {
  if (!state.stacks.length) return null;
  return html`<section aria-labelledby="stacks"><h2 id="stacks">Stacks</h2>
    <ul class="requests">${state.stacks.map((s) => html`<${Row} key=${s.name} s=${s} open=${open === s.name} />`)}</ul></section>`;
}

const Instance = ({ i, now }) => html`<li class="instance"><p class="lead"><strong>${plain(i.service)}</strong><${Is} of=${i.state} />
    ${i.health && html`<${Chip} tone=${i.health === "unhealthy" ? "bad" : i.health === "healthy" ? "good" : ""}>${i.health}</${Chip}>`}
    ${i.restarts > 0 && html`<${Chip} tone="warn">${count(i.restarts, "restart")}</${Chip}>`}</p>
  <p class="dim break">${plain(i.image)}${new Date(i.since).getFullYear() > 1 ? `, for ${span(now - new Date(i.since))}` : ""}${i.exited ? `, exit code ${i.exit_code ?? 0}` : ""}</p>
  ${i.reason && html`<p class="break">${plain(i.reason)}</p>`}
  ${i.last_output && html`<pre class="last">${i.last_output.split("\n").map(plain).join("\n")}</pre>`}</li>`;

export function StackPanel({ name, now }) {
  const s = state.stacks.find((t) => t.name === name);
  if (!s) return html`<${Panel} title=${plain(name)} label=${name}>${state.knowsStacks ? html`<${Empty} title="There is no such stack."><p>Those that are there:</p><${Command} text="hearth stack ls" /></${Empty}>` : html`<${Loading} />`}</${Panel}>`;
  return html`<${Panel} title=${plain(s.name)} label=${name}>
    <p class="lead"><${Is} of=${s.state} /><span>on <a href=${"#/device/" + s.holder}>${plain(s.holder_name)}</a></span><span class="dim">version ${s.version}</span></p>
    ${s.unreachable_ms > 0 && html`<${Note} tone="warn" title=${`Its node was last seen ${span(s.unreachable_ms)} ago: this is how it was then.`} />`}
    ${s.reason && s.state !== "up" && html`<${Note} tone=${s.state === "degraded" ? "bad" : "warn"} title=${plain(s.reason)} />`}
    <h3>What it is made of</h3><ul class="plain">${s.instances.map((i, n) => html`<${Instance} key=${i.service + n} i=${i} now=${now} />`)}</ul>
    <p class="dim">From a terminal its output can be followed, and it can be changed:</p><${Command} text=${`hearth stack logs -f ${s.name}`} /></${Panel}>`;
}
