// Refreshes the part of a page that names its address, while somebody looks at the page.

import { readPage } from "./page.js";

const EVERY = 2000; // milliseconds

for (const part of document.querySelectorAll("[data-refresh]")) {
  part.timer = setInterval(() => refresh(part), EVERY);
}

let busy = false;

async function refresh(part) {
  if (busy || document.hidden) return;
  busy = true;
  const stale = document.querySelector("[data-stale]");
  try {
    replace(part, await readPage(part.dataset.refresh, { signal: AbortSignal.timeout(10 * EVERY) }));
    stale.hidden = true;
  } catch (error) {
    if (error.status === 401) leave(part);
    else stale.hidden = false;
  } finally {
    busy = false;
  }
}

// Ask no more once one is signed out.
function leave(part) {
  clearInterval(part.timer);
  document.querySelector("[data-stale]").hidden = true;
  document.querySelector("[data-signed-out]").hidden = false;
}

function replace(part, page) {
  const text = page.body.innerHTML;
  if (text === part.latest) return;
  part.latest = text;
  const focused = part.contains(document.activeElement) ? document.activeElement.id : "";
  part.replaceChildren(...page.body.childNodes);
  if (focused) document.getElementById(focused)?.focus();
}
