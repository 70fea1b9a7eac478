// What all scripts share: a browser, pages that may ask their own origin for things
// and nobody else, pictures, and what makes a page one for everybody (axe).

import { mkdirSync } from "node:fs";
import { createInterface } from "node:readline";
import axe from "axe-core";
import { chromium } from "playwright-core";

const setup = JSON.parse(process.argv[2]); // by the Go test
export const { url, token, out } = setup;
export const given = setup;

export const desk = { width: 1280, height: 900 }, phone = { width: 390, height: 844 };
export const patience = 30_000;

const faults = [];
// fault notes what is wrong and goes on; the script fails at its end.
export const fault = (text) => { faults.push(text); console.log("FAULT " + text); };
export const want = (good, text) => { if (!good) fault(text); };

let browser;
export async function open({ args = [] } = {}) {
  browser = await chromium.launch({ executablePath: setup.chromium, args: ["--no-sandbox", "--disable-dev-shm-usage", ...args] });
  return browser;
}

// tab opens the page as a link does. What it asks of others is a fault, and so is what
// its policy forbids and what it throws.
export async function tab(look = {}, { at = url, link = "#token=" + token } = {}) {
  const context = await browser.newContext({ viewport: desk, colorScheme: "light", ...look });
  context.setDefaultTimeout(patience);
  const page = await context.newPage();
  const origin = new URL(at).origin;
  page.on("request", (r) => { if (new URL(r.url()).origin !== origin) fault(`the page asks ${r.url()}`); });
  page.on("pageerror", (e) => fault(`the page throws ${e.stack}`));
  page.on("console", (m) => { if (/Content Security Policy|violat/i.test(m.text())) fault(`the policy forbids: ${m.text()}`); });
  await page.goto(at + "/" + link);
  return page;
}

export async function accessible(page, what) {
  await page.evaluate(axe.source);
  const { violations } = await page.evaluate(() => window.axe.run(document, { resultTypes: ["violations"] }));
  for (const v of violations) fault(`${what}: axe: ${v.id}: ${v.help}: ${v.nodes.slice(0, 3).map((n) => n.html.slice(0, 200)).join(" | ")}`);
  const over = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  want(over <= 0, `${what}: it is ${over} pixels wider than the screen`);
}

export async function picture(page, name) {
  mkdirSync(out, { recursive: true });
  await page.screenshot({ path: `${out}/page-${name}.png` });
}

// ask has the Go test do something to the devices, and waits until it is done.
const answers = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
export async function ask(what) {
  console.log("ASK " + what);
  const { value } = await answers.next();
  return value;
}

export async function main(f) {
  try {
    await open(setup.open);
    await f();
  } catch (error) {
    fault(error.stack);
    for (const context of browser?.contexts() ?? []) for (const page of context.pages()) await picture(page, "fault").catch(() => {});
  }
  await browser?.close();
  process.exit(faults.length ? 1 : 0);
}
