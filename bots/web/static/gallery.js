// The grid goes on by itself: when its end comes into view, the page that "Older" leads to follows.

import { readPage } from "./page.js";

const grid = document.querySelector("[data-grid]");
const MARGIN = "600px"; // before the end is seen

function follow(link) {
  const watch = new IntersectionObserver(
    async ([seen]) => {
      if (!seen.isIntersecting) return;
      watch.disconnect();
      const page = await readPage(link.href).catch(() => null);
      if (!page) return; // the link is still there
      grid.append(...page.querySelectorAll("[data-grid] > .tile"));
      const next = page.querySelector("[data-older]");
      if (!next) return link.parentElement.remove();
      link.href = next.getAttribute("href");
      follow(link);
    },
    { rootMargin: MARGIN },
  );
  watch.observe(link);
}

const older = document.querySelector("[data-older]");
if (grid && older) follow(older);
