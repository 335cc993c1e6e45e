// Fetches a page, or a part of one, and reads it; throws where the answer is none.

export async function readPage(address, options) {
  const answer = await fetch(address, options);
  if (!answer.ok) throw Object.assign(new Error(answer.statusText), { status: answer.status });
  return new DOMParser().parseFromString(await answer.text(), "text/html");
}
