// Where the faces lie in the picture as this browser draws it. The detector turns every picture upright by its EXIF tag;
// browsers do so for some formats only, and none says for which.

// Black, 2 x 1 pixels, with the tag "turn by 90 degrees": a browser that obeys it sees 1 x 2.
const PROBES = {
  png: "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAIAAAABCAIAAAB7QOjdAAAAGmVYSWZNTQAqAAAACAABARIAAwAAAAEABgAAAAAAANZnS2kAAAAPSURBVHicY2BgYGBgYAAAAAcAAVchYhkAAAAASUVORK5CYII=",
  webp: "data:image/webp;base64,UklGRk4AAABXRUJQVlA4WAoAAAAIAAAAAQAAAAAAVlA4TA4AAAAvAQAAAAcQEf0PRET/A0VYSUYaAAAATU0AKgAAAAgAAQESAAMAAAABAAYAAAAAAAA=",
};

async function turns(address) {
  const image = new Image();
  image.src = address;
  await image.decode();
  return image.naturalHeight === 2;
}

function formatOf(bytes) {
  const first = new Uint8Array(bytes, 0, Math.min(4, bytes.byteLength));
  return { 0x89: "png", 0x52: "webp" }[first[0]] ?? "jpeg";
}

// Whether the browser draws the file upright: always for JPEG, by trial for the others.
export async function drawnUpright(bytes, orientation) {
  const probe = PROBES[formatOf(bytes)];
  return orientation === 1 || probe === undefined || turns(probe).catch(() => false);
}

// From a point of the upright picture to the same point as it is stored.
const TO_STORED = {
  1: (x, y) => [x, y],
  2: (x, y, width) => [width - x, y],
  3: (x, y, width, height) => [width - x, height - y],
  4: (x, y, _width, height) => [x, height - y],
  5: (x, y) => [y, x],
  6: (x, y, width) => [y, width - x],
  7: (x, y, width, height) => [height - y, width - x],
  8: (x, y, _width, height) => [height - y, x],
};

// A box x0, y0, x1, y1 of the upright picture as left, top, width and height in percent of the picture as drawn.
export function boxAsDrawn([x0, y0, x1, y1], { width, height }, orientation) {
  const [a, b] = TO_STORED[orientation](x0, y0, width, height);
  const [c, d] = TO_STORED[orientation](x1, y1, width, height);
  const [across, down] = orientation > 4 ? [height, width] : [width, height];
  return [
    (100 * Math.min(a, c)) / across, (100 * Math.min(b, d)) / down,
    (100 * Math.abs(c - a)) / across, (100 * Math.abs(d - b)) / down,
  ];
}
