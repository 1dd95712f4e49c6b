// All talk with the service. The access token lives in this module's memory and nowhere else; the session itself is a
// cookie that no script can read. Tabs share it, and a sign-out in one is a sign-out in all.

const BASE = "/api/v1";
const EXPIRY_MARGIN_MS = 30_000;
const LARGEST_PAGE = 200;
const SIGNED_IN = "gtm.signed-in";
const LONGEST_HEADING = 4096;
const NEWLINE = 0x0a;

/** @typedef {import("../api.d.ts").components["schemas"]} Schemas */
/** @typedef {Schemas["UserRead"]} User */
/** @typedef {Schemas["TokenRead"]} Token */
/** @typedef {Pick<Token, "executor" | "places_gpus" | "jobs_run_as_service" | "jobs_share_a_user" | "clock_rate">} Engine */
/** @typedef {Record<string, string | number | boolean | readonly (string | number)[] | null | undefined>} Query */
/** @typedef {{ method?: string, query?: Query, body?: unknown, headers?: Record<string, string>, signal?: AbortSignal }} Options */

/** A refusal of the service, or the lack of any answer (`code` is then `network` and `status` 0). */
export class Problem extends Error {
  /**
   * @param {number} status
   * @param {{ code?: string, title?: string, detail?: string, request_id?: string, errors?: { pointer: string, message: string }[] }} facts
   */
  constructor(status, facts) {
    super(facts.detail ?? facts.code);
    this.name = "Problem";
    this.status = status;
    this.code = facts.code ?? "unknown";
    this.title = facts.title ?? "";
    this.detail = facts.detail ?? "";
    this.requestId = facts.request_id ?? "";
    this.errors = facts.errors ?? [];
    /** What else the answer said, such as `current_status`. */
    this.facts = /** @type {Record<string, unknown>} */ (facts);
  }
}

/** @type {{ value: string, renewAt: number } | null} */
let token = null;
/** @type {User | null} */
let user = null;
/** @type {Engine} until the service has told */
let engine = { executor: "", places_gpus: true, jobs_run_as_service: false, jobs_share_a_user: false, clock_rate: 1 };
/** @type {Promise<void> | null} */
let refreshing = null;
const otherTabs = new BroadcastChannel("gtm.session");
/** @type {Set<(why: "expired" | "signed-out") => void>} */
const farewells = new Set();

otherTabs.onmessage = (/** @type {MessageEvent<string | number>} */ { data }) => {
  if (data === "signed-out") endSession("signed-out");
  else if (user && data !== user.id) location.reload();
};

/** Who is signed in, as far as this page knows. */
export function signedIn() {
  return user;
}

/** What runs the jobs here, and how: what every page may have to know of it. */
export function engineHere() {
  return engine;
}

/** Whether an admin was signed in here last: what to show until the service has said who it is. It opens nothing. */
export function wasAdmin() {
  return remembers() === "admin";
}

/**
 * Called once when the session is over, here or in another tab.
 * @param {(why: "expired" | "signed-out") => void} farewell
 */
export function onSessionEnd(farewell) {
  farewells.add(farewell);
}

/**
 * Who this browser's session belongs to, as its cookie says; null where nobody is signed in.
 * @returns {Promise<User | null>}
 */
export async function restoreSession() {
  return user ?? restoring;
}

async function restore() {
  try {
    await refresh();
  } catch (error) {
    if (!(error instanceof Problem) || error.status !== 401) throw error;
    if (!user) remember(false); // Somebody may have signed in meanwhile.
  }
  return user;
}

/**
 * @param {string} email
 * @param {string} password
 * @returns {Promise<User>}
 */
export async function signIn(email, password) {
  const answer = await send("/auth/login", {
    method: "POST",
    body: new URLSearchParams({ username: email, password }),
  });
  const signedIn = keep(await answer.json());
  remember(true);
  otherTabs.postMessage(signedIn.id);
  return signedIn;
}

export async function signOut() {
  await send("/auth/logout", { method: "POST" });
  otherTabs.postMessage("signed-out");
  endSession("signed-out");
}

/** The access token that this page holds is refused from now on: get the next one. After a change of password. */
export async function renewToken() {
  token = null;
  await refresh();
}

/**
 * Replace what the page knows about its user, after a change of the profile.
 * @param {User} changed
 */
export function updateUser(changed) {
  user = changed;
}

/**
 * @template [Answer=any]
 * @param {string} path below /api/v1
 * @param {Query} [query]
 * @param {AbortSignal} [signal]
 * @returns {Promise<Answer>}
 */
export async function get(path, query, signal) {
  return (await authorised(path, { query, signal })).json();
}

/**
 * One page of a list, and how to get the next.
 * @template [Item=any]
 * @param {string} path
 * @param {Query} [query]
 * @param {AbortSignal} [signal]
 * @returns {Promise<{ items: Item[], cursor: string | null }>} the cursor of the next page, null on the last
 */
export async function getPage(path, query, signal) {
  const answer = await authorised(path, { query, signal });
  return { items: await answer.json(), cursor: nextCursor(answer) };
}

/** @param {Response} answer */
function nextCursor(answer) {
  const next = /<([^>]*)>;\s*rel="next"/.exec(answer.headers.get("Link") ?? "")?.[1];
  return next ? new URL(next, location.href).searchParams.get("cursor") : null;
}

/**
 * The first items of a list, over as many pages as that takes.
 * @template [Item=any]
 * @param {string} path
 * @param {Query} query
 * @param {number} count how many at most
 * @param {AbortSignal} [signal]
 * @returns {Promise<{ items: Item[], hasMore: boolean }>}
 */
export async function getFirst(path, query, count, signal) {
  /** @type {Item[]} */
  const items = [];
  /** @type {string | null} */
  let cursor = null;
  do {
    const limit = Math.min(LARGEST_PAGE, count - items.length);
    /** @type {{ items: Item[], cursor: string | null }} */
    const page = await getPage(path, { ...query, limit, cursor }, signal);
    items.push(...page.items);
    cursor = page.cursor;
  } while (cursor && items.length < count);
  return { items, hasMore: cursor !== null };
}

/**
 * For what is read again and again: a new reading gives up the one that is still under way. Whoever waits for either is
 * done when the newest is drawn: only then is it known what the page shows, and where the focus can go.
 * @param {(signal: AbortSignal) => Promise<void>} read keeps nothing once its signal is aborted
 * @param {() => void} draw
 * @returns {() => Promise<void>}
 */
export function newestOf(read, draw) {
  /** @type {AbortController | null} */
  let reading = null;
  let newest = Promise.resolve();
  return () => {
    newest = readAndDraw();
    return newest;
  };

  async function readAndDraw() {
    reading?.abort();
    reading = new AbortController();
    const { signal } = reading;
    try {
      await read(signal);
    } catch (error) {
      if (!signal.aborted) throw error;
    }
    if (signal.aborted) return newest;
    draw();
  }
}

/**
 * @template [Answer=any]
 * @param {"POST" | "PUT" | "PATCH" | "DELETE"} method
 * @param {string} path
 * @param {unknown} [body] sent as JSON
 * @param {Record<string, string>} [headers]
 * @param {AbortSignal} [signal]
 * @returns {Promise<Answer>} undefined where the answer has no body
 */
export async function call(method, path, body, headers, signal) {
  const answer = await authorised(path, { method, body, headers, signal });
  return answer.status === 204 ? /** @type {Answer} */ (undefined) : answer.json();
}

/**
 * An answer to be read as it comes: events, a log.
 * @param {string} path
 * @param {Options} [options]
 */
export async function open(path, options) {
  return authorised(path, options ?? {});
}

/**
 * Let the browser save what the service answers. A list that comes in several files is saved as one.
 * @param {string} path
 * @param {Query} [query]
 */
export async function download(path, query) {
  let answer = await authorised(path, { query });
  const name = /filename="?([^";]+)/.exec(answer.headers.get("Content-Disposition") ?? "")?.[1] ?? "download";
  const parts = [await answer.blob()];
  for (let cursor = nextCursor(answer); cursor; cursor = nextCursor(answer)) {
    answer = await authorised(path, { query: { ...query, cursor } });
    parts.push(await withoutHeading(await answer.blob()));
  }
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob(parts, { type: parts[0]?.type }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

/** @param {Blob} table whose first line names the columns */
async function withoutHeading(table) {
  const beginning = new Uint8Array(await table.slice(0, LONGEST_HEADING).arrayBuffer());
  return table.slice(beginning.indexOf(NEWLINE) + 1);
}

/**
 * Something that anybody may read, signed in or not.
 * @template [Answer=any]
 * @param {string} path
 * @returns {Promise<Answer>}
 */
export async function getPublic(path) {
  return (await send(path, {})).json();
}

/**
 * Make an account.
 * @param {Schemas["RegisterRequest"]} account
 */
export async function register(account) {
  await send("/auth/register", { method: "POST", body: account });
}

/**
 * A file of the interface itself.
 * @param {URL} address
 */
export async function getFile(address) {
  const answer = await fetch(address, { credentials: "same-origin" });
  if (!answer.ok) throw new Problem(answer.status, { code: "network" });
  return answer.json();
}

/**
 * @param {string} path
 * @param {Options} options
 */
async function authorised(path, options) {
  if (!token || Date.now() >= token.renewAt) await refreshOrLeave();
  const used = token;
  try {
    return await send(path, options, used?.value);
  } catch (error) {
    if (!(error instanceof Problem) || error.status !== 401 || error.code !== "not-authenticated") throw error;
    if (token === used) await refreshOrLeave(); // It was revoked before its time; the session may still be good.
    return send(path, options, token?.value);
  }
}

async function refreshOrLeave() {
  try {
    await refresh();
  } catch (error) {
    if (error instanceof Problem && error.status === 401) endSession("expired");
    throw error;
  }
}

/**
 * Everybody in this page who needs a new token waits for the same one. Two tabs may ask at once, and a page may be left
 * before the answer comes: for half a minute the service answers the same cookie with the same successor.
 */
function refresh() {
  refreshing ??= send("/auth/refresh", { method: "POST" })
    .then(async (answer) => {
      const renewed = await answer.json();
      if (user && renewed.user.id !== user.id) await reload();
      keep(renewed);
      remember(true);
    })
    .finally(() => {
      refreshing = null;
    });
  return refreshing;
}

/**
 * The browser's session is another person's now: nothing may be shown or done in the name of both.
 * @returns {Promise<never>}
 */
function reload() {
  location.reload();
  return new Promise(() => {});
}

/** @param {Token} answer */
function keep(answer) {
  token = { value: answer.access_token, renewAt: Date.now() + answer.expires_in * 1000 - EXPIRY_MARGIN_MS };
  user = answer.user;
  engine = answer;
  return answer.user;
}

/** @param {"expired" | "signed-out"} why */
function endSession(why) {
  token = null;
  user = null;
  remember(false);
  for (const farewell of farewells) farewell(why);
  farewells.clear();
}

/**
 * @param {string} path
 * @param {Options} options
 * @param {string} [bearer]
 */
async function send(path, { method = "GET", query, body, headers, signal }, bearer) {
  const isForm = body instanceof URLSearchParams;
  /** @type {Record<string, string>} */
  const all = { "Accept-Language": document.documentElement.lang, "X-GTM-Request": "1", ...headers };
  if (bearer) all.Authorization = `Bearer ${bearer}`;
  if (body !== undefined && !isForm) all["Content-Type"] = "application/json";
  const address = BASE + path + queryString(query);
  let answer;
  try {
    answer = await fetch(address, {
      method,
      headers: all,
      body: body === undefined || isForm ? body : JSON.stringify(body),
      credentials: "same-origin",
      signal,
    });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Problem(0, { code: "network" });
  }
  if (answer.ok) return answer;
  const facts = await answer.json().catch(() => ({ code: "network" })); // A proxy's own page, not ours.
  throw new Problem(answer.status, facts);
}

/** @param {Query} [query] */
function queryString(query = {}) {
  const pairs = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    for (const each of Array.isArray(value) ? value : [value]) {
      if (each !== null && each !== undefined && each !== "") pairs.append(name, String(each));
    }
  }
  return pairs.size > 0 ? `?${pairs}` : "";
}

/** As what somebody was signed in here last: whether it is worth asking for a session. It opens nothing. */
function remembers() {
  try {
    return localStorage.getItem(SIGNED_IN);
  } catch {
    return "user";
  }
}

/** @param {boolean} isSignedIn */
function remember(isSignedIn) {
  try {
    if (isSignedIn) localStorage.setItem(SIGNED_IN, user?.is_admin ? "admin" : "user");
    else localStorage.removeItem(SIGNED_IN);
  } catch {
    // Asked every time, then.
  }
}

/** Begun as this module loads, while the others are still on their way. */
const restoring = remembers() ? restore() : Promise.resolve(null);
restoring.catch(() => {}); // Whoever asks for it hears of it.
