// Make an account, and sign in with it at once.
import { register, signIn } from "../lib/api.js";
import { beginAt, keepDraft, onSubmit } from "../lib/form.js";
import { pageAskedFor, startPublicPage } from "../lib/shell.js";

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
