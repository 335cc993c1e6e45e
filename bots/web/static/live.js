// Progress of jobs: tiles with `data-unfinished` follow them until their pictures take their place.
// Events come by a stream, or, where something between here and Marble keeps it back, by asking.

import { readPage, send } from "./page.js";

const HEARD = 10_000; // milliseconds in which a stream must say that it has begun
const ASK = 3_000; // … between two questions without one
const list = document.querySelector("[data-live]");
const said = document.querySelector("[data-said]");

const tiles = (job) => [...document.querySelectorAll(`[data-job="${job}"]`)];
const unfinished = () =>
  [...document.querySelectorAll("[data-unfinished]")].map((tile) => tile.dataset.job).join("-");

// The tiles of a job as it is now, none for one that is gone; asked for until Marble answers.
async function cards(job) {
  for (;;) {
    try {
      return [...(await readPage(`/jobs/${job}/cards`)).querySelectorAll(".tile")];
    } catch (error) {
      if (error.status === 404) return [];
      if (error.status === 401) throw error; // signed out
    }
    await new Promise((after) => setTimeout(after, ASK));
  }
}

const latest = new Map(); // of each job, what is done last of what its events ask for

// Do things to a job's tiles one after the other, since each may wait for an answer.
function inTurn(job, act) {
  const done = (latest.get(job) ?? Promise.resolve()).then(act).catch(() => {}); // signed out
  latest.set(job, done);
  return done.finally(() => latest.get(job) === done && latest.delete(job));
}

async function progress({ job, line, step, total, preview }) {
  if (!tiles(job).length && "newest" in list.dataset) list.prepend(...(await cards(job)));
  for (const tile of tiles(job).filter((each) => "unfinished" in each.dataset)) {
    tile.querySelector("[data-line]").textContent = line;
    const bar = tile.querySelector("progress");
    bar.hidden = !total;
    if (total) [bar.max, bar.value] = [total, step];
    if (preview) show(tile, preview);
  }
}

// Show a job that was asked for on this page, and follow it: it may have ended before it was seen.
export async function follow(job) {
  await inTurn(job, async () => {
    if (!tiles(job).length) list.prepend(...(await cards(job)));
  });
  if (!tiles(job).some((tile) => "unfinished" in tile.dataset)) return over(job, "");
  if (asking) return;
  source?.close();
  stream();
}

function over(job, status) {
  document.dispatchEvent(new CustomEvent("marble:end", { detail: { job, status } }));
}

function show(tile, address) {
  const next = new Image();
  next.alt = "";
  next.className = "preview";
  next.addEventListener("load", () => {
    tile.querySelector(".preview")?.remove();
    tile.querySelector(".blank")?.prepend(next);
  });
  next.src = address;
}

async function end({ job, status, line }) {
  const old = tiles(job).filter((tile) => "unfinished" in tile.dataset);
  if (!old.length) return;
  const reload = old.some((tile) => "reload" in (tile.closest("[data-live]")?.dataset ?? {}));
  if (reload && status !== "gone") return location.reload();
  const found = status === "gone" ? [] : await cards(job);
  for (const tile of old) tile.replaceWith(...found.map((each) => each.cloneNode(true)));
  if (said) said.textContent = `${job}: ${line}`;
  over(job, status);
}

const HANDLERS = { progress, end };
const handle = (name, told) => inTurn(told.job, () => HANDLERS[name](told));

let source = null;
let asking = false; // as no stream comes through

function stream() {
  source = new EventSource(`/events?jobs=${unfinished()}`);
  const opened = source;
  const instead = () => {
    clearTimeout(silence);
    opened.close();
    if (source !== opened) return;
    source = null;
    asking = true;
    ask();
  };
  const silence = setTimeout(instead, HEARD);
  opened.addEventListener("hello", () => clearTimeout(silence));
  for (const name of Object.keys(HANDLERS)) {
    opened.addEventListener(name, (event) => handle(name, JSON.parse(event.data)));
  }
  opened.addEventListener("error", () => {
    if (opened.readyState === EventSource.CLOSED) instead();
  });
}

async function ask() {
  try {
    const answer = await fetch(`/events?once&jobs=${unfinished()}`);
    if (answer.status === 401) return; // signed out
    if (answer.ok) for (const { event, ...told } of await answer.json()) await handle(event, told);
  } catch {
    // Marble is away: it is asked again.
  }
  setTimeout(ask, ASK);
}

async function cancel(event) {
  const form = event.target.closest("form[action$='/cancel']");
  if (!form) return;
  event.preventDefault();
  enable(form, false);
  const told = await send(form.action, new URLSearchParams(new FormData(form)));
  if (said) said.textContent = told.said ?? told.error;
  if (!told.error) return;
  form.closest(".tile").querySelector("[data-line]").textContent = told.error;
  enable(form, true);
}

function once(event) {
  const form = event.target.closest("form[data-once]");
  // After the form is sent, or the button would not be part of it.
  if (form && !event.defaultPrevented) setTimeout(() => enable(form, false));
}

function enable(form, on) {
  for (const button of form.querySelectorAll("button")) button.disabled = !on;
}

document.addEventListener("submit", cancel);
document.addEventListener("submit", once);
addEventListener("pageshow", () => {
  for (const form of document.querySelectorAll("form[data-once]")) enable(form, true);
});
addEventListener("pagehide", () => source?.close());
if (list && (unfinished() || "newest" in list.dataset)) stream();
