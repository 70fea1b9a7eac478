// Why a request is where it is: for each device its estimate, or why it was left out.

import { html } from "./vendor/preact.js";
import { plain, span } from "./words.js";
import { Chip } from "./ui.js";

const parts = [["work_ms", "work", "running it, and waiting for its turn"], ["network_ms", "network", "the way there"], ["cold_ms", "cold", "fetching the image"]];

const Candidate = ({ c, most, chosen }) => html`<li class=${"candidate" + (c.chosen ? " chosen" : "") + (c.code ? " out" : "")}>
  <div class="candidate-head"><strong class="cut">${plain(c.name)}</strong>
    ${c.chosen && html`<${Chip} tone="accent">${chosen}</${Chip}>`}
    ${!c.code && html`<span class="dim">${c.guess ? "about " : ""}${span(c.estimate_ms)}${c.chance > 0 ? `, chance ${Math.max(1, Math.round(c.chance * 100))} %` : ", chance 0 %"}</span>`}</div>
  ${c.code ? html`<p class="dim">${plain(c.excluded)} <${Chip}>${c.code}</${Chip}></p>`
  : html`<div class="stack" role="img" aria-label=${parts.map(([k, name]) => `${name} ${span(c[k])}`).join(", ")}>${parts.map(([k, name]) => html`<span key=${k} class=${"part " + name} style=${{ width: (most > 0 ? (100 * c[k]) / most : 0) + "%" }}></span>`)}</div>`}</li>`;

export function Why({ decision, chosen = "chosen" }) {
  const { candidates, unnamed } = decision;
  const most = Math.max(0, ...candidates.filter((c) => !c.code).map((c) => c.work_ms + c.network_ms + c.cold_ms));
  return html`<div class="why"><p class="legend dim">${parts.map(([k, name, meaning]) => html`<span key=${k}><i class=${"swatch " + name} aria-hidden="true"></i>${name}: ${meaning}</span>`)}</p>
    <ul class="plain">${candidates.map((c) => html`<${Candidate} key=${c.node} c=${c} most=${most} chosen=${chosen} />`)}</ul>
    ${unnamed > 0 && html`<p class="dim">and ${unnamed} more devices</p>`}</div>`;
}
