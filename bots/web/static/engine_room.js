// Refreshes the part of a page that names its address, while somebody looks at the page.

const EVERY = 2000; // milliseconds

for (const part of document.querySelectorAll("[data-refresh]")) {
  setInterval(() => refresh(part), EVERY);
}

let busy = false;

async function refresh(part) {
  if (busy || document.hidden) return;
  busy = true;
  const stale = document.querySelector("[data-stale]");
  try {
    const answer = await fetch(part.dataset.refresh, { signal: AbortSignal.timeout(10 * EVERY) });
    if (!answer.ok) throw new Error(answer.statusText);
    replace(part, await answer.text());
    stale.hidden = true;
  } catch {
    stale.hidden = false;
  } finally {
    busy = false;
  }
}

function replace(part, text) {
  if (text === part.latest) return;
  part.latest = text;
  const focused = part.contains(document.activeElement) ? document.activeElement.id : "";
  const next = new DOMParser().parseFromString(text, "text/html");
  part.replaceChildren(...next.body.childNodes);
  if (focused) document.getElementById(focused)?.focus();
}
