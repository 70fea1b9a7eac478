// The page: what is the matter, the devices, the requests, and one panel beside them.

import { html, render, useEffect, useState } from "./vendor/preact.js";
import { hasToken, setToken, takeToken } from "./api.js";
import { begin, may, state, subscribe } from "./store.js";
import { count, ended, plain } from "./words.js";
import { Command, Icon, Note, Panel, useNow, useWide } from "./ui.js";
import { DevicePanel, Devices } from "./devices.js";
import { Requests } from "./requests.js";
import { StackPanel, Stacks } from "./stacks.js";
import { RequestPanel } from "./request.js";
import { RunPanel } from "./run.js";
import { DoctorPanel, TokensPanel } from "./settings.js";
import { Everything } from "./output.js";

// sentence answers whether all is well: its tone, its words, and what to do.
function sentence() {
  if (!state.knowsDevices) return ["", "Asking this device…"];
  const devices = [...state.devices.values()];
  const there = devices.filter((d) => !d.gone);
  const running = [...state.requests.values()].filter((r) => !ended(r.state)).length;
  const what = `${count(there.length, "device")}, ${running ? `${running} running` : "nothing running"}`;
  if (state.link === "broken") return ["warn", `${what}, when it last answered`, ""];
  const problem = state.checks?.find((c) => c.level === "problem");
  if (problem) return ["bad", `${plain(problem.name)}: ${plain(problem.finding)}`, problem.advice];
  const sick = state.stacks.find((s) => s.state === "degraded" || s.state === "away");
  if (sick) return [sick.state === "away" ? "warn" : "bad", `the stack ${plain(sick.name)} is ${sick.state}`, sick.reason];
  const gone = devices.filter((d) => d.gone);
  if (gone.length) return ["warn", `${what}; ${gone.map((d) => plain(d.name)).slice(0, 3).join(", ")}${gone.length > 3 ? ` and ${gone.length - 3} more are` : gone.length > 1 ? " are" : " is"} gone`, ""];
  const none = !there.some((d) => d.role === "node");
  if (none && there.length) return ["warn", `${what}; none of them runs work`, "start a container engine on one of them"];
  const warnings = state.checks?.filter((c) => c.level === "warning").length || 0;
  if (warnings) return ["good", `${what}, all well`, "", `${count(warnings, "thing")} to look at`];
  return ["good", `${what}, all well`];
}

function Banner({ now }) {
  if (state.link !== "broken") return null;
  const left = Math.max(0, Math.round((state.retry - now) / 1000));
  return html`<div class="banner" role="alert"><${Icon} name="warn" /><p><strong>This device does not answer.</strong> What you see is how it was. ${left > 0 ? `Trying again in ${left} s.` : "Trying again."}</p></div>`;
}

function Closed() {
  const [token, set] = useState("");
  const open = (e) => {
    e.preventDefault();
    setToken(new URLSearchParams(token.split("#")[1] || "").get("token") || token.trim());
    begin();
  };
  return html`<main class="closed"><h1>Hearth</h1><p class="big">${hasToken() ? "This link is not good any more." : "This page needs a link that lets it in."}</p>
    <p>Ask the device for one, on a terminal:</p><${Command} text="hearth web" />
    <form onSubmit=${open} class="row"><div class="field"><label for="link">Or paste a link or a token</label><input id="link" type="password" autocomplete="off" value=${token} onInput=${(e) => set(e.target.value)} /></div><button type="submit" class="primary">Open</button></form></main>`;
}

const Top = ({ view }) => {
  const items = [["output", "Output", "lines", "read"], ["doctor", "Doctor", "pulse", "read"], ["tokens", "Access", "key", "all"], ["run", "Run", "plus", "run"]];
  return html`<header class="top"><a class="brand" href="#/"><img src="icon.svg" alt="" width="24" height="24" /><span>Hearth</span></a><span class="dim cut here">${plain(state.status?.name)}</span>
    <nav aria-label="Views">${items.filter(([, , , right]) => may(right)).map(([id, word, icon]) => html`<a key=${id} href=${"#/" + id} class=${"button " + (id === "run" ? "primary" : "quiet")} aria-current=${view === id ? "page" : undefined}><${Icon} name=${icon} />${word}</a>`)}</nav></header>`;
};

function Summary() {
  const [tone, words, advice, more] = sentence();
  return html`<div class=${"summary " + tone}><p class="big" role="status">${tone && html`<i class=${"dot " + tone} aria-hidden="true"></i>`}${words}</p>
    ${advice && html`<p class="advice">${plain(advice)}</p>`}${more && html`<p><a href="#/doctor">${more}</a></p>`}</div>`;
}

const route = () => location.hash.replace(/^#\/?/, "").split("/").map(decodeURIComponent);

function Beside({ view, id, now }) {
  switch (view) {
    case "request": return html`<${RequestPanel} id=${id} now=${now} />`;
    case "stack": return html`<${StackPanel} key=${id} name=${id} now=${now} />`;
    case "device": return html`<${DevicePanel} key=${id} id=${id} />`;
    case "run": return html`<${RunPanel} key=${id || ""} again=${id} />`;
    case "doctor": return html`<${DoctorPanel} />`;
    case "tokens": return html`<${TokensPanel} now=${now} />`;
    case "output": return html`<${Panel} title="Output of all that runs" label="output"><${Everything} /></${Panel}>`;
  }
  return null;
}

function App() {
  const [, draw] = useState(0), [[view, id], setRoute] = useState(route);
  const wide = useWide();
  const now = useNow(state.link === "broken" ? 1000 : 10_000);
  useEffect(() => subscribe(() => draw((n) => n + 1)), []);
  useEffect(() => {
    const go = () => setRoute(route());
    const escape = (e) => { if (e.key === "Escape" && route()[0] && !e.target.closest?.("input[type=search]")) location.hash = "#/"; };
    addEventListener("hashchange", go);
    addEventListener("keydown", escape);
    return () => { removeEventListener("hashchange", go); removeEventListener("keydown", escape); };
  }, []);
  useEffect(() => { document.title = state.status ? `${state.status.name} – Hearth` : "Hearth"; }, [state.status?.name]);
  if (state.link === "closed") return html`<${Closed} />`;
  const beside = html`<${Beside} view=${view} id=${id} now=${now} />`;
  const opened = ["request", "device", "stack", "run", "doctor", "tokens", "output"].includes(view);
  return html`<a class="skip" href="#main" onClick=${(e) => { e.preventDefault(); document.querySelector("main").focus(); }}>Skip to the devices</a>
    <${Top} view=${view} /><${Banner} now=${now} />
    <div class=${"page" + (opened ? " two" : "")}><main id="main" tabindex="-1" inert=${opened && !wide}><h1 class="hidden">Hearth</h1><${Summary} />
      <${Devices} open=${view === "device" ? id : ""} /><${Stacks} open=${view === "stack" ? id : ""} /><${Requests} now=${now} open=${view === "request" ? id : ""} /></main>${opened && beside}</div>`;
}

takeToken();
begin();
const root = document.getElementById("app");
root.replaceChildren();
render(html`<${App} />`, root);
