// A start image by drop or paste, shown at once; the recipe that its file holds fills the form.

import { send } from "./page.js";

const form = document.querySelector("[data-imagine]");
const input = form.querySelector("input[type=file]");
const chosen = form.querySelector("[data-chosen]");
const told = form.querySelector("[data-read]");
const area = form.querySelector("[data-drop]");

function choose(files) {
  const file = [...files][0];
  if (!file) return;
  const held = new DataTransfer();
  held.items.add(file);
  input.files = held.files;
  input.dispatchEvent(new Event("change"));
}

async function look() {
  const file = input.files[0];
  const image = chosen.querySelector("img");
  URL.revokeObjectURL(image.src);
  chosen.hidden = !file?.type.startsWith("image/");
  if (!chosen.hidden) image.src = URL.createObjectURL(file);
  told.replaceChildren();
}

async function read(event) {
  if (event.submitter?.getAttribute("formaction") !== "/imagine/read") return;
  event.preventDefault();
  const found = await send("/imagine/read", new FormData(form));
  told.replaceChildren();
  if (found.error) return add("p", found.error);
  fill(found.texts);
  const facts = add("dl");
  facts.className = "facts";
  for (const [label, value] of found.lines) {
    add("dt", label, facts);
    add("dd", value, facts);
  }
  for (const note of found.notes) add("p", note);
}

function fill(texts) {
  for (const [name, text] of Object.entries(texts)) {
    const field = form.elements[name];
    if (!field) continue;
    if (field instanceof HTMLSelectElement && ![...field.options].some((o) => o.value === text)) {
      field.add(new Option(text, text));
    }
    field.value = text;
  }
  form.querySelector("details").open = true;
}

function add(kind, text = "", into = told) {
  const made = document.createElement(kind);
  made.textContent = text;
  into.append(made);
  return made;
}

for (const name of ["dragover", "drop"]) {
  form.addEventListener(name, (event) => {
    if (![...event.dataTransfer.types].includes("Files")) return;
    event.preventDefault();
    area.classList.toggle("over", name === "dragover");
    if (name === "drop") choose(event.dataTransfer.files);
  });
}
form.addEventListener("dragleave", () => area.classList.remove("over"));
document.addEventListener("paste", (event) => choose(event.clipboardData.files));
input.addEventListener("change", look);
form.addEventListener("submit", read);
