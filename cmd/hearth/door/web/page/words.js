// How numbers, times and others' words are shown.

const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];

export function bytes(n) {
  let unit = 0;
  for (; n >= 1024 && unit < units.length - 1; unit++) n /= 1024;
  return `${n >= 100 || unit === 0 ? Math.round(n) : n.toFixed(1)} ${units[unit]}`;
}

// cores is a number of cores, to a tenth.
export const cores = (n) => (Math.round(n * 10) / 10).toString();

// span is how long something takes, from milliseconds.
export function span(ms) {
  if (ms < 0.95) return "0 ms";
  if (ms < 1000) return `${Math.round(ms)} ms`;
  const s = ms / 1000;
  if (s < 10) return `${s.toFixed(1)} s`;
  if (s < 100) return `${Math.round(s)} s`;
  if (s < 5400) return `${Math.floor(s / 60)} min`;
  if (s < 129_600) return `${Math.floor(s / 3600)} h`;
  return `${Math.floor(s / 86_400)} days`;
}

// ago is how long ago a time was, as people say it.
export function ago(time, now = Date.now()) {
  const ms = now - new Date(time);
  return ms < 5000 ? "now" : ms < 100_000 ? `${Math.round(ms / 1000)} s ago` : `${span(ms)} ago`;
}

export const clock = (time) => new Date(time).toLocaleTimeString(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit" });

// since is a time of today, or with its day.
export function since(time) {
  const t = new Date(time), today = new Date().toDateString() === t.toDateString();
  return t.toLocaleString(undefined, { hour: "2-digit", minute: "2-digit", ...(today ? {} : { weekday: "short" }) });
}

export const count = (n, one, many = one + "s") => `${n.toLocaleString("en")} ${n === 1 ? one : many}`;

// plain shows what others wrote: what would not be seen, or would change the order of
// what is, is written as its number.
export const plain = (text) =>
  String(text ?? "").replace(/[\u0000-\u001f\u007f-\u009f\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]/g,
    (c) => `⟨${c.codePointAt(0).toString(16).padStart(4, "0")}⟩`);

// words splits a command as a shell does: by spaces, but within quotes.
export function words(line) {
  const out = [];
  let word = null, quote = "";
  for (let i = 0; i < line.length; i++) {
    const c = line[i];
    if (quote) {
      if (c === quote) quote = "";
      else if (c === "\\" && quote === '"' && '"\\'.includes(line[i + 1])) word += line[++i];
      else word += c;
    } else if (c === "'" || c === '"') {
      quote = c;
      word ??= "";
    } else if (/\s/.test(c)) {
      if (word !== null) out.push(word);
      word = null;
    } else if (c === "\\" && i + 1 < line.length) word = (word ?? "") + line[++i];
    else word = (word ?? "") + c;
  }
  if (quote) throw new Error(`the quote ${quote} is not closed`);
  if (word !== null) out.push(word);
  return out;
}

// size reads an amount such as 512m or 2g; NaN where it is none.
export function size(text) {
  const m = /^\s*(\d+(?:\.\d+)?)\s*([kmgt]?)i?b?\s*$/i.exec(text);
  return m ? Math.round(m[1] * 1024 ** " kmgt".indexOf(m[2].toLowerCase() || " ")) : NaN;
}

// seconds reads a time such as 90s, 10m or 2h; NaN where it is none.
export function seconds(text) {
  const m = /^\s*(\d+(?:\.\d+)?)\s*([smhd]?)\s*$/i.exec(text);
  return m ? m[1] * { s: 1, m: 60, h: 3600, d: 86_400 }[m[2].toLowerCase() || "s"] : NaN;
}

// The states of a request: the word for people, and its tone. A tone never stands
// without its word.
export const states = {
  accepted: ["accepted", "wait"], placing: ["placing", "wait"], pulling: ["fetching the image", "wait"], starting: ["starting", "wait"],
  running: ["running", "busy"], succeeded: ["succeeded", "good"], failed: ["failed", "bad"], refused: ["refused", "bad"],
  cancelled: ["stopped", "idle"], timed_out: ["timed out", "bad"], lost: ["lost", "bad"], unknown: ["unknown", "warn"],
};

const ends = new Set(["succeeded", "failed", "refused", "cancelled", "timed_out", "lost", "unknown"]);
export const ended = (state) => ends.has(state);

export const title = (r) => r.tags?.name || r.id;
export const command = (r) => [r.image, ...r.args].join(" ");
