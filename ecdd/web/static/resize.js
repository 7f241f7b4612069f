// Pillow's resampling in the same integers: a picture is {width, height, data}, data RGB bytes row by row.
// Source of the arithmetic: Pillow's Resample.c, Reduce.c and Geometry.c; gates/g5 compares every golden face.

const BITS = 22; // of the fixed-point weights: 32 - 8 - 2

const KERNELS = {
  box: { support: 0.5, at: (x) => (x > -0.5 && x <= 0.5 ? 1 : 0) },
  bilinear: { support: 1, at: (x) => Math.max(1 - Math.abs(x), 0) },
  bicubic: {
    support: 2,
    at: (x) => {
      const a = -0.5, v = Math.abs(x);
      if (v < 1) return ((a + 2) * v - (a + 3)) * v * v + 1;
      return v < 2 ? (((v - 5) * v + 8) * v - 4) * a : 0;
    },
  },
};

export const kernels = Object.keys(KERNELS);

// Weights of each output pixel: widened where the picture shrinks (antialias), normalised in doubles, then integers.
function weights(size, from, to, out, kernel) {
  const scale = Math.fround(Math.fround(to) - Math.fround(from)) / out;
  const stretch = Math.max(scale, 1), support = kernel.support * stretch;
  const rows = [];
  for (let i = 0; i < out; i++) {
    const centre = Math.fround(from) + (i + 0.5) * scale;
    const first = Math.max(Math.trunc(centre - support + 0.5), 0);
    const count = Math.min(Math.trunc(centre + support + 0.5), size) - first;
    const raw = [];
    let sum = 0;
    for (let k = 0; k < count; k++) {
      raw.push(kernel.at((k + first - centre + 0.5) * (1 / stretch)));
      sum += raw[k];
    }
    const fixed = raw.map((w) => {
      const share = sum === 0 ? w : w / sum;
      return Math.trunc((share < 0 ? -0.5 : 0.5) + share * 2 ** BITS);
    });
    rows.push({ first, fixed });
  }
  return rows;
}

const clip = (sum) => Math.min(Math.max(sum >> BITS, 0), 255);

// One pass along x; `columns` says where each output pixel reads.
function along(picture, columns) {
  const { width, height, data } = picture, out = columns.length;
  const made = new Uint8ClampedArray(out * height * 3);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < out; x++) {
      const { first, fixed } = columns[x];
      let r = 1 << (BITS - 1), g = r, b = r, at = (y * width + first) * 3;
      for (const w of fixed) {
        r += data[at] * w;
        g += data[at + 1] * w;
        b += data[at + 2] * w;
        at += 3;
      }
      made.set([clip(r), clip(g), clip(b)], (y * out + x) * 3);
    }
  }
  return { width: out, height, data: made };
}

// The other pass, along y.
function down(picture, rows) {
  const { width, data } = picture, line = width * 3;
  const made = new Uint8ClampedArray(rows.length * line);
  for (let y = 0; y < rows.length; y++) {
    const { first, fixed } = rows[y];
    for (let x = 0; x < line; x++) {
      let sum = 1 << (BITS - 1), at = first * line + x;
      for (const w of fixed) {
        sum += data[at] * w;
        at += line;
      }
      made[y * line + x] = clip(sum);
    }
  }
  return { width, height: rows.length, data: made };
}

// Resize to width x height; `box` (x0, y0, x1, y1, may be fractions) is the part of the picture that is read.
export function resize(picture, width, height, name, box = [0, 0, picture.width, picture.height]) {
  const kernel = KERNELS[name];
  let now = picture;
  if (width !== picture.width || box[0] !== 0 || box[2] !== picture.width) {
    now = along(now, weights(picture.width, box[0], box[2], width, kernel));
  }
  if (height !== picture.height || box[1] !== 0 || box[3] !== picture.height) {
    now = down(now, weights(picture.height, box[1], box[3], height, kernel));
  }
  return now;
}

// Mean of whole blocks of fx x fy pixels; the last ones of a row and column may be smaller.
export function reduce(picture, fx, fy) {
  const { width, height, data } = picture;
  const w = Math.ceil(width / fx), h = Math.ceil(height / fy), made = new Uint8ClampedArray(w * h * 3);
  for (let y = 0; y < h; y++) {
    for (let x = 0; x < w; x++) {
      const x1 = Math.min((x + 1) * fx, width), y1 = Math.min((y + 1) * fy, height);
      const count = (x1 - x * fx) * (y1 - y * fy), factor = Math.floor(2 ** 32 / (256 * count));
      for (let c = 0; c < 3; c++) {
        let sum = Math.floor(count / 2);
        for (let v = y * fy; v < y1; v++) for (let u = x * fx; u < x1; u++) sum += data[(v * width + u) * 3 + c];
        made[(y * w + x) * 3 + c] = Math.floor((sum * factor) / 2 ** 24);
      }
    }
  }
  return { width: w, height: h, data: made };
}

// Part of a picture; beyond its edge black, or the edge's pixels.
export function cut(picture, [x0, y0, x1, y1], beyond = "black") {
  const { width, height, data } = picture, w = x1 - x0, h = y1 - y0, made = new Uint8ClampedArray(w * h * 3);
  for (let y = 0; y < h; y++) {
    for (let x = 0; x < w; x++) {
      let u = x + x0, v = y + y0;
      if (beyond === "edge") {
        u = Math.min(Math.max(u, 0), width - 1);
        v = Math.min(Math.max(v, 0), height - 1);
      }
      if (u < 0 || v < 0 || u >= width || v >= height) continue;
      for (let c = 0; c < 3; c++) made[(y * w + x) * 3 + c] = data[(v * width + u) * 3 + c];
    }
  }
  return { width: w, height: h, data: made };
}

function cubic(a, b, c, d, t) {
  const p2 = -a + c, p3 = 2 * (a - b) + c - d, p4 = -a + b - c + d;
  return b + t * (p2 + t * (p3 + t * p4));
}

// A square of side x side pixels through the affine map [a, b, c, d, e, f] into the picture, bicubic; black beyond.
export function affine(picture, side, [a, b, c, d, e, f]) {
  const { width, height, data } = picture, made = new Uint8ClampedArray(side * side * 3);
  const column = (x) => Math.min(Math.max(x, 0), width - 1);
  for (let y = 0; y < side; y++) {
    for (let x = 0; x < side; x++) {
      const xin = a * (x + 0.5) + b * (y + 0.5) + c, yin = d * (x + 0.5) + e * (y + 0.5) + f;
      if (xin < 0 || xin >= width || yin < 0 || yin >= height) continue;
      const u = Math.floor(xin - 0.5), v = Math.floor(yin - 0.5), du = xin - 0.5 - u, dv = yin - 0.5 - v;
      for (let k = 0; k < 3; k++) {
        const lines = [];
        for (let i = -1; i < 3; i++) {
          const row = v + i;
          if (i > -1 && (row < 0 || row >= height)) {
            lines.push(lines[lines.length - 1]); // as Pillow: the line before stands for one beyond the edge
            continue;
          }
          const at = (n) => data[(Math.min(Math.max(row, 0), height - 1) * width + column(u + n)) * 3 + k];
          lines.push(cubic(at(-1), at(0), at(1), at(2), du));
        }
        made[(y * side + x) * 3 + k] = Math.trunc(Math.min(Math.max(cubic(...lines, dv), 0), 255));
      }
    }
  }
  return { width: side, height: side, data: made };
}
