// The reader's personal access tokens: the list, making one, its secret for as long as it is shown, and its end.
import { call, get, Problem, signedIn } from "./api.js";
import { ask, field } from "./form.js";
import { html, icon, nothing, place, render } from "./html.js";
import { agoTime, date, joined, t } from "./i18n.js";
import { copyable, problemPanel, toast } from "./shell.js";

/** @typedef {import("./api.js").Schemas} Schemas */
/** @typedef {Schemas["PersonalTokenRead"]} Token */
/** @typedef {Schemas["Scope"]} Scope */

// locale keys: tokens.scope.*
/** @type {readonly Scope[]} */
const SCOPES = ["jobs:read", "jobs:write"];
/** @type {Scope} */
const ADMINS_SCOPE = "admin";
const LIFETIMES_DAYS = [7, 30, 90, 365];
const USUAL_DAYS = 30;
const MS_PER_DAY = 86_400_000;

/** Of which the secret is shown now. @type {string | null} */
let shown = null;

addEventListener("pagehide", hideSecret); // Nobody comes back to it, by the browser's button neither.

export async function loadTokens() {
  try {
    drawTokens(await get("/auth/tokens"));
  } catch (error) {
    render(problemPanel(error, loadTokens), place("#tokens"));
  }
}

/** The secret is not kept anywhere but in what is shown. */
export function hideSecret() {
  shown = null;
  render(nothing, place("#token-secret"));
}

/** @param {Token[]} tokens */
function drawTokens(tokens) {
  const isEmpty = tokens.length === 0;
  render(isEmpty ? nothing : newButton(), place("#new-token"));
  render(isEmpty ? noTokens() : html`<ul class="rows">${tokens.map(row)}</ul>`, place("#tokens"));
}

function newButton() {
  return html`<button type="button" class="button button-small" id="make-token" @click=${make}>${icon("plus-lg")}${t("tokens.new")}</button>`;
}

function noTokens() {
  return html`<div class="empty">
    ${icon("key", "empty-icon")}
    <p class="empty-title">${t("tokens.none")}</p>
    <p class="empty-text">${t("tokens.none_text")}</p>
    <button type="button" class="button" id="make-token" @click=${make}>${icon("plus-lg")}${t("tokens.new")}</button>
  </div>`;
}

/** @param {Token} token */
function row(token) {
  const { name, scopes, expires_at, last_used_at } = token;
  return html`<li>
    <div>
      <p><strong><bdi>${name}</bdi></strong></p>
      <p class="small">${joined(scopes.map((scope) => t(`tokens.scope.${scope}`)))}</p>
      <p class="small soft">
        ${joined([
          html`<time datetime=${expires_at} title=${expires_at}>${t("tokens.expires", { date: date(expires_at) })}</time>`,
          last_used_at ? html`${t("sessions.used")} ${agoTime(last_used_at)}` : t("tokens.never_used"),
        ])}
      </p>
    </div>
    <button type="button" class="button button-small button-danger-quiet" aria-label=${t("tokens.revoke_title", { name })}
      @click=${() => revoke(token)}>${t("tokens.revoke")}</button>
  </li>`;
}

async function make() {
  /** @type {Schemas["PersonalTokenCreated"] | null} */
  const made = await ask({
    title: t("tokens.new"),
    body: newFields(),
    submit: t("tokens.make"),
    action: ({ name, days, ...typed }) => {
      const scopes = scopesOnOffer().filter((scope) => typed[scope] === "on");
      return call("POST", "/auth/tokens", { name, scopes, expires_in_days: Number(days) });
    },
  });
  if (!made) return;
  await loadTokens();
  showSecret(made);
}

function newFields() {
  return html`${field({
    id: "token-name",
    label: t("tokens.name"),
    hint: t("tokens.name_hint"),
    control: html`<input class="form-control" id="token-name" name="name" dir="auto" required maxlength="100" autocomplete="off"
        aria-describedby="token-name-hint token-name-error">`,
  })}
    <fieldset class="choices">
      <legend class="field-label">${t("tokens.scopes")}</legend>
      ${scopesOnOffer().map(scopeChoice)}
      <p class="field-error" id="scopes-error" hidden></p>
    </fieldset>
    ${field({
      id: "expires_in_days",
      label: t("tokens.lifetime"),
      control: html`<select class="form-select" id="expires_in_days" name="days" aria-describedby="expires_in_days-hint expires_in_days-error">
        ${LIFETIMES_DAYS.map((days) => html`<option value=${days} ?selected=${days === USUAL_DAYS}>${lifetime(days)}</option>`)}
      </select>`,
    })}`;
}

/**
 * What is wrong with the scopes is said at the first of them.
 * @param {Scope} scope
 * @param {number} index
 */
function scopeChoice(scope, index) {
  const isAdmins = scope === ADMINS_SCOPE;
  return html`<label class="choice-option">
      <input class="form-check-input" type="checkbox" name=${scope} id=${index === 0 ? "scopes" : nothing} ?checked=${!isAdmins}
        aria-describedby="scopes-error ${isAdmins ? "scopes-admin" : ""}">
      <span>${t(`tokens.scope.${scope}`)} <code class="soft" dir="ltr">${scope}</code></span>
    </label>
    ${isAdmins ? html`<p class="field-hint" id="scopes-admin">${t("tokens.admin_hint")}</p>` : nothing}`;
}

function scopesOnOffer() {
  return signedIn()?.is_admin ? [...SCOPES, ADMINS_SCOPE] : SCOPES;
}

/** @param {number} days */
function lifetime(days) {
  return t("tokens.days", { days, date: date(new Date(Date.now() + days * MS_PER_DAY)) });
}

/** @param {Schemas["PersonalTokenCreated"]} made */
function showSecret({ id, name, token: secret }) {
  shown = id;
  render(
    html`<div class="secret" role="group" tabindex="-1" aria-labelledby="secret-title" aria-describedby="secret-once">
      <h3 id="secret-title">${icon("check-circle-fill")} ${t("tokens.made", { name })}</h3>
      <p id="secret-once" class="secret-once">${icon("exclamation-triangle")}<span>${t("tokens.once")}</span></p>
      ${copyable({ id: "secret", label: t("tokens.token"), text: secret })}
      ${copyable({
        id: "secret-client",
        label: t("tokens.in_client"),
        text: `gtm login --url ${location.origin} --with-token`,
      })}
      ${copyable({
        id: "secret-header",
        label: t("tokens.in_header"),
        text: `curl -H "Authorization: Bearer $GTM_TOKEN" ${location.origin}/api/v1/auth/me`,
      })}
      <div><button type="button" class="button" @click=${dismiss}>${t("tokens.hide")}</button></div>
    </div>`,
    place("#token-secret"),
  );
  place(".secret").focus();
}

function dismiss() {
  hideSecret();
  goOn();
}

/** @param {Token} token */
async function revoke({ id, name, scopes, last_used_at }) {
  const isDone = await ask({
    title: t("tokens.revoke_title", { name }),
    body: html`<p>${t("tokens.revoke_text")}</p>
      <ul>${scopes.map((scope) => html`<li>${t(`tokens.scope.${scope}`)}</li>`)}</ul>
      <p>${t("tokens.revoke_jobs")}</p>
      <p class="small soft">${last_used_at ? html`${t("sessions.used")} ${agoTime(last_used_at)}` : t("tokens.never_used")}</p>`,
    submit: t("tokens.revoke_submit"),
    danger: true,
    action: () =>
      call("DELETE", `/auth/tokens/${id}`)
        .catch(acceptThatItIsGone)
        .then(() => true),
  });
  if (!isDone) return;
  if (shown === id) hideSecret();
  toast(t("tokens.revoked", { name }));
  await loadTokens();
  goOn();
}

/** What had the focus is gone. */
function goOn() {
  /** @type {HTMLElement | null} */ (document.querySelector("#make-token"))?.focus();
}

/**
 * A token that has ended otherwise is what was wanted.
 * @param {unknown} error
 */
function acceptThatItIsGone(error) {
  if (!(error instanceof Problem && error.status === 404)) throw error;
}
