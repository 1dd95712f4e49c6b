// Make an account, and sign in with it at once.
import { getPublic, register, signIn } from "../lib/api.js";
import { beginAt, keepDraft, onSubmit } from "../lib/form.js";
import { html, icon, place, render } from "../lib/html.js";
import { t } from "../lib/i18n.js";
import { pageAskedFor, startPublicPage } from "../lib/shell.js";

/** @typedef {import("../lib/api.js").Schemas["SignInFacts"]} SignInFacts */

startPublicPage();
const form = /** @type {HTMLFormElement} */ (document.querySelector("#register"));
const forgetDraft = keepDraft(form, "register");

onSubmit(form, async ({ full_name = "", email = "", password = "" }) => {
  await register({ email: email.trim(), password, full_name: full_name.trim() || null });
  forgetDraft();
  await signIn(email.trim(), password);
  location.replace(pageAskedFor());
});

beginAt(/** @type {HTMLInputElement} */ (form.elements.namedItem("full_name")));
getPublic("/about").then(sayWhoCanRegister, () => {}); // The service says it again to whoever sends the form.

/** @param {unknown} about */
function sayWhoCanRegister(about) {
  const { registration, registration_domains: domains } = /** @type {SignInFacts} */ (about);
  if (registration === "open") return;
  const text =
    registration === "closed" ? t("register.closed") : t("register.domains", { domains: domains.join(", ") });
  render(html`<p class="notice notice-warning">${icon("info-circle")}<span>${text}</span></p>`, place("#notice"));
  form.hidden = registration === "closed";
}
