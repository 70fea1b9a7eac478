// What the page knows: the devices, the requests, what is wrong. Streams tell it what
// changed; it asks for nothing at intervals.

import { call, follow, Problem } from "./api.js";
import { ended } from "./words.js";

export const state = {
  status: null, // of this device
  devices: new Map(), // by peer ID; one that is gone has since when
  requests: new Map(), // by ID
  stacks: [], // by name
  knowsStacks: false,
  silent: [], // devices that did not tell their requests
  more: 0, // requests beyond those that were listed
  checks: null,
  link: "connecting", // live, broken or closed: the token does not do
  retry: 0, // when it is tried again
  knowsDevices: false,
  knowsRequests: false,
  error: "",
  version: 0, // grows with every change of a request
};

const listeners = new Set();
let due = false;

// changed has everything drawn anew, once for each frame.
export function changed() {
  if (due) return;
  due = true;
  requestAnimationFrame(() => {
    due = false;
    for (const f of listeners) f();
  });
}

export function subscribe(f) {
  listeners.add(f);
  return () => listeners.delete(f);
}

export const may = (right) => ["read", "run", "all"].indexOf(state.status?.may) >= ["read", "run", "all"].indexOf(right);

const day = 86_400_000, limit = 1000;

// A device that is gone is remembered for a day, also when the page is loaded anew.
const memory = "hearth-gone";

function recall() {
  try {
    for (const [id, d] of JSON.parse(localStorage.getItem(memory) || "[]")) {
      if (Date.now() - d.gone < day && !state.devices.has(id)) state.devices.set(id, d);
    }
  } catch { /* what cannot be read is forgotten */ }
}

function remember() {
  const gone = [...state.devices].filter(([, d]) => d.gone && Date.now() - d.gone < day).slice(-50);
  try {
    localStorage.setItem(memory, JSON.stringify(gone));
  } catch { /* a full store remembers nothing */ }
}

export function forgetDevice(id) {
  state.devices.delete(id);
  remember();
  changed();
}

function deviceLine(line) {
  if (line.begun) {
    state.knowsDevices = true;
    for (const [id, d] of state.devices) if (!d.gone && !d.fresh) state.devices.set(id, { ...d, gone: Date.now() });
    remember();
  } else if (line.gone) {
    const d = state.devices.get(line.peer_id);
    if (d) state.devices.set(line.peer_id, { ...d, gone: Date.now() });
    remember();
    soon(look, 1000);
  } else {
    const old = state.devices.get(line.peer_id);
    state.devices.set(line.peer_id, { ...line, fresh: true });
    if (old?.gone) remember();
  }
  soon(loadStacks, 1000);
  changed();
}

// put takes in what is known of a request.
export function put(r) {
  state.requests.set(r.id, r);
  state.version++;
  changed();
}

export function drop(id) {
  state.requests.delete(id);
  state.version++;
  changed();
}

let early = null; // events that came before the list
let unknown = new Set(); // requests that only events have told of

function event(e) {
  if (early) {
    early.push(e);
    return;
  }
  const r = state.requests.get(e.request);
  if (!r) {
    unknown.add(e.request);
    soon(fetchUnknown, 150);
    return;
  }
  const next = { ...r, state: e.state, code: e.code, reason: e.reason, exit_code: e.exit_code, attempt: e.attempt, container: e.container, queue_place: e.queue_place };
  if (e.node) [next.node, next.node_name] = [e.node, e.node_name];
  if (e.state === "running") next.started ??= e.at;
  if (ended(e.state)) next.ended = e.at;
  put(next);
  if (e.state === "lost" || e.state === "unknown") soon(look, 1000);
}

const timers = new Map();

function soon(f, ms) {
  if (timers.has(f)) return;
  timers.set(f, setTimeout(() => { timers.delete(f); f().catch(() => {}); }, ms));
}

// A few that are new are asked for by themselves, many by the list.
async function fetchUnknown() {
  const ids = [...unknown];
  unknown = new Set();
  if (ids.length > 8) return loadRequests();
  await Promise.all(ids.map(async (id) => {
    try {
      const { service, events, decisions, ...r } = await call(`/v1/requests/${encodeURIComponent(id)}`);
      put(r);
    } catch { /* it is gone again */ }
  }));
  changed();
}

export async function loadRequests() {
  early ??= [];
  try {
    const list = await call(`/v1/requests?all&limit=${limit}`);
    state.requests = new Map(list.requests.map((r) => [r.id, r]));
    state.version++;
    [state.silent, state.more, state.knowsRequests] = [list.silent, list.more, true];
  } finally {
    const late = early;
    early = null;
    late.forEach(event);
    changed();
  }
}

// A stack that changes is gossiped, so its node's line tells of it.
async function loadStacks() {
  state.stacks = await call("/v1/stacks");
  state.knowsStacks = true;
  changed();
}

// look has the device look at itself.
export async function look() {
  state.checks = await call("/v1/checks");
  changed();
}

function broken(error, pause) {
  if (error instanceof Problem && (error.status === 401 || error.status === 403)) {
    state.link = "closed";
    state.error = error.message;
  } else {
    state.link = "broken";
    state.retry = Date.now() + pause;
  }
  changed();
}

async function greet() {
  try {
    state.status = await call("/v1/status");
    state.link = "live";
    changed();
    await look();
  } catch (error) {
    broken(error, 0);
  }
}

let stops = [];

// begin follows the device; again, with another token.
export function begin() {
  stops.forEach((stop) => stop());
  recall();
  state.link = "connecting";
  stops = [
    follow("/v1/devices?watch", {
      each: deviceLine, broken,
      opened: () => { for (const d of state.devices.values()) d.fresh = false; greet(); },
    }),
    follow("/v1/events", { each: (line) => (line.begun ? loadRequests().catch(() => {}) : event(line)), opened: () => { early = []; }, broken }),
  ];
}
