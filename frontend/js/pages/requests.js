// Everybody's requests, for those who decide on them: one by one, many at once, or by the keyboard alone.
import { call, download, get, getFirst, newestOf, signedIn } from "../lib/api.js";
import { ask, tell } from "../lib/form.js";
import { html, icon, nothing, place, render, renderRows } from "../lib/html.js";
import { agoTime, hours, joined, number, percent, personName, t } from "../lib/i18n.js";
import {
  ACTIVE,
  act,
  actionButton,
  FINISHED,
  getStandings,
  gpusAsked,
  historyOf,
  jobLink,
  jobUrl,
  noteField,
  quotaBar,
  rejectReason,
  statusBadge,
  timeShare,
  wordFor,
} from "../lib/jobs.js";
import { reloadOn } from "../lib/live.js";
import {
  onTick,
  pageUrl,
  showBusy,
  showRequestsWaiting,
  startPage,
  toast,
  toastProblem,
  wishesInAddress,
} from "../lib/shell.js";

/** @typedef {import("../lib/api.js").Schemas} Schemas */
/** @typedef {import("../lib/html.js").Content} Content */
/** @typedef {Schemas["JobRead"]} Job */
/** @typedef {Job["status"]} Status */
/** @typedef {Job["actions"][number]} Action */
/** @typedef {"approve" | "reject" | "start"} Decision */
/** @typedef {"decide" | "start" | "running" | "all"} Tab */
/** @typedef {{ tab: Tab, q: string, user: string }} Wish */

// locale keys: requests.tab.* requests.none.* requests.bulk.* requests.bulk_title.* requests.done.* requests.some.*
// locale keys: requests.not_now.* requests.key.*
/** @type {Record<Tab, readonly Status[]>} */
const TABS = { decide: ["PENDING"], start: ["APPROVED"], running: ["RUNNING"], all: [...ACTIVE, ...FINISHED] };
/** @type {readonly Decision[]} */
const DECISIONS = ["approve", "reject", "start"];
/** What the keys do while a row has the focus. */
const KEYS = {
  j: "next",
  k: "previous",
  x: "select",
  a: "approve",
  r: "reject",
  s: "start",
  Enter: "open",
  "?": "help",
};
/** @type {Record<string, (job: Job, event: KeyboardEvent) => unknown>} */
const COMMANDS = {
  j: (job) => focusRow(jobs.indexOf(job) + 1),
  k: (job) => focusRow(jobs.indexOf(job) - 1),
  x: (job, { shiftKey }) => isDecidable(job) && select(job, shiftKey || !selected.has(job.id), shiftKey),
  a: (job) => decideByKey("approve", job),
  r: (job) => decideByKey("reject", job),
  s: (job) => decideByKey("start", job),
  Enter: (job) => location.assign(jobUrl(job)),
  "?": () => showHelp(),
};
/** Where a job still waits: for a decision, or for its start. */
const WAITS = new Set(["PENDING", "APPROVED"]);
/** What may hold an approved job up besides GPUs that are not free. */
const HELD_UP = new Set(["AWAITING_QUOTA", "IN_ENGINE_QUEUE", "CANCELLING"]);
/** @type {Wish} */
const USUAL = { tab: "decide", q: "", user: "" };
const STEP = 50;
const MOST_AT_ONCE = 100;
const TYPING_MS = 250;

await startPage("requests", { forAdmins: true });
let wish = wishInAddress();
/** How many are shown at most. */
let length = STEP;
/** @type {Job[]} */
let jobs = [];
let hasMore = false;
/** @type {Schemas["JobCounts"] | null} */
let counts = null;
/** @type {Schemas["GpuTypeRead"][]} */
let gpuTypes = [];
/** @type {Map<number, Schemas["StandingRead"]>} by user */
let standings = new Map();
/** @type {Schemas["UserRead"] | null} the one whose jobs alone are shown */
let person = null;
/** @type {Schemas["UserRead"][]} */
let suggested = [];
/** @type {Set<number>} */
const selected = new Set();
/** Where a range of selected rows begins. */
let anchor = 0;
/** @type {Set<number>} jobs that this page is deciding on right now */
const inHand = new Set();
/** @type {Map<number, string>} by job: why the last decision was refused */
const refusals = new Map();
/** The row that had the focus last. */
let focusedIndex = 0;
const load = newestOf(read, draw);
const { addressOf, want, follow, searchSoon } = wishesInAddress({ usual: USUAL, current: () => wish, turnTo });
let suggesting = 0;

await show();
reloadOn(() => true, reload);
onTick(drawRows);
addEventListener("popstate", () => turnTo(wishInAddress()));
place("#list").addEventListener("keydown", onKey);
place("#list").addEventListener("click", focusClickedRow);
place("#list").addEventListener("focusin", ({ target }) => {
  const row = /** @type {Element} */ (target).closest("tr");
  if (row?.dataset.key) focusedIndex = rows().indexOf(row);
});

/** @returns {Wish} */
function wishInAddress() {
  const asked = new URLSearchParams(location.search);
  const tab = /** @type {Tab} */ (asked.get("tab"));
  const user = asked.get("user") ?? "";
  return {
    tab: Object.hasOwn(TABS, tab) ? tab : USUAL.tab,
    q: asked.get("q") ?? "",
    user: /^\d+$/.test(user) ? user : "",
  };
}

/** @param {Wish} next */
function turnTo(next) {
  wish = next;
  length = STEP;
  selected.clear();
  refusals.clear();
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
  forgetThoseThatLeft();
  if (counts) showRequestsWaiting(counts.PENDING);
  drawTabs();
  drawFilters();
  drawList();
}

/**
 * As many as are shown, from the top.
 * @param {AbortSignal} signal
 */
async function read(signal) {
  const [found, total, types, chosen] = await Promise.all([
    getFirst("/admin/jobs", filters(), length, signal),
    /** @type {Promise<Schemas["JobCounts"]>} */ (get("/admin/jobs/counts", {}, signal)),
    /** @type {Promise<Schemas["GpuTypeRead"][]>} */ (get("/gpu-types", {}, signal)),
    readPerson(signal),
  ]);
  const known = await getStandings(
    found.items.map(({ user_id }) => user_id),
    signal,
  );
  signal.throwIfAborted();
  standings = known;
  jobs = found.items;
  hasMore = found.hasMore;
  counts = total;
  gpuTypes = types;
  person = chosen;
}

/** What the service is asked for, in the list and in the spreadsheet. The queue is worked off from its old end. */
function filters() {
  const statuses = wish.tab === "all" ? [] : TABS[wish.tab];
  return { status: statuses, q: wish.q.trim(), user: wish.user, sort: wish.tab === "all" ? "newest" : "oldest" };
}

/**
 * @param {AbortSignal} signal
 * @returns {Promise<Schemas["UserRead"] | null>}
 */
async function readPerson(signal) {
  if (!wish.user) return null;
  if (person && String(person.id) === wish.user) return person;
  return get(`/admin/users/${wish.user}`, {}, signal).catch(() => null);
}

/** What was selected and is not there to be decided on any more: somebody else was faster. */
function forgetThoseThatLeft() {
  const present = new Set(jobs.filter(isDecidable).map(({ id }) => id));
  const left = [...selected].filter((id) => !present.has(id));
  for (const id of left) selected.delete(id);
  for (const id of refusals.keys()) {
    if (!present.has(id)) refusals.delete(id);
  }
  const count = left.filter((id) => !inHand.has(id)).length;
  if (count > 0) toast(t("requests.left", { count }), "info");
}

function drawTabs() {
  const tabs = /** @type {Tab[]} */ (Object.keys(TABS));
  render(
    html`<nav class="tabs" aria-label=${t("requests.tabs")}>
      ${tabs.map(
        (tab) => html`<a class="tab" href=${addressOf({ tab })} aria-current=${tab === wish.tab ? "page" : nothing}
          @click=${(/** @type {MouseEvent} */ event) => follow(event, { tab })}>
          ${t(`requests.tab.${wordFor(tab)}`)}<span class="tab-count">${counts ? number(countOf(TABS[tab])) : ""}</span>
        </a>`,
      )}
    </nav>`,
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
          placeholder=${t("requests.search")} aria-label=${t("requests.search")} @input=${searchSoon}>
      </div>
      ${wish.user ? chosenPerson() : personSearch()}`,
    place("#filters"),
  );
  render(
    html`<button type="button" class="button" id="csv" ?disabled=${jobs.length === 0} @click=${saveSpreadsheet}>
      ${icon("download")}${t("action.csv")}
    </button>`,
    place("#page-actions"),
  );
}

function chosenPerson() {
  return html`<span class="chosen">
    ${icon("person-circle")}<span>${person ? personName(person) : t("requests.nobody")}</span>
    <button type="button" class="button-quiet button-small button-icon" aria-label=${t("requests.everybody")} title=${t("requests.everybody")}
      @click=${() => want({ user: "" })}>${icon("x-lg")}</button>
  </span>`;
}

function personSearch() {
  return html`<div class="search">
    ${icon("people")}
    <input class="form-control" id="person" list="people" dir="auto" autocomplete="off" maxlength="100"
      placeholder=${t("requests.person")} aria-label=${t("requests.person")} @input=${suggestSoon} @change=${choosePerson}>
    <datalist id="people">
      ${suggested.map(({ email, full_name }) => html`<option value=${email}>${full_name ?? email}</option>`)}
    </datalist>
  </div>`;
}

/** @param {Event} event */
function suggestSoon(event) {
  clearTimeout(suggesting);
  const input = /** @type {HTMLInputElement} */ (event.target);
  if (suggested.some(({ email }) => email === input.value)) choosePerson(event);
  else suggesting = window.setTimeout(() => suggest(input.value.trim()), TYPING_MS);
}

/** @param {string} q */
async function suggest(q) {
  /** @type {Schemas["UserRead"][]} */
  const found = q ? await get("/admin/users", { q, limit: 8 }).catch(() => []) : [];
  const input = /** @type {HTMLInputElement | null} */ (document.querySelector("#person"));
  if (input?.value.trim() !== q) return; // More has been typed by now.
  suggested = found;
  drawFilters();
}

/** @param {Event} event */
function choosePerson({ target }) {
  const typed = /** @type {HTMLInputElement} */ (target).value.trim();
  const found = suggested.find(({ email }) => email === typed) ?? (suggested.length === 1 ? suggested[0] : undefined);
  if (!(found && typed)) return;
  suggested = [];
  want({ user: String(found.id) });
}

/** @param {Event} event */
async function saveSpreadsheet({ currentTarget }) {
  const button = /** @type {HTMLElement} */ (currentTarget);
  button.setAttribute("aria-busy", "true");
  await download("/admin/jobs/export", filters()).catch(toastProblem);
  button.removeAttribute("aria-busy");
}

function drawSelection() {
  const decidable = jobs.filter(isDecidable);
  const chosen = decidable.filter(({ id }) => selected.has(id));
  const isAll = chosen.length > 0 && chosen.length === decidable.length;
  place("#selection").hidden = jobs.length === 0;
  place("#selection").classList.toggle("selection-some", chosen.length > 0);
  render(
    html`${
      decidable.length > 0
        ? html`<label class="selection-all">
            <input type="checkbox" class="form-check-input" id="select-all" .checked=${isAll} .indeterminate=${chosen.length > 0 && !isAll}
              @change=${selectAll}>
            <span>${t("requests.select_all", { count: decidable.length })}</span>
          </label>`
        : nothing
    }
      ${
        chosen.length > 0
          ? html`<strong class="selection-totals">${totalsOf(chosen)}</strong>
              <span class="selection-actions">
                ${DECISIONS.map((decision) => bulkButton(decision, chosen))}
                <button type="button" class="button-quiet button-small" id="select-none" @click=${selectNone}>${t("requests.select_none")}</button>
              </span>`
          : html`<span class="selection-hint">${t("requests.keys")} ${keyHints(usefulKeys())}</span>`
      }
      <button type="button" class="button-quiet button-small button-icon selection-help" id="keys" aria-label=${t("requests.help")}
        title=${t("requests.help")} @click=${showHelp}>${icon("question-circle")}</button>`,
    place("#selection"),
  );
}

/** @param {Job[]} chosen */
function totalsOf(chosen) {
  const sum = chosen.reduce((total, { reserved_gpu_hours }) => total + reserved_gpu_hours, 0);
  const people = new Set(chosen.map(({ user_id }) => user_id)).size;
  const parts = [t("requests.jobs", { count: chosen.length }), hours(sum), t("requests.people", { count: people })];
  return joined(parts.map((part) => html`<bdi>${part}</bdi>`));
}

/**
 * @param {Decision} decision
 * @param {Job[]} chosen
 */
function bulkButton(decision, chosen) {
  const count = chosen.filter(({ actions }) => actions.includes(decision)).length;
  if (count === 0) return nothing;
  return html`<button type="button" class="button button-small ${decision === "reject" ? "" : "button-primary"}" data-bulk=${decision}
    @click=${() => decideOnSelected(decision)}>${t(`requests.bulk.${wordFor(decision)}`, { count })}</button>`;
}

/** @param {(keyof typeof KEYS)[]} [keys] */
function keyHints(keys = /** @type {(keyof typeof KEYS)[]} */ (Object.keys(KEYS))) {
  return keys.map(
    (key) => html`<span class="key-hint"><kbd dir="ltr">${key}</kbd> ${t(`requests.key.${wordFor(KEYS[key])}`)}</span>`,
  );
}

/** The keys that can do something to the jobs that are shown. */
function usefulKeys() {
  const possible = new Set(jobs.flatMap(({ actions }) => actions));
  const keys = /** @type {(keyof typeof KEYS)[]} */ (Object.keys(KEYS));
  return keys.filter((key) => {
    const does = KEYS[key];
    if (does === "select") return jobs.some(isDecidable);
    return !isDecision(does) || possible.has(does);
  });
}

function showHelp() {
  return tell({
    title: t("requests.help"),
    body: html`<p>${t("requests.help_text")}</p>
      <ul class="keys">
        ${keyHints().map((hint) => html`<li>${hint}</li>`)}
      </ul>`,
  });
}

/** @param {Event} event */
function selectAll({ target }) {
  const isOn = /** @type {HTMLInputElement} */ (target).checked;
  for (const { id } of jobs.filter(isDecidable)) {
    if (isOn) selected.add(id);
    else selected.delete(id);
  }
  drawSelection();
  drawRows();
}

function selectNone() {
  selected.clear();
  refusals.clear();
  drawSelection();
  drawRows();
  place("#select-all").focus();
}

/**
 * @param {Job} job
 * @param {boolean} isOn
 * @param {boolean} isRange from the one that was selected last
 */
function select(job, isOn, isRange) {
  const ids = jobs.filter(isDecidable).map(({ id }) => id);
  const [from, to] = [ids.indexOf(anchor), ids.indexOf(job.id)];
  const range = isRange && from >= 0 ? ids.slice(Math.min(from, to), Math.max(from, to) + 1) : [job.id];
  for (const id of range) {
    if (isOn) selected.add(id);
    else selected.delete(id);
    if (!isOn) refusals.delete(id);
  }
  anchor = job.id;
  drawSelection();
  drawRows();
}

function drawList() {
  drawSelection();
  if (jobs.length === 0) {
    const hadFocus = place("#list").contains(document.activeElement);
    render(nothingHere(), place("#list"));
    if (hadFocus) place("#main").focus();
    return;
  }
  render(table(), place("#list"));
  drawRows();
}

/** Why there is nothing: all is decided, or nothing fits the filters. Each has one way out. */
function nothingHere() {
  if (wish.q || wish.user) {
    return empty("search", t("requests.none.match"), t("requests.none.match_text"), [
      html`<button type="button" class="button" @click=${() => want({ q: "", user: "" })}>${icon("x-lg")}${t("requests.clear_filters")}</button>`,
    ]);
  }
  const [mark, next] = /** @type {Record<Tab, [string, Tab]>} */ ({
    decide: ["check-circle", countOf(TABS.start) > 0 ? "start" : "all"],
    start: ["check-circle", countOf(TABS.decide) > 0 ? "decide" : "all"],
    running: ["cpu", countOf(TABS.start) > 0 ? "start" : "decide"],
    all: ["inbox", "decide"],
  })[wish.tab];
  return empty(mark, t(`requests.none.${wordFor(wish.tab)}`), t("requests.none.text"), [
    next === wish.tab || wish.tab === "all"
      ? nothing
      : html`<button type="button" class="button" @click=${() => want({ tab: next })}>${t(`requests.tab.${wordFor(next)}`)}</button>`,
  ]);
}

/**
 * @param {string} mark
 * @param {string} title
 * @param {string} text
 * @param {Content[]} wayOut
 */
function empty(mark, title, text, wayOut) {
  return html`<div class="card">
    <div class="empty">
      ${icon(mark, "empty-icon")}
      <p class="empty-title">${title}</p>
      <p class="empty-text">${text}</p>
      ${wayOut}
    </div>
  </div>`;
}

function table() {
  return html`<div class="table-frame">
      <table class="data-table table-cards requests-table">
        <caption class="visually-hidden">${t(`requests.tab.${wordFor(wish.tab)}`)}</caption>
        <thead>
          <tr>
            <th scope="col"><span class="visually-hidden">${t("requests.column.select")}</span></th>
            <th scope="col">${t("requests.column.what")}</th>
            <th scope="col">${t("requests.column.who")}</th>
            <th scope="col">${t("requests.column.cost")}</th>
            <th scope="col">${t("requests.column.since")}</th>
            <th scope="col"><span class="visually-hidden">${t("requests.column.actions")}</span></th>
          </tr>
        </thead>
        <tbody></tbody>
      </table>
    </div>
    <div class="list-end">
      <p class="small soft">${t(wish.tab === "all" ? "requests.shown_newest" : "requests.shown_oldest", { count: jobs.length })}</p>
      ${hasMore ? html`<button type="button" class="button" id="more" @click=${showMore}>${t("requests.more")}</button>` : nothing}
    </div>`;
}

async function showMore() {
  const first = jobs.length;
  length += STEP;
  await show();
  // The button may be gone with the last page; the reader goes on at the first of the jobs that have come.
  if (!hasMore) focusRow(first);
}

/** Rows stay with their jobs. Where the one with the focus leaves, the focus goes on to the next. */
function drawRows() {
  const body = document.querySelector("#list tbody");
  if (!body || jobs.length === 0) return;
  const hadFocus = body.contains(document.activeElement);
  renderRows(body, jobs, {
    tag: "tr",
    key: (job) => job.id,
    template: row,
    prepare: (element, job) => element.classList.toggle("selected", selected.has(job.id)),
  });
  if (hadFocus && !body.contains(document.activeElement)) focusRow(focusedIndex);
}

/** @param {Job} job */
function row(job) {
  return html`<td class="request-select">
      ${
        isDecidable(job)
          ? html`<input type="checkbox" class="form-check-input" .checked=${selected.has(job.id)}
              aria-label=${t("requests.select", { name: job.name, who: nameOf(job.owner) })}
              @click=${(/** @type {MouseEvent} */ { currentTarget, shiftKey }) =>
                select(job, /** @type {HTMLInputElement} */ (currentTarget).checked, shiftKey)}>`
          : nothing
      }
    </td>
    <th scope="row" class="request-what">${what(job)}</th>
    <td class="request-who">${who(job)}</td>
    <td class="request-cost">${cost(job)}</td>
    <td class="request-since">${since(job)}</td>
    <td class="request-actions"><div class="row-actions">${actions(job)}</div></td>`;
}

/** @param {Job} job */
function what(job) {
  const refusal = refusals.get(job.id);
  return html`<p class="request-name">
      ${jobLink(job)} <span class="small soft" dir="ltr">#${job.id}</span>
      ${job.is_sensitive ? html`<span class="mark mark-warning">${icon("lock-fill")}${t("requests.sensitive")}</span>` : nothing}
    </p>
    <p class="request-asked">${joined([gpusAsked(job), t("requests.for_hours", { count: job.estimated_hours })])}</p>
    ${WAITS.has(job.status) ? chances(job) : nothing}
    <code class="command-line" dir="ltr" title=${job.command}>${job.command}</code>
    ${WAITS.has(job.status) || job.justification ? justification(job) : nothing}
    ${refusal ? html`<p class="row-problem">${icon("exclamation-triangle-fill")}<span>${refusal}</span></p>` : nothing}`;
}

/**
 * Whether it could start now, as far as GPUs go; or what else holds it up.
 * @param {Job} job
 */
function chances({ gpu_type, num_gpus, wait_reason, reason_text }) {
  if (wait_reason && HELD_UP.has(wait_reason)) {
    return html`<p class="request-chances">${icon("hourglass-split")}<span>${reason_text}</span></p>`;
  }
  const type = gpuTypes.find(({ name }) => name === gpu_type);
  const [free, total] = [type?.free ?? 0, type?.total ?? 0];
  const doesFit = free >= num_gpus;
  return html`<p class="request-chances ${doesFit ? "fits" : ""}">
    ${icon(doesFit ? "check-circle" : "hourglass-split")}
    <span>${t(doesFit ? "requests.fits" : "requests.fits_not", { free, total })}</span>
  </p>`;
}

/** @param {Job} job */
function justification({ justification }) {
  return justification
    ? html`<p class="request-why" dir="auto" title=${justification}>${justification}</p>`
    : html`<p class="request-why soft">${t("requests.no_justification")}</p>`;
}

/** @param {Job} job */
function who(job) {
  const standing = standings.get(job.user_id);
  return html`<p><a class="linked" href=${pageUrl(`admin/users.html?user=${job.user_id}`)}>${personName(job.owner)}</a></p>
    ${job.owner.full_name ? html`<p class="small soft request-email" dir="ltr">${job.owner.email}</p>` : nothing}
    ${job.user_id === signedIn()?.id ? html`<p class="small">${t("requests.your_own")}</p>` : nothing}
    ${standing ? html`<p class="small">${historyOf(standing.counts)}</p>` : nothing}`;
}

/** @param {Job} job */
function cost(job) {
  const standing = standings.get(job.user_id);
  const amount = job.finished_at ? job.charged_gpu_hours : job.reserved_gpu_hours;
  return html`<p class="request-hours">${hours(amount)}</p>
    ${job.finished_at ? html`<p class="small soft">${t("requests.charged")}</p>` : nothing}
    ${standing && !job.finished_at ? quotaWith(job, standing.quota) : nothing}`;
}

/**
 * What is left of the month with this job counted. Its hours are reserved since it was submitted, though in the month
 * in which that was: they move to the month in which it starts.
 * @param {Job} job
 * @param {Schemas["QuotaRead"]} quota
 */
function quotaWith(job, quota) {
  const isCounted = new Date(job.started_at ?? job.created_at) >= new Date(quota.period_start);
  const moved = isCounted ? 0 : job.reserved_gpu_hours;
  const left = quota.available_hours - moved;
  return html`${quotaBar({ ...quota, reserved_hours: quota.reserved_hours + moved }, job.reserved_gpu_hours)}
    <p class="small ${left < 0 ? "over" : "soft"}">
      ${
        left < 0
          ? html`${icon("exclamation-triangle")} ${t("requests.over", { hours: hours(-left) })}`
          : t("requests.left_after", { left: tidy(left), limit: tidy(quota.limit_hours) })
      }
    </p>`;
}

/** @param {number} count */
function tidy(count) {
  return Math.round(count * 10) / 10;
}

/** @param {Job} job */
function since(job) {
  return html`${wish.tab === "all" ? html`<p>${statusBadge(job)}</p>` : nothing}
    <p>${agoTime(job.finished_at ?? job.started_at ?? job.decided_at ?? job.created_at)}</p>
    ${job.decided_by && WAITS.has(job.status) ? html`<p class="small soft">${t("requests.approved_by", { who: nameOf(job.decided_by) })}</p>` : nothing}
    ${
      job.status === "RUNNING"
        ? html`<progress max="1" value=${timeShare(job)} aria-label=${t("job.time_used")}></progress>
            <p class="small soft">${t("requests.time_used", { share: percent(timeShare(job)) })}</p>`
        : nothing
    }`;
}

/**
 * To reject says more than to cancel, so where the one is possible the other is not offered.
 * @param {Job} job
 */
function actions(job) {
  return job.actions
    .filter((action) => action !== "cancel" || !job.actions.includes("reject"))
    .map((action) => actionButton(action, job, () => decideOn(action, job), { isInList: true }));
}

/**
 * @param {Action} action
 * @param {Job} job
 */
async function decideOn(action, job) {
  if (inHand.has(job.id)) return;
  const index = jobs.indexOf(job);
  inHand.add(job.id);
  refusals.delete(job.id);
  await act(action, job, () => selected.delete(job.id));
  await reload(); // Also where it was refused: somebody else may have been faster.
  inHand.delete(job.id);
  if (document.activeElement === document.body) focusRow(index);
}

/** @param {Decision} decision */
async function decideOnSelected(decision) {
  const chosen = jobs.filter(({ id, actions }) => selected.has(id) && actions.includes(decision));
  if (chosen.length === 0) {
    toast(t(`requests.not_now.${wordFor(decision)}`), "info");
    return;
  }
  for (const { id } of chosen) inHand.add(id);
  const results = await ask({
    title: t(`requests.bulk_title.${wordFor(decision)}`, { count: chosen.length }),
    body: html`<p><strong>${totalsOf(chosen)}</strong></p>
      ${chosen.length < selected.size ? html`<p class="soft">${t("requests.only_some", { count: selected.size })}</p>` : nothing}
      ${wordFor(decision) === "start" ? capacityFor(chosen) : nothing} ${listOf(chosen)}
      ${decision === "approve" ? noteField("bulk-note", t("approve.note"), t("requests.note_hint")) : nothing}
      ${decision === "reject" ? rejectReason() : nothing}`,
    submit: t(`requests.bulk.${wordFor(decision)}`, { count: chosen.length }),
    danger: decision === "reject",
    wide: true,
    action: ({ note, reason }) => decide(decision, chosen, (note ?? reason)?.trim() || null),
  });
  if (results) await showResults(decision, chosen, results);
  for (const { id } of chosen) inHand.delete(id);
  if (document.activeElement === document.body) focusRow(results ? 0 : focusedIndex);
}

/**
 * @param {Decision} decision
 * @param {Job[]} chosen
 * @param {string | null} note
 */
async function decide(decision, chosen, note) {
  /** @type {Schemas["DecisionResult"][]} */
  const results = [];
  for (const part of inParts(chosen, MOST_AT_ONCE)) {
    const decisions = part.map(({ id, digest }) => ({
      job_id: id,
      action: decision,
      note,
      digest: decision === "approve" ? digest : null,
    }));
    results.push(...(await call("POST", "/admin/jobs/decisions", { decisions })));
  }
  return results;
}

/**
 * What succeeded leaves the list; what was refused stays selected, with the reason in its row.
 * @param {Decision} decision
 * @param {Job[]} chosen
 * @param {Schemas["DecisionResult"][]} results
 */
async function showResults(decision, chosen, results) {
  const refused = new Map(results.flatMap(({ job_id, problem }) => (problem ? [[job_id, problem.detail]] : [])));
  for (const { id } of chosen) {
    const refusal = refused.get(id);
    if (refusal) refusals.set(id, refusal);
    else refusals.delete(id);
    if (!refusal) selected.delete(id);
  }
  const done = chosen.length - refused.size;
  await reload();
  if (refused.size === 0) {
    toast(t(`requests.done.${wordFor(decision)}`, { count: done }));
    return;
  }
  const refusedFirst = [...chosen].sort((one, other) => Number(refused.has(other.id)) - Number(refused.has(one.id)));
  await tell({
    title: t(`requests.some.${wordFor(decision)}`, { done, count: chosen.length }),
    body: html`<ul class="decision-list" tabindex="0" aria-label=${t("requests.results")}>
      ${refusedFirst.map(
        ({ id, name }) => html`<li class=${refused.has(id) ? "refused" : ""}>
          ${icon(refused.has(id) ? "exclamation-triangle-fill" : "check-circle-fill")}
          <span><bdi>${name}</bdi> <span class="soft">– ${refused.get(id) ?? t("requests.succeeded")}</span></span>
        </li>`,
      )}
    </ul>`,
    wide: true,
  });
}

/** @param {Job[]} chosen */
function capacityFor(chosen) {
  const names = [...new Set(chosen.map(({ gpu_type }) => gpu_type))];
  return names.map((type) => {
    const needed = chosen.reduce((sum, { gpu_type, num_gpus }) => sum + (gpu_type === type ? num_gpus : 0), 0);
    const free = gpuTypes.find(({ name }) => name === type)?.free ?? 0;
    return html`<p class="notice ${needed > free ? "notice-warning" : "notice-success"}">
      ${icon(needed > free ? "hourglass-split" : "check-circle")}
      <span>${t(needed > free ? "requests.needs_more" : "requests.needs", { needed, type, free })}</span>
    </p>`;
  });
}

/** @param {Job[]} chosen */
function listOf(chosen) {
  return html`<ul class="decision-list" tabindex="0" aria-label=${t("requests.selected")}>
    ${chosen.map(
      (job) => html`<li>
        <span><bdi>${job.name}</bdi> <span class="soft">– ${personName(job.owner)}</span></span>
        <span class="decision-hours">${hours(job.reserved_gpu_hours)}</span>
      </li>`,
    )}
  </ul>`;
}

/** @param {KeyboardEvent} event */
function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const target = /** @type {Element} */ (event.target);
  const job = jobs.find(({ id }) => String(id) === target.closest("tr")?.dataset.key);
  const key = keyOf(event);
  const command = event.shiftKey && key !== "x" && key !== "?" ? undefined : COMMANDS[key];
  if (!(job && command)) return;
  if (key === "Enter" && !(target instanceof HTMLInputElement)) return; // A link or a button knows what to do.
  event.preventDefault();
  command(job, event);
}

/**
 * A row whose text is clicked has the focus, and so the keys. Where text is selected the reader wants that.
 * @param {MouseEvent} event
 */
function focusClickedRow({ target }) {
  const place = /** @type {Element} */ (target);
  const row = /** @type {HTMLElement | null} */ (place.closest("tbody tr"));
  if (row && !place.closest("a, button, input, label") && getSelection()?.isCollapsed) focusRow(rows().indexOf(row));
}

/**
 * The Latin letter of the key, also while the keyboard writes Persian.
 * @param {KeyboardEvent} event
 */
function keyOf({ key, code }) {
  if (key === "؟") return "?";
  const isForeignLetter = code.startsWith("Key") && !/^[a-z]$/i.test(key);
  return isForeignLetter ? code.slice("Key".length).toLowerCase() : key.replace(/^[A-Z]$/, key.toLowerCase());
}

/**
 * On what is selected, or else on the row that has the focus.
 * @param {Decision} decision
 * @param {Job} job
 */
function decideByKey(decision, job) {
  if (selected.size > 0) decideOnSelected(decision);
  else if (job.actions.includes(decision)) decideOn(decision, job);
  else toast(t(`requests.not_now.${wordFor(decision)}`), "info");
}

/** @param {number} index of a row; beyond the end it is the last, and without rows the page has the focus */
function focusRow(index) {
  if (rows().length === 0) place("#main").focus();
  const row = rows()[Math.min(Math.max(0, index), rows().length - 1)];
  const target = row?.querySelector("input, a");
  if (!(target instanceof HTMLElement)) return;
  target.focus({ preventScroll: true });
  row?.scrollIntoView({ block: "nearest" });
}

/** @returns {HTMLElement[]} */
function rows() {
  return /** @type {HTMLElement[]} */ ([...(document.querySelector("#list tbody")?.children ?? [])]);
}

/** @param {Job} job */
function isDecidable({ actions }) {
  return DECISIONS.some((decision) => actions.includes(decision));
}

/**
 * @param {string} word
 * @returns {word is Decision}
 */
function isDecision(word) {
  return DECISIONS.some((decision) => decision === word);
}

/** @param {{ full_name: string | null, email: string }} person */
function nameOf({ full_name, email }) {
  return full_name ?? email;
}

/**
 * @template Item
 * @param {readonly Item[]} items
 * @param {number} size
 */
function inParts(items, size) {
  return Array.from({ length: Math.ceil(items.length / size) }, (_, part) =>
    items.slice(part * size, (part + 1) * size),
  );
}
