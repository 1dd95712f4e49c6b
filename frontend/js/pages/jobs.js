// The reader's own jobs. What is asked for stands in the address: a tab, a status, words.
import { download, get, getFirst, newestOf, signedIn } from "../lib/api.js";
import { html, icon, nothing, place, render, renderRows } from "../lib/html.js";
import { agoTime, hours, number, t } from "../lib/i18n.js";
import { ACTIVE, act, FINISHED, gpusAsked, jobLink, jobSentence, statusBadge, WAITING } from "../lib/jobs.js";
import { reloadOn } from "../lib/live.js";
import { onTick, pageUrl, showBusy, startPage, toastProblem, wishesInAddress } from "../lib/shell.js";

/** @typedef {import("../lib/api.js").Schemas} Schemas */
/** @typedef {Schemas["JobRead"]} Job */
/** @typedef {Job["status"]} Status */
/** @typedef {"all" | "active" | "waiting" | "finished"} Tab */
/** @typedef {{ tab: Tab, status: Status | "", q: string }} Wish */

// locale keys: job.status.* jobs.tab.* jobs.none.*
/** @type {Record<Tab, readonly Status[]>} */
const TABS = { all: [...ACTIVE, ...FINISHED], active: ACTIVE, waiting: WAITING, finished: FINISHED };
/** @type {Wish} */
const USUAL = { tab: "all", status: "", q: "" };
const STEP = 50;

await startPage("jobs");
let wish = wishInAddress();
/** How many are shown at most. */
let length = STEP;
/** @type {Job[]} */
let jobs = [];
let hasMore = false;
/** @type {Schemas["JobCounts"] | null} */
let counts = null;
const load = newestOf(read, draw);
const { addressOf, want, follow, searchSoon } = wishesInAddress({
  usual: USUAL,
  current: () => wish,
  possible,
  turnTo,
});

render(
  html`<a class="button" href=${pageUrl("index.html#name")}>${icon("plus-lg")}${t("submit.title")}</a>`,
  place("#page-actions"),
);
reloadOn((news) => news.type === "job" && news.data.user_id === signedIn()?.id, reload);
await show();
onTick(drawList);
addEventListener("popstate", () => turnTo(wishInAddress()));
document.addEventListener("keydown", goToSearch);

/** @returns {Wish} */
function wishInAddress() {
  const asked = new URLSearchParams(location.search);
  const tab = /** @type {Tab} */ (asked.get("tab"));
  return possible({
    tab: Object.hasOwn(TABS, tab) ? tab : USUAL.tab,
    status: /** @type {Status} */ (asked.get("status") ?? ""),
    q: asked.get("q") ?? "",
  });
}

/**
 * The same wish without a status that its tab does not have.
 * @param {Wish} wish
 * @returns {Wish}
 */
function possible({ tab, status, q }) {
  return { tab, status: status && TABS[tab].includes(status) ? status : "", q };
}

/** @param {Wish} next */
function turnTo(next) {
  wish = next;
  length = STEP;
  return show();
}

/** Read what the reader asked for. */
async function show() {
  drawTabs();
  drawFilters();
  await showBusy(place("#list"), { load, isShown: () => counts !== null, retry: show });
}

/** Read again what is shown. Where that fails it stays, and the badge tells of the connection. */
async function reload() {
  await load().catch(() => {});
}

function draw() {
  drawTabs();
  drawFilters();
  drawList();
}

/**
 * As many as are shown, from the top: new jobs come in above.
 * @param {AbortSignal} signal
 */
async function read(signal) {
  const [found, total] = await Promise.all([
    getFirst("/jobs", filters(), length, signal),
    get("/jobs/counts", {}, signal),
  ]);
  signal.throwIfAborted();
  jobs = found.items;
  hasMore = found.hasMore;
  counts = total;
}

/** What the service is asked for, in the list and in the spreadsheet. */
function filters() {
  const statuses = wish.tab === "all" ? [] : TABS[wish.tab];
  return { status: wish.status || statuses, q: wish.q.trim() };
}

function drawTabs() {
  const tabs = /** @type {Tab[]} */ (Object.keys(TABS));
  render(
    html`${tabs.map((tab) => {
      return html`<a class="tab" href=${addressOf({ tab })} aria-current=${tab === wish.tab ? "true" : nothing}
        @click=${(/** @type {MouseEvent} */ event) => follow(event, { tab })}>
        ${t(`jobs.tab.${tab}`)}<span class="tab-count">${counts ? number(countOf(TABS[tab])) : ""}</span>
      </a>`;
    })}`,
    place("#tabs"),
  );
}

/** @param {readonly Status[]} statuses */
function countOf(statuses) {
  return statuses.reduce((sum, status) => sum + (counts?.[status] ?? 0), 0);
}

function drawFilters() {
  render(
    html`<div class="search">
        ${icon("search")}
        <input type="search" class="form-control" id="search" dir="auto" autocomplete="off" maxlength="255" .value=${wish.q}
          placeholder=${t("jobs.search")} aria-label=${t("jobs.search")} aria-keyshortcuts="/" title=${t("jobs.search_key")}
          @input=${searchSoon}>
      </div>
      <select class="form-select" id="status" aria-label=${t("jobs.status_filter")}
        @change=${(/** @type {Event} */ { target }) => want({ status: /** @type {any} */ (target).value })}>
        <option value="" ?selected=${!wish.status}>${t("jobs.any_status")}</option>
        ${TABS[wish.tab].map(
          (status) =>
            html`<option value=${status} ?selected=${status === wish.status}>${t(`job.status.${status}`)}</option>`,
        )}
      </select>
      <button type="button" class="button" id="csv" ?disabled=${jobs.length === 0} @click=${saveSpreadsheet}>
        ${icon("download")}${t("action.csv")}
      </button>`,
    place("#filters"),
  );
}

/** @param {Event} event */
async function saveSpreadsheet({ currentTarget }) {
  const button = /** @type {HTMLElement} */ (currentTarget);
  button.setAttribute("aria-busy", "true");
  await download("/jobs/export", filters()).catch(toastProblem);
  button.removeAttribute("aria-busy");
}

/** @param {KeyboardEvent} event */
function goToSearch(event) {
  const isTyping = event.target instanceof HTMLElement && event.target.closest("input, textarea, select, dialog");
  if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey || isTyping) return;
  event.preventDefault();
  const input = /** @type {HTMLInputElement} */ (place("#search"));
  input.focus();
  input.select();
}

function drawList() {
  if (!counts) return;
  if (jobs.length === 0) {
    render(nothingHere(), place("#list"));
    return;
  }
  render(table(), place("#list"));
  renderRows(place("#list tbody"), jobs, { tag: "tr", key: (job) => job.id, template: row });
}

/** Why there is nothing: nobody has begun, nobody waits, or nothing fits the filters. Each has one way out. */
function nothingHere() {
  if (countOf(TABS.all) === 0) {
    return empty("inbox", t("jobs.none.yet"), t("jobs.none.yet_text"), [
      html`<a class="button button-primary" href=${pageUrl("index.html#name")}>${icon("plus-lg")}${t("submit.title")}</a>`,
    ]);
  }
  if (wish.q || wish.status) {
    return empty("search", t("jobs.none.match"), t("jobs.none.match_text"), [
      html`<button type="button" class="button" @click=${() => want({ q: "", status: "" })}>${icon("x-lg")}${t("jobs.clear")}</button>`,
    ]);
  }
  return empty("check-circle", t(`jobs.none.${wish.tab}`), "", [
    html`<button type="button" class="button" @click=${() => want({ tab: "all" })}>${t("dashboard.all_jobs")}</button>`,
  ]);
}

/**
 * @param {string} mark
 * @param {string} title
 * @param {string} text
 * @param {import("../lib/html.js").Content[]} wayOut
 */
function empty(mark, title, text, wayOut) {
  return html`<div class="card">
    <div class="empty">
      ${icon(mark, "empty-icon")}
      <p class="empty-title">${title}</p>
      ${text ? html`<p class="empty-text">${text}</p>` : nothing} ${wayOut}
    </div>
  </div>`;
}

function table() {
  return html`<div class="table-frame">
      <table class="data-table table-cards jobs-table">
        <caption class="visually-hidden">${t(`jobs.tab.${wish.tab}`)}</caption>
        <thead>
          <tr>
            <th scope="col">${t("jobs.column.job")}</th>
            <th scope="col">${t("jobs.column.status")}</th>
            <th scope="col">${t("jobs.column.gpus")}</th>
            <th scope="col">${t("jobs.column.hours")}</th>
            <th scope="col">${t("jobs.column.submitted")}</th>
            <th scope="col">${t("jobs.column.why")}</th>
            <th scope="col"><span class="visually-hidden">${t("jobs.column.actions")}</span></th>
          </tr>
        </thead>
        <tbody></tbody>
      </table>
    </div>
    <div class="list-end">
      <p class="small soft">${t("jobs.shown", { count: jobs.length })}</p>
      ${hasMore ? html`<button type="button" class="button" id="more" @click=${showMore}>${t("jobs.more")}</button>` : nothing}
    </div>`;
}

async function showMore() {
  const first = jobs.length;
  length += STEP;
  await show();
  // The button may be gone with the last page; the reader goes on at the first of the jobs that have come.
  const rows = place("#list tbody").children;
  if (!hasMore) /** @type {HTMLElement | null} */ (rows[first]?.querySelector("a"))?.focus();
}

/** @param {Job} job */
function row(job) {
  return html`<th scope="row" class="jobs-name">${jobLink(job)} <span class="small soft nowrap" dir="ltr">#${job.id}</span></th>
    <td class="jobs-status" data-label=${t("jobs.column.status")}>${statusBadge(job)}</td>
    <td data-label=${t("jobs.column.gpus")}>${gpusAsked(job)}</td>
    <td data-label=${t("jobs.column.hours")}>
      <span class="nowrap">${hours(job.reserved_gpu_hours)}</span>
      ${job.started_at && job.finished_at ? html`<span class="small soft nowrap">${t("jobs.charged", { hours: number(job.charged_gpu_hours) })}</span>` : nothing}
    </td>
    <td data-label=${t("jobs.column.submitted")}>${agoTime(job.created_at)}</td>
    <td class="jobs-why"><span class="clamped">${jobSentence(job)}</span></td>
    <td class="end jobs-actions">${job.actions.includes("cancel") ? cancelButton(job) : nothing}</td>`;
}

/** @param {Job} job */
function cancelButton(job) {
  return html`<button type="button" class="button button-small button-danger-quiet" aria-label=${t("cancel.title", { name: job.name })}
    @click=${() => act("cancel", job, () => cancelled(job))}>
    ${t("job.action.cancel")}
  </button>`;
}

/**
 * The button that had the focus is gone: its row has it next, or the list.
 * @param {Job} job
 */
async function cancelled(job) {
  await reload();
  if (document.activeElement !== document.body) return;
  const row = document.querySelector(`#list tr[data-key="${job.id}"] a`);
  (row instanceof HTMLElement ? row : place("#main")).focus();
}
