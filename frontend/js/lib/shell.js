// What surrounds every page: the session, the navigation, language and theme, the live badge, short messages.
import { call, get, onSessionEnd, Problem, restoreSession, signedIn, signOut, updateUser, wasAdmin } from "./api.js";
import { hasBegun, html, icon, nothing, place, render, showCurrentTab } from "./html.js";
import { explain, language, number, personName, t, time, translatePage } from "./i18n.js";
import { liveState, onLiveState, reloadOn, startLive, togglePause } from "./live.js";

/** @typedef {import("./api.js").User} User */
/** @typedef {import("./html.js").Content} Content */

const HERE = new URL(document.documentElement.dataset.root ?? "./", location.href);
const PAGES = [
  { name: "dashboard", path: "index.html", icon: "speedometer2" },
  { name: "jobs", path: "jobs.html", icon: "list-task" },
];
const ADMIN_PAGES = [
  { name: "requests", path: "admin/requests.html", icon: "inbox" },
  { name: "users", path: "admin/users.html", icon: "people" },
  { name: "fleet", path: "admin/fleet.html", icon: "hdd-rack" },
  { name: "reports", path: "admin/reports.html", icon: "bar-chart-line" },
  { name: "audit", path: "admin/audit.html", icon: "journal-text" },
];
// locale keys: nav.* theme.* live.*
const THEMES = /** @type {const} */ ({ system: "circle-half", light: "sun", dark: "moon-stars" });
const TOAST_MS = 7_000;
const TICK_MS = 30_000;
const TYPING_MS = 250;

let current = "";
/** @type {number | null} */
let requestsWaiting = null;

/**
 * Begin a page for people who are signed in; others are sent to sign in and come back. Never returns for those.
 * @param {string} name of the page, as in the navigation
 * @param {{ forAdmins?: boolean }} [options]
 * @returns {Promise<User>}
 */
export async function startPage(name, { forAdmins = false } = {}) {
  current = name;
  translatePage();
  document.title = t("app.page_title", { page: document.querySelector("h1")?.textContent?.trim() || t(`nav.${name}`) });
  drawBar(null);
  onSessionEnd((why) => leave(why));
  const user = await restored();
  if (!user) return leave();
  if (user.locale && user.locale !== language.code && keep("gtm.language", user.locale) && !hasBegun()) {
    location.reload(); // Whoever is typing here already reads the next page in their language.
    return never();
  }
  onLiveState(drawBadge);
  const listening = startLive();
  if (forAdmins && !user.is_admin) return refuse();
  drawBar(user);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => switchTheme(chosenTheme()));
  await listening;
  if (user.is_admin && name !== "requests") {
    countRequests();
    reloadOn((news) => news.type === "job", countRequests);
  }
  return user;
}

/** Begin a page for people who are not signed in. */
export function startPublicPage() {
  translatePage();
  document.title = t("app.page_title", { page: document.querySelector("h1")?.textContent?.trim() ?? "" });
  render(html`${brand()}<div class="bar-tools">${languageButton()}${themeButton()}</div>`, place("#bar"));
}

/**
 * A page of the interface.
 * @param {string} path such as `job.html?id=7`
 */
export function pageUrl(path) {
  const { pathname, search } = new URL(path, HERE);
  return pathname + search;
}

/**
 * Whether a click on a link asks for another tab or window, and not for this one to change.
 * @param {MouseEvent} event
 */
export function isForNewTab({ ctrlKey, metaKey, shiftKey }) {
  return ctrlKey || metaKey || shiftKey;
}

/** Where to go after signing in: the page that was asked for, if it is one of ours. */
export function pageAskedFor() {
  const next = new URLSearchParams(location.search).get("next");
  const url = next?.startsWith("/") ? new URL(next, location.origin) : null;
  const isOurs = url?.origin === location.origin && url.pathname.startsWith(HERE.pathname);
  return url && isOurs ? url.pathname + url.search : pageUrl("index.html");
}

/**
 * Say something shortly; it is read out too.
 * @param {Content} message
 * @param {"success" | "problem" | "info"} [kind]
 */
export function toast(message, kind = "success") {
  const element = document.createElement("div");
  element.className = `toast-message toast-${kind}`;
  const mark = { success: "check-circle-fill", problem: "exclamation-triangle-fill", info: "info-circle" }[kind];
  render(
    html`${icon(mark)}
      <p>${message}</p>
      <button type="button" class="button-quiet button-icon" aria-label=${t("toast.close")} @click=${() => element.remove()}>
        ${icon("x-lg")}
      </button>`,
    element,
  );
  place("#toasts").append(element);
  if (kind !== "problem") setTimeout(() => element.remove(), TOAST_MS);
}

/**
 * Say what went wrong with something that has no form to say it in.
 * @param {unknown} error
 */
export function toastProblem(error) {
  if (error instanceof Problem && error.status === 401) return; // The page is leaving.
  const id = error instanceof Problem && error.status >= 500 ? error.requestId : "";
  toast(html`${explain(error)}${id ? html` ${requestIdOf(id)}` : nothing}`, "problem");
}

/**
 * In place of what could not be read, with a way to try again.
 * @param {unknown} error
 * @param {() => unknown} retry
 */
export function problemPanel(error, retry) {
  const id = error instanceof Problem && error.status >= 500 ? error.requestId : "";
  return html`<div class="empty" role="alert">
    ${icon("exclamation-triangle", "empty-icon")}
    <p class="empty-title">${explain(error)}</p>
    ${id ? html`<p class="empty-text">${requestIdOf(id)}</p>` : nothing}
    <button type="button" class="button" @click=${retry}>${icon("arrow-clockwise")}${t("error.retry")}</button>
  </div>`;
}

/**
 * For a page that shows what its address asks for: a tab, words, a person. Each choice is a step in the history; each
 * letter of a search is not.
 * @template {Record<string, string>} Wish
 * @param {object} page
 * @param {Wish} page.usual what an address without parameters asks for
 * @param {Partial<Record<keyof Wish, string>>} [page.names] of parameters that are not called as in the wish
 * @param {() => Wish} page.current
 * @param {(wish: Wish) => Wish} [page.possible] the wish without what does not go together
 * @param {(next: Wish) => Promise<void>} page.turnTo shows something else
 */
export function wishesInAddress({ usual, names = {}, current, possible = (wish) => wish, turnTo }) {
  let typing = 0;
  return { addressOf, want, follow, searchSoon };

  /** @param {Partial<Wish>} change what the address would ask for besides what it does */
  function addressOf(change) {
    const asked = new URLSearchParams();
    for (const [name, value] of Object.entries(possible({ ...current(), ...change }))) {
      if (value !== usual[name]) asked.set(names[name] ?? name, value);
    }
    return asked.size > 0 ? `?${asked}` : location.pathname;
  }

  /**
   * @param {Partial<Wish>} change
   * @param {{ isStep?: boolean }} [how]
   */
  function want(change, { isStep = true } = {}) {
    if (isStep) history.pushState({ isWithin: true }, "", addressOf(change));
    else history.replaceState(history.state, "", addressOf(change));
    return turnTo(possible({ ...current(), ...change }));
  }

  /**
   * Without a new page, unless another tab or window is wanted: null, then.
   * @param {MouseEvent} event
   * @param {Partial<Wish>} change
   */
  function follow(event, change) {
    if (isForNewTab(event)) return null;
    event.preventDefault();
    return want(change);
  }

  /** @param {Event} event */
  function searchSoon({ target }) {
    clearTimeout(typing);
    const input = /** @type {HTMLInputElement} */ (target);
    const search = () => want(/** @type {any} */ ({ q: input.value }), { isStep: false });
    typing = window.setTimeout(search, TYPING_MS);
  }
}

/**
 * Read what is asked for, and say it where that fails: in its place, or beside what is shown there.
 * @param {HTMLElement} target
 * @param {object} how
 * @param {() => Promise<void>} how.load
 * @param {() => boolean} how.isShown whether there is something to stay
 * @param {() => unknown} how.retry
 */
export async function showBusy(target, { load, isShown, retry }) {
  target.setAttribute("aria-busy", "true");
  try {
    await load();
  } catch (error) {
    if (isShown()) toastProblem(error);
    else render(problemPanel(error, retry), target);
  } finally {
    target.removeAttribute("aria-busy");
    showCurrentTab();
  }
}

/**
 * Draw again what depends on the time of day, such as "2 minutes ago".
 * @param {() => void} draw
 */
export function onTick(draw) {
  setInterval(() => {
    if (!document.hidden) draw();
  }, TICK_MS);
}

/**
 * Copy text; without TLS browsers have only the old way.
 * @param {string} text
 */
export async function copy(text) {
  const isCopied = navigator.clipboard
    ? await navigator.clipboard.writeText(text).then(
        () => true,
        () => false,
      )
    : copyTheOldWay(text);
  toast(t(isCopied ? "toast.copied" : "toast.not_copied"), isCopied ? "success" : "problem");
}

/**
 * Text as programs write it, with a button that copies it.
 * @param {{ id: string, label: Content, text?: string }} what `text` can be put into the element `id` later
 */
export function copyable({ id, label, text = "" }) {
  return html`<div class="copyable">
    <div class="copyable-head">
      <p class="small" id="${id}-label">${label}</p>
      <button type="button" class="button button-small" aria-describedby="${id}-label" @click=${() => copy(place(`#${id}`).textContent ?? "")}>
        ${icon("copy")}${t("action.copy")}
      </button>
    </div>
    <pre id=${id} class="code-block" dir="ltr" tabindex="0">${text}</pre>
  </div>`;
}

/** @param {string} text */
function copyTheOldWay(text) {
  const opener = /** @type {HTMLElement | null} */ (document.activeElement);
  const area = document.createElement("textarea");
  area.value = text;
  (document.querySelector("dialog[open]") ?? document.body).append(area); // Beside an open dialog nothing is selected.
  area.select();
  const isCopied = document.execCommand("copy");
  area.remove();
  opener?.focus();
  return isCopied;
}

/**
 * How many requests wait for a decision, shown beside their page in the navigation.
 * @param {number} count
 */
export function showRequestsWaiting(count) {
  requestsWaiting = count;
  drawBar(signedIn());
}

/** Draw the navigation again, after a change of the account. */
export function redraw() {
  drawBar(signedIn());
}

/** @param {string} id */
function requestIdOf(id) {
  return html`${t("error.request_id")} <code dir="ltr">${id}</code>
    <button type="button" class="button-quiet button-small" @click=${() => copy(id)}>${icon("copy")}${t("action.copy")}</button>`;
}

/** @returns {Promise<User | null>} */
async function restored() {
  try {
    return await restoreSession();
  } catch (error) {
    render(
      problemPanel(error, () => location.reload()),
      place("#main"),
    );
    return never();
  }
}

/**
 * @param {"expired" | "signed-out"} [why]
 * @returns {Promise<never>}
 */
function leave(why) {
  const login = new URL(pageUrl("login.html"), location.origin);
  login.searchParams.set("next", location.pathname + location.search);
  if (why) login.searchParams.set("why", why);
  location.replace(login);
  return never();
}

/** The page of requests counts them itself. */
async function countRequests() {
  const counts = await get("/admin/jobs/counts").catch(() => null);
  if (counts) showRequestsWaiting(counts.PENDING);
}

/** @returns {Promise<never>} */
function refuse() {
  drawBar(signedIn());
  render(
    html`<div class="empty">
      ${icon("shield-check", "empty-icon")}
      <h1 class="empty-title">${t("admin_only.title")}</h1>
      <p class="empty-text">${t("admin_only.text")}</p>
      <a class="button button-primary" href=${pageUrl("index.html")}>${t("nav.dashboard")}</a>
    </div>`,
    place("#main"),
  );
  return never();
}

/** @param {User | null} user null until it is known who it is: the frame stands already as it will be */
function drawBar(user) {
  render(
    html`${brand()}
      <div class="bar-tools">
        <div id="live" class="live"></div>
        <button type="button" id="menu-button" class="button-quiet button-icon menu-button" aria-expanded="false" aria-controls="navigation"
          aria-label=${t("nav.menu")} @click=${toggleMenu}>${icon("list")}</button>
      </div>
      <nav id="navigation" class="navigation" aria-label=${t("nav.label")} @keydown=${closeOnEscape}>
        ${links(PAGES)}
        ${(user?.is_admin ?? wasAdmin()) ? html`<p class="navigation-heading">${t("nav.administration")}</p>${links(ADMIN_PAGES)}` : nothing}
        <div class="navigation-end">
          ${account(user)}
          <div class="navigation-tools">${languageButton()}${themeButton()}</div>
        </div>
      </nav>`,
    place("#bar"),
  );
  drawBadge();
}

function brand() {
  return html`<a class="brand" href=${pageUrl("index.html")}>${icon("gpu-card", "brand-mark")}<span>${t("app.name")}</span></a>`;
}

/** @param {readonly { name: string, path: string, icon: string }[]} pages */
function links(pages) {
  return html`<ul class="navigation-list">
    ${pages.map(
      ({ name, path, icon: mark }) => html`<li>
        <a class="navigation-link" href=${pageUrl(path)} aria-current=${name === current ? "page" : nothing}>
          ${icon(mark)}<span>${t(`nav.${name}`)}</span>
          ${
            name === "requests" && requestsWaiting
              ? html`<span class="count" title=${t("nav.requests_waiting", { count: requestsWaiting })}>${number(requestsWaiting)}</span>`
              : nothing
          }
        </a>
      </li>`,
    )}
  </ul>`;
}

/** @param {User | null} user */
function account(user) {
  return html`<ul class="navigation-list">
    <li>
      <a class="navigation-link" href=${pageUrl("profile.html")} aria-current=${current === "profile" ? "page" : nothing}>
        ${icon("person-circle")}<span class="truncate">${user ? personName(user) : t("nav.profile")}</span>
      </a>
    </li>
    <li>
      <button type="button" class="navigation-link" @click=${() => signOut().catch(toastProblem)}>
        ${icon("box-arrow-right", "icon-directional")}<span>${t("nav.sign_out")}</span>
      </button>
    </li>
  </ul>`;
}

function languageButton() {
  const other = language.code === "fa" ? "en" : "fa";
  const name = other === "fa" ? "فارسی" : "English";
  return html`<button type="button" class="button-quiet" lang=${other} dir=${other === "fa" ? "rtl" : "ltr"} @click=${() => switchLanguage(other)}>
    ${icon("translate")}<span>${name}</span>
  </button>`;
}

/** @param {"fa" | "en"} code */
export async function switchLanguage(code) {
  try {
    if (signedIn()) updateUser(await call("PATCH", "/auth/me", { locale: code }));
  } catch (error) {
    return toastProblem(error);
  }
  keep("gtm.language", code);
  location.reload();
}

function themeButton() {
  const theme = chosenTheme();
  const names = /** @type {(keyof typeof THEMES)[]} */ (Object.keys(THEMES));
  const next = names[(names.indexOf(theme) + 1) % names.length] ?? "system";
  return html`<button type="button" class="button-quiet button-icon" aria-label=${t("theme.switch", { now: t(`theme.${theme}`), next: t(`theme.${next}`) })}
    title=${t("theme.switch", { now: t(`theme.${theme}`), next: t(`theme.${next}`) })} @click=${() => switchTheme(next)}>
    ${icon(THEMES[theme])}
  </button>`;
}

/** @returns {keyof typeof THEMES} */
export function chosenTheme() {
  const theme = kept("gtm.theme");
  return theme === "light" || theme === "dark" ? theme : "system";
}

/** @param {keyof typeof THEMES} theme */
export function switchTheme(theme) {
  keep("gtm.theme", theme === "system" ? null : theme);
  const isDark = theme === "system" ? matchMedia("(prefers-color-scheme: dark)").matches : theme === "dark";
  document.documentElement.dataset.bsTheme = isDark ? "dark" : "light";
  if (place("#bar").querySelector("#navigation")) drawBar(signedIn());
  else startPublicPage();
  dispatchEvent(new Event("gtm:theme"));
}

function drawBadge() {
  const { state } = liveState();
  const marks = {
    live: "circle-fill",
    connecting: "arrow-repeat",
    polling: "clock-history",
    offline: "wifi-off",
    paused: "pause-fill",
  };
  render(
    html`<button type="button" class="live-badge live-${state}" @click=${togglePause} @pointerenter=${explainBadge} @focus=${explainBadge}>
      ${icon(marks[state])}<span>${t(`live.${state}`)}</span>
    </button>`,
    place("#live"),
  );
}

/** @param {Event} event */
function explainBadge({ currentTarget }) {
  const { state, heardAt } = liveState();
  const action = t(state === "paused" ? "live.resume" : "live.pause");
  /** @type {HTMLElement} */ (currentTarget).title = t("live.updated", { time: time(heardAt), action });
}

function toggleMenu() {
  const isOpen = place("#navigation").classList.toggle("open");
  place("#menu-button").setAttribute("aria-expanded", String(isOpen));
}

/** @param {KeyboardEvent} event */
function closeOnEscape(event) {
  if (event.key !== "Escape" || !place("#navigation").classList.contains("open")) return;
  toggleMenu();
  place("#menu-button").focus();
}

/** @param {string} name */
function kept(name) {
  try {
    return localStorage.getItem(name);
  } catch {
    return null;
  }
}

/**
 * @param {string} name
 * @param {string | null} value
 * @returns {boolean} false where the browser keeps nothing: it holds for this page, then
 */
function keep(name, value) {
  try {
    if (value === null) localStorage.removeItem(name);
    else localStorage.setItem(name, value);
    return true;
  } catch {
    return false;
  }
}

/** @returns {Promise<never>} */
function never() {
  return new Promise(() => {});
}
