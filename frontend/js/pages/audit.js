// The audit log: who did what to whom, from where. Newest first; nothing in it ever changes.
import { download, get, getPage } from "../lib/api.js";
import { dayInput } from "../lib/calendar.js";
import { catchUp, fill, html, icon, nothing, place, render, renderRows, settle } from "../lib/html.js";
import { compare, fullTime, hours, joined, language, number, parseNumber, personName, t } from "../lib/i18n.js";
import { reloadOn } from "../lib/live.js";
import { copy, pageUrl, problemPanel, startPage, toastProblem } from "../lib/shell.js";

/** @typedef {import("../lib/api.js").Schemas} Schemas */
/** @typedef {Schemas["AuditRead"]} Entry */
/** @typedef {import("../lib/html.js").Content} Content */

// locale keys: audit.act.*.* audit.label.*.* audit.process.* audit.type.* audit.detail.* tokens.scope.*
const FILTERS = /** @type {const} */ (["action", "actor", "target_type", "target_id", "from", "to"]);
const TARGETS = ["user", "job", "gpu", "foreign_job"];
const PROCESSES = ["cli", "sql", "login", "dispatcher"];
const PAGE_SIZE = 50;
const SUGGESTED_PEOPLE = 10;
/** Stand in a sentence for what is more than text. */
const WHO = "\uE000";
const TARGET = "\uE001";
/** Said with the sentence, or not worth saying. */
const SAID = ["email", "name", "reason", "note", "from", "to", "refunded_seconds"];
const NAMED_DETAILS = [
  "limit_seconds",
  "delta_seconds",
  "window_seconds",
  "is_admin",
  "address",
  "user_agent",
  "count",
  "scopes",
  "expires_at",
];
const SECONDS_PER_HOUR = 3_600;

await startPage("audit", { forAdmins: true });
/** @type {Entry[] | null} */
let entries = null;
/** @type {string | null} */
let older = null;
/** @type {Schemas["UserRead"][]} */
let suggested = [];
/** @type {Set<number>} the entries whose details are shown */
const opened = new Set();
let asked = 0;
/** @type {Set<string>} the acts that have sentences */
let knownActions = new Set();

const panel = place("#filter-panel", HTMLDetailsElement);
const isWide = matchMedia("(width >= 60rem)").matches;
const wasToggled = !panel.open; // By somebody who was quicker than this script; on narrow screens it looked closed.
panel.open = wasToggled ? !isWide : isWide || isFiltered();
panel.classList.add("ready");
render(
  html`<button type="button" class="button" @click=${save}>${icon("download")}${t("action.csv")}</button>`,
  place("#exports"),
);
const showFrom = daysInput("from");
const showTo = daysInput("to");
const choices = get("/admin/audit/actions").then(showChoices, toastProblem);
onInput("action", (value) => filterBy({ action: value }));
onInput("target_type", (value) => filterBy({ target_type: value }));
onInput("target_id", chooseTarget);
onInput("actor", chooseActor);
place("#actor").addEventListener("input", suggestPeople);
addEventListener("popstate", load);

await load();
catchUp();
reloadOn(() => true, loadNewer);

/** Read what the address asks for. */
async function load() {
  asked += 1;
  const mine = asked;
  drawFilters();
  try {
    const page = await getPage("/admin/audit", { ...filters(), limit: PAGE_SIZE });
    await choices;
    if (mine !== asked) return;
    entries = page.items;
    older = page.cursor;
    draw();
    drawActor();
  } catch (error) {
    if (mine === asked) render(problemPanel(error, load), place("#entries"));
  }
}

async function loadOlder() {
  try {
    const page = await getPage("/admin/audit", { ...filters(), limit: PAGE_SIZE, cursor: older });
    entries = [...(entries ?? []), ...page.items];
    older = page.cursor;
    draw();
  } catch (error) {
    toastProblem(error);
  }
}

/** What has been done since, above what is shown. Where that is more than a page, the list begins anew. */
async function loadNewer() {
  if (!entries) return;
  const mine = asked;
  const newest = entries[0]?.id ?? 0;
  const page = await getPage("/admin/audit", { ...filters(), limit: PAGE_SIZE }).catch(() => null);
  if (!page || mine !== asked) return;
  const added = page.items.filter(({ id }) => id > newest);
  if (added.length === 0) return;
  if (added.length === page.items.length) {
    entries = page.items;
    older = page.cursor;
  } else entries = [...added, ...entries];
  draw();
}

function draw() {
  if (!entries) return;
  if (entries.length === 0) {
    render(isFiltered() ? noMatch() : nothingYet(), place("#entries"));
  } else {
    render(table(), place("#entries"));
    renderRows(place("#entries tbody"), entries, { tag: "tr", key: ({ id }) => id, template: row });
  }
  render(
    older === null
      ? nothing
      : html`<button type="button" class="button" @click=${loadOlder}>${icon("chevron-down")}${t("list.more")}</button>`,
    place("#more"),
  );
}

function table() {
  return html`<div class="table-frame">
    <table class="data-table table-cards audit-table">
      <caption class="visually-hidden">${t("audit.title")}</caption>
      <thead>
        <tr>
          <th scope="col">${t("audit.when")}</th>
          <th scope="col">${t("audit.what")}</th>
          <th scope="col">${t("audit.origin")}</th>
          <th scope="col"><span class="visually-hidden">${t("audit.details")}</span></th>
        </tr>
      </thead>
      <tbody></tbody>
    </table>
  </div>`;
}

/** @param {Entry} entry */
function row(entry) {
  const { reason, note, from, to } = entry.details;
  const said = reason ?? note;
  return html`<td data-label=${t("audit.when")}>${fullTime(entry.at)}</td>
    <td class="audit-what">
      <p>${sentence(entry)}</p>
      ${said ? html`<p class="audit-said"><bdi>${said}</bdi></p>` : nothing}
      ${to === undefined ? nothing : change(from, to)}
      ${opened.has(entry.id) ? details(entry) : nothing}
    </td>
    <td data-label=${t("audit.origin")}>
      ${entry.address ? html`<span dir="ltr">${entry.address}</span>` : html`<span class="soft">${t("audit.no_address")}</span>`}
    </td>
    <td class="audit-toggle">
      <button type="button" class="button-quiet button-small" aria-expanded=${opened.has(entry.id)} @click=${() => toggle(entry.id)}>
        <span>${t("audit.details")}</span>${icon("chevron-down")}
      </button>
    </td>`;
}

/** @param {number} id */
function toggle(id) {
  if (!opened.delete(id)) opened.add(id);
  draw();
}

/**
 * What was done, with its doer and its target where the language puts them.
 * @param {Entry} entry
 */
function sentence(entry) {
  const name = String(entry.details.name ?? "");
  const facts = { who: WHO, target: TARGET, name, action: entry.action, ...amounts(entry.details) };
  const [kind, act] = entry.action.split(".");
  const text = isKnown(entry.action) ? t(`audit.act.${kind}.${act}`, facts) : t("audit.unknown", facts);
  const parts = text.split(new RegExp(`(${WHO}|${TARGET})`));
  return parts.map((part) => {
    if (part === WHO) return html`<strong>${who(entry)}</strong>`;
    return part === TARGET ? target(entry) : part;
  });
}

/** @param {Entry["details"]} details */
function amounts({
  limit_seconds: limit,
  delta_seconds: delta,
  refunded_seconds: refunded,
  window_seconds: window,
  count,
}) {
  return {
    limit: hours(Number(limit ?? 0) / SECONDS_PER_HOUR),
    delta: delta === undefined ? "" : language.signedNumber(Number(delta) / SECONDS_PER_HOUR),
    refunded: hours(Number(refunded ?? 0) / SECONDS_PER_HOUR),
    count: Number(count ?? Math.round(Number(window ?? 0) / 60)),
  };
}

/** @param {Entry} entry */
function who({ actor, actor_process }) {
  if (actor) return personName(actor);
  const [process = "", name = ""] = (actor_process ?? "").split(":");
  return PROCESSES.includes(process)
    ? t(`audit.process.${process}`, { name })
    : html`<code dir="ltr">${actor_process}</code>`;
}

/** @param {Entry} entry */
function target({ target_type, target_id, target_name: name, details }) {
  if (target_id === null) return t("audit.target.nobody");
  const id = language.typedNumber(target_id);
  if (target_type === "job") {
    const number = t("audit.target.job", { id });
    return html`<a href=${pageUrl(`job.html?id=${target_id}`)}>${name === null ? number : html`${number} (<bdi>${name}</bdi>)`}</a>`;
  }
  if (target_type === "gpu") {
    return html`<a href=${pageUrl(`admin/fleet.html?gpu=${target_id}`)}>${name === null ? t("audit.target.gpu", { id }) : gpuName(name)}</a>`;
  }
  if (target_type === "foreign_job") {
    return html`<bdi dir="ltr">${details.engine_job_id}</bdi> (<bdi>${details.name}</bdi>)`;
  }
  if (target_type === "user") return html`<bdi>${details.email ?? name ?? t("audit.target.user", { id })}</bdi>`;
  return html`<bdi>${target_type} ${id}</bdi>`;
}

/** @param {string} place such as `node1:3` */
function gpuName(place) {
  const [node = "", index = ""] = place.split(":");
  return t("fleet.gpu_of", { node, index: Number(index) });
}

/** @param {number} id */
function knownEmail(id) {
  for (const { actor, target_type, target_id, target_name } of entries ?? []) {
    if (actor?.id === id) return actor.email;
    if (target_type === "user" && target_id === id && target_name) return target_name;
  }
  return suggested.find((person) => person.id === id)?.email;
}

/**
 * @param {unknown} from
 * @param {unknown} to
 */
function change(from, to) {
  return html`<p class="audit-change">
    ${from === null ? html`<span class="soft">${t("audit.nothing")}</span>` : html`<del dir="auto">${shown(from)}</del>`}
    ${icon("arrow-right", "icon-directional")}
    ${to === null ? html`<span class="soft">${t("audit.nothing")}</span>` : html`<ins dir="auto">${shown(to)}</ins>`}
  </p>`;
}

/** @param {Entry} entry */
function details(entry) {
  const rest = Object.entries(entry.details).filter(([name]) => !SAID.includes(name));
  return html`<dl class="facts audit-details">
      <dt>${t("audit.detail.action")}</dt><dd><code dir="ltr">${entry.action}</code></dd>
      ${entry.actor ? html`<dt>${t("audit.detail.actor")}</dt><dd><bdi>${entry.actor.email}</bdi></dd>` : nothing}
      ${entry.actor_process ? html`<dt>${t("audit.detail.process")}</dt><dd><code dir="ltr">${entry.actor_process}</code></dd>` : nothing}
      ${rest.map(([name, value]) => html`<dt>${nameOfDetail(name)}</dt><dd><bdi>${detail(name, value)}</bdi></dd>`)}
      ${
        entry.request_id
          ? html`<dt>${t("audit.detail.request_id")}</dt>
            <dd>
              <code dir="ltr">${entry.request_id}</code>
              <button type="button" class="button-quiet button-small" aria-label=${t("audit.copy_request_id")}
                @click=${() => copy(entry.request_id ?? "")}>${icon("copy")}</button>
            </dd>`
          : nothing
      }
    </dl>
    <div class="chips">
      ${
        entry.actor
          ? html`<button type="button" class="chip" @click=${() => filterBy({ actor: String(entry.actor?.id) })}>${icon("funnel")} ${t("audit.only_actor")}</button>`
          : nothing
      }
      ${
        entry.target_id === null
          ? nothing
          : html`<button type="button" class="chip"
              @click=${() => filterBy({ target_type: entry.target_type, target_id: String(entry.target_id) })}>${icon("funnel")} ${t("audit.only_target")}</button>`
      }
    </div>`;
}

/** @param {string} name */
function nameOfDetail(name) {
  return NAMED_DETAILS.includes(name) ? t(`audit.detail.${name}`) : html`<code dir="ltr">${name}</code>`;
}

/**
 * @param {string} name
 * @param {unknown} value
 */
function detail(name, value) {
  if (name === "limit_seconds") return hours(Number(value) / SECONDS_PER_HOUR);
  if (name === "delta_seconds") {
    return t("unit.gpu_hours", { count: language.signedNumber(Number(value) / SECONDS_PER_HOUR) });
  }
  if (name === "scopes" && Array.isArray(value)) return joined(value.map((scope) => t(`tokens.scope.${scope}`)));
  if (name === "expires_at") return fullTime(String(value));
  if (name.endsWith("_seconds")) return language.duration(Number(value));
  if (typeof value === "boolean") return t(value ? "audit.yes" : "audit.no");
  return typeof value === "number" ? number(value) : shown(value);
}

/** @param {unknown} value */
function shown(value) {
  return typeof value === "string" ? value : JSON.stringify(value);
}

function nothingYet() {
  return html`<div class="empty">
    ${icon("journal-text", "empty-icon")}
    <p class="empty-title">${t("audit.none")}</p>
    <p class="empty-text">${t("audit.none_text")}</p>
  </div>`;
}

function noMatch() {
  return html`<div class="empty">
    ${icon("funnel", "empty-icon")}
    <p class="empty-title">${t("audit.no_match")}</p>
    <button type="button" class="button" @click=${clearFilters}>${icon("x-lg")}${t("audit.clear_filters")}</button>
  </div>`;
}

/** @param {string[]} actions */
function showChoices(actions) {
  knownActions = new Set(actions);
  const labelled = actions
    .filter(isKnown)
    .map((action) => ({ action, label: labelOf(action) }))
    .sort((one, other) => compare(one.label, other.label));
  render(
    html`<option value="">${t("audit.any")}</option>
      ${labelled.map(({ action, label }) => html`<option value=${action}>${label}</option>`)}`,
    place("#action"),
  );
  render(
    html`<option value="">${t("audit.any")}</option>
      ${TARGETS.map((type) => html`<option value=${type}>${t(`audit.type.${type}`)}</option>`)}`,
    place("#target_type"),
  );
  drawChosen();
}

/** @param {string} action */
function labelOf(action) {
  const [kind, act] = action.split(".");
  return t(`audit.label.${kind}.${act}`);
}

/** Show in the fields what the address asks for. What somebody has typed, and it does not ask for yet, stays. */
function drawFilters() {
  drawChosen();
  const id = asksFor("target_id");
  if (fill(control("target_id"), id && language.typedNumber(Number(id)))) place("#target_id-hint").textContent = "";
  showFrom(asksFor("from"));
  showTo(asksFor("to"));
  drawActor();
}

function drawChosen() {
  fill(control("action"), asksFor("action"));
  fill(control("target_type"), asksFor("target_type"));
}

/** By the address, once it is known. */
function drawActor() {
  const id = Number(asksFor("actor"));
  const input = control("actor");
  if (id && input === document.activeElement) return;
  if (fill(input, id ? (knownEmail(id) ?? language.typedNumber(id)) : "")) place("#actor-hint").textContent = "";
}

/** @param {string} typed */
function chooseTarget(typed) {
  place("#target_id-hint").textContent = "";
  const id = typed.trim() === "" ? "" : parseNumber(typed);
  if (id === "" || Number.isSafeInteger(id)) filterBy({ target_id: String(id) });
  else place("#target_id-hint").textContent = t("audit.no_number");
}

/**
 * A person by address, or by number.
 * @param {string} typed
 */
async function chooseActor(typed) {
  const wanted = typed.trim();
  place("#actor-hint").textContent = "";
  if (wanted === "") return filterBy({ actor: "" });
  const id = parseNumber(wanted);
  if (Number.isSafeInteger(id)) return filterBy({ actor: String(id) });
  suggested = await people(wanted);
  if (control("actor").value !== typed) return; // Something else is typed by now.
  const found = suggested.find(({ email }) => email === wanted) ?? (suggested.length === 1 ? suggested[0] : undefined);
  if (found) filterBy({ actor: String(found.id) });
  else place("#actor-hint").textContent = t(suggested.length === 0 ? "audit.no_person" : "audit.several_people");
}

/** @param {Event} event */
async function suggestPeople({ currentTarget }) {
  const typed = /** @type {HTMLInputElement} */ (currentTarget).value.trim();
  if (typed.length < 2 || !Number.isNaN(parseNumber(typed))) return;
  suggested = await people(typed);
  render(
    html`${suggested.map(({ email, full_name }) => html`<option value=${email}>${full_name ?? ""}</option>`)}`,
    place("#people"),
  );
}

/**
 * @param {string} beginning of an address or a name
 * @returns {Promise<Schemas["UserRead"][]>}
 */
function people(beginning) {
  return get("/admin/users", { q: beginning, limit: SUGGESTED_PEOPLE }).catch(() => []);
}

/** @param {Partial<Record<typeof FILTERS[number], string>>} changes */
function filterBy(changes) {
  const address = new URL(location.href);
  for (const [name, value] of Object.entries(changes)) {
    settle(control(name));
    if (value) address.searchParams.set(name, value);
    else address.searchParams.delete(name);
  }
  if (address.href !== location.href) history.pushState(null, "", address);
  load();
}

function clearFilters() {
  filterBy(Object.fromEntries(FILTERS.map((name) => [name, ""])));
  place("#action").focus();
}

function filters() {
  return Object.fromEntries(FILTERS.map((name) => [name, asksFor(name)]));
}

function isFiltered() {
  return FILTERS.some((name) => asksFor(name) !== "");
}

async function save() {
  await download("/admin/audit/export", filters()).catch(toastProblem);
}

/** @param {string} action */
function isKnown(action) {
  return knownActions.has(action);
}

/** @param {"from" | "to"} name */
function daysInput(name) {
  const how = { code: language.code, wrong: t("audit.no_such_day"), fill };
  return dayInput(place(`#${name}`, HTMLInputElement), place(`#${name}-hint`), how, (day) => filterBy({ [name]: day }));
}

/**
 * @param {string} name
 * @param {(value: string) => unknown} changed
 */
function onInput(name, changed) {
  control(name).addEventListener("change", () => changed(control(name).value));
}

/**
 * The one of a filter.
 * @param {string} name
 */
function control(name) {
  return /** @type {HTMLInputElement | HTMLSelectElement} */ (place(`#${name}`));
}

/** @param {typeof FILTERS[number]} name */
function asksFor(name) {
  return new URLSearchParams(location.search).get(name) ?? "";
}
