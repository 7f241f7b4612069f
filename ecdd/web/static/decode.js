// S0 and S1: from a file's bytes to an upright RGB picture. The browser decodes; this module decides what reaches it,
// reads orientation and JPEG tables itself, and turns the pixels by the contract's rules.
//
// What it does not do that the Python pipeline does: it does not bound memory or metadata by header, does not check
// every scan and checksum, and leaves CMYK, 16 bits and damaged entropy data to the browser's decoder.

export class Rejected extends Error {
  constructor(codes, detail) {
    super(detail);
    this.codes = codes;
  }
}

const TRUNCATED = ["IO-001", "IO-008"];
const EXTENSIONS = {
  jpg: "JPEG", jpeg: "JPEG", jpe: "JPEG", jfif: "JPEG", mpo: "JPEG", png: "PNG", apng: "PNG", webp: "WEBP", gif: "GIF",
  bmp: "BMP", tif: "TIFF", tiff: "TIFF", pdf: "PDF", heic: "HEIF", heif: "HEIF", avif: "AVIF", svg: "SVG", ico: "ICO",
};

const text = (bytes, at, n) => String.fromCharCode(...bytes.subarray(at, at + n));

function sniff(bytes) {
  if (bytes[0] === 0xff && bytes[1] === 0xd8 && bytes[2] === 0xff) return "JPEG";
  if (text(bytes, 0, 8) === "\x89PNG\r\n\x1a\n") return "PNG";
  if (text(bytes, 0, 4) === "RIFF" && text(bytes, 8, 4) === "WEBP") return "WEBP";
  return "unknown";
}

// Orientation tag of an EXIF block; 1 when absent or broken. `at` is where its value lies in the block.
export function readOrientation(block) {
  const start = text(block, 0, 6) === "Exif\0\0" ? 6 : 0;
  const view = new DataView(block.buffer, block.byteOffset + start, block.length - start);
  const mark = text(block, start, 4), little = mark === "II*\0";
  if (!little && mark !== "MM\0*") return { value: 1 };
  try {
    const directory = view.getUint32(4, little), count = view.getUint16(directory, little);
    for (let i = 0; i < count; i++) {
      const entry = directory + 2 + 12 * i;
      if (view.getUint16(entry, little) !== 0x0112) continue;
      const value = view.getUint16(entry + 8, little);
      const usable = view.getUint16(entry + 2, little) === 3 && view.getUint32(entry + 4, little) === 1;
      return usable && value >= 1 && value <= 8 ? { value, at: start + entry + 8, little } : { value: 1 };
    }
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
  }
  return { value: 1 };
}

// Index of each coefficient of a JPEG table in zigzag order.
const ZIGZAG = [
  0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7, 14, 21, 28,
  35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55,
  62, 63,
];

function walkJpeg(bytes) {
  const found = { exif: null, exifAt: 0, tables: {}, bits: 8, channels: 3, alpha: false, animated: false };
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  let at = 2;
  while (at + 4 <= bytes.length) {
    if (bytes[at] !== 0xff) throw new Rejected(["IO-001"], "a JPEG marker is missing");
    const marker = bytes[at + 1];
    if (marker === 0xff) { at += 1; continue; }
    if (marker === 0xd9) break;
    const length = view.getUint16(at + 2), body = bytes.subarray(at + 4, at + 2 + length);
    if (at + 2 + length > bytes.length) throw new Rejected(TRUNCATED, "the JPEG ends in its header");
    if (marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker)) {
      Object.assign(found, { bits: body[0], height: view.getUint16(at + 5), width: view.getUint16(at + 7), channels: body[5] });
    } else if (marker === 0xe1 && text(body, 0, 6) === "Exif\0\0" && !found.exif) {
      found.exif = body;
      found.exifAt = at + 4;
    } else if (marker === 0xdb) {
      readTables(body, found.tables);
    } else if (marker === 0xda) {
      break;
    }
    at += 2 + length;
  }
  let end = bytes.length - 1;
  while (end > at && !(bytes[end - 1] === 0xff && bytes[end] === 0xd9)) end -= 1;
  if (end <= at) throw new Rejected(TRUNCATED, "the JPEG has no end");
  return { ...found, end: end + 1 };
}

function readTables(body, tables) {
  for (let at = 0; at < body.length; ) {
    const wide = body[at] >> 4, id = body[at] & 15, table = new Array(64);
    at += 1;
    for (let k = 0; k < 64; k++) {
      table[ZIGZAG[k]] = wide ? body[at] * 256 + body[at + 1] : body[at];
      at += wide ? 2 : 1;
    }
    tables[id] = table;
  }
}

function walkPng(bytes) {
  const found = { exif: null, bits: 8, channels: 3, alpha: false, animated: false, dropped: [] };
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  for (let at = 8; at + 12 <= bytes.length; ) {
    const length = view.getUint32(at), kind = text(bytes, at + 4, 4), next = at + 12 + length;
    if (next > bytes.length) break;
    if (kind === "IHDR") {
      const type = bytes[at + 17];
      Object.assign(found, { width: view.getUint32(at + 8), height: view.getUint32(at + 12), bits: bytes[at + 16], alpha: type > 3 });
    } else if (kind === "acTL") {
      found.animated = view.getUint32(at + 8) > 1;
    } else if (kind === "tRNS") {
      found.alpha = true;
    } else if (kind === "eXIf") {
      found.exif = bytes.subarray(at + 8, at + 8 + length);
      found.dropped.push([at, next]); // its checksum would have to change with it
    } else if (kind === "IEND") {
      return { ...found, end: next };
    }
    at = next;
  }
  throw new Rejected(TRUNCATED, "the PNG has no end");
}

function walkWebp(bytes) {
  const found = { exif: null, exifAt: 0, bits: 8, channels: 3, alpha: false, animated: false };
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const end = 8 + view.getUint32(4, true);
  if (end > bytes.length) throw new Rejected(TRUNCATED, "the WebP ends too early");
  for (let at = 12; at + 8 <= end; ) {
    const kind = text(bytes, at, 4), length = view.getUint32(at + 4, true), body = at + 8;
    if (kind === "VP8X") {
      found.animated = Boolean(bytes[body] & 2);
      found.alpha = Boolean(bytes[body] & 16);
      const three = (p) => bytes[p] + bytes[p + 1] * 256 + bytes[p + 2] * 65536 + 1;
      Object.assign(found, { width: three(body + 4), height: three(body + 7) });
    } else if (kind === "VP8 " && !found.width) {
      Object.assign(found, { width: view.getUint16(body + 6, true) & 0x3fff, height: view.getUint16(body + 8, true) & 0x3fff });
    } else if (kind === "VP8L") {
      const bits = view.getUint32(body + 1, true);
      found.alpha = found.alpha || Boolean((bits >>> 28) & 1);
      if (!found.width) Object.assign(found, { width: (bits & 0x3fff) + 1, height: ((bits >>> 14) & 0x3fff) + 1 });
    } else if (kind === "EXIF") {
      found.exif = bytes.subarray(body, body + length);
      found.exifAt = body;
    }
    at = body + length + (length % 2);
  }
  return { ...found, end };
}

const WALKERS = { JPEG: walkJpeg, PNG: walkPng, WEBP: walkWebp };

function refuse(found, bytes, part) {
  const pixels = found.width * found.height;
  if (!pixels) throw new Rejected(["IO-001"], "the header states no size");
  if (pixels > part.max_pixels) throw new Rejected(["IO-004"], `${pixels} pixels, max_pixels is ${part.max_pixels}`);
  if (found.animated) throw new Rejected(["IO-005"], "the picture has several frames");
  if (bytes.length > found.end && part.trailing_data_policy === "reject") throw new Rejected(["IO-013"], "bytes behind the picture");
  if (found.bits > 8 && part.sixteen_bit_policy === "reject") throw new Rejected(["IO-011"], `${found.bits} bits a channel`);
  if (found.channels === 4 && part.cmyk_policy === "reject") throw new Rejected(["IO-012"], "CMYK");
  if (found.alpha && part.alpha_policy === "reject") throw new Rejected(["IO-007"], "transparency");
}

// The bytes without what would make the browser turn the picture: it is turned here, by the contract's rules.
function unturned(bytes, format, found, orientation) {
  if (format === "PNG" && found.dropped.length) {
    const [from, to] = found.dropped[0], rest = new Uint8Array(bytes.length - (to - from));
    rest.set(bytes.subarray(0, from));
    rest.set(bytes.subarray(to), from);
    return rest;
  }
  if (orientation.at === undefined) return bytes;
  const copy = bytes.slice();
  new DataView(copy.buffer).setUint16(found.exifAt + orientation.at, 1, orientation.little);
  return copy;
}

// Pillow's alpha_composite over an opaque background, in its integers.
function over(level, ground, alpha) {
  const sum = (level * alpha + ground * (255 - alpha)) * 128 + 128 * 128;
  return (((sum >> 8) + sum) >> 8) >> 7;
}

// Where pixel (x, y) of the upright picture lies in the stored one of w x h.
const STORED = {
  1: (x, y) => [x, y], 2: (x, y, w) => [w - 1 - x, y], 3: (x, y, w, h) => [w - 1 - x, h - 1 - y], 4: (x, y, w, h) => [x, h - 1 - y],
  5: (x, y) => [y, x], 6: (x, y, w, h) => [y, h - 1 - x], 7: (x, y, w, h) => [w - 1 - y, h - 1 - x], 8: (x, y, w) => [w - 1 - y, x],
};

async function pixels(bytes, format) {
  const type = { JPEG: "image/jpeg", PNG: "image/png", WEBP: "image/webp" }[format];
  let bitmap;
  try {
    bitmap = await createImageBitmap(new Blob([bytes], { type }), { colorSpaceConversion: "none", premultiplyAlpha: "none" });
  } catch (error) {
    throw new Rejected(["IO-001"], `the browser cannot decode it: ${error.message}`);
  }
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
  const context = canvas.getContext("2d", { willReadFrequently: true, colorSpace: "srgb" });
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  return context.getImageData(0, 0, canvas.width, canvas.height);
}

// Decode a file: {width, height, data, orientation, tables}; throws Rejected with the contract's codes.
export async function decode(bytes, name, part) {
  if (bytes.length > part.max_bytes) throw new Rejected(["IO-003"], `${bytes.length} bytes, max_bytes is ${part.max_bytes}`);
  if (!bytes.length) throw new Rejected(TRUNCATED, "the file is empty");
  const format = sniff(bytes), claimed = EXTENSIONS[(name || "").toLowerCase().split(".").pop()];
  if (format === "unknown") {
    const known = part.accepted_formats.includes(claimed);
    throw new Rejected([known ? "IO-001" : "IO-002"], "no JPEG, PNG or WebP");
  }
  if (claimed && claimed !== format && part.disguise_policy === "reject") throw new Rejected(["IO-006"], `content ${format}, extension ${claimed}`);
  if (!part.accepted_formats.includes(format)) throw new Rejected(["IO-002"], `${format} is not accepted`);
  let found;
  try {
    found = WALKERS[format](bytes);
  } catch (error) {
    if (error instanceof RangeError) throw new Rejected(TRUNCATED, "the header ends too early");
    throw error;
  }
  refuse(found, bytes, part);
  const orientation = found.exif && part.exif_orientation === "apply" ? readOrientation(found.exif) : { value: 1 };
  const cleared = found.exif ? unturned(bytes, format, found, readOrientation(found.exif)) : bytes;
  const stored = await pixels(cleared, format);
  if (stored.width !== found.width || stored.height !== found.height) throw new Rejected(["IO-001"], "two sizes");
  const tables = format === "JPEG" ? Object.keys(found.tables).sort().map((key) => found.tables[key]) : null;
  return { ...upright(stored, orientation.value, found.alpha ? part.alpha_background : null), orientation: orientation.value, tables };
}

function upright(stored, orientation, background) {
  const { width: w, height: h, data } = stored, swapped = orientation > 4;
  const width = swapped ? h : w, height = swapped ? w : h, made = new Uint8ClampedArray(width * height * 3);
  const where = STORED[orientation];
  for (let y = 0, to = 0; y < height; y++) {
    for (let x = 0; x < width; x++, to += 3) {
      const [u, v] = where(x, y, w, h), from = (v * w + u) * 4;
      for (let c = 0; c < 3; c++) made[to + c] = background ? over(data[from + c], background[c], data[from + 3]) : data[from + c];
    }
  }
  return { width, height, data: made };
}
