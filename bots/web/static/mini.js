// Telegram puts what it says of who opens the page behind the address's "#"; it goes to Marble once.
const state = document.getElementById("state");
const told = new URLSearchParams(location.hash.slice(1)).get("tgWebAppData");
const to = new URLSearchParams(location.search).get("to") ?? "/";

async function signIn() {
  const csrf = document.querySelector('meta[name="csrf"]')?.content;
  const answer = await fetch("/mini", {
    method: "POST",
    headers: { Accept: "application/json", ...(csrf && { "X-CSRF-Token": csrf }) },
    body: new URLSearchParams({ init_data: told, to }),
  });
  const body = await answer.json();
  if (answer.ok) {
    location.replace(body.to);
  } else {
    state.textContent = body.error;
  }
}

if (told) {
  signIn().catch(() => {
    state.textContent = state.dataset.failed;
  });
} else {
  state.textContent = state.dataset.outside;
}
