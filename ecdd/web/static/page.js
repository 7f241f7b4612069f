// The page: a picture in, a verdict out. Nothing is sent; the page works with the network cut once it is loaded.

import { load } from "./judge.js";

const element = (id) => document.getElementById(id);
const WORDS = { real: "Judged real", fake: "Judged fake", abstain: "No verdict" };

const config = await (await fetch("./config.json")).json();
const judging = load(config);

judging.then(
  () => {
    element("file").disabled = false;
    element("status").textContent = "Ready. The picture stays on this device.";
  },
  (error) => {
    element("status").textContent = `This browser cannot run the detector: ${error.message}`;
  },
);

async function show(file) {
  element("status").textContent = "Judging…";
  const judge = await judging, started = performance.now();
  const { record } = await judge(new Uint8Array(await file.arrayBuffer()), file.name);
  const took = Math.round(performance.now() - started), { s8 } = record;
  const deciding = s8.deciding_face === null ? null : record.faces[s8.deciding_face];
  element("title").textContent = WORDS[s8.label];
  element("result").className = s8.label;
  element("probability").textContent = deciding ? `P(fake) ${deciding.probability.toFixed(3)}` : "";
  element("reasons").replaceChildren(...s8.reason_codes.map((code) => {
    const line = document.createElement("li");
    line.textContent = `${code}: ${(config.reasons[code] || [""]).join(" ")}`;
    return line;
  }));
  element("status").textContent = `${record.faces.length} ${record.faces.length === 1 ? "face" : "faces"}, ${took} ms on this device.`;
}

element("file").addEventListener("change", () => element("file").files[0] && show(element("file").files[0]));
document.addEventListener("dragover", (event) => event.preventDefault());
document.addEventListener("drop", (event) => {
  event.preventDefault();
  if (event.dataTransfer.files[0] && !element("file").disabled) show(event.dataTransfer.files[0]);
});

// For tests: judges bytes and gives record and arrays, the arrays as base64, in the form of docs/device_kit.md.
async function packed(values) {
  const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  const url = await new Promise((resolve) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.readAsDataURL(new Blob([bytes]));
  });
  return url.slice(url.indexOf(",") + 1);
}

window.ecdd = {
  ready: judging.then(() => true),
  async dump(base64, name) {
    const bytes = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
    const { record, arrays } = await (await judging)(bytes, name);
    for (const one of Object.values(arrays)) one.values = await packed(one.values);
    return { record, arrays };
  },
};
