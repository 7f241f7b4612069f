// The patch-logit map as colour over the face: blue for real, red for fake, legible without telling red from green.

const REAL = "33, 102, 172";
const FAKE = "178, 24, 43";

// The logit of full colour: the 99th percentile of the cells that say anything. One cell at a hard edge can reach
// ten times its neighbours; scaled to it, all others would look grey.
function colourLimit(map) {
  const strengths = map.flat().filter((value) => value !== 0).map(Math.abs).sort((a, b) => a - b);
  if (!strengths.length) return 1e-6;
  return Math.max(strengths[Math.ceil(0.99 * (strengths.length - 1))], 1e-6);
}

function largest(map) {
  let best = [0, 0];
  map.forEach((row, i) => row.forEach((value, j) => { if (value > map[best[0]][best[1]]) best = [i, j]; }));
  return best;
}

// One cell stands for the whole face: that is a number, and coloured over a face it would only look like a map.
export function hasCells(map) {
  return map.length * map[0].length > 1;
}

// Draws for a crop of `side` pixels; cell (i, j) sees rows stride*i to stride*i + field - 1. Rows and columns that no
// cell sees stay uncoloured.
export function drawMap(canvas, map, { side, stride, field }) {
  const scale = 2;
  canvas.width = canvas.height = side * scale;
  const context = canvas.getContext("2d");
  context.scale(scale, scale);
  const limit = colourLimit(map);
  map.forEach((row, i) => row.forEach((value, j) => {
    const strength = Math.min(1, Math.abs(value) / limit);
    context.fillStyle = `rgba(${value >= 0 ? FAKE : REAL}, ${strength})`;
    context.fillRect(j * stride, i * stride, stride, stride);
  }));
  return largest(map);
}

// The cell that speaks most for fake, as a frame in percent of the crop; drawn apart so that it stays when the colour fades.
export function cellBox([row, column], { side, stride, field }) {
  return [column * stride, row * stride, field, field].map((value) => (100 * value) / side);
}
