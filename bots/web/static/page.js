// Fetches pages and parts of them, and sends forms as a script does.

// Return a page that was fetched and read; throws where the answer is none.
export async function readPage(address, options) {
  const answer = await fetch(address, options);
  if (!answer.ok) throw Object.assign(new Error(answer.statusText), { status: answer.status });
  return new DOMParser().parseFromString(await answer.text(), "text/html");
}

// Send a form's fields, and return what is answered: with `error`, a sentence, where it is refused
// or, which is `away`, where nothing answers.
export async function send(address, body, away = document.body.dataset.unreachable) {
  try {
    const answer = await fetch(address, { method: "POST", body, headers: { Accept: "application/json" } });
    return await answer.json();
  } catch {
    return { error: away };
  }
}
