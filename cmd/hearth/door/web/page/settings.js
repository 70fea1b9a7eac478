// What the device found wrong with itself, and who may come in.

import { html, useEffect, useState } from "./vendor/preact.js";
import { call } from "./api.js";
import { look, may, state } from "./store.js";
import { ago, count, plain, span } from "./words.js";
import { Chip, Command, Copy, Empty, Failure, Icon, Loading, Note, Panel } from "./ui.js";

const levels = { problem: ["bad", "problem", "warn"], warning: ["warn", "to look at", "warn"], ok: ["good", "ok", "check"] };
const order = ["problem", "warning", "ok"];

export function DoctorPanel() {
  const [busy, setBusy] = useState(false), [error, setError] = useState(null);
  const again = async () => {
    setBusy(true);
    setError(null);
    await look().catch(setError);
    setBusy(false);
  };
  useEffect(() => { again(); }, []);
  const checks = state.checks && [...state.checks].sort((a, b) => order.indexOf(a.level) - order.indexOf(b.level));
  const worst = checks?.filter((c) => c.level !== "ok").length;
  return html`<${Panel} title="Doctor" label="doctor" actions=${html`<button type="button" onClick=${again} disabled=${busy}><${Icon} name="again" />${busy ? "Looking…" : "Look again"}</button>`}>
    ${error && html`<${Failure} error=${error} />`}
    ${!checks ? html`<${Loading} rows=${6} />` : html`<p class="lead">${worst ? `${count(worst, "finding")} on ${plain(state.status?.name)}.` : `Nothing is wrong with ${plain(state.status?.name)}.`}</p>
    <ul class="checks">${checks.map((c) => html`<li key=${c.name} class=${"check " + levels[c.level][0]}><${Icon} name=${levels[c.level][2]} /><div><p><strong>${plain(c.name)}</strong> <${Chip} tone=${levels[c.level][0]}>${levels[c.level][1]}</${Chip}></p>
      <p class="break">${plain(c.finding)}</p>${c.advice && html`<p class="advice break">${plain(c.advice)}</p>`}</div></li>`)}</ul>
    <p class="dim">Each device looks at itself: 'hearth doctor' there, or its own page.</p>`}</${Panel}>`;
}

const rights = [["read", "look", "a screen on the wall, a monitor"], ["run", "look, run and stop", "a program that runs containers"], ["all", "everything", "managing this device"]];
const lasting = [["", "until revoked"], ["43200000", "12 hours"], ["2592000000", "30 days"], ["31536000000", "a year"]];

function NewToken({ done }) {
  const [name, setName] = useState(""), [right, setRight] = useState("read"), [ttl, setTTL] = useState(""), [error, setError] = useState(null), [made, setMade] = useState(null);
  const make = async (e) => {
    e.preventDefault();
    setError(null);
    try {
      setMade(await call("/v1/tokens", { method: "POST", body: { name: name.trim(), may: right, for_ms: Number(ttl) } }));
      setName("");
      done();
    } catch (problem) {
      setError(problem);
    }
  };
  return html`<form onSubmit=${make} class="token-form"><h3>A new token</h3><div class="fields">
      <div class="field"><label for="token-name">For</label><input id="token-name" value=${name} onInput=${(e) => setName(e.target.value)} placeholder="tv, backup-job" required autocomplete="off" autocapitalize="off" /></div>
      <div class="field"><label for="token-may">It may</label><select id="token-may" value=${right} onChange=${(e) => setRight(e.target.value)}>${rights.map(([id, word]) => html`<option key=${id} value=${id}>${word}</option>`)}</select><p class="field-note dim">for ${rights.find(([id]) => id === right)[2]}</p></div>
      <div class="field"><label for="token-ttl">It lasts</label><select id="token-ttl" value=${ttl} onChange=${(e) => setTTL(e.target.value)}>${lasting.map(([ms, word]) => html`<option key=${ms} value=${ms}>${word}</option>`)}</select></div></div>
    ${error && html`<${Failure} error=${error} />`}
    <p class="submit"><button type="submit" class="primary">Make it</button></p>
    ${made && html`<${Note} tone="good" title=${`The token for ${made.name}. It is shown this once.`}><div class="command"><code class="break">${made.token}</code><${Copy} text=${made.token} /></div></${Note}>`}</form>`;
}

function Token({ t, now, revoked }) {
  const [sure, setSure] = useState(false), [error, setError] = useState(null);
  const revoke = async () => {
    try {
      await call(`/v1/tokens/${encodeURIComponent(t.name)}`, { method: "DELETE" });
      revoked();
    } catch (problem) {
      setError(problem);
    }
  };
  return html`<li class="token"><div><p><strong>${plain(t.name)}</strong> <${Chip}>may ${t.may}</${Chip}></p><p class="dim">made ${ago(t.created, now)}, ${t.expires ? `ends in ${span(new Date(t.expires) - now)}` : "lasts until it is revoked"}</p>${error && html`<${Failure} error=${error} />`}</div>
    ${sure ? html`<span class="actions"><button type="button" class="danger" onClick=${revoke}>Revoke ${plain(t.name)}</button><button type="button" class="quiet" onClick=${() => setSure(false)}>Keep</button></span>`
    : html`<button type="button" class="quiet" onClick=${() => setSure(true)} aria-label=${"Revoke " + t.name}>Revoke</button>`}</li>`;
}

export function TokensPanel({ now }) {
  const [list, setList] = useState(null), [error, setError] = useState(null);
  const load = () => call("/v1/tokens").then(setList, setError);
  useEffect(() => { if (may("all")) load(); }, [state.status?.may]);
  if (state.status && !may("all")) return html`<${Panel} title="Access" label="tokens"><${Empty} title="This link may not manage tokens."><p>The owner's link does:</p><${Command} text="hearth web" /></${Empty}></${Panel}>`;
  return html`<${Panel} title="Access" label="tokens"><p>A token lets a program or a person in at this device. Whoever has it may do what it says, until it ends.</p>
    <${NewToken} done=${load} />
    <h3>Tokens that are good</h3>${error && html`<${Failure} error=${error} />`}
    ${!list ? !error && html`<${Loading} /> ` : list.length === 0 ? html`<p class="dim">None but the owner's.</p>` : html`<ul class="plain">${list.map((t) => html`<${Token} key=${t.name} t=${t} now=${now} revoked=${load} />`)}</ul>`}</${Panel}>`;
}
