// Painting a region with mouse, finger, pen or keys.

import { ARROWS, STEP } from "./edges.js";

export class Painting {
  #at; // where the brush is, for the keyboard
  #pointer = null; // that draws a stroke; others neither draw on nor end it
  #pen = false; // once one was seen, fingers and palms only move the page

  // tool: returns the chosen one; changed: is called after each step.
  constructor(form, region, { width, height }, tool, changed) {
    this.stage = form.querySelector("[data-stage]");
    this.frame = form.querySelector("[data-frame]");
    this.cursor = form.querySelector("[data-cursor]");
    this.size = form.elements.size;
    Object.assign(this, { region, width, height, tool, changed });
    this.#at = { x: width / 2, y: height / 2 };
    this.stage.addEventListener("pointerdown", (event) => this.#begin(event));
    this.stage.addEventListener("pointermove", (event) => this.#move(event));
    this.stage.addEventListener("pointerup", (event) => this.#end(event));
    this.stage.addEventListener("pointercancel", (event) => this.#cancel(event));
    this.stage.addEventListener("keydown", (event) => this.#press(event));
    document.addEventListener("keydown", (event) => this.#goBack(event));
  }

  showCursor() {
    const across = (100 * this.#across) / this.width;
    const { x, y } = this.#at;
    Object.assign(this.cursor.style, {
      width: `${across}%`,
      left: `${(100 * x) / this.width - across / 2}%`,
      top: `calc(${(100 * y) / this.height}% - ${(across * this.frame.clientWidth) / 200}px)`,
    });
    this.cursor.hidden = this.#rests || this.tool() === "lasso";
  }

  get #across() {
    return (Number(this.size.value) / 100) * Math.max(this.width, this.height);
  }

  get #rests() {
    return this.tool() === "extend";
  }

  #place(event) {
    const box = this.frame.getBoundingClientRect();
    return {
      x: ((event.clientX - box.left) * this.width) / box.width,
      y: ((event.clientY - box.top) * this.height) / box.height,
    };
  }

  #isOther(event) {
    return (this.#pointer ?? event.pointerId) !== event.pointerId;
  }

  #begin(event) {
    this.#pen ||= event.pointerType === "pen";
    const palm = this.#pen && event.pointerType === "touch";
    if (this.#rests || palm || this.#isOther(event) || !event.isPrimary || event.button > 0) return;
    event.preventDefault();
    this.#pointer = event.pointerId;
    this.stage.setPointerCapture(event.pointerId);
    this.region.begin({ tool: this.tool(), size: this.#across, points: [this.#place(event)] });
    this.changed();
  }

  #move(event) {
    if (this.#rests || this.#isOther(event)) return;
    Object.assign(this.#at, this.#place(event));
    this.showCursor();
    const passed = event.getCoalescedEvents?.() ?? [];
    for (const each of passed.length ? passed : [event]) this.region.go(this.#place(each));
  }

  #end(event) {
    if (event.pointerId !== this.#pointer) return;
    this.#pointer = null;
    this.region.end();
    this.changed();
  }

  // Two fingers have begun to move the page.
  #cancel(event) {
    if (event.pointerId !== this.#pointer) return;
    this.#end(event);
    this.region.undo();
    this.region.undone.pop();
    this.changed();
  }

  // Arrows move, space paints, [ and ] change the size.
  #press(event) {
    if (event.target !== this.stage || this.#rests) return;
    const [across, down] = ARROWS[event.key] ?? [0, 0];
    if (across || down) {
      const { x, y } = this.#at;
      this.#at.x = Math.min(this.width, Math.max(0, x + STEP * across));
      this.#at.y = Math.min(this.height, Math.max(0, y + STEP * down));
      if (event.shiftKey) this.#dab();
    } else if (event.key === " " || event.key === "Enter") this.#dab();
    else if (event.key === "[") this.size.stepDown();
    else if (event.key === "]") this.size.stepUp();
    else return;
    event.preventDefault();
    this.showCursor();
  }

  #dab() {
    const tool = this.tool() === "erase" ? "erase" : "brush";
    this.region.begin({ tool, size: this.#across, points: [{ ...this.#at }] });
    this.region.end();
    this.changed();
  }

  #goBack(event) {
    if (event.key.toLowerCase() !== "z" || !(event.ctrlKey || event.metaKey)) return;
    if (event.target.matches("textarea, input:not([type=range], [type=radio])")) return;
    event.preventDefault();
    if (event.shiftKey) this.region.redo();
    else this.region.undo();
    this.changed();
  }
}
