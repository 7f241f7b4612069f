// Draws an answer of the site. Text goes into the page as text, never as markup.

import { cellBox, drawMap, hasCells } from "./heatmap.js";
import { boxAsDrawn } from "./orientation.js";
import { ACTIONS, sentence } from "./reasons.js";

const byId = (id) => document.getElementById(id);

export function el(tag, properties = {}, ...children) {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children);
  return node;
}

export function percent(value) {
  if (value > 0 && value < 0.001) return "under 0.1 %";
  if (value < 1 && value > 0.999) return "over 99.9 %";
  return `${(100 * value).toFixed(1)} %`;
}

function place(node, [left, top, width, height]) {
  Object.assign(node.style, { left: `${left}%`, top: `${top}%`, width: `${width}%`, height: `${height}%` });
}

// ---- verdict ----

const TITLES = { real: "Judged real", fake: "Judged fake", abstain: "No verdict" };

function title(answer) {
  if (answer.outcome === "rejected") return "Not judged: the file was refused";
  if (answer.outcome === "error") return "Not judged: the detector failed";
  return TITLES[answer.label];
}

// Without a verdict a number is a score and no statement about a person: nobody is "fake with 80 %" here.
function explanation(answer) {
  const { probability, thresholds, faces, label, reason_codes } = answer;
  if (probability === null) return "";
  const { t_real: low, t_fake: high } = thresholds;
  const several = faces.length > 1 ? `, that of the most suspicious of ${faces.length} faces,` : "";
  if (label === "abstain") {
    return reason_codes.includes("MD-001")
      ? `The score${several} lies between the limits for real (${percent(low)}) and fake (${percent(high)}): this detector cannot tell.`
      : `A score was computed${several.slice(0, -1)}, but nothing may be concluded from it: the reason stands below.`;
  }
  const most = faces.length > 1 ? `The most suspicious of ${faces.length} faces` : "The face";
  return label === "real"
    ? `${most} is fake with a probability of only ${percent(probability)}, at or below the limit for real (${percent(low)}).`
    : `${most} is fake with a probability of ${percent(probability)}, at or above the limit for fake (${percent(high)}).`;
}

function faceText({ probability }, label) {
  if (probability === null) return "This face was not judged.";
  return label === "abstain" ? `Score ${percent(probability)}, from 0 % (real) to 100 % (fake); no verdict rests on it.` : `Fake with a probability of ${percent(probability)}.`;
}

function drawScale({ probability, thresholds, label }) {
  byId("scale").hidden = probability === null;
  if (probability === null) return;
  const { t_real: low, t_fake: high } = thresholds;
  const [real, abstain, fake] = byId("scale-bar").querySelectorAll(".zone");
  real.style.width = `${100 * low}%`;
  abstain.style.width = `${100 * (high - low)}%`;
  fake.style.width = `${100 * (1 - high)}%`;
  byId("marker").style.left = `${100 * probability}%`;
  byId("marker-value").textContent = percent(probability);
  byId("marker").dataset.side = probability < 0.12 ? "left" : probability > 0.88 ? "right" : "";
  byId("tick-real").textContent = `real up to ${percent(low)}`;
  byId("tick-fake").textContent = `fake from ${percent(high)}`;
  const zone = label === "abstain" && (probability <= low || probability >= high) ? "" : `, in the zone ${label === "abstain" ? "no verdict" : label}`;
  byId("scale-bar").setAttribute(
    "aria-label",
    `${label === "abstain" ? "Score" : "Probability of fake"} ${percent(probability)}${zone}; real up to ${percent(low)}, fake from ${percent(high)}`,
  );
}

function reasonItems({ reason_codes: codes, detail }) {
  return codes.map((code) => {
    const [what, then] = sentence(code);
    const kind = code === "IO-002" ? `: ${detail.split(/[:;]/)[0]}` : ""; // such as "format MP4, a video"
    return el("li", {}, el("strong", { textContent: what }), ` ${then} `, el("code", { textContent: code + kind }));
  });
}

// Gives the sentence that is announced.
export function drawVerdict(answer) {
  byId("answer").dataset.label = answer.outcome === "judged" ? answer.label : answer.outcome;
  byId("verdict-title").textContent = title(answer);
  byId("verdict-text").textContent = explanation(answer);
  byId("verdict-text").hidden = answer.probability === null;
  drawScale(answer);
  byId("reasons").replaceChildren(...reasonItems(answer));
  byId("reasons").hidden = answer.reason_codes.length === 0;
  const action = ACTIONS[answer.abstain_action];
  byId("next").textContent = action ?? "";
  byId("next").hidden = !action;
  byId("warnings").textContent = answer.warnings.map((warning) => `Note: ${warning}.`).join(" ");
  byId("warnings").hidden = answer.warnings.length === 0;
  const why = answer.reason_codes.map((code) => sentence(code)[0]).join(" ");
  return [`${title(answer)}.`, explanation(answer), why].filter(Boolean).join(" ");
}

export function drawDigest(answer, digest) {
  const line = byId("digest");
  if (answer.received_sha256 === null) {
    line.dataset.state = "unknown";
    line.replaceChildren(`The site stopped receiving after ${answer.received_bytes.toLocaleString("en")} bytes: nothing was compared.`);
    return true;
  }
  const received = el("code", { textContent: answer.received_sha256 });
  const bytes = `${answer.received_bytes.toLocaleString("en")} bytes`;
  if (digest === null) {
    line.dataset.state = "unknown";
    line.replaceChildren(`Not compared: over plain http from another host this browser computes no digest. The site received ${bytes}: `, received);
  } else if (digest === answer.received_sha256) {
    line.dataset.state = "equal";
    line.replaceChildren(`The site received exactly these ${bytes}. SHA-256 at both ends: `, received);
  } else {
    line.dataset.state = "differs";
    line.replaceChildren("Other bytes arrived than were sent: do not trust this verdict. Sent ", el("code", { textContent: digest }), ", received ", received);
  }
  return line.dataset.state !== "differs";
}

// ---- preview and its boxes ----

// Height and width of the picture as it was judged, and how the file stores it; null where it was not decoded.
export function judgedPicture(answer) {
  const s1 = answer.stages?.find((row) => row.stage === "S1");
  const found = /-(\d+)x(\d+)[:x]/.exec(s1?.image ?? "");
  return found ? { height: Number(found[1]), width: Number(found[2]), orientation: s1.orientation } : null;
}

// `orientation` is that of the picture as the browser draws it: 1 for upright.
export function drawBoxes(answer, orientation, chosen, choose) {
  const size = judgedPicture(answer);
  byId("boxes").replaceChildren(...(size ? answer.faces : []).map((face, index) => {
    const box = el("button", { type: "button", className: "box", ariaLabel: `Face ${index + 1}: show it`, onclick: () => choose(index, true) });
    if (answer.faces.length > 1) box.append(el("span", { textContent: index === answer.deciding_face ? `${index + 1} decides` : index + 1 }));
    box.classList.toggle("chosen", index === chosen);
    place(box, boxAsDrawn(face.box, size, orientation));
    return box;
  }));
}

// ---- faces ----

function faceFacts(face) {
  const quality = face.jpeg_quality === null ? "unknown" : `${Math.round(face.jpeg_quality)} (${face.jpeg_quality_kind})`;
  return {
    "Longer side": `${Math.round(face.face_side)} px`,
    "Confidence that it is a face": percent(face.score),
    Sharpness: `${face.blur.toFixed(0)}${face.soft ? " (soft)" : ""}`,
    "JPEG quality": quality,
    "Block grid": face.blockiness.toFixed(2),
  };
}

const pixels = (face) => (face.crop_png ? `data:image/png;base64,${face.crop_png}` : "");

export function drawTabs(answer, chosen, choose) {
  const tabs = byId("tabs");
  const several = answer.faces.length > 1;
  tabs.hidden = !several;
  const panel = byId("face");
  if (several) {
    panel.setAttribute("role", "tabpanel");
    panel.setAttribute("aria-labelledby", `tab-${chosen}`);
  } else {
    panel.removeAttribute("role");
    panel.removeAttribute("aria-labelledby");
  }
  tabs.replaceChildren(...(several ? answer.faces : []).map((face, index) => {
    const share = face.probability === null ? "not judged" : percent(face.probability);
    const decides = index === answer.deciding_face ? " · decides" : "";
    const tab = el("button", { type: "button", role: "tab", id: `tab-${index}`, onclick: () => choose(index) });
    tab.append(el("img", { src: pixels(face), alt: "" }), el("span", { textContent: `Face ${index + 1}${decides}` }), el("span", { className: "soft", textContent: share }));
    tab.setAttribute("aria-selected", String(index === chosen));
    tab.setAttribute("aria-controls", "face");
    tab.tabIndex = index === chosen ? 0 : -1;
    return tab;
  }));
}

export function drawFace(answer, index, grid) {
  const face = answer.faces[index];
  byId("crop").src = pixels(face);
  byId("crop").alt = `Face ${index + 1} as the model saw it`;
  const mapped = Boolean(face.patch_map) && hasCells(face.patch_map);
  for (const id of ["map", "cell", "map-controls", "map-text"]) byId(id).hidden = !mapped;
  byId("no-map").hidden = mapped || !face.patch_map;
  if (mapped) place(byId("cell"), cellBox(drawMap(byId("map"), face.patch_map, grid), grid));
  const decides = index === answer.deciding_face && answer.faces.length > 1 ? ": it decided the verdict" : "";
  byId("face-title").textContent = answer.faces.length > 1 ? `Face ${index + 1} of ${answer.faces.length}${decides}` : "The face";
  byId("face-text").textContent = faceText(face, answer.label);
  byId("face-reasons").replaceChildren(...reasonItems({ reason_codes: face.reason_codes, detail: "" }));
  byId("face-reasons").hidden = face.reason_codes.length === 0;
  byId("face-facts").replaceChildren(
    ...Object.entries(faceFacts(face)).flatMap(([name, value]) => [el("dt", { textContent: name }), el("dd", { textContent: value })]),
  );
}

// ---- stages ----

function shown(value) {
  if (value === null || value === undefined) return "none";
  if (Array.isArray(value)) return value.length ? value.map(shown).join(", ") : "none";
  if (typeof value === "object") return Object.entries(value).map(([key, content]) => `${key} ${shown(content)}`).join(", ");
  return typeof value === "number" && !Number.isInteger(value) ? String(Number(value.toPrecision(7))) : String(value);
}

function rows(pairs) {
  return el("dl", {}, ...pairs.flatMap(([name, value]) => [
    el("dt", { textContent: name.replaceAll("_", " ") }), el("dd", { textContent: shown(value) }),
  ]));
}

export function drawStages(answer) {
  const body = (answer.stages ?? []).map(({ stage, face, ...values }) => el(
    "tr", {},
    el("th", { scope: "row", textContent: stage }),
    el("td", { textContent: face === null ? "" : face + 1 }),
    el("td", {}, rows(Object.entries(values))),
  ));
  const head = el("tr", {}, ...["Stage", "Face", "Artifact"].map((name) => el("th", { scope: "col", textContent: name })));
  const about = ["detail", "file_sha256", "contract_digest", "bundle_digest", "detector", "versions", "notes", "warnings", "milliseconds"];
  byId("stages").replaceChildren(
    el("table", {}, el("thead", {}, head), el("tbody", {}, ...body)),
    rows(about.map((key) => [key, answer[key]])),
  );
}
