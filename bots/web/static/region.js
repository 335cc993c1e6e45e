// A painted region: strokes in the picture's pixels, drawn on a canvas of the picture's size.

const PAINT = "#d3401a"; // seen on light pictures and dark ones

export class Region {
  constructor(canvas, width, height) {
    [canvas.width, canvas.height] = [width, height];
    this.canvas = canvas;
    this.strokes = [];
    this.undone = [];
    this.drawing = null;
  }

  // Whether nothing is painted: strokes may have no area, or be erased again.
  get empty() {
    const { width, height } = this.canvas;
    const { data } = this.#pen.getImageData(0, 0, width, height);
    return !data.some((value, at) => at % 4 === 3 && value);
  }

  begin(stroke) {
    this.drawing = stroke;
    this.strokes.push(stroke);
    this.undone = [];
    if (stroke.tool !== "lasso") draw(this.#pen, stroke, 0);
  }

  go(point) {
    if (!this.drawing) return;
    this.drawing.points.push(point);
    if (this.drawing.tool === "lasso") this.#again();
    else draw(this.#pen, this.drawing, this.drawing.points.length - 2);
  }

  end() {
    this.drawing = null;
  }

  undo() {
    if (this.strokes.length) this.undone.push(this.strokes.pop());
    this.#again();
  }

  redo() {
    if (this.undone.length) this.strokes.push(this.undone.pop());
    this.#again();
  }

  // A step that is undone like a stroke.
  clear() {
    this.strokes.push({ tool: "clear" });
    this.undone = [];
    this.#again();
  }

  // What was painted, white on black.
  async png() {
    const { width, height } = this.canvas;
    const mask = new OffscreenCanvas(width, height);
    const pen = mask.getContext("2d");
    pen.drawImage(this.canvas, 0, 0);
    pen.globalCompositeOperation = "source-in";
    pen.fillStyle = "#fff";
    pen.fillRect(0, 0, width, height);
    pen.globalCompositeOperation = "destination-over";
    pen.fillStyle = "#000";
    pen.fillRect(0, 0, width, height);
    return mask.convertToBlob({ type: "image/png" });
  }

  get #pen() {
    return this.canvas.getContext("2d");
  }

  #again() {
    const pen = this.#pen;
    pen.clearRect(0, 0, this.canvas.width, this.canvas.height);
    for (const stroke of this.strokes) draw(pen, stroke, 0);
  }
}

// Draw a stroke from one of its points on.
function draw(pen, { tool, size, points }, first) {
  if (tool === "clear") return pen.clearRect(0, 0, pen.canvas.width, pen.canvas.height);
  pen.save();
  pen.globalCompositeOperation = tool === "erase" ? "destination-out" : "source-over";
  [pen.fillStyle, pen.strokeStyle, pen.lineWidth] = [PAINT, PAINT, size];
  [pen.lineCap, pen.lineJoin] = ["round", "round"];
  pen.beginPath();
  const [start, ...rest] = points.slice(first);
  if (tool !== "lasso" && !rest.length) pen.arc(start.x, start.y, size / 2, 0, 2 * Math.PI);
  else {
    pen.moveTo(start.x, start.y);
    for (const point of rest) pen.lineTo(point.x, point.y);
  }
  if (tool === "lasso" || !rest.length) pen.fill();
  else pen.stroke();
  pen.restore();
}
