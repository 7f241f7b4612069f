// S0 to S8 of one picture, in the browser: nothing of it leaves the page.

import { Tensor, loadAndCompile, loadLiteRt } from "./vendor/litert.js";
import { Rejected, decode } from "./decode.js";
import { cropBox, findFaces, isCertain } from "./faces.js";
import { BLUR_SIDE, faceCodes, jpegQuality } from "./quality.js";
import { cut, resize } from "./resize.js";

const hex = async (bytes) =>
  [...new Uint8Array(await crypto.subtle.digest("SHA-256", bytes))].map((b) => b.toString(16).padStart(2, "0")).join("");

// A network as a function: tensor and shape in, all outputs as Float32Arrays out. Outputs are told apart by length.
async function open(name, expected) {
  const answer = await fetch(name);
  const content = new Uint8Array(await answer.arrayBuffer());
  if ((await hex(content)) !== expected) throw new Error(`${name} is not the file that the bundle names`);
  const model = await loadAndCompile(content, { accelerator: "wasm" });
  return async (values, shape) => {
    const input = new Tensor(values, shape), outputs = await model.run([input]);
    const found = [];
    for (const one of outputs) {
      found.push(Float32Array.from(one.toTypedArray()));
      one.delete();
    }
    input.delete();
    return found;
  };
}

// Opens the networks that config.json names; gives the function that judges.
export async function load(config) {
  await loadLiteRt("./vendor/litert_wasm_compat_internal.js"); // SIMD without relaxed instructions: the same bits everywhere
  const networks = {};
  for (const [name, file] of Object.entries(config.networks)) networks[name] = await open(file.file, file.sha256);
  return (bytes, name) => judge(bytes, name, config, networks);
}

function levelTable(part) {
  return [0, 1, 2].map((c) =>
    Float32Array.from({ length: 256 }, (_, level) => (level * part.pixel_scale - part.normalisation_mean[c]) / part.normalisation_std[c]));
}

function normalise(s3, part) {
  const table = levelTable(part), made = new Float32Array(s3.length);
  for (let k = 0; k < s3.length; k++) made[k] = table[k % 3][s3[k]];
  return made;
}

const mean = (values) => values.reduce((a, b) => a + b, 0) / values.length;

export function pool(map, part) {
  const sorted = () => [...map].sort((a, b) => b - a);
  if (part.rule === "mean") return mean([...map]);
  if (part.rule === "top_k") return mean(sorted().slice(0, part.top_k_count));
  if (part.rule === "trimmed_mean") return mean(sorted().slice(part.trimmed_count, map.length - part.trimmed_count));
  const top = Math.max(...map), weights = [...map].map((v) => Math.exp((v - top) / part.attention_temperature));
  const total = weights.reduce((a, b) => a + b, 0);
  return weights.reduce((sum, w, k) => sum + (w / total) * map[k], 0);
}

export function calibrate(pooled, part) {
  const { knots } = part;
  if (!knots.length) return pooled / part.temperature + part.bias;
  if (pooled < knots[0][0]) return knots[0][1];
  const above = knots.findIndex(([x]) => x > pooled);
  if (above < 0) return knots[knots.length - 1][1];
  const [[x0, y0], [x1, y1]] = [knots[above - 1], knots[above]];
  return y0 + (y1 - y0) * ((pooled - x0) / (x1 - x0));
}

export function decide(faces, counting, gates, point) {
  const failed = [...new Set(counting.flatMap((k) => faces[k].reason_codes))].sort();
  const judged = faces.map((face, k) => [face.probability, k]).filter(([p]) => p !== null && p !== undefined);
  if (!judged.length) return { label: "abstain", reason_codes: failed, deciding_face: null };
  const [highest, decider] = judged.reduce((best, one) => (one[0] > best[0] ? one : best));
  const told = (label, reason_codes) => ({ label, reason_codes, deciding_face: decider });
  if (highest >= point.t_fake) return told("fake", []);
  if (failed.length && gates.unjudged_face_policy === "abstain") return told("abstain", failed);
  return highest <= point.t_real ? told("real", []) : told("abstain", ["MD-001"]);
}

function pictureCodes(faces, candidates, gates) {
  if (!faces) return [candidates ? "GR-002" : "GR-001"];
  return faces > (gates.multi_face_policy === "reject_multi" ? 1 : gates.max_faces) ? ["GR-007"] : [];
}

async function judge(bytes, name, config, networks) {
  const { contract } = config, part = contract.pixel_pipeline, gates = contract.quality_gates, spent = {};
  let last = performance.now();
  const lap = (stage) => {
    const now = performance.now();
    spent[stage] = (spent[stage] || 0) + now - last;
    last = now;
  };
  const record = { s0: await hex(bytes), s1: null, faces: [], milliseconds: spent, s8: null, detail: "" }, arrays = {};
  lap("hash");
  const end = (s8) => ({ record: { ...record, s8 }, arrays });
  const abstain = (codes) => end({ label: "abstain", reason_codes: [...codes], deciding_face: null });
  let picture;
  try {
    picture = await decode(bytes, name, part);
  } catch (error) {
    if (!(error instanceof Rejected)) throw error;
    record.detail = error.message;
    return abstain(error.codes);
  }
  lap("decode");
  record.s1 = `sha256-rgb-uint8-hwc-${picture.height}x${picture.width}:${await hex(picture.data)}`;
  arrays.S1 = { dtype: "uint8", shape: [picture.height, picture.width, 3], values: picture.data };
  lap("hash");
  if (Math.min(picture.width, picture.height) < gates.min_image_side) return abstain(["GR-006"]);
  const found = await findFaces(picture, networks, contract.face_detector);
  lap("detect");
  const certain = found.filter((face) => isCertain(face, contract.face_detector)), side = part.input_size;
  const tensors = certain.map((face, k) => {
    const box = cropBox(face, picture.width, picture.height, contract.face_detector);
    const beyond = contract.face_detector.crop_overflow === "replicate" ? "edge" : "black";
    const crop = cut(picture, box, beyond), sized = (side) => resize(crop, side, side, part.resize_kernel).data;
    const s3 = sized(side), seen = side === BLUR_SIDE ? s3 : sized(BLUR_SIDE);
    const reason_codes = faceCodes(picture, face, seen, jpegQuality(picture.tables), gates);
    record.faces.push({ box: face.box, score: face.score, crop_box: box, reason_codes });
    arrays[`face${k}/S3`] = { dtype: "uint8", shape: [side, side, 3], values: s3 };
    return normalise(s3, part);
  });
  lap("crop_resize");
  const codes = pictureCodes(certain.length, found.length - certain.length, gates);
  if (codes.length) return abstain(codes);
  const sides = certain.map((face) => Math.max(face.box[2] - face.box[0], face.box[3] - face.box[1]));
  const counting = gates.multi_face_policy === "largest_face" ? [sides.indexOf(Math.max(...sides))] : sides.map((_, k) => k);
  for (const k of counting) {
    if (!record.faces[k].reason_codes.length) await judgeFace(k, tensors[k], record, arrays, config, networks);
  }
  lap("model");
  return end(decide(record.faces, counting, gates, contract.operating_point));
}

async function judgeFace(k, tensor, record, arrays, config, networks) {
  const { contract } = config, { rows, cols } = contract.patch_grid, side = contract.pixel_pipeline.input_size;
  const outputs = await networks.model(tensor, [1, side, side, 3]);
  const map = outputs.find((one) => one.length === rows * cols);
  if (!map || !map.every(Number.isFinite)) throw new Error("the model gave no map of finite numbers (MD-002)");
  arrays[`face${k}/S4`] = { dtype: "float32", shape: [side, side, 3], values: tensor };
  arrays[`face${k}/S5`] = { dtype: "float32", shape: [rows, cols], values: map };
  const pooled = Math.fround(pool(map, config.pooling)), calibrated = calibrate(pooled, config.calibration);
  const probability = 1 / (1 + Math.exp(-calibrated));
  Object.assign(record.faces[k], { pooled_logit: pooled, calibrated_logit: calibrated, probability });
}
