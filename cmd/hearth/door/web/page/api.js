// How the page asks its device: with a token that stays in this tab, and by streams
// that begin anew when they break.

const key = "hearth-token";

// The token comes once, in the address's fragment: that part is sent to nobody.
export function takeToken() {
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  if (!given) return;
  setToken(given);
  history.replaceState(null, "", location.pathname);
}

export const setToken = (token) => sessionStorage.setItem(key, token);
export const hasToken = () => !!sessionStorage.getItem(key);

// Problem is a no of the device (RFC 9457), or that it does not answer (status 0).
export class Problem extends Error {
  constructor(status, body) {
    super(body.detail || "the device does not answer");
    this.status = status;
    this.code = body.code || "";
    this.reasons = body.reasons || [];
  }
}

async function ask(path, { method = "GET", body, signal } = {}) {
  const headers = { Authorization: "Bearer " + sessionStorage.getItem(key) };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  let answer;
  try {
    answer = await fetch(path, { method, headers, signal, body: body === undefined ? undefined : JSON.stringify(body) });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Problem(0, {});
  }
  if (!answer.ok) throw new Problem(answer.status, await answer.json().catch(() => ({})));
  return answer;
}

export async function call(path, init) {
  const answer = await ask(path, init);
  return answer.status === 204 ? null : answer.json();
}

// lines calls each for every line of JSON that a path streams, until it ends.
async function lines(path, each, signal, opened) {
  const answer = await ask(path, { signal });
  opened();
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  for (let rest = ""; ; ) {
    const { done, value } = await reader.read();
    if (done) return;
    const parts = (rest + value).split("\n");
    rest = parts.pop();
    for (const part of parts) {
      const line = JSON.parse(part);
      if (line.problem) throw new Problem(line.problem.status, line.problem);
      each(line);
    }
  }
}

const first = 500, longest = 10_000; // milliseconds between two tries

// follow streams a path and begins anew when it breaks, later each time. path may be a
// function, which says from where to go on. What it returns ends it. A tab that nobody
// sees asks for nothing.
export function follow(path, { each, opened = () => {}, broken = () => {}, once = false }) {
  let ended = false, stop = new AbortController(), wake = () => {};
  const seen = () => (document.hidden ? stop.abort() : wake());
  document.addEventListener("visibilitychange", seen);
  (async () => {
    for (let pause = first; !ended; ) {
      if (document.hidden) {
        await new Promise((done) => { wake = done; });
        continue;
      }
      stop = new AbortController();
      try {
        await lines(typeof path === "function" ? path() : path, each, stop.signal, () => { pause = first; opened(); });
        if (once) return;
        throw new Problem(0, {});
      } catch (error) {
        if (ended || document.hidden) continue;
        broken(error, pause);
        if (error.status >= 400 && error.status < 500) return; // trying again would not help
      }
      await new Promise((done) => { wake = done; setTimeout(done, pause); });
      pause = Math.min(2 * pause, longest);
    }
  })();
  return () => {
    ended = true;
    document.removeEventListener("visibilitychange", seen);
    stop.abort();
    wake();
  };
}
