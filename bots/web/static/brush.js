// The brush: what is painted or pulled larger is sent, and compared with what was there before.
//
// The region is a list of strokes in the picture's own pixels, so that undoing one draws the others
// again, and the mask that is sent has the picture's size however small the screen is.

import { NONE, pullEdges, put, readMargins } from "./edges.js";
import { follow } from "./live.js";
import { send } from "./page.js";
import { Painting } from "./painting.js";
import { Region } from "./region.js";

const form = document.querySelector("[data-brush]");
const stage = form.querySelector("[data-stage]");
const frame = stage.querySelector("[data-frame]");
const image = frame.querySelector("img");
const canvas = frame.querySelector("canvas");
const fields = form.elements;
const picture = { width: Number(stage.dataset.width), height: Number(stage.dataset.height) };

const tool = () => form.querySelector("input[name=tool]:checked").value;
const extending = () => tool() === "extend";
const margins = () => (extending() ? readMargins(fields) : NONE);
const region = new Region(canvas, picture.width, picture.height);
const painting = new Painting(form, region, picture, tool, changed);

function layOut() {
  form.querySelector("[data-becomes]").textContent = put(frame, stage, picture, margins());
}

function choose() {
  form.dataset.tool = tool();
  for (const each of form.querySelectorAll("[data-for]")) {
    each.hidden = (each.dataset.for === "extend") !== extending();
  }
  layOut();
  painting.showCursor();
}

function soften() {
  canvas.style.filter = `blur(${(Number(fields.feather.value) * frame.clientWidth) / picture.width}px)`;
}

function changed() {
  const { undo, redo, clear } = fields;
  const cleared = !region.strokes.length || region.strokes.at(-1).tool === "clear";
  [undo.disabled, redo.disabled, clear.disabled] = [!region.strokes.length, !region.undone.length, cleared];
}

// What is asked for

let waited = null; // the job whose picture is compared once it is there, and what it adds around

async function ask(event) {
  event.preventDefault();
  const [body, around, button] = [new FormData(form), margins(), fields.draw];
  if (!extending() && region.empty) return tell(form.dataset.nothing);
  button.disabled = true; // before anything is waited for, or a second press sends it again
  if (!extending()) {
    for (const edge of Object.keys(around)) body.delete(edge);
    body.set("mask", await region.png(), "mask.png");
  }
  const told = await send(form.action, body, form.dataset.away);
  tell(told.error ?? told.notes.join(" "));
  if (!told.error) {
    waited = { job: told.jobs[0], around };
    await follow(waited.job);
  }
  button.disabled = false;
}

function tell(text) {
  for (const line of document.querySelectorAll("[data-told], [data-said]")) line.textContent = text;
}

// Before and after

const compare = document.querySelector("[data-compare]");

document.addEventListener("marble:end", ({ detail }) => {
  if (detail.job !== waited?.job) return;
  const { job, around } = waited;
  const next = new Image(); // a job without a picture has none to compare
  next.addEventListener("load", () => {
    const pair = compare.querySelector("[data-pair]");
    const [before, after] = pair.children;
    put(before, pair, picture, around);
    [before.src, after.src] = [image.src, next.src];
    compare.hidden = false;
    compare.scrollIntoView({ block: "nearest" });
  });
  next.src = `/originals/${job}.1.png`;
});

compare.querySelector("input").addEventListener("input", (event) => {
  compare.querySelectorAll("img")[1].style.clipPath = `inset(0 0 0 ${event.target.value}%)`;
});

form.addEventListener("submit", ask);
form.addEventListener("change", choose);
fields.size.addEventListener("input", () => painting.showCursor());
fields.feather.addEventListener("input", soften);
fields.undo.addEventListener("click", () => { region.undo(); changed(); });
fields.redo.addEventListener("click", () => { region.redo(); changed(); });
fields.clear.addEventListener("click", () => { region.clear(); changed(); });
pullEdges(form, () => picture.width / frame.clientWidth, layOut);
new ResizeObserver(() => { soften(); painting.showCursor(); }).observe(frame);
form.querySelector("[data-file]").hidden = true; // what is painted here takes its place
form.querySelector("[data-with-script]").hidden = false;
choose();
soften();
changed();
