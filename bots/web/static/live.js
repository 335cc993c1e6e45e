// Progress of jobs: tiles with `data-unfinished` follow them until their pictures take their place.
// Events come by a stream, or, where something between here and Marble keeps it back, by asking.

const HEARD = 10_000; // milliseconds in which a stream must say that it has begun
const ASK = 3_000; // … between two questions without one
const list = document.querySelector("[data-live]");
const said = document.querySelector("[data-said]");

const tiles = (job) => [...document.querySelectorAll(`[data-job="${job}"]`)];
const unfinished = () =>
  [...document.querySelectorAll("[data-unfinished]")].map((tile) => tile.dataset.job).join("-");

async function cards(job) {
  const answer = await fetch(`/jobs/${job}/cards`);
  if (!answer.ok) return [];
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  return [...page.querySelectorAll(".tile")];
}

const coming = new Set(); // jobs whose first tile is being fetched

async function progress({ job, line, step, total, preview }) {
  if (!tiles(job).length && "newest" in list.dataset && !coming.has(job)) {
    coming.add(job);
    list.prepend(...(await cards(job)));
    coming.delete(job);
  }
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
  if (!tiles(job).length) list.prepend(...(await cards(job)));
  if (!tiles(job).some((tile) => "unfinished" in tile.dataset)) return over(job, "");
  if (!source) return; // it is asked for now and then
  source.close();
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
  if ("reload" in list.dataset && status !== "gone") return location.reload();
  const found = status === "gone" ? [] : await cards(job);
  old[0].replaceWith(...found);
  for (const tile of old.slice(1)) tile.remove();
  if (said) said.textContent = `${job}: ${line}`;
  over(job, status);
}

const HANDLERS = { progress, end };

let source = null;

function stream() {
  source = new EventSource(`/events?jobs=${unfinished()}`);
  const opened = source;
  const instead = () => {
    clearTimeout(silence);
    opened.close();
    if (source !== opened) return;
    source = null;
    ask();
  };
  const silence = setTimeout(instead, HEARD);
  opened.addEventListener("hello", () => clearTimeout(silence));
  for (const [name, handle] of Object.entries(HANDLERS)) {
    opened.addEventListener(name, (event) => handle(JSON.parse(event.data)));
  }
  opened.addEventListener("error", () => {
    if (opened.readyState === EventSource.CLOSED) instead();
  });
}

async function ask() {
  try {
    const answer = await fetch(`/events?once&jobs=${unfinished()}`);
    if (answer.status === 401) return; // signed out
    if (answer.ok) for (const { event, ...told } of await answer.json()) await HANDLERS[event](told);
  } catch {
    // Marble is away: it is asked again.
  }
  setTimeout(ask, ASK);
}

async function cancel(event) {
  const form = event.target.closest("form[action$='/cancel']");
  if (!form) return;
  event.preventDefault();
  form.querySelector("button").disabled = true;
  const answer = await fetch(form.action, {
    method: "POST",
    body: new URLSearchParams(new FormData(form)),
    headers: { Accept: "application/json" },
  });
  const told = await answer.json();
  if (said) said.textContent = told.said ?? told.error;
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
