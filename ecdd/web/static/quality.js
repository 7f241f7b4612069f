// What the quality gates measure, and the codes that keep a face from being judged (ecdd/pipeline/quality.py).

import { roll } from "./faces.js";

const BLOCK = 8, WINDOW = 512, STEP_FLOOR = 4, LARGE_STEP = 64;
const STANDARD = [
  [16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55, 14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29, 51, 87, 80, 62,
    18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92, 49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99],
  [17, 18, 24, 47, 99, 99, 99, 99, 18, 21, 26, 66, 99, 99, 99, 99, 24, 26, 56, 99, 99, 99, 99, 99, 47, 66, 99, 99, 99, 99, 99, 99,
    ...new Array(32).fill(99)],
];

const luma = (r, g, b) => (19595 * r + 38470 * g + 7471 * b + 32768) >> 16;

function scaled(base, quality) {
  const percent = quality < 50 ? Math.floor(5000 / quality) : 200 - 2 * quality;
  return base.map((value) => Math.min(Math.max(Math.floor((value * percent + 50) / 100), 1), 255));
}

const same = (a, b) => a.every((value, k) => value === b[k]);

// Quality from a JPEG's tables, 1 … 100; null when unknown.
export function jpegQuality(tables) {
  if (!tables || !tables.length) return null;
  const pairs = [...Array(100).keys()].map((q) => STANDARD.map((base) => scaled(base, q + 1)));
  const exact = pairs.findIndex((pair) => same(pair[0], tables[0]));
  if (exact >= 0 && tables.slice(1).every((table) => pairs[exact].some((one) => same(one, table)))) return exact + 1;
  const nearest = (table, k) => {
    const total = table.reduce((a, b) => a + b, 0), far = pairs.map((pair) => Math.abs(pair[k].reduce((a, b) => a + b, 0) - total));
    return far.indexOf(Math.min(...far)) + 1;
  };
  const values = [nearest(tables[0], 0)], chroma = tables.slice(1);
  if (chroma.length) values.push(chroma.reduce((sum, table) => sum + nearest(table, 1), 0) / chroma.length);
  return values.reduce((a, b) => a + b, 0) / values.length;
}

// Side of the crop whose sharpness is measured, whatever the model reads.
export const BLUR_SIDE = 256;

// Variance of the 4-neighbour Laplacian of the luma of the crop at that side; integers but for the last division.
function blur(crop) {
  const side = BLUR_SIDE, y = new Int32Array(side * side);
  for (let k = 0; k < y.length; k++) y[k] = luma(crop[3 * k], crop[3 * k + 1], crop[3 * k + 2]);
  let total = 0, squares = 0;
  for (let r = 1; r < side - 1; r++) {
    for (let c = 1; c < side - 1; c++) {
      const k = r * side + c, edge = y[k - side] + y[k + side] + y[k - 1] + y[k + 1] - 4 * y[k];
      total += edge;
      squares += edge * edge;
    }
  }
  const n = (side - 2) ** 2;
  return (n * squares - total * total) / (n * n);
}

// Luma of the face at native resolution, at most 512 pixels a side about its middle.
function faceLuma(picture, box) {
  const spans = [0, 1].map((k) => {
    const length = k ? picture.height : picture.width;
    const start = Math.min(Math.max(Math.trunc(box[k]), 0), length - 1), end = Math.min(Math.max(Math.trunc(box[k + 2]), 1), length);
    const spare = Math.max(end - start - WINDOW, 0), from = start + Math.floor(spare / 2);
    return [from, Math.max(end - (spare - Math.floor(spare / 2)), from + 1)];
  });
  const [[x0, x1], [y0, y1]] = spans, width = x1 - x0, height = y1 - y0, levels = new Int32Array(width * height);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const at = ((y + y0) * picture.width + x + x0) * 3;
      levels[y * width + x] = luma(picture.data[at], picture.data[at + 1], picture.data[at + 2]);
    }
  }
  return { levels, width, height };
}

// Mean step across the lines of an 8x8 grid over the mean step elsewhere, at its worst position; the smaller direction.
function blockiness({ levels, width, height }) {
  if (Math.min(width, height) < 3 * BLOCK) return 1;
  const worst = (lines) => {
    const sum = lines.reduce((a, b) => a + b, 0);
    let most = 0;
    for (let phase = 0; phase < BLOCK; phase++) {
      const on = lines.filter((_, k) => k % BLOCK === phase), part = on.reduce((a, b) => a + b, 0);
      most = Math.max(most, (part / on.length + STEP_FLOOR) / ((sum - part) / (lines.length - on.length) + STEP_FLOOR));
    }
    return most;
  };
  const rows = new Array(height - 1).fill(0), columns = new Array(width - 1).fill(0);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const here = levels[y * width + x];
      if (y + 1 < height) rows[y] += Math.abs(levels[(y + 1) * width + x] - here);
      if (x + 1 < width) columns[x] += Math.abs(levels[y * width + x + 1] - here);
    }
  }
  return Math.min(worst(rows.map((v) => v / width)), worst(columns.map((v) => v / height)));
}

function tones({ levels, width, height }) {
  const counts = new Array(256).fill(0);
  let large = 0;
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const here = levels[y * width + x];
      counts[here] += 1;
      if (y + 1 < height && Math.abs(levels[(y + 1) * width + x] - here) > LARGE_STEP) large += 1;
      if (x + 1 < width && Math.abs(levels[y * width + x + 1] - here) > LARGE_STEP) large += 1;
    }
  }
  const entropy = counts.filter(Boolean).reduce((sum, n) => sum - (n / levels.length) * Math.log(n / levels.length), 0);
  const pairs = (height - 1) * width + height * (width - 1);
  return { levels: Math.exp(entropy), steps: pairs ? large / pairs : 0 };
}

// Codes of one face, in the order in which they are reported; empty when it may be judged.
export function faceCodes(picture, face, crop, quality, gates) {
  if (Math.max(face.box[2] - face.box[0], face.box[3] - face.box[1]) < gates.min_face_side) return ["GR-003"];
  const native = faceLuma(picture, face.box);
  if (gates.min_tonal_levels > 0 || gates.max_large_steps < 1) {
    const found = tones(native);
    if (found.levels < gates.min_tonal_levels || found.steps > gates.max_large_steps) return ["GR-008"];
  }
  const heavy = (quality !== null && quality < gates.min_jpeg_quality) || blockiness(native) > gates.max_blockiness;
  const codes = [];
  if (blur(crop) < gates.blur_threshold) codes.push("GR-004");
  if (heavy && gates.low_quality_policy === "abstain") codes.push("GR-005");
  if (roll(face) > gates.max_roll) codes.push("GR-009");
  return codes;
}
