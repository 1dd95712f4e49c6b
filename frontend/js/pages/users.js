// All accounts; and one of them with its rights, its quota and the ledger of it. Which one stands in the address.
import { call, download, get, getFirst, getPage, newestOf, signedIn } from "../lib/api.js";
import { ask } from "../lib/form.js";
import { hoursField, reasonField, sayAt } from "../lib/hours.js";
import { html, icon, nothing, place, render, renderRows } from "../lib/html.js";
import { ago, agoTime, date, hours, number, parseNumber, personName, t } from "../lib/i18n.js";
import { ACTIVE, FINISHED, getStandings, historyOf, quotaBar } from "../lib/jobs.js";
import { ledgerTable } from "../lib/ledger.js";
import { reloadOn } from "../lib/live.js";
import {
  isForNewTab,
  onTick,
  pageUrl,
  showBusy,
  startPage,
  toast,
  toastProblem,
  wishesInAddress,
} from "../lib/shell.js";

/** @typedef {import("../lib/api.js").Schemas} Schemas */
/** @typedef {import("../lib/html.js").Content} Content */
/** @typedef {Schemas["UserRead"]} User */
/** @typedef {Schemas["StandingRead"]} Standing */
/** @typedef {Schemas["QuotaRead"]} Quota */
/** @typedef {"all" | "active" | "disabled" | "admins"} Tab */
/** @typedef {{ tab: Tab, q: string, user: string }} Wish */
/** @typedef {"disable" | "enable" | "promote" | "demote"} Change */

// locale keys: users.tab.* users.change.* users.title_of.* users.means.* users.done.* job.status.*
/** @type {Record<Tab, { is_active?: boolean, is_admin?: boolean }>} */
const TABS = { all: {}, active: { is_active: true }, disabled: { is_active: false }, admins: { is_admin: true } };
/** @type {Record<Change, { set: Schemas["UserUpdate"], icon: string }>} */
const CHANGES = {
  promote: { set: { is_admin: true }, icon: "shield-check" },
  demote: { set: { is_admin: false }, icon: "dash-circle" },
  disable: { set: { is_active: false }, icon: "person-x" },
  enable: { set: { is_active: true }, icon: "person-check" },
};
/** @type {Wish} */
const USUAL = { tab: "all", q: "", user: "" };
const STEP = 50;
const LEDGER_STEP = 20;

await startPage("users", { forAdmins: true });
let wish = wishInAddress();
/** How many are shown at most. */
let length = STEP;
/** @type {User[] | null} */
let users = null;
let hasMore = false;
/** @type {Map<number, Standing>} by user */
let standings = new Map();
/** @type {{ user: User, standing: Standing } | null} */
let person = null;
/** @type {Schemas["QuotaEntryRead"][]} of the person, newest first */
let entries = [];
/** @type {string | null} */
let older = null;
const load = newestOf(read, draw);
const { addressOf, want, follow, searchSoon } = wishesInAddress({
  usual: USUAL,
  names: { tab: "show" },
  current: () => wish,
  turnTo,
});

await show();
reloadOn(() => true, reload);
onTick(() => {
  if (wish.user ? person : users) draw();
});
addEventListener("popstate", () => {
  const before = wish.user;
  const shown = turnTo(wishInAddress());
  // The link past the navigation comes here, too, and has put the focus where it belongs.
  if (wish.user !== before) shown.then(() => (wish.user ? place("h1").focus() : focusPerson(before)));
});

/** @returns {Wish} */
function wishInAddress() {
  const asked = new URLSearchParams(location.search);
  const tab = /** @type {Tab} */ (asked.get("show"));
  const user = asked.get("user") ?? "";
  return {
    tab: Object.hasOwn(TABS, tab) ? tab : USUAL.tab,
    q: asked.get("q") ?? "",
    user: /^\d+$/.test(user) ? user : "",
  };
}

/** @param {Wish} next */
function turnTo(next) {
  const isOther = next.tab !== wish.tab || next.q !== wish.q;
  if (isOther) length = STEP;
  if (next.user !== wish.user) {
    person = null;
    entries = [];
  }
  wish = next;
  return show();
}

/** Read what the reader asked for. */
async function show() {
  draw();
  const isShown = () => (wish.user ? person : users) !== null;
  await showBusy(place(wish.user ? "#person" : "#list"), { load, isShown, retry: show });
}

/** Read again what is shown. Where that fails it stays, and the badge tells of the connection. */
async function reload() {
  await load().catch(() => {});
}

/** @param {AbortSignal} signal */
function read(signal) {
  return wish.user ? loadPerson(signal) : loadUsers(signal);
}

/** @param {AbortSignal} signal */
async function loadUsers(signal) {
  const found = await getFirst("/admin/users", { ...TABS[wish.tab], q: wish.q.trim() }, length, signal);
  const known = await getStandings(
    found.items.map(({ id }) => id),
    signal,
  );
  signal.throwIfAborted();
  standings = known;
  users = found.items;
  hasMore = found.hasMore;
}

/** @param {AbortSignal} signal */
async function loadPerson(signal) {
  const [user, [standing], page] = await Promise.all([
    /** @type {Promise<User>} */ (get(`/admin/users/${wish.user}`, {}, signal)),
    /** @type {Promise<Standing[]>} */ (get("/admin/users/standing", { id: wish.user }, signal)),
    getPage(`/admin/users/${wish.user}/quota/entries`, { limit: LEDGER_STEP }, signal),
  ]);
  signal.throwIfAborted();
  if (!standing) throw new Error("an account that exists has no standing");
  person = { user, standing };
  addNewest(page);
}

/**
 * A ledger only grows: what has come since stands before what is shown.
 * @param {{ items: Schemas["QuotaEntryRead"][], cursor: string | null }} page
 */
function addNewest({ items, cursor }) {
  const known = items.findIndex(({ id }) => id === entries[0]?.id);
  if (known < 0) older = cursor;
  entries = known < 0 ? items : [...items.slice(0, known), ...entries];
}

function draw() {
  place("#everybody").hidden = wish.user !== "";
  place("#person").hidden = wish.user === "";
  drawHeader();
  if (!wish.user) drawEverybody();
  else drawPerson();
  if (wish.user && !users) render(nothing, place("#list")); // Nobody waits for it.
}

/** One page, two sights: its heading says which one it is. */
function drawHeader() {
  const known = person?.user ?? users?.find(({ id }) => String(id) === wish.user);
  const whose = known ? nameOf(known) : t("users.column.person");
  const heading = wish.user ? whose : t("users.title");
  place("h1").textContent = heading;
  place("h1").dir = wish.user ? "auto" : "";
  document.title = t("app.page_title", { page: heading });
  place("#back").hidden = wish.user === "";
  render(
    html`<a href=${addressOf({ user: "" })} @click=${goBack}>${icon("arrow-left", "icon-directional")}${t("users.back")}</a>`,
    place("#back"),
  );
  render(person && wish.user ? accountButtons(person.user) : nothing, place("#page-actions"));
}

/** @param {MouseEvent} event */
function goBack(event) {
  if (isForNewTab(event)) return;
  event.preventDefault();
  const opened = wish.user;
  if (history.state?.isWithin) history.back();
  else want({ user: "" }).then(() => focusPerson(opened));
}

/** @param {string} id the list goes on where it was left */
function focusPerson(id) {
  const link = document.querySelector(`#list tr[data-key="${id}"] a`);
  (link instanceof HTMLElement ? link : place("h1")).focus({ preventScroll: true });
}

function drawEverybody() {
  drawTabs();
  drawFilters();
  if (!users) {
    render(html`<span class="skeleton skeleton-panel"></span>`, place("#list"));
    return;
  }
  if (users.length === 0) {
    render(noMatch(), place("#list"));
    return;
  }
  render(table(users), place("#list"));
  renderRows(place("#list tbody"), users, { tag: "tr", key: ({ id }) => id, template: row });
}

function drawTabs() {
  const tabs = /** @type {Tab[]} */ (Object.keys(TABS));
  render(
    html`<nav class="tabs" aria-label=${t("users.tabs")}>
      ${tabs.map(
        (tab) => html`<a class="tab" href=${addressOf({ tab })} aria-current=${tab === wish.tab ? "page" : nothing}
          @click=${(/** @type {MouseEvent} */ event) => follow(event, { tab })}>${t(`users.tab.${tab}`)}</a>`,
      )}
    </nav>`,
    place("#tabs"),
  );
}

/**
 * @param {MouseEvent} event
 * @param {string} user whose account is opened
 */
function openPerson(event, user) {
  const opened = follow(event, { user });
  if (!opened) return;
  opened.then(() => place("h1").focus());
  scrollTo(0, 0);
}

function drawFilters() {
  render(
    html`<div class="search">
      ${icon("search")}
      <input type="search" class="form-control" id="search" dir="auto" autocomplete="off" maxlength="100" .value=${wish.q}
        placeholder=${t("users.search")} aria-label=${t("users.search")} @input=${searchSoon}>
    </div>`,
    place("#filters"),
  );
}

function noMatch() {
  return html`<div class="card">
    <div class="empty">
      ${icon("people", "empty-icon")}
      <p class="empty-title">${t("users.none")}</p>
      <p class="empty-text">${t("users.none_text")}</p>
      <button type="button" class="button" @click=${() => want({ q: "", tab: "all" })}>${icon("x-lg")}${t("users.clear_filters")}</button>
    </div>
  </div>`;
}

/** @param {User[]} shown */
function table(shown) {
  return html`<div class="table-frame">
      <table class="data-table table-cards users-table">
        <caption class="visually-hidden">${t(`users.tab.${wish.tab}`)}</caption>
        <thead>
          <tr>
            <th scope="col">${t("users.column.person")}</th>
            <th scope="col">${t("users.column.state")}</th>
            <th scope="col">${t("users.column.quota")}</th>
            <th scope="col">${t("users.column.jobs")}</th>
            <th scope="col">${t("users.column.since")}</th>
          </tr>
        </thead>
        <tbody></tbody>
      </table>
    </div>
    <div class="list-end">
      <p class="small soft">${t("users.shown", { count: shown.length })}</p>
      ${hasMore ? html`<button type="button" class="button" id="more" @click=${showMore}>${t("users.more")}</button>` : nothing}
    </div>`;
}

async function showMore() {
  const first = users?.length ?? 0;
  length += STEP;
  await show();
  // The button may be gone with the last page; the reader goes on at the first of the people who have come.
  const rows = place("#list tbody").children;
  if (!hasMore) /** @type {HTMLElement | null} */ (rows[first]?.querySelector("a"))?.focus();
}

/** @param {User} user */
function row(user) {
  const standing = standings.get(user.id);
  const address = addressOf({ user: String(user.id) });
  return html`<th scope="row" class="user-name">
      <p><a class="job-link" href=${address} @click=${(/** @type {MouseEvent} */ event) => openPerson(event, String(user.id))}>${personName(user)}</a>
        ${isReader(user) ? html`<span class="small soft">${t("users.you")}</span>` : nothing}</p>
      ${user.full_name ? html`<p class="small soft user-email" dir="ltr">${user.email}</p>` : nothing}
    </th>
    <td><div class="marks">${stateBadges(user)}</div></td>
    <td class="user-quota">${standing ? monthOf(standing.quota) : nothing}</td>
    <td class="user-jobs">${standing ? jobsOf(standing.counts) : nothing}</td>
    <td data-label=${t("users.column.since")}>${agoTime(user.created_at)}</td>`;
}

/** @param {User} user */
function stateBadges({ is_active, is_admin }) {
  return html`<span class="status ${is_active ? "status-completed" : "status-failed"}">
      ${icon(is_active ? "person-check" : "person-x")}${t(is_active ? "users.is_active" : "users.is_disabled")}
    </span>
    ${is_admin ? html`<span class="status status-approved">${icon("shield-check")}${t("users.is_admin")}</span>` : nothing}`;
}

/** @param {Quota} quota */
function monthOf(quota) {
  return html`${quotaBar(quota)}
    <p class="small soft">${t("users.left", { left: tidy(quota.available_hours), limit: tidy(quota.limit_hours) })}</p>`;
}

/** @param {Schemas["JobCounts"]} counts */
function jobsOf(counts) {
  const active = countOf(counts, ACTIVE);
  return html`${active > 0 ? html`<p class="small">${t("users.active_jobs", { count: active })}</p>` : nothing}
    <p class="small">${historyOf(counts)}</p>`;
}

/** @param {User} user */
function accountButtons(user) {
  /** @type {Change[]} */
  const changes = [user.is_admin ? "demote" : "promote", user.is_active ? "disable" : "enable"];
  return changes.map(
    (
      change,
    ) => html`<button type="button" class="button ${change === "disable" ? "button-danger-quiet" : ""}" data-change=${change}
      @click=${() => changeAccount(change, user)}>${icon(CHANGES[change].icon)}${t(`users.change.${change}`)}</button>`,
  );
}

/**
 * @param {Change} change
 * @param {User} user
 */
async function changeAccount(change, user) {
  const name = nameOf(user);
  const active = person ? countOf(person.standing.counts, ACTIVE) : 0;
  const isLoss = change === "disable" || change === "demote";
  const changed = await ask({
    title: t(`users.title_of.${change}`, { name }),
    body: html`<p>${t(`users.means.${change}`, { name })}</p>
      ${change === "disable" && active > 0 ? html`<p>${t("users.jobs_go_on", { count: active })}</p>` : nothing}
      ${
        isLoss && isReader(user)
          ? html`<p class="notice notice-warning">${icon("exclamation-triangle")}<span>${t("users.your_own")}</span></p>`
          : nothing
      }`,
    submit: t(`users.change.${change}`),
    danger: isLoss,
    action: () => call("PATCH", `/admin/users/${user.id}`, CHANGES[change].set),
  });
  if (!changed) return;
  if (isReader(user) && isLoss) {
    location.assign(pageUrl("index.html"));
    return;
  }
  toast(t(`users.done.${change}`, { name }));
  await reload();
  // The button that had the focus has become its opposite.
  if (document.activeElement === document.body) place("h1").focus();
}

function drawPerson() {
  if (!person) {
    render(
      html`<span class="skeleton skeleton-tile"></span><span class="skeleton skeleton-panel"></span>`,
      place("#person"),
    );
    return;
  }
  const { user, standing } = person;
  render(
    html`<div class="person-facts">
        <span class="marks">${stateBadges(user)}</span>
        <a dir="ltr" href="mailto:${user.email}">${user.email}</a>
        <span class="soft">${t("users.since", { date: date(user.created_at) })}</span>
        ${isReader(user) ? html`<span class="soft">${t("users.your_account")}</span>` : nothing}
      </div>
      <div class="columns">
        <section class="card" aria-labelledby="quota-title">${quotaCard(user, standing.quota)}</section>
        <section class="card" aria-labelledby="jobs-title">${jobsCard(user, standing.counts)}</section>
      </div>
      <section class="card" aria-labelledby="ledger-title">
        <div class="card-header">
          <h2 id="ledger-title">${t("ledger.title")}</h2>
          <button type="button" class="button button-small" id="csv" @click=${saveLedger}>${icon("download")}${t("action.csv")}</button>
        </div>
        <div id="ledger" class="stack">${ledgerTable(entries, older === null ? undefined : loadOlder)}</div>
      </section>`,
    place("#person"),
  );
}

/**
 * @param {User} user
 * @param {Quota} quota
 */
function quotaCard(user, quota) {
  const { limit_hours: limit, used_hours: used, reserved_hours: reserved, available_hours: left } = quota;
  return html`<div class="card-header">
      <h2 id="quota-title">${t("quota.title")}</h2>
      <span class="small soft">${t("quota.resets", { date: date(quota.period_end), ago: ago(quota.period_end) })}</span>
    </div>
    <p><span class="figure digits">${number(tidy(left))}</span> <span class="soft">${t("quota.left_of", { limit: hours(limit) })}</span></p>
    <div class="quota-frame">${quotaBar(quota)}</div>
    <ul class="legend">
      <li><span class="legend-mark legend-used"></span>${t("quota.used", { hours: hours(used) })}</li>
      <li><span class="legend-mark legend-reserved"></span>${t("quota.reserved", { hours: hours(reserved) })}</li>
      <li><span class="legend-mark"></span>${t("quota.left", { hours: hours(left) })}</li>
    </ul>
    <div class="card-actions">
      <button type="button" class="button" id="set-limit" @click=${() => setLimit(user, quota)}>${icon("sliders")}${t("users.set_limit")}</button>
      <button type="button" class="button" id="correct" @click=${() => correct(user, quota)}>${icon("pencil")}${t("users.correct")}</button>
    </div>`;
}

/**
 * @param {User} user
 * @param {Schemas["JobCounts"]} counts
 */
function jobsCard(user, counts) {
  const statuses = [...ACTIVE, ...FINISHED];
  return html`<div class="card-header">
      <h2 id="jobs-title">${t("users.jobs")}</h2>
      <a class="small" id="jobs-link" href=${pageUrl(`admin/requests.html?tab=all&user=${user.id}`)}>${t("users.show_jobs")}</a>
    </div>
    <dl class="facts">
      ${statuses.map((status) => html`<dt>${t(`job.status.${status}`)}</dt><dd class="digits">${number(counts[status])}</dd>`)}
    </dl>`;
}

/**
 * @param {User} user
 * @param {Quota} quota
 */
async function setLimit(user, quota) {
  const changed = await ask({
    title: t("users.set_limit_title", { name: nameOf(user) }),
    body: html`<p>${t("users.set_limit_text")}</p>
      ${hoursField("limit_hours", t("users.limit"), t("users.limit_hint", { hours: hours(quota.used_hours + quota.reserved_hours) }), quota.limit_hours)}
      ${reasonField()}`,
    submit: t("users.set_limit"),
    action: ({ limit_hours, reason }) =>
      call("PUT", `/admin/users/${user.id}/quota`, { limit_hours: parseNumber(limit_hours ?? ""), reason }).catch(
        sayAt("limit_hours", "quota-below-use"),
      ),
  });
  if (!changed) return;
  toast(t("users.limit_set", { name: nameOf(user), hours: hours(changed.limit_hours) }));
  await reload();
}

/**
 * @param {User} user
 * @param {Quota} quota
 */
async function correct(user, quota) {
  const changed = await ask({
    title: t("users.correct_title", { name: nameOf(user) }),
    body: html`<p>${t("users.correct_text", { hours: hours(quota.used_hours) })}</p>
      <fieldset class="choices">
        <legend class="field-label">${t("users.direction")}</legend>
        ${choice("give_back", t("users.give_back"), true)} ${choice("charge", t("users.charge"), false)}
      </fieldset>
      ${hoursField("hours", t("users.hours"), nothing)} ${reasonField()}`,
    submit: t("users.correct"),
    action: (typed) => {
      const amount = parseNumber(typed.hours ?? "") * (typed.direction === "charge" ? 1 : -1);
      const body = { hours: amount, reason: typed.reason };
      return call("POST", `/admin/users/${user.id}/quota/adjustments`, body).catch(
        sayAt("hours", "adjustment-out-of-range"),
      );
    },
  });
  if (!changed) return;
  toast(t("users.corrected", { name: nameOf(user), hours: hours(changed.used_hours) }));
  await reload();
}

/**
 * @param {string} value
 * @param {string} label
 * @param {boolean} isChosen
 */
function choice(value, label, isChosen) {
  return html`<div class="form-check">
    <input class="form-check-input" type="radio" name="direction" id="direction-${value}" value=${value} ?checked=${isChosen}>
    <label class="form-check-label" for="direction-${value}">${label}</label>
  </div>`;
}

async function loadOlder() {
  try {
    const page = await getPage(`/admin/users/${wish.user}/quota/entries`, { limit: LEDGER_STEP, cursor: older });
    entries = [...entries, ...page.items];
    older = page.cursor;
    drawPerson();
  } catch (error) {
    toastProblem(error);
  }
}

/** @param {Event} event */
async function saveLedger({ currentTarget }) {
  const button = /** @type {HTMLElement} */ (currentTarget);
  button.setAttribute("aria-busy", "true");
  await download(`/admin/users/${wish.user}/quota/entries/export`).catch(toastProblem);
  button.removeAttribute("aria-busy");
}

/** @param {User} user */
function isReader({ id }) {
  return id === signedIn()?.id;
}

/** @param {User} user */
function nameOf({ full_name, email }) {
  return full_name ?? email;
}

/**
 * @param {Schemas["JobCounts"]} counts
 * @param {readonly (keyof Schemas["JobCounts"])[]} statuses
 */
function countOf(counts, statuses) {
  return statuses.reduce((sum, status) => sum + counts[status], 0);
}

/** @param {number} count */
function tidy(count) {
  return Math.round(count * 10) / 10;
}
