// The brush: paint what is to be drawn anew, or pull the canvas larger.
//
// The region is a list of strokes in the picture's own pixels, so that undoing one draws the others
// again, and the mask that is sent has the picture's size however small the screen is.

import { follow } from "./live.js";
import { Region } from "./region.js";

const STEP = 16; // pixels by which an arrow key moves the brush or an edge
const EDGES = { left: [-1, 0], right: [1, 0], top: [0, -1], bottom: [0, 1] };

const form = document.querySelector("[data-brush]");
const stage = form.querySelector("[data-stage]");
const frame = stage.querySelector("[data-frame]");
const image = frame.querySelector("img");
const canvas = frame.querySelector("canvas");
const cursor = frame.querySelector("[data-cursor]");
const said = document.querySelector("[data-said]");
const tools = form.elements;
const [width, height] = [Number(stage.dataset.width), Number(stage.dataset.height)];
const region = new Region(canvas, width, height);

const tool = () => form.querySelector("input[name=tool]:checked").value;
const size = () => (Number(tools.size.value) / 100) * Math.max(width, height);
const extending = () => tool() === "extend";
const at = { x: width / 2, y: height / 2 }; // of the brush, for the keyboard
let pointer = null; // that draws a stroke; others neither draw on nor end it
let pen = false; // once one was seen, fingers and palms only move the page

// Where the picture stands

function margins() {
  const wide = (edge) => (extending() ? within(tools[edge], Number(tools[edge].value) || 0) : 0);
  return Object.fromEntries(Object.keys(EDGES).map((edge) => [edge, wide(edge)]));
}

// A number within the bounds of a field.
function within(field, value) {
  return Math.max(Number(field.min), Math.min(Number(field.max), value));
}

// Put the picture where it stands within what lies around it.
function put(picture, around, { left, right, top, bottom }) {
  const [across, down] = [width + left + right, height + top + bottom];
  around.style.aspectRatio = `${across} / ${down}`;
  around.style.setProperty("--ratio", across / down);
  Object.assign(picture.style, {
    left: `${(100 * left) / across}%`,
    top: `${(100 * top) / down}%`,
    width: `${(100 * width) / across}%`,
    height: `${(100 * height) / down}%`,
  });
  return `${across} × ${down}`;
}

function layOut() {
  form.querySelector("[data-becomes]").textContent = put(frame, stage, margins());
}

function choose() {
  form.dataset.tool = tool();
  for (const each of form.querySelectorAll("[data-for]")) {
    each.hidden = (each.dataset.for === "extend") !== extending();
  }
  layOut();
  showCursor();
}

function soften() {
  canvas.style.filter = `blur(${(Number(tools.feather.value) * frame.clientWidth) / width}px)`;
}

function showCursor() {
  const across = (100 * size()) / width;
  Object.assign(cursor.style, {
    width: `${across}%`,
    left: `${(100 * at.x) / width - across / 2}%`,
    top: `calc(${(100 * at.y) / height}% - ${(across * frame.clientWidth) / 200}px)`,
  });
  cursor.hidden = extending() || tool() === "lasso";
}

function changed() {
  const { undo, redo, clear } = tools;
  const cleared = !region.strokes.length || region.strokes.at(-1).tool === "clear";
  [undo.disabled, redo.disabled, clear.disabled] = [!region.strokes.length, !region.undone.length, cleared];
}

// Pointers: mouse, finger, pen

function place(event) {
  const box = frame.getBoundingClientRect();
  return {
    x: ((event.clientX - box.left) * width) / box.width,
    y: ((event.clientY - box.top) * height) / box.height,
  };
}

function begin(event) {
  pen ||= event.pointerType === "pen";
  const palm = pen && event.pointerType === "touch";
  if (extending() || palm || (pointer ?? event.pointerId) !== event.pointerId || !event.isPrimary || event.button > 0) return;
  event.preventDefault();
  pointer = event.pointerId;
  stage.setPointerCapture(event.pointerId);
  region.begin({ tool: tool(), size: size(), points: [place(event)] });
  changed();
}

function move(event) {
  if (extending() || (pointer ?? event.pointerId) !== event.pointerId) return;
  Object.assign(at, place(event));
  showCursor();
  const passed = event.getCoalescedEvents?.() ?? [];
  for (const each of passed.length ? passed : [event]) region.go(place(each));
}

function end(event) {
  if (event.pointerId !== pointer) return;
  pointer = null;
  region.end();
  changed();
}

function cancel(event) {
  // Two fingers have begun to move the page.
  if (event.pointerId !== pointer) return;
  end(event);
  region.undo();
  region.undone.pop();
  changed();
}

stage.addEventListener("pointerdown", begin);
stage.addEventListener("pointermove", move);
stage.addEventListener("pointerup", end);
stage.addEventListener("pointercancel", cancel);

// Keys: arrows move, space paints, [ and ] change the size

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

stage.addEventListener("keydown", (event) => {
  if (event.target !== stage || extending()) return;
  const [across, down] = ARROWS[event.key] ?? [0, 0];
  if (across || down) {
    at.x = Math.min(width, Math.max(0, at.x + STEP * across));
    at.y = Math.min(height, Math.max(0, at.y + STEP * down));
    if (event.shiftKey) dab();
  } else if (event.key === " " || event.key === "Enter") dab();
  else if (event.key === "[") tools.size.stepDown();
  else if (event.key === "]") tools.size.stepUp();
  else return;
  event.preventDefault();
  showCursor();
});

function dab() {
  const painting = tool() === "erase" ? "erase" : "brush";
  region.begin({ tool: painting, size: size(), points: [{ ...at }] });
  region.end();
  changed();
}

document.addEventListener("keydown", (event) => {
  if (event.key.toLowerCase() !== "z" || !(event.ctrlKey || event.metaKey)) return;
  if (event.target.matches("textarea, input:not([type=range], [type=radio])")) return;
  event.preventDefault();
  if (event.shiftKey) region.redo();
  else region.undo();
  changed();
});

// Edges that are pulled

for (const handle of form.querySelectorAll("[data-edge]")) {
  const [across, down] = EDGES[handle.dataset.edge];
  const field = tools[handle.dataset.edge];
  let from = null;
  handle.addEventListener("pointerdown", (event) => {
    event.stopPropagation();
    if (from) return;
    handle.setPointerCapture(event.pointerId);
    // The canvas shrinks on the screen as it grows: the scale is that of the beginning.
    const id = event.pointerId;
    from = { id, x: event.clientX, y: event.clientY, was: Number(field.value) || 0, scale: width / frame.clientWidth };
  });
  handle.addEventListener("pointermove", (event) => {
    if (event.pointerId !== from?.id) return;
    const pulled = across * (event.clientX - from.x) + down * (event.clientY - from.y);
    setMargin(field, from.was + pulled * from.scale);
  });
  for (const name of ["pointerup", "pointercancel"]) {
    handle.addEventListener(name, (event) => {
      if (event.pointerId === from?.id) from = null;
    });
  }
  handle.addEventListener("keydown", (event) => {
    const [x, y] = ARROWS[event.key] ?? [0, 0];
    const pulled = across * x + down * y;
    if (!pulled) return;
    event.preventDefault();
    setMargin(field, (Number(field.value) || 0) + STEP * pulled);
  });
}

function setMargin(field, value) {
  const step = Number(field.step);
  field.value = within(field, step * Math.round(value / step));
  layOut();
}

for (const edge of Object.keys(EDGES)) tools[edge].addEventListener("input", layOut);

// What is asked for

async function send(event) {
  event.preventDefault();
  const [body, around, button] = [new FormData(form), margins(), tools.draw];
  if (!extending() && region.empty) return tell(form.dataset.nothing);
  button.disabled = true; // before anything is waited for, or a second press sends it again
  try {
    if (!extending()) {
      for (const edge of Object.keys(EDGES)) body.delete(edge);
      body.set("mask", await region.png(), "mask.png");
    }
    const answer = await fetch(form.action, { method: "POST", body, headers: { Accept: "application/json" } });
    const told = await answer.json();
    tell(answer.ok ? told.notes.join(" ") : told.error);
    if (answer.ok) {
      waited = { job: told.jobs[0], around };
      await follow(waited.job);
    }
  } catch {
    tell(form.dataset.away);
  }
  button.disabled = false;
}

function tell(text) {
  const line = form.querySelector("[data-told]");
  line.textContent = text;
  if (said) said.textContent = text;
}

// Before and after

let waited = null; // the job whose picture is compared once it is there, and what it adds around
const compare = document.querySelector("[data-compare]");

document.addEventListener("marble:end", ({ detail }) => {
  if (detail.job !== waited?.job) return;
  const { job, around } = waited;
  const next = new Image(); // a job without a picture has none to compare
  next.addEventListener("load", () => {
    const pair = compare.querySelector("[data-pair]");
    const [before, after] = pair.children;
    put(before, pair, around);
    [before.src, after.src] = [image.src, next.src];
    compare.hidden = false;
    compare.scrollIntoView({ block: "nearest" });
  });
  next.src = `/originals/${job}.1.png`;
});

compare.querySelector("input").addEventListener("input", (event) => {
  compare.querySelectorAll("img")[1].style.clipPath = `inset(0 0 0 ${event.target.value}%)`;
});

form.addEventListener("submit", send);
form.addEventListener("change", choose);
tools.size.addEventListener("input", showCursor);
tools.feather.addEventListener("input", soften);
tools.undo.addEventListener("click", () => { region.undo(); changed(); });
tools.redo.addEventListener("click", () => { region.redo(); changed(); });
tools.clear.addEventListener("click", () => { region.clear(); changed(); });
new ResizeObserver(() => { soften(); showCursor(); }).observe(frame);
form.querySelector("[data-file]").hidden = true; // what is painted here takes its place
form.querySelector("[data-with-script]").hidden = false;
choose();
soften();
changed();
