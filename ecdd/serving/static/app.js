// One picture at a time: choose, digest, send the untouched bytes, show the answer.

import { drawnUpright } from "./orientation.js";
import { digestOf, send, SendingError, suffixOf } from "./sending.js";
import { drawBoxes, drawDigest, drawFace, drawStages, drawTabs, drawVerdict, el, judgedPicture } from "./view.js";

const byId = (id) => document.getElementById(id);

// Name of the text beside the consent box: it is stored with the consent, so a changed text needs another name.
const CONSENT_TEXT = "page consent 1";
// What the page must know of contract and bundle; filled once by `begin`.
const site = { maxBytes: Infinity, grid: null, review: false };
// The picture on show: bytes as they were sent, their digest, the answer, the face that is looked at.
let current = null;
let running = null;

const megabytes = (n) => `${(n / 1e6).toFixed(1)} MB`;

// ---- what is announced ----

// A verdict is announced in one sentence and drawn at length: the sentence is for screen readers only.
function say(text, drawn = false) {
  byId("status").textContent = text;
  byId("status").classList.toggle("heard", drawn);
}

function complain(title, detail = "", toDo = "", retry = null) {
  const box = el("div", { className: "trouble" }, el("strong", { textContent: title }), ` ${detail} ${toDo} `);
  if (retry) box.append(el("button", { type: "button", textContent: "Try again", onclick: retry }));
  byId("alert").replaceChildren(box);
  say("");
}

function clear() {
  byId("alert").replaceChildren();
  byId("boxes").replaceChildren();
  for (const id of ["answer", "faces", "details", "waiting"]) byId(id).hidden = true;
}

// ---- choosing ----

function preview(file, note) {
  const image = byId("preview-image");
  URL.revokeObjectURL(image.src);
  byId("preview").classList.remove("not-drawn");
  image.src = URL.createObjectURL(file);
  image.alt = "The picture that you chose";
  byId("preview").hidden = false;
  byId("drop-hint").hidden = byId("touch-hint").hidden = true;
  byId("preview-caption").textContent = `${file.name || "picture"}, ${file.size.toLocaleString("en")} bytes${note}`;
  byId("file-label").textContent = "Choose another picture";
}

function chosen(files, pasted = false) {
  const file = files[0];
  if (!file) {
    clear();
    complain("That was no file.", "", "Save the picture first, then choose or drop the file: a picture dragged from another page is no file.");
    return;
  }
  const notes = [];
  if (files.length > 1) notes.push(`the first of ${files.length} files; one is judged at a time`);
  if (pasted && file.name === "image.png") notes.push("pasted pixels are saved anew by this computer; the original file tells more");
  preview(file, notes.map((note) => ` (${note})`).join(""));
  judge(file);
}

// ---- judging ----

async function bytesOf(file) {
  try {
    return await file.arrayBuffer();
  } catch {
    throw new SendingError("The file cannot be read.", "It was moved, changed or is a folder.", "Choose it again.", "IO-010");
  }
}

function working(on) {
  byId("progress").hidden = !on;
  byId("result").setAttribute("aria-busy", String(on));
}

function sending(share) {
  byId("bar").value = share;
  say(share < 1 ? `Sending: ${Math.round(100 * share)} %` : "Judging");
}

function waiting(left, status) {
  const why = status === 429 ? "Too many pictures in a short time." : "The site is busy.";
  say(`${why} Asking again in ${left} s.`);
}

async function judge(file) {
  running?.abort();
  const turn = new AbortController();
  running = turn;
  current = null;
  clear();
  working(true);
  byId("bar").value = 0;
  say("Computing the digest of the file");
  try {
    if (file.size > site.maxBytes) {
      throw new SendingError("The file has too many bytes.", `It has ${megabytes(file.size)}; the limit is ${megabytes(site.maxBytes)}.`, "It was not sent.", "IO-003");
    }
    const bytes = await bytesOf(file);
    const digest = await digestOf(bytes);
    const headers = { "Content-Type": "application/octet-stream", ...(digest ? { "X-Content-SHA256": digest } : {}) };
    const query = new URLSearchParams({ detail: "full", name_suffix: suffixOf(file.name) });
    const callbacks = { signal: turn.signal, onProgress: sending, onWait: waiting };
    const answer = await send(`/v1/predict?${query}`, bytes, headers, callbacks);
    if (turn.signal.aborted) return;
    const stored = judgedPicture(answer)?.orientation ?? 1;
    const orientation = (await drawnUpright(bytes, stored)) ? 1 : stored;
    const drawn = await byId("preview-image").decode().then(() => true, () => false);
    if (turn.signal.aborted) return;
    current = { bytes, digest, answer, orientation, suffix: suffixOf(file.name), face: answer.deciding_face ?? 0 };
    show(drawn);
  } catch (error) {
    if (turn !== running) return;
    if (error.name === "AbortError") say("Cancelled. Nothing was judged.");
    else if (error instanceof SendingError) complain(error.message, error.detail, error.toDo, () => judge(file));
    else throw error;
  } finally {
    if (turn === running) working(false);
  }
}

function show(drawn) {
  const { answer, digest, orientation } = current;
  byId("preview").classList.toggle("not-drawn", !drawn);
  if (!drawn) byId("preview-caption").append(" (this browser cannot draw it)");
  if (orientation !== 1) byId("preview-caption").append(" (drawn as it is stored; it was judged upright)");
  const sentence = drawVerdict(answer);
  if (!drawDigest(answer, digest)) complain("The bytes changed on the way.", "The site judged other bytes than this page sent.", "Do not trust this verdict.");
  byId("answer").hidden = false;
  byId("details").hidden = false;
  drawStages(answer);
  showFace(current.face);
  offerReview();
  say(sentence, true);
  byId("verdict-title").focus();
}

function showFace(index, fromPreview = false) {
  const { answer } = current;
  current.face = index;
  byId("faces").hidden = answer.faces.length === 0;
  drawBoxes(answer, current.orientation, index, showFace);
  drawTabs(answer, index, showFace);
  if (answer.faces.length) drawFace(answer, index, site.grid);
  if (fromPreview) {
    byId("faces").scrollIntoView({ block: "nearest" });
    (document.getElementById(`tab-${index}`) ?? byId("opacity")).focus({ preventScroll: true });
  }
}

function moveTab(event) {
  const count = current?.answer.faces.length ?? 0;
  const target = { ArrowRight: current?.face + 1, ArrowLeft: current?.face - 1, Home: 0, End: count - 1 }[event.key];
  if (target === undefined || !count) return;
  event.preventDefault();
  showFace((target + count) % count);
  byId(`tab-${current.face}`).focus();
}

function opacity() {
  byId("map").style.opacity = byId("opacity").value / 100;
  byId("opacity-value").textContent = `${byId("opacity").value} %`;
}

// ---- record and review ----

function download() {
  const { faces, ...rest } = current.answer;
  const record = { ...rest, faces: faces.map(({ crop_png: _pixels, ...face }) => face), client_sha256: current.digest };
  const link = el("a", { href: URL.createObjectURL(new Blob([JSON.stringify(record, null, 1)], { type: "application/json" })) });
  link.download = `ecdd-${(current.digest ?? current.answer.received_sha256 ?? "record").slice(0, 12)}.json`;
  link.click();
  URL.revokeObjectURL(link.href);
}

function offerReview() {
  byId("review").hidden = !site.review || !["judged", "abstained"].includes(current.answer.outcome);
  byId("consent").checked = false;
  byId("consent").disabled = false;
  byId("review-send").disabled = true;
  byId("review-status").textContent = "";
}

async function review(event) {
  event.preventDefault();
  const { bytes, digest, suffix } = current;
  if (!byId("consent").checked) return;
  byId("review-send").disabled = true;
  const headers = { "Content-Type": "application/octet-stream", ...(digest ? { "X-Content-SHA256": digest } : {}) };
  const query = new URLSearchParams({ consent: "given", statement: CONSENT_TEXT, name_suffix: suffix });
  const tell = (text) => { byId("review-status").textContent = text; };
  try {
    const signal = new AbortController().signal;
    const stored = await send(`/v1/review?${query}`, bytes, headers, { signal, onWait: (left) => tell(`The site is busy. Asking again in ${left} s.`) });
    byId("consent").disabled = true;
    tell(`Stored, encrypted, for review. Keep this number to have it deleted: ${stored.item}`);
  } catch (error) {
    if (!(error instanceof SendingError)) throw error;
    tell(`Not stored. ${error.message} ${error.detail} ${error.toDo}`);
    byId("review-send").disabled = false;
  }
}

// ---- beginning ----

async function ask(url) {
  const answer = await fetch(url, { headers: { Accept: "application/json" } });
  if (!answer.ok) throw new Error(`${url}: ${answer.status}`);
  return answer.json();
}

async function begin() {
  try {
    const [contract, bundle] = await Promise.all([ask("/v1/contract"), ask("/v1/bundle")]);
    const knob = (key) => contract.values[key].value;
    site.maxBytes = knob("pixel_pipeline.max_bytes");
    const [side, stride] = [knob("pixel_pipeline.input_size"), knob("patch_grid.stride")];
    const field = knob("patch_grid.receptive_field");
    site.grid = { side, stride, field: field < side ? field : stride }; // who sees all stands for its own tile
    site.review = bundle.review === true;
    byId("retention").textContent = knob("dataset_governance.review_retention_days");
    byId("unless").hidden = !site.review;
    byId("untested").querySelector("ul").replaceChildren(...bundle.never_tested_on.map((text) => el("li", { textContent: text })));
    byId("untested").hidden = false;
    byId("on-device").hidden = bundle.device !== true;
    byId("identity").textContent = `${bundle.name} ${bundle.version} · bundle ${bundle.payload_digest.slice(0, 12)} · contract ${contract.digest.slice(0, 12)}`;
  } catch {
    complain("The site is not ready.", "It did not say which detector it runs.", "Wait a moment, then load this page again.");
    return;
  }
  for (const id of ["file", "camera"]) byId(id).disabled = false;
  document.documentElement.dataset.ready = "true";
}

for (const id of ["file", "camera"]) {
  byId(id).addEventListener("change", (event) => {
    const files = [...event.target.files];
    event.target.value = ""; // the same file may be chosen twice
    if (files.length) chosen(files);
  });
}
document.addEventListener("paste", (event) => {
  if (event.clipboardData.files.length && site.grid) chosen([...event.clipboardData.files], true);
});
document.addEventListener("dragover", (event) => {
  event.preventDefault();
  document.body.classList.add("dragging");
});
document.addEventListener("dragleave", (event) => {
  if (event.relatedTarget === null) document.body.classList.remove("dragging");
});
document.addEventListener("drop", (event) => {
  event.preventDefault();
  document.body.classList.remove("dragging");
  if (site.grid) chosen([...event.dataTransfer.files]);
});
byId("cancel").addEventListener("click", () => running?.abort());
byId("tabs").addEventListener("keydown", moveTab);
byId("opacity").addEventListener("input", opacity);
byId("download").addEventListener("click", download);
byId("consent").addEventListener("change", (event) => { byId("review-send").disabled = !event.target.checked; });
byId("review").addEventListener("submit", review);
if (navigator.maxTouchPoints > 0) { // a camera behind a file input exists on phones and tablets only
  byId("drop-hint").hidden = true;
  for (const id of ["touch-hint", "camera", "camera-label"]) byId(id).hidden = false;
}
opacity();
begin();
