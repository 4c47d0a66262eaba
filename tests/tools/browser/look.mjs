// Looks at every page of a folder in Chromium, at the width of a phone and of a screen, dark and light: axe-core's rules,
// errors in the console, and whether the page scrolls sideways. node look.mjs FOLDER [SCREENSHOTS [PAGE...]]

import { readFileSync, readdirSync, mkdirSync, existsSync } from "node:fs";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { extname, join, normalize } from "node:path";
import { chromium } from "playwright-core";

const [folder, screenshots, ...chosen] = process.argv.slice(2);
const BROWSERS = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];
const KINDS = { ".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml", ".png": "image/png" };

const executablePath = process.env.CHROMIUM ?? BROWSERS.find(existsSync);
if (executablePath === undefined) {
  console.log("Chromium is not here: apt install chromium, or name it in the variable CHROMIUM");
  process.exit(77);
}
const all = readdirSync(folder, { recursive: true }).filter((name) => name.endsWith(".html")).sort();
const pages = chosen.length ? chosen : all.filter((name) => !name.startsWith("_modules"));
if (screenshots) mkdirSync(screenshots, { recursive: true });

const server = createServer((request, response) => {
  const path = join(folder, normalize(decodeURIComponent(new URL(request.url, "http://localhost").pathname)));
  if (request.url === "/favicon.ico") return response.writeHead(204).end();
  if (!existsSync(path)) return response.writeHead(404).end();
  response.writeHead(200, { "Content-Type": KINDS[extname(path)] ?? "application/octet-stream" });
  response.end(readFileSync(path));
});
await new Promise((ready) => server.listen(0, "127.0.0.1", ready));
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const browser = await chromium.launch({ executablePath, args: ["--no-sandbox"] });
const found = [];

for (const [name, width, colorScheme] of [["phone", 390, "dark"], ["screen", 1280, "light"]]) {
  const context = await browser.newContext({ viewport: { width, height: 900 }, colorScheme, reducedMotion: "reduce" });
  const tab = await context.newPage();
  let at = "";
  tab.on("console", (message) => message.type() === "error" && found.push(`${at}: console: ${message.text()}`));
  tab.on("pageerror", (error) => found.push(`${at}: ${error}`));
  for (const page of pages) {
    at = `${page} (${name}, ${colorScheme})`;
    await tab.goto(`http://127.0.0.1:${server.address().port}/${page}`);
    await tab.evaluate(axe);
    const told = await tab.evaluate(() => globalThis.axe.run({ resultTypes: ["violations"] }));
    for (const { id, help, nodes } of told.violations) {
      for (const node of nodes.slice(0, 3)) found.push(`${at}: ${id}: ${help}: ${node.target}: ${node.html.slice(0, 160)}`);
    }
    const over = await tab.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
    if (over > 0) found.push(`${at}: it scrolls sideways, by ${over} pixels`);
    if (screenshots) {
      const file = `${page.replaceAll("/", "-").replace(/\.html$/, "")}-${name}.png`;
      await tab.screenshot({ path: join(screenshots, file), fullPage: chosen.length > 0 });
    }
  }
  await context.close();
}
await browser.close();
server.close();
for (const one of found) console.log(one);
console.log(`${pages.length} pages at 390 pixels in the dark and at 1280 in the light: ${found.length} findings`);
process.exit(found.length ? 1 : 0);
