// News from the service: one stream for all tabs of a browser, and polling where no stream comes through.
//
// The tab that holds the lock reads the stream and passes everything on; when it closes, another takes over. Without
// locks (no TLS) each tab reads its own, while it is seen: a browser has few connections to a server, and a stream in
// each of many tabs would leave none. A tab that hears nothing for a while asks its reader, and then trusts it no more.
import { get, open, Problem } from "./api.js";

/** @typedef {import("./api.js").Schemas["JobStatus"]} Status */
/** @typedef {{ job_id: number, user_id: number, seq: number, kind: string, from_status: Status | null, to_status: Status, at: string }} JobChanged */
/** @typedef {{ user_id: number, kind: string, at: string }} QuotaChanged */
/** @typedef {{ type: "job", data: JobChanged } | { type: "quota", data: QuotaChanged } | { type: "reset" }} News */
/** @typedef {"connecting" | "live" | "polling" | "offline" | "paused"} LiveState */

const SILENCE_MS = 40_000; // The service breaks every silence after 15 s.
const FIRST_NEWS_MS = 8_000;
const LONGEST_START_MS = 700;
const POLL_MS = 15_000;
const AWAY_MS = 5_000;
const MOST_EARLY_NEWS = 20;

/** @type {Set<(news: News) => void>} */
const listeners = new Set();
/** @type {Set<() => void>} */
const watchers = new Set();
const tabs = new BroadcastChannel("gtm.live");

/** @type {LiveState} */
let state = "connecting";
let heardAt = Date.now();
let lastEventId = "";
let attempt = 0;
let isPaused = false;
let hasBegun = false;
let hasAskedReader = false;
/** Whether this tab reads for all of them: then it does so unseen, too. */
let isChosen = false;
/** @type {Promise<void> | null} this tab's own reading, which ends with the session */
let reader = null;
/** @type {AbortController | null} */
let stream = null;
let resume = () => {};
/** @type {News[]} what came while those who want to hear of it still read their data */
let earlyNews = [];

/** @returns {{ state: LiveState, heardAt: Date }} */
export function liveState() {
  return { state: isPaused ? "paused" : state, heardAt: new Date(heardAt) };
}

/**
 * Called with all news since `startLive`; a `reset` says that what the page shows may be out of date.
 * @param {(news: News) => void} listener
 */
export function onNews(listener) {
  const missed = [...earlyNews];
  listeners.add(listener);
  queueMicrotask(() => missed.forEach(listener));
}

/**
 * Read something again when news concern it: at once, and once more after a burst.
 * @param {(news: News) => boolean} concerns
 * @param {() => Promise<unknown>} load
 */
export function reloadOn(concerns, load) {
  const reload = coalesced(load);
  onNews((news) => {
    if (news.type === "reset" || concerns(news)) reload();
  });
}

/**
 * Called when the state of the connection changes.
 * @param {() => void} watcher
 */
export function onLiveState(watcher) {
  watchers.add(watcher);
}

/** Stop what the page shows from changing under its reader's eyes, or let it go on and catch up. */
export function togglePause() {
  isPaused = !isPaused;
  if (!isPaused) tell({ type: "reset" });
  notify();
}

/**
 * Begin to listen. What is read after this resolves is as new as the stream: nothing is missed between the two, and
 * nothing has to be read twice. A stream that is slow to come is not waited for: its first word is a `reset`.
 */
export async function startLive() {
  const begun = new Promise((resolve) => onLiveState(() => resolve(undefined)));
  tabs.onmessage = ({ data }) => {
    if (data.isAsking && reader) post({ state });
    if (data.isAsking || reader) return;
    heardAt = Date.now();
    hasAskedReader = false;
    if (data.state) setState(data.state);
    if (data.news) tell(data.news);
  };
  setInterval(watch, 5_000);
  addEventListener("online", () => stream?.abort());
  addEventListener("pagehide", () => stream?.abort());
  addEventListener("pageshow", (event) => {
    if (event.persisted) tell({ type: "reset" });
  });
  document.addEventListener("visibilitychange", () => (isResting() ? stream?.abort() : resume()));
  post({ isAsking: true });
  if (navigator.locks) navigator.locks.request("gtm.live", readForAll).catch(readAlone);
  else readAlone();
  await Promise.race([begun, wait(LONGEST_START_MS)]);
  hasBegun = true;
}

/** A follower that gets no answer from the reader of all tabs, which may be frozen, becomes a reader itself. */
function watch() {
  if (Date.now() - heardAt < SILENCE_MS) return;
  if (reader) {
    if (state === "live") stream?.abort();
  } else if (hasAskedReader) readAlone();
  else {
    hasAskedReader = true;
    post({ isAsking: true });
  }
}

function readForAll() {
  isChosen = true;
  resume();
  return readAlone();
}

function readAlone() {
  reader ??= read();
  return reader;
}

function isResting() {
  return document.hidden && !isChosen;
}

async function read() {
  for (;;) {
    await isWanted();
    try {
      await readOnce();
    } catch (error) {
      if (error instanceof Problem && error.status === 401) return; // The session is over, and the page leaves.
      if (!isResting()) attempt += 1;
    }
    setState(await stateWithout());
    if (state === "polling") tell({ type: "reset" }, { andOthers: true });
    await wait(untilRetry() * (0.8 + Math.random() * 0.4));
  }
}

async function isWanted() {
  while (isResting()) await new Promise((resolve) => (resume = () => resolve(undefined)));
}

/**
 * What to say while there is no stream: after a few tries, whether it is the stream alone that does not come through.
 * @returns {Promise<LiveState>}
 */
async function stateWithout() {
  if (attempt <= 2) return "connecting";
  try {
    await get("/about", {}, AbortSignal.timeout(FIRST_NEWS_MS));
    return "polling";
  } catch (error) {
    return error instanceof Problem && error.code !== "network" ? "polling" : "offline";
  }
}

function untilRetry() {
  if (state === "polling") return POLL_MS;
  return state === "offline" ? AWAY_MS : 500 * 2 ** attempt;
}

/** Read one stream to its end. Throws where it fails, or brings nothing at all. */
async function readOnce() {
  const opened = new AbortController();
  const impatience = setTimeout(() => opened.abort(), FIRST_NEWS_MS);
  stream = opened;
  try {
    /** @type {Record<string, string>} */
    const headers = lastEventId ? { "Last-Event-ID": lastEventId } : {};
    const answer = await open("/events", { headers, signal: opened.signal });
    if (!answer.body) throw new Problem(0, { code: "network" });
    // With a known place there may be nothing to say at first, but then the answer's head has come.
    if (lastEventId) arrive();
    let rest = "";
    let isEmpty = true;
    const chunks = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    for (;;) {
      const { value, done } = await chunks.read();
      if (done && isEmpty) throw new Problem(0, { code: "network" });
      if (done) return;
      isEmpty = false;
      attempt = 0;
      arrive();
      const frames = (rest + value).split("\n\n");
      rest = frames.pop() ?? "";
      for (const frame of frames) receive(frame);
    }
  } finally {
    clearTimeout(impatience);
    opened.abort(); // Whatever went wrong, it keeps no connection.
  }

  function arrive() {
    clearTimeout(impatience);
    heardAt = Date.now();
    setState("live");
    post({ state });
  }
}

/** @param {string} frame */
function receive(frame) {
  /** @type {Record<string, string>} */
  const fields = {};
  for (const line of frame.split("\n")) {
    const [name, ...value] = line.split(":");
    if (name) fields[name] = value.join(":").trimStart();
  }
  if (fields.id) lastEventId = fields.id;
  const type = fields.event;
  if (type === "reset") tell({ type }, { andOthers: true });
  else if (type === "job" || type === "quota")
    tell({ type, data: JSON.parse(fields.data ?? "null") }, { andOthers: true });
}

/**
 * @param {News} news
 * @param {{ andOthers?: boolean }} [scope]
 */
function tell(news, { andOthers = false } = {}) {
  if (andOthers) post({ news, state });
  if (isPaused) return;
  if (hasBegun) keepForLatecomers(news);
  for (const listener of listeners) listener(news);
  notify();
}

/** @param {News} news */
function keepForLatecomers(news) {
  if (news.type === "reset" || earlyNews.length === MOST_EARLY_NEWS) earlyNews = [{ type: "reset" }];
  else if (earlyNews[0]?.type !== "reset") earlyNews.push(news);
}

/**
 * Tell the other tabs, once this one has done what it has to do.
 * @param {object} message
 */
function post(message) {
  setTimeout(() => tabs.postMessage(message));
}

/** @param {LiveState} next */
function setState(next) {
  if (state === next) return;
  state = next;
  if (reader) post({ state });
  notify();
}

function notify() {
  for (const watcher of watchers) watcher();
}

/** @param {() => Promise<unknown>} load */
function coalesced(load) {
  let isLoading = false;
  let isStale = false;
  return async function reload() {
    if (isLoading) {
      isStale = true;
      return;
    }
    isLoading = true;
    try {
      do {
        isStale = false;
        await load();
        await wait(200);
      } while (isStale);
    } finally {
      isLoading = false;
    }
  };
}

/** @param {number} milliseconds */
function wait(milliseconds) {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
