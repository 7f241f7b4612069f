// S2: BlazeFace full range with the project's letterbox, decoding and merging, the second look with the face mesh, and
// the look at parts of a long picture.
// Follows ecdd/pipeline/blazeface.py, second_look.py, parts.py, face_mesh.py and face.py line by line, in doubles.

import { affine, cut, reduce, resize } from "./resize.js";

const SIDE = 192, STRIDE = 4, VALUES = 16, MEMBER_SHARE = 0.5, LYING = 45, MESH_MARGIN = 1.5;

const halfUp = (value) => Math.floor(value + 0.5);
const sideOf = (face) => Math.max(face.box[2] - face.box[0], face.box[3] - face.box[1]);

function letterbox(picture, downscale, border) {
  const { width, height } = picture, longer = Math.max(width, height);
  const filled = Math.max(Math.trunc(SIDE / (1 + 2 * border) + 0.5), 1);
  const inner = [width, height].map((n) => Math.max(Math.floor((2 * n * filled + longer) / (2 * longer)), 1));
  const offset = inner.map((n) => Math.floor((SIDE - n) / 2));
  const factor = downscale === "reduce_then_bilinear" ? Math.floor(longer / filled) : 1;
  let small;
  if (factor >= 2) {
    const fx = Math.min(factor, width), fy = Math.min(factor, height);
    small = resize(reduce(picture, fx, fy), ...inner, "bilinear", [0, 0, width / fx, height / fy]);
  } else {
    small = resize(picture, ...inner, "bilinear");
  }
  const square = new Uint8ClampedArray(SIDE * SIDE * 3);
  for (let y = 0; y < inner[1]; y++) {
    const line = small.data.subarray(y * inner[0] * 3, (y + 1) * inner[0] * 3);
    square.set(line, ((y + offset[1]) * SIDE + offset[0]) * 3);
  }
  return { square, size: [width, height], inner, offset };
}

// The square after quarter turns against the clock.
function rotated(square, turns) {
  let now = square;
  for (let k = 0; k < turns; k++) {
    const next = new Uint8ClampedArray(now.length);
    for (let y = 0; y < SIDE; y++) {
      for (let x = 0; x < SIDE; x++) {
        const from = (x * SIDE + (SIDE - 1 - y)) * 3, to = (y * SIDE + x) * 3;
        next.set(now.subarray(from, from + 3), to);
      }
    }
    now = next;
  }
  return now;
}

const turnedBack = (pairs, turns) => {
  let now = pairs;
  for (let k = 0; k < turns; k++) now = now.map(([x, y]) => [SIDE - y, x]);
  return now;
};

export function overlap(a, b) {
  const w = Math.max(Math.min(a[2], b[2]) - Math.max(a[0], b[0]), 0), h = Math.max(Math.min(a[3], b[3]) - Math.max(a[1], b[1]), 0);
  const area = (c) => Math.max(c[2] - c[0], 0) * Math.max(c[3] - c[1], 0), union = area(a) + area(b) - w * h;
  return union > 0 ? (w * h) / union : 0;
}

// By falling score, then by the numbers of box and landmarks.
function byScore(a, b) {
  if (a.score !== b.score) return b.score - a.score;
  const k = a.values.findIndex((value, i) => value !== b.values[i]);
  return k < 0 ? 0 : a.values[k] - b.values[k];
}

function merge(candidates, iou) {
  let left = [...candidates].sort(byScore);
  const found = [];
  while (left.length) {
    const best = left[0], near = left.map((one, i) => i === 0 || overlap(best.values, one.values) > iou);
    const members = left.filter((one, i) => near[i] && one.score >= MEMBER_SHARE * best.score);
    const total = members.reduce((sum, one) => sum + one.score, 0);
    const values = best.values.map((_, k) => members.reduce((sum, one) => sum + one.values[k] * one.score, 0) / total);
    found.push({ values, score: best.score });
    left = left.filter((_, i) => !near[i]);
  }
  return found;
}

// Faces of a letterboxed picture, in pixels of the picture, sorted.
async function read(finder, box, turns, part, look) {
  const square = rotated(box.square, turns), tensor = new Float32Array(square.length), unit = Math.fround(1 / 127.5);
  for (let k = 0; k < square.length; k++) tensor[k] = Math.fround(square[k] * unit) - 1;
  const outputs = await finder(tensor, [1, SIDE, SIDE, 3]);
  const cells = (SIDE / STRIDE) ** 2;
  const raw = outputs.find((one) => one.length === cells * VALUES), logits = outputs.find((one) => one.length === cells);
  const candidates = [];
  for (let cell = 0; cell < cells; cell++) {
    const score = 1 / (1 + Math.exp(-Math.min(Math.max(logits[cell], -100), 100)));
    if (score < MEMBER_SHARE * part.candidate_threshold) continue;
    const cx = ((cell % (SIDE / STRIDE)) + 0.5) * STRIDE, cy = (Math.floor(cell / (SIDE / STRIDE)) + 0.5) * STRIDE;
    const v = raw.subarray(cell * VALUES, (cell + 1) * VALUES), mx = v[0] + cx, my = v[1] + cy;
    const values = [mx - v[2] / 2, my - v[3] / 2, mx + v[2] / 2, my + v[3] / 2];
    if (!(values[2] > values[0] && values[3] > values[1])) continue;
    for (let k = 4; k < VALUES; k += 2) values.push(v[k] + cx, v[k + 1] + cy);
    candidates.push({ values, score });
  }
  const toPicture = ([x, y]) => [((x - box.offset[0]) * box.size[0]) / box.inner[0], ((y - box.offset[1]) * box.size[1]) / box.inner[1]];
  const faces = merge(candidates, part.nms_iou).filter((one) => one.score >= part.candidate_threshold).map((one) => {
    const pairs = [];
    for (let k = 0; k < VALUES; k += 2) pairs.push([one.values[k], one.values[k + 1]]);
    const [p, q, ...marks] = turnedBack(pairs, turns);
    const low = toPicture([Math.min(p[0], q[0]), Math.min(p[1], q[1])]), high = toPicture([Math.max(p[0], q[0]), Math.max(p[1], q[1])]);
    const landmarks = marks.map(toPicture), corners = [...low, ...high];
    return { box: corners, score: one.score, landmarks, look, values: [...corners, ...landmarks.flat()] };
  });
  const inside = ({ box: b }) => {
    const x = (b[0] + b[2]) / 2, y = (b[1] + b[3]) / 2;
    return x >= 0 && x < box.size[0] && y >= 0 && y < box.size[1];
  };
  return faces.filter(inside).sort(byScore);
}

export const isCertain = (face, part) => face.score >= part.score_threshold || face.look !== "first";

// Degrees that the eye line is turned by, 0 … 180.
export function roll(face) {
  if (face.landmarks.length < 2) return 0;
  const [[x0, y0], [x1, y1]] = face.landmarks;
  return Math.abs((Math.atan2(y1 - y0, x1 - x0) * 180) / Math.PI);
}

// Squares of the shorter side along the longer one; neighbours share at least this much of their side.
export function squares(width, height, shared) {
  const longer = Math.max(width, height), side = Math.min(width, height), found = [];
  const gaps = Math.ceil((longer - side) / (side * (1 - shared)));
  for (let k = 0; k <= gaps; k++) {
    const at = gaps ? Math.floor((2 * k * (longer - side) + gaps) / (2 * gaps)) : 0;
    found.push(width >= height ? [at, 0, at + side, side] : [0, at, side, at + side]);
  }
  return found;
}

// The squares that are read; none of a picture that is not long, or so long that they are too many.
function partsOf({ width, height }, part) {
  const ratio = part.second_look_parts_ratio || 0;
  if (!(ratio > 0 && ratio < Math.max(width, height) / Math.min(width, height))) return [];
  const found = squares(width, height, part.second_look_parts_overlap);
  return found.length <= part.second_look_parts_most ? found : [];
}

// A face found in a part, where it lies in the picture.
function movedBy(face, x, y) {
  const box = [face.box[0] + x, face.box[1] + y, face.box[2] + x, face.box[3] + y];
  const landmarks = face.landmarks.map(([px, py]) => [px + x, py + y]);
  return { ...face, box, landmarks, values: [...box, ...landmarks.flat()] };
}

// Whether a box reaches over an edge of its square that is no edge of the picture.
function isCut(box, square, size) {
  const before = [0, 1].some((k) => square[k] > 0 && box[k] < square[k]);
  return before || [0, 1].some((k) => square[k + 2] < size[k] && box[k + 2] > square[k + 2]);
}

const isAmong = (face, others, iou) => others.some((other) => overlap(face.box, other.box) > iou);

// The best of faces that overlap: the same face, found at several turns or in several parts.
function oneEach(faces, iou) {
  const kept = [];
  for (const face of [...faces].sort(byScore)) if (!isAmong(face, kept, iou)) kept.push(face);
  return kept;
}

// What the first look found, and what parts of a long picture show; there a part's face takes its place.
async function withParts(picture, first, networks, part) {
  const confirmed = [], size = [picture.width, picture.height];
  for (const square of partsOf(picture, part)) {
    const box = letterbox(cut(picture, square), part.detection_downscale, 0);
    for (const there of await read(networks.finder, box, 0, part, "part")) {
      const face = movedBy(there, square[0], square[1]);
      const whole = face.score >= part.second_look_score && !isCut(face.box, square, size);
      if (whole && (await isConfirmed(face, picture, networks, part))) confirmed.push(face);
    }
  }
  const seen = oneEach(confirmed, part.nms_iou);
  return [...seen, ...first.filter((face) => !isAmong(face, seen, part.nms_iou))].sort(byScore);
}

// Every face from candidate_threshold on; a second look where none of them counts.
export async function findFaces(picture, networks, part) {
  let first = await read(networks.finder, letterbox(picture, part.detection_downscale, 0), 0, part, "first");
  if ((part.second_look || "off") === "off") return first;
  const believed = [];
  for (const face of first) if (!(await isRefuted(face, picture, networks, part))) believed.push(face);
  first = await withParts(picture, believed, networks, part);
  if (first.some((face) => isCertain(face, part))) return first;
  const bordered = letterbox(picture, part.detection_downscale, part.second_look_border);
  for (const turns of part.second_look === "border" ? [[0]] : [[0, 2], [1, 3]]) {
    const confirmed = [];
    for (const turn of turns) {
      const look = turn ? "turned" : "second";
      for (const face of await read(networks.finder, bordered, turn, part, look)) {
        if (face.score >= part.second_look_score && (await isConfirmed(face, picture, networks, part))) confirmed.push(face);
      }
    }
    const kept = oneEach(confirmed, part.nms_iou);
    if (kept.length) return kept;
  }
  return first;
}

const isPresent = (mesh, part) => 1 / (1 + Math.exp(-mesh.logit)) >= part.second_look_presence;

// Whether a face would count, but so nearly not that the mesh is asked, which does not see it.
async function isRefuted(face, picture, networks, part) {
  if (!isCertain(face, part) || !(face.score < (part.second_look_doubt || 0))) return false;
  return !isPresent(await meshOf(face, picture, networks), part);
}

function meshOf(face, picture, networks) {
  const [[x0, y0], [x1, y1]] = face.landmarks;
  const centre = [(face.box[0] + face.box[2]) / 2, (face.box[1] + face.box[3]) / 2];
  return readMesh(picture, centre, sideOf(face), Math.atan2(y1 - y0, x1 - x0), networks);
}

async function isConfirmed(face, picture, networks, part) {
  const mesh = await meshOf(face, picture, networks), present = isPresent(mesh, part);
  if (face.look === "part") {
    return mesh.logit >= part.second_look_parts_logit || (present && face.score >= part.second_look_parts_score);
  }
  if (!present) return false;
  if (face.look === "turned") return roll(face) > LYING;
  const xs = mesh.points.map((p) => p[0]), ys = mesh.points.map((p) => p[1]);
  const [left, right, top, bottom] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
  const gap = Math.min(left, top, picture.width - right, picture.height - bottom);
  return gap / Math.max(right - left, 1e-9) <= part.second_look_air;
}

async function readMesh(picture, centre, side, angle, networks) {
  const scale = (MESH_MARGIN * side) / SIDE, cos = scale * Math.cos(angle), sin = scale * Math.sin(angle), half = SIDE / 2;
  const m = [cos, -sin, centre[0] - half * (cos - sin), sin, cos, centre[1] - half * (sin + cos)];
  const corners = [[0, 0], [SIDE, 0], [0, SIDE], [SIDE, SIDE]].map(([x, y]) => [m[0] * x + m[1] * y + m[2], m[3] * x + m[4] * y + m[5]]);
  const low = [0, 1].map((k) => Math.floor(Math.min(...corners.map((c) => c[k]))) - 2);
  const high = [0, 1].map((k) => Math.ceil(Math.max(...corners.map((c) => c[k]))) + 2);
  const factor = Math.max(Math.trunc(scale), 1);
  const piece = reduce(cut(picture, [...low, ...high]), factor, factor);
  const into = [m[0], m[1], m[2] - low[0], m[3], m[4], m[5] - low[1]].map((value) => value / factor);
  const square = affine(piece, SIDE, into).data, tensor = new Float32Array(square.length);
  for (let k = 0; k < square.length; k++) tensor[k] = square[k] / 255;
  const outputs = await networks.mesh(tensor, [1, SIDE, SIDE, 3]);
  const raw = outputs.find((one) => one.length === 3 * 468), logit = outputs.find((one) => one.length === 1)[0];
  const points = [];
  for (let k = 0; k < raw.length; k += 3) points.push([m[0] * raw[k] + m[1] * raw[k + 1] + m[2], m[3] * raw[k] + m[4] * raw[k + 1] + m[5]]);
  return { points, logit: Math.min(Math.max(logit, -60), 60) };
}

// Square about the face, in whole pixels of the picture.
export function cropBox(face, width, height, part) {
  const x = (face.box[0] + face.box[2]) / 2, y = (face.box[1] + face.box[3]) / 2;
  let side = Math.max(halfUp(part.crop_margin * sideOf(face)), 1);
  if (part.crop_overflow === "replicate") {
    const x0 = halfUp(x - side / 2), y0 = halfUp(y - side / 2);
    return [x0, y0, x0 + side, y0 + side];
  }
  side = Math.min(side, width, height);
  const place = (centre, length) => Math.min(Math.max(halfUp(centre - side / 2), 0), length - side);
  const x0 = place(x, width), y0 = place(y, height);
  return [x0, y0, x0 + side, y0 + side];
}
