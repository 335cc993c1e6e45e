// The edges of a picture's canvas: fields and handles that say how many pixels are added there.

export const STEP = 16; // pixels by which an arrow key moves an edge or the brush
export const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const EDGES = { left: [-1, 0], right: [1, 0], top: [0, -1], bottom: [0, 1] };

export const NONE = Object.fromEntries(Object.keys(EDGES).map((edge) => [edge, 0]));

// Return what the fields of a form add, each within its bounds.
export function readMargins(fields) {
  return Object.fromEntries(Object.keys(EDGES).map((edge) => [edge, within(fields[edge], wide(fields[edge]))]));
}

// Put a picture where it stands within what lies around it, and return how large that is.
export function put(picture, around, { width, height }, { left, right, top, bottom }) {
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

// Let the handles of a form pull its edges; scale: returns how many pixels one of the screen is.
export function pullEdges(form, scale, changed) {
  for (const handle of form.querySelectorAll("[data-edge]")) {
    const field = form.elements[handle.dataset.edge];
    pull(handle, EDGES[handle.dataset.edge], field, scale, (value) => {
      const step = Number(field.step);
      field.value = within(field, step * Math.round(value / step));
      changed();
    });
  }
  for (const edge of Object.keys(EDGES)) form.elements[edge].addEventListener("input", changed);
}

function pull(handle, [across, down], field, scale, set) {
  let from = null;
  handle.addEventListener("pointerdown", (event) => {
    event.stopPropagation();
    if (from) return;
    handle.setPointerCapture(event.pointerId);
    // The canvas shrinks on the screen as it grows: the scale is that of the beginning.
    from = { id: event.pointerId, x: event.clientX, y: event.clientY, was: wide(field), scale: scale() };
  });
  handle.addEventListener("pointermove", (event) => {
    if (event.pointerId !== from?.id) return;
    const pulled = across * (event.clientX - from.x) + down * (event.clientY - from.y);
    set(from.was + pulled * from.scale);
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
    set(wide(field) + STEP * pulled);
  });
}

const wide = (field) => Number(field.value) || 0;

// A number within the bounds of a field.
const within = (field, value) => Math.max(Number(field.min), Math.min(Number(field.max), value));
