// From a file to the site's answer: digest of the bytes, upload with progress, waiting when the site is busy.

const BUSY = new Set([429, 503]);
const TITLES = {
  404: "The site does not offer this.",
  413: "The file is too large.",
  415: "This kind of file is not supported.",
  422: "The file cannot be read.",
  429: "Too many pictures in a short time.",
  503: "The site is busy.",
};
const MOST_TRIES = 8;
const LONGEST_WAIT = 120; // seconds; a site that asks for more is treated as not available

export class SendingError extends Error {
  constructor(title, detail, toDo, code = "") {
    super(title);
    this.detail = detail;
    this.toDo = toDo;
    this.code = code;
  }
}

// SHA-256 in hex, or null where the browser offers no crypto (plain http on another host).
export async function digestOf(bytes) {
  if (!globalThis.crypto?.subtle) return null;
  const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return Array.from(hash, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

// Only the ending of the name leaves this page; the name itself does not.
export function suffixOf(name) {
  return /\.[A-Za-z0-9]{1,8}$/.exec(name ?? "")?.[0].toLowerCase() ?? "";
}

function post(url, body, headers, { signal, onProgress }) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", url);
    for (const [name, value] of Object.entries(headers)) request.setRequestHeader(name, value);
    request.upload.onprogress = (event) => onProgress?.(event.lengthComputable ? event.loaded / event.total : 0);
    request.upload.onload = () => onProgress?.(1);
    request.onload = () => resolve(request);
    request.onerror = () => reject(new SendingError(
      "The site did not answer.",
      "The connection failed or was closed.",
      "Check that ecdd serve is still running, then try again.",
    ));
    request.onabort = () => reject(new DOMException("cancelled", "AbortError"));
    signal.addEventListener("abort", () => request.abort(), { once: true });
    request.send(body);
  });
}

function wait(seconds, signal, onSecond) {
  return new Promise((resolve, reject) => {
    const until = Date.now() + 1000 * seconds;
    const tick = () => {
      const left = Math.ceil((until - Date.now()) / 1000);
      if (left <= 0) { clearInterval(timer); resolve(); } else onSecond(left);
    };
    const timer = setInterval(tick, 250);
    signal.addEventListener("abort", () => {
      clearInterval(timer);
      reject(new DOMException("cancelled", "AbortError"));
    }, { once: true });
    tick();
  });
}

function secondsToWait(request) {
  const said = request.getResponseHeader("Retry-After");
  const seconds = Number(said);
  return said !== null && Number.isFinite(seconds) && seconds >= 0 ? Math.max(1, seconds) : null;
}

function problem(status, content) {
  if (content?.code === "digest_mismatch") {
    return new SendingError(
      "The bytes changed on the way: nothing was judged.",
      "The site received other bytes than this page sent.",
      "Something between this page and the site changes files (a proxy, a virus scanner). Do not trust verdicts over this connection.",
      content.code,
    );
  }
  const title = content?.title ?? TITLES[status] ?? `The site answered with error ${status}.`;
  return new SendingError(title, content?.detail ?? "", content?.what_to_do ?? "Try again later.", content?.code);
}

// Sends bytes as they are and gives the parsed answer. A busy site (429, 503 with Retry-After) is asked again.
export async function send(url, bytes, headers, { signal, onProgress, onWait }) {
  for (let attempt = 1; ; attempt += 1) {
    const request = await post(url, bytes, headers, { signal, onProgress });
    let content = null;
    try {
      content = JSON.parse(request.responseText);
    } catch {
      // an answer that is no JSON is described by its status below
    }
    if (content && (content.outcome || request.status < 300)) return content;
    const seconds = BUSY.has(request.status) ? secondsToWait(request) : null;
    if (seconds === null || seconds > LONGEST_WAIT || attempt >= MOST_TRIES) throw problem(request.status, content);
    await wait(seconds, signal, (left) => onWait(left, request.status));
  }
}
