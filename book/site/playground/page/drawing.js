"use strict";
// What is drawn: particles over their density in the plane, digits in rows, and the pad on which one draws.

const REACH = 2.5; // half the side of the plane that is shown
const PAD_REACH = 2; // the same of the pad

/** The page's colours as canvases want them, in the theme that holds. */
function colours() {
  const probe = document.body.appendChild(document.createElement("span")), found = {};
  for (const name of ["ground", "ink", "soft", "line", "a", "b", "exact", "density"]) {
    probe.style.color = `var(--${name})`;
    found[name] = getComputedStyle(probe).color;
  }
  probe.remove();
  return found;
}

/** A canvas's context, cleared, in CSS pixels, with as many dots as the screen has; [context, width, height]. */
function cleared(canvas, aspect) {
  const width = canvas.clientWidth, height = Math.round(width * aspect), dots = window.devicePixelRatio || 1;
  canvas.style.height = `${height}px`;
  canvas.width = Math.round(width * dots);
  canvas.height = Math.round(height * dots);
  const context = canvas.getContext("2d");
  context.scale(dots, dots);
  context.font = "13px system-ui, sans-serif";
  return [context, width, height];
}

/** sqrt(alpha^2 + sigma^2): states are drawn divided by it, so that noise fits into the picture on every schedule. */
const sizeAt = (schedule, t) => Math.hypot(schedule.alpha(t), schedule.sigma(t));

// --- the plane ---

/** Paths up to the step that is looked at, over the density there.  seen: {model, path: [{t, x}], at, shown, want,
 * dashed, colour}; want, the exact end, may be null. */
function drawPlane(canvas, { model, path, at, shown, want, dashed, colour }) {
  const [context, side] = cleared(canvas, 1), paint = colours(), { schedule } = model;
  const place = (v) => (v / REACH + 1) * side / 2;
  drawDensity(context, side, model, path[at].t, paint.density);
  const spots = path.slice(0, at + 1).map(({ t, x }) => Array.from(x, (v) => v / sizeAt(schedule, t)));
  const n = spots[0].length / 2;
  const to = (spot, i) => [place(spot[2 * i]), side - place(spot[2 * i + 1])];
  context.strokeStyle = context.fillStyle = paint[colour];
  for (let i = 0; i < n; i++) {
    context.setLineDash(dashed ? [6, 4] : []);
    context.lineWidth = i === shown ? 3 : 1;
    context.globalAlpha = i === shown ? 1 : 0.55;
    context.beginPath();
    spots.forEach((spot, k) => (k ? context.lineTo(...to(spot, i)) : context.moveTo(...to(spot, i))));
    context.stroke();
  }
  context.globalAlpha = 1;
  context.setLineDash([]);
  spots.forEach((spot) => dot(context, ...to(spot, shown), 3)); // the steps of the sample shown
  for (let i = 0; i < n; i++) {
    const [x, y] = to(spots[at], i), radius = i === shown ? 7 : 4;
    dashed ? context.fillRect(x - radius, y - radius, 2 * radius, 2 * radius) : dot(context, x, y, radius);
  }
  if (!want) return;
  context.strokeStyle = paint.exact;
  context.lineWidth = 2;
  for (let i = 0; i < n; i++) cross(context, ...to(Array.from(want.x, (v) => v / sizeAt(schedule, want.t)), i), 5);
}

function dot(context, x, y, radius) {
  context.beginPath();
  context.arc(x, y, radius, 0, 2 * Math.PI);
  context.fill();
}

function cross(context, x, y, radius) {
  context.beginPath();
  context.moveTo(x - radius, y - radius);
  context.lineTo(x + radius, y + radius);
  context.moveTo(x - radius, y + radius);
  context.lineTo(x + radius, y - radius);
  context.stroke();
}

/** The density of the data at time t as a shade, by its square root, so that thin regions are seen too. */
function drawDensity(context, side, model, t, colour) {
  const cells = model.count > 100 ? 64 : 128, size = sizeAt(model.schedule, t);
  const values = Float64Array.from({ length: cells * cells }, (_, k) => {
    const [x, y] = [k % cells, Math.floor(k / cells)].map((cell) => ((cell + 0.5) / cells * 2 - 1) * REACH * size);
    return model.logDensity(x, -y, t);
  });
  const most = values.reduce((a, b) => Math.max(a, b)), [red, green, blue] = colour.match(/\d+/g).map(Number);
  const small = Object.assign(document.createElement("canvas"), { width: cells, height: cells });
  const pixels = new ImageData(cells, cells);
  values.forEach((value, k) => pixels.data.set([red, green, blue, 255 * Math.exp((value - most) / 2)], 4 * k));
  small.getContext("2d").putImageData(pixels, 0, 0);
  context.drawImage(small, 0, 0, side, side);
}

// --- digits ---

/** All digits at the step that is looked at; below, of the one shown, the states and the estimates of x_0 along the
 * path, and the exact end.  seen: as for `drawPlane`, with estimates, one for each state. */
function drawDigits(canvas, { model, path, at, shown, want, estimates, colour }) {
  const n = path[0].x.length / 64, sheet = Math.ceil(n / 8), columns = columnsOf(path.length, at);
  const cells = columns.length + 1, aspect = (sheet / 8) + 2 / cells + 0.14;
  const [context, width] = cleared(canvas, aspect), paint = colours(), tile = width / 8, small = width / cells;
  const digit = (t, x, i) => Array.from(x.subarray(64 * i, 64 * i + 64), (v) => v / sizeAt(model.schedule, t));
  for (let i = 0; i < n; i++) {
    const x = i % 8 * tile, y = Math.floor(i / 8) * tile;
    drawDigit(context, digit(path[at].t, path[at].x, i), x + 1, y + 1, tile - 2);
    if (i === shown) frame(context, paint[colour], x, y, tile);
  }
  let y = sheet * tile + width * 0.06;
  const write = (text, x = 2) => {
    context.fillStyle = paint.ink;
    context.fillText(text, x, y - 4);
  };
  write(`sample ${shown + 1}: its states`);
  columns.forEach((k, j) => {
    drawDigit(context, digit(path[k].t, path[k].x, shown), j * small + 1, y + 1, small - 2);
    if (k === at) frame(context, paint[colour], j * small, y, small);
  });
  y += small + width * 0.06;
  write("the estimates of its data");
  write("exact", width - Math.max(small, 38));
  columns.forEach((k, j) => drawDigit(context, Array.from(estimates[k]), j * small + 1, y + 1, small - 2));
  if (want) drawDigit(context, digit(want.t, want.x, shown), columns.length * small + 1, y + 1, small - 2);
}

/** At most nine steps, the first, the last and the one looked at among them. */
function columnsOf(count, at) {
  const most = Math.min(count, 9);
  const chosen = Array.from({ length: most }, (_, j) => Math.round(j * (count - 1) / Math.max(most - 1, 1)));
  const nearest = chosen.reduce((best, k, j) => (Math.abs(k - at) < Math.abs(chosen[best] - at) ? j : best), 0);
  chosen[nearest] = at;
  return chosen;
}

/** 8 × 8 numbers, black at 1 and white at -1. */
function drawDigit(context, values, x, y, size) {
  const pixel = size / 8;
  values.forEach((value, k) => {
    const grey = Math.round(255 * (1 - Math.min(Math.max((value + 1) / 2, 0), 1)));
    context.fillStyle = `rgb(${grey} ${grey} ${grey})`;
    context.fillRect(x + k % 8 * pixel, y + Math.floor(k / 8) * pixel, pixel + 0.4, pixel + 0.4);
  });
}

function frame(context, colour, x, y, size) {
  context.strokeStyle = colour;
  context.lineWidth = 3;
  context.strokeRect(x + 1.5, y + 1.5, size - 3, size - 3);
}

// --- the pad ---

/** The points of the reader's own data, and the cross that the arrow keys move. */
function drawPad(canvas, points, at) {
  const [context, side] = cleared(canvas, 1), paint = colours();
  const place = ([x, y]) => [(x / PAD_REACH + 1) * side / 2, (1 - y / PAD_REACH) * side / 2];
  context.strokeStyle = paint.line;
  context.setLineDash([2, 4]);
  context.strokeRect(side / 4, side / 4, side / 2, side / 2); // -1 to 1
  context.setLineDash([]);
  context.fillStyle = paint.a;
  for (const point of points) dot(context, ...place(point), 3.5);
  context.strokeStyle = paint.exact;
  context.lineWidth = 2;
  cross(context, ...place(at), 6);
}

/** Where on the pad a pointer is. */
function padPoint(canvas, event) {
  const box = canvas.getBoundingClientRect(), rounded = (v) => Math.round(v * 100) / 100;
  const x = (event.clientX - box.left) / box.width * 2 - 1, y = 1 - (event.clientY - box.top) / box.height * 2;
  return [rounded(x * PAD_REACH), rounded(y * PAD_REACH)];
}
