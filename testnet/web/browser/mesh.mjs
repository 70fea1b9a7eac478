// A person at the page of a real mesh of three: looks, runs something, watches it,
// asks why it is there, stops it; devices go and come back.

import { accessible, ask, desk, given, main, phone, picture, tab, want } from "./lib.mjs";

const text = (page, selector) => page.locator(selector).first().innerText();

async function see(page, what, selector, words) {
  await page.locator(selector, { hasText: words }).first().waitFor().catch(async () => {
    throw new Error(`${what}: ${selector} with ${words} does not come; there is: ${(await page.locator("body").innerText()).slice(0, 1500)}`);
  });
}

// run fills the form in by the keyboard alone.
async function run(page, command, name) {
  await page.goto(page.url().split("#")[0] + "#/run");
  await page.locator("#image").waitFor();
  await page.keyboard.type(given.image);
  await page.keyboard.press("Tab");
  await page.keyboard.type(command);
  await page.keyboard.press("Tab");
  await page.keyboard.type(name);
  await see(page, "the dry run", ".forecast", "It would most likely run on");
  await page.keyboard.press("Enter");
  await see(page, "the request that was run", "#panel-title", name);
}

await main(async () => {
  const page = await tab();
  want(!page.url().includes("token"), `the address keeps the token: ${page.url()}`);
  await see(page, "all three", ".summary", "3 devices");
  for (const name of ["one", "two", "three"]) await see(page, name, ".card", name);
  await see(page, "the empty list", ".empty", "Nothing was asked for yet");
  await picture(page, "empty");
  await accessible(page, "the empty page");

  // It runs, is followed, found in, explained, and stopped.
  await run(page, "lines 100000 50ms 0", "counter");
  await see(page, "that it runs", ".panel .state", "running");
  await see(page, "its output", ".pane .line", "3");
  await page.getByPlaceholder("Find in the output").fill("5");
  await see(page, "what was found", ".pane mark", "5");
  await page.getByPlaceholder("Find in the output").fill("");
  await picture(page, "request");
  await page.getByRole("button", { name: "Why here" }).click();
  await see(page, "who was chosen", ".candidate.chosen", "chosen");
  want((await page.locator(".candidate").count()) === 3, "not all devices are explained");
  await accessible(page, "why here");
  await picture(page, "why");
  await page.getByRole("button", { name: "Timeline" }).click();
  await see(page, "its life", ".timeline", "accepted");
  await see(page, "its life", ".timeline", "running");
  await see(page, "that it runs on a card", ".card .work", "counter");

  // All that runs in one place.
  await page.goto(page.url().split("#")[0] + "#/output");
  await see(page, "whose output it is", ".source", "counter");
  await page.goto(page.url().split("#")[0] + "#/");
  await page.getByRole("link", { name: /counter/ }).last().click();
  await page.getByRole("button", { name: "Stop" }).click();
  await see(page, "that it was stopped", ".panel .lead .state", "stopped");
  await see(page, "that it was stopped, in the list", ".request", "stopped");

  // One that fails says so, and what to do.
  await run(page, "exit 7", "broken");
  await see(page, "why it failed", ".panel .note", "exit code 7");
  await accessible(page, "a request that failed");
  await page.getByRole("link", { name: "Run again" }).click();
  await page.waitForFunction((image) => document.querySelector("#image").value === image && document.querySelector("#command").value === "exit 7", given.image);
  await page.keyboard.press("Escape");
  await page.getByPlaceholder("Filter requests").fill("broken");
  await page.waitForFunction(() => document.querySelectorAll(".request").length === 1);
  await page.getByPlaceholder("Filter requests").fill("");

  // What others write is text, whatever it is.
  await run(page, `echo "<img src=x onerror=alert(1)> \u001b]0;title\u0007 \u202egnp.exe"`, "hostile");
  await see(page, "markup as text", ".pane .line", "<img src=x onerror=alert(1)>");
  want((await page.locator(".pane img").count()) === 0, "output became markup");
  want((await text(page, ".pane")).includes("⟨202e⟩"), "what turns text around is not shown");

  // A device is killed, and comes back.
  await page.goto(page.url().split("#")[0] + "#/");
  await ask("kill two");
  await see(page, "that one is gone", ".card.gone", "two");
  await see(page, "that one is gone", ".summary", "two is gone");
  await accessible(page, "a page with a device that is gone");
  await picture(page, "gone");
  await ask("start two");
  await page.waitForFunction(() => !document.querySelector(".card.gone"));
  await see(page, "that all are back", ".summary", "3 devices");

  // This device itself is killed, and comes back: the page does too, by itself.
  await ask("kill one");
  await see(page, "that it does not answer", ".banner", "does not answer");
  await accessible(page, "a page whose device does not answer");
  await picture(page, "broken");
  await ask("start one");
  await page.locator(".banner").waitFor({ state: "detached" });
  await see(page, "that all are back", ".summary", "3 devices");
  await see(page, "what was asked before", ".request", "broken");

  // Tokens: one is made, lets in to look alone, and is revoked.
  await page.goto(page.url().split("#")[0] + "#/tokens");
  await page.getByLabel("For").fill("wall");
  await page.getByRole("button", { name: "Make it" }).click();
  const token = (await text(page, ".note code")).trim();
  const wall = await tab({ viewport: phone, colorScheme: "dark" }, { link: "#token=" + token });
  await see(wall, "all three, to one who may look", ".summary", "3 devices");
  want((await wall.getByRole("link", { name: "Run", exact: true }).count()) === 0, "one who may look is offered to run");
  await page.getByRole("button", { name: "Revoke wall" }).click();
  await page.getByRole("button", { name: "Revoke wall" }).click();
  await see(page, "that it is revoked", ".panel", "Make it");
  await page.waitForFunction(() => ![...document.querySelectorAll(".token strong")].some((e) => e.textContent === "wall"));
  await wall.reload();
  await see(wall, "that the link is not good any more", ".closed", "not good any more");
  await accessible(wall, "a page whose link is not good");
  await picture(wall, "closed");

  // Doctor, and without a link.
  await page.goto(page.url().split("#")[0] + "#/doctor");
  await see(page, "what the doctor found", ".checks", "secret");
  const stranger = await tab({ viewport: desk }, { link: "" });
  await see(stranger, "that a link is needed", ".closed", "needs a link");
  await accessible(stranger, "a page without a link");
});
