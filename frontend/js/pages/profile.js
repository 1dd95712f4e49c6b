// The reader's own account: name, language and theme, password, where it is signed in, tokens, the ledger of its quota.
import { call, download, get, getPage, renewToken, updateUser } from "../lib/api.js";
import { clearProblem, field, onSubmit } from "../lib/form.js";
import { html, icon, nothing, place, render } from "../lib/html.js";
import { agoTime, date, joined, language, t } from "../lib/i18n.js";
import { ledgerTable } from "../lib/ledger.js";
import { reloadOn } from "../lib/live.js";
import {
  chosenTheme,
  problemPanel,
  redraw,
  startPage,
  switchLanguage,
  switchTheme,
  toast,
  toastProblem,
} from "../lib/shell.js";
import { hideSecret, loadTokens } from "../lib/tokens.js";

/** @typedef {import("../lib/api.js").Schemas} Schemas */

// locale keys: theme.*
const BROWSERS = /** @type {const} */ ([
  ["Firefox/", "Firefox"],
  ["Edg/", "Edge"],
  ["Chrome/", "Chrome"],
  ["Safari/", "Safari"],
]);
const SYSTEMS = /** @type {const} */ ([
  ["Android", "Android"],
  ["iPhone", "iPhone"],
  ["iPad", "iPad"],
  ["Windows", "Windows"],
  ["Mac OS", "macOS"],
  ["Linux", "Linux"],
]);

let user = await startPage("profile");
/** @type {Schemas["QuotaEntryRead"][]} */
let entries = [];
/** @type {string | null} */
let older = null;

showAccount();
showDisplay();
showPassword();
await Promise.all([loadSessions(), loadTokens(), loadLedger()]);
for (const id of ["#tokens-section", "#ledger-section"]) place(id).hidden = false; // What is above has its length by now.
if (location.hash === "#tokens-section") place("#tokens-section").scrollIntoView();
reloadOn((news) => news.type === "quota" || (news.type === "job" && news.data.user_id === user.id), loadLedger);

function showAccount() {
  render(
    html`<form id="account-form" class="form-stack">
      <div class="form-problem" hidden></div>
      <dl class="facts">
        <dt>${t("account.email")}</dt>
        <dd><bdi>${user.email}</bdi></dd>
        <dt>${t("profile.since")}</dt>
        <dd>${date(user.created_at)}</dd>
        <dt>${t("profile.role")}</dt>
        <dd>${t(user.is_admin ? "profile.role_admin" : "profile.role_user")}</dd>
      </dl>
      ${field({
        id: "full_name",
        label: t("account.full_name"),
        hint: t("profile.name_hint"),
        control: html`<input class="form-control" id="full_name" name="full_name" dir="auto" maxlength="200" autocomplete="name"
          value=${user.full_name ?? ""} aria-describedby="full_name-hint full_name-error">`,
      })}
      <div><button type="submit" class="button">${t("profile.save_name")}</button></div>
    </form>`,
    place("#account"),
  );
  onSubmit(form("#account-form"), async ({ full_name: name }) => {
    user = await call("PATCH", "/auth/me", { full_name: name?.trim() || null });
    updateUser(user);
    redraw();
    toast(t("profile.saved"));
  });
}

function showDisplay() {
  render(
    html`<div class="form-stack">
      ${choice("language", t("profile.language"), language.code, { fa: "فارسی", en: "English" }, (code) =>
        switchLanguage(code === "fa" ? "fa" : "en"),
      )}
      ${choice(
        "theme",
        t("profile.theme"),
        chosenTheme(),
        { system: t("theme.system"), light: t("theme.light"), dark: t("theme.dark") },
        (theme) => switchTheme(theme === "light" || theme === "dark" ? theme : "system"),
      )}
    </div>`,
    place("#display"),
  );
}

/**
 * A group of radio buttons that act at once.
 * @param {string} name
 * @param {string} label
 * @param {string} chosen
 * @param {Record<string, string>} options
 * @param {(value: string) => unknown} choose
 */
function choice(name, label, chosen, options, choose) {
  return html`<fieldset class="choice">
    <legend class="field-label">${label}</legend>
    ${Object.entries(options).map(
      ([value, words]) => html`<label class="choice-option">
        <input class="form-check-input" type="radio" name=${name} value=${value} ?checked=${value === chosen} @change=${() => choose(value)}>
        <span lang=${name === "language" ? value : nothing}>${words}</span>
      </label>`,
    )}
  </fieldset>`;
}

function showPassword() {
  render(
    html`<form id="password-form" class="form-stack">
      <div class="form-problem" hidden></div>
      <input class="visually-hidden" type="text" autocomplete="username" value=${user.email} tabindex="-1" aria-hidden="true" readonly>
      ${passwordField("current_password", t("password.current"), "current-password")}
      ${passwordField("new_password", t("password.new"), "new-password", t("account.password_hint"))}
      <p class="small soft">${t("password.consequence")}</p>
      <div><button type="submit" class="button">${t("password.submit")}</button></div>
    </form>`,
    place("#password"),
  );
  const passwords = form("#password-form");
  onSubmit(passwords, async ({ current_password, new_password }) => {
    await call("POST", "/auth/password", { current_password, new_password });
    passwords.reset();
    clearProblem(passwords);
    toast(t("password.done"));
    await renewToken();
    hideSecret();
    await Promise.all([loadSessions(), loadTokens()]);
  });
}

/**
 * @param {string} id
 * @param {string} label
 * @param {"current-password" | "new-password"} autocomplete
 * @param {string} [hint]
 */
function passwordField(id, label, autocomplete, hint) {
  return field({
    id,
    label,
    hint,
    control: html`<input class="form-control" type="password" id=${id} name=${id} dir="ltr" required autocomplete=${autocomplete}
      aria-describedby="${id}-hint ${id}-error">`,
  });
}

async function loadSessions() {
  try {
    drawSessions(await get("/auth/sessions"));
  } catch (error) {
    render(problemPanel(error, loadSessions), place("#sessions"));
  }
}

/** @param {Schemas["SessionRead"][]} sessions */
function drawSessions(sessions) {
  render(
    html`<ul class="rows">
      ${sessions.map(
        (session) => html`<li>
          <div>
            <p>
              <strong>${deviceOf(session.user_agent)}</strong>
              ${session.current ? html`<span class="status status-completed">${icon("check-circle-fill")}${t("sessions.current")}</span>` : nothing}
            </p>
            <p class="small soft">
              ${joined([
                html`${t("sessions.used")} ${agoTime(session.last_used_at)}`,
                session.address ? html`<bdi>${session.address}</bdi>` : nothing,
              ])}
            </p>
          </div>
          ${session.current ? nothing : html`<button type="button" class="button button-small" @click=${() => end(session.id)}>${t("sessions.end")}</button>`}
        </li>`,
      )}
    </ul>`,
    place("#sessions"),
  );
  render(
    sessions.length > 1
      ? html`<button type="button" class="button button-small" @click=${endOthers}>${t("sessions.end_others")}</button>`
      : nothing,
    place("#end-others"),
  );
}

/** @param {string} id */
async function end(id) {
  await call("DELETE", `/auth/sessions/${id}`).then(() => toast(t("sessions.ended")), toastProblem);
  await loadSessions();
}

async function endOthers() {
  await call("POST", "/auth/sessions/end-others").then(() => toast(t("sessions.others_ended")), toastProblem);
  await loadSessions();
}

/**
 * What a browser says of itself, in words: "Firefox, Linux".
 * @param {string | null} agent
 */
function deviceOf(agent) {
  const known = [BROWSERS, SYSTEMS].map((names) => names.find(([mark]) => agent?.includes(mark))?.[1]);
  const words = known.filter((word) => word !== undefined);
  return words.length > 0 ? html`<bdi>${words.join(", ")}</bdi>` : html`<bdi>${agent ?? t("sessions.unknown")}</bdi>`;
}

async function loadLedger() {
  try {
    const page = await getPage("/quota/entries", { limit: 20 });
    entries = page.items;
    older = page.cursor;
    drawLedger();
  } catch (error) {
    if (entries.length === 0) render(problemPanel(error, loadLedger), place("#ledger"));
  }
}

async function loadOlder() {
  try {
    const page = await getPage("/quota/entries", { limit: 50, cursor: older });
    entries = [...entries, ...page.items];
    older = page.cursor;
    drawLedger();
  } catch (error) {
    toastProblem(error);
  }
}

function drawLedger() {
  render(ledgerTable(entries, older === null ? undefined : loadOlder), place("#ledger"));
  render(
    html`<button type="button" class="button" @click=${() => download("/quota/entries/export").catch(toastProblem)}>${icon("download")}${t("action.csv")}</button>`,
    place("#ledger-export"),
  );
}

/** @param {string} selector */
function form(selector) {
  return /** @type {HTMLFormElement} */ (place(selector));
}
