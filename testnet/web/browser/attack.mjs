// Pages that mean harm, in the browser of somebody whose device this is.

import { given, main, patience, want } from "./lib.mjs";
import { open, token, url } from "./lib.mjs";

const service = JSON.stringify({ service: { image: given.image, args: ["echo", "harm"] } });

// tries is what a page can do to another origin without being asked.
async function tries(target, body) {
  const out = [];
  const attempt = async (name, f) => { try { out.push([name, await f()]); } catch (e) { out.push([name, "failed"]); } };
  for (const path of ["/v1/requests", "/v1/run?image=" + encodeURIComponent(JSON.parse(body).service.image)]) {
    await attempt("simple POST " + path, async () => (await fetch(target + path, { method: "POST", mode: "no-cors", headers: { "Content-Type": "text/plain" }, body })).type);
    await attempt("POST with credentials " + path, async () => (await fetch(target + path, { method: "POST", mode: "no-cors", credentials: "include", body })).type);
    await attempt("JSON POST " + path, async () => (await fetch(target + path, { method: "POST", headers: { "Content-Type": "application/json", Authorization: "Bearer x" }, body })).status);
    await attempt("beacon " + path, async () => navigator.sendBeacon(target + path, body));
  }
  await attempt("read", async () => (await fetch(target + "/v1/devices")).status);
  await attempt("image", () => new Promise((done) => { const i = new Image(); i.onload = () => done("loaded"); i.onerror = () => done("failed"); i.src = target + "/icon.svg"; }));
  await attempt("script", () => new Promise((done) => { const s = document.createElement("script"); s.onload = () => done("loaded"); s.onerror = () => done("failed"); s.src = target + "/words.js"; document.head.append(s); }));
  await attempt("frame", () => new Promise((done) => {
    const f = document.createElement("iframe");
    f.onload = () => { try { done(f.contentDocument === null ? "foreign" : "empty"); } catch { done("foreign"); } };
    f.src = target + "/";
    document.body.append(f);
    setTimeout(() => done("none"), 2000);
  }));
  const form = document.createElement("form");
  const sink = document.createElement("iframe");
  sink.name = "sink";
  document.body.append(sink, form);
  Object.assign(form, { method: "POST", action: target + "/v1/requests", enctype: "text/plain", target: "sink" });
  const field = document.createElement("input");
  Object.assign(field, { name: body.slice(0, -1) + ',"x":"', value: '"}' });
  form.append(field);
  form.submit();
  await new Promise((done) => setTimeout(done, 500));
  return out;
}

await main(async () => {
  const browser = await open({ args: [`--host-resolver-rules=MAP evil.example 127.0.0.1, MAP rebound.example 127.0.0.1`] });
  // The owner is in, in another tab of the same browser.
  const context = await browser.newContext();
  context.setDefaultTimeout(patience);
  const owner = await context.newPage();
  await owner.goto(url + "/#token=" + token);
  await owner.locator(".summary", { hasText: "device" }).waitFor();

  for (const origin of given.evil) {
    const page = await context.newPage();
    await page.goto(origin);
    const results = await page.evaluate(([f, target, body]) => new Function("return " + f)()(target, body), [tries.toString(), url, service]);
    for (const [name, result] of results) {
      const harmless = ["opaque", "failed", true, false, "foreign", "none", 401, 403].includes(result);
      want(harmless, `${origin}: ${name}: ${result}`);
      if (name === "script" || name === "image") want(result === "failed", `${origin}: ${name} of the page is ${result}`);
    }
    want(await page.evaluate(() => !Object.keys(sessionStorage).length), `${origin} sees the token`);
  }

  // A name that was made to lead here: neither the page nor the API is there for it.
  const rebound = await context.newPage();
  const port = new URL(url).port;
  const answer = await rebound.goto(`http://rebound.example:${port}/`);
  want(answer.status() === 421, `a rebound name gets ${answer.status()}`);
  const read = await rebound.evaluate(async () => (await fetch("/v1/devices", { headers: { Authorization: "Bearer x" } })).status);
  want(read === 421, `a rebound name reads with ${read}`);

  const ran = await owner.evaluate(async () => (await (await fetch("/v1/requests?all", { headers: { Authorization: "Bearer " + sessionStorage.getItem("hearth-token") } })).json()).requests.length);
  want(ran === 0, `${ran} requests were run by pages of others`);
});
