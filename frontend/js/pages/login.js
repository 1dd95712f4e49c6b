// Sign in, and go on to the page that was asked for.
import { restoreSession, signIn } from "../lib/api.js";
import { beginAt, onSubmit } from "../lib/form.js";
import { html, icon, render } from "../lib/html.js";
import { t } from "../lib/i18n.js";
import { pageAskedFor, startPublicPage } from "../lib/shell.js";

// locale keys: login.why.*
const REASONS = ["expired", "signed-out"];

startPublicPage();
const parameters = new URLSearchParams(location.search);
const form = /** @type {HTMLFormElement} */ (document.querySelector("#login"));
const why = parameters.get("why") ?? "";

if (REASONS.includes(why)) {
  const kind = why === "expired" ? "notice-warning" : "notice-success";
  const notice = html`<p class="notice ${kind}">${icon("info-circle")}<span>${t(`login.why.${why}`)}</span></p>`;
  render(notice, /** @type {HTMLElement} */ (document.querySelector("#notice")));
}
if (!navigator.cookieEnabled) {
  const notice = html`<p class="notice notice-warning">${icon("exclamation-triangle")}<span>${t("login.no_cookies")}</span></p>`;
  render(notice, /** @type {HTMLElement} */ (document.querySelector("#notice")));
}
carryOn(/** @type {HTMLAnchorElement} */ (document.querySelector("a[href^='register']")));

onSubmit(form, async ({ username = "", password = "" }) => {
  await signIn(username.trim(), password);
  location.replace(pageAskedFor());
});

beginAt(/** @type {HTMLInputElement} */ (form.elements.namedItem("username")));
if (await restoreSession().catch(() => null)) location.replace(pageAskedFor());

/**
 * The page that was asked for outlives a detour to make an account.
 * @param {HTMLAnchorElement} link
 */
function carryOn(link) {
  const next = parameters.get("next");
  if (next) link.search = new URLSearchParams({ next }).toString();
}
