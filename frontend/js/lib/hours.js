// Fields of dialogs in which an admin changes hours: how many, and why.
import { Problem } from "./api.js";
import { field } from "./form.js";
import { html } from "./html.js";
import { t, typedNumber } from "./i18n.js";

/** @typedef {import("./html.js").Content} Content */

/**
 * @param {string} name
 * @param {string} label
 * @param {Content} hint
 * @param {number} [value]
 */
export function hoursField(name, label, hint, value) {
  return field({
    id: name,
    label,
    hint,
    control: html`<input class="form-control" id=${name} name=${name} inputmode="decimal" autocomplete="off" dir="ltr" required
      value=${value === undefined ? "" : typedNumber(value)} aria-describedby="${name}-hint ${name}-error">`,
  });
}

export function reasonField() {
  return field({
    id: "reason",
    label: t("users.reason"),
    hint: t("users.reason_hint"),
    control: html`<textarea class="form-control" id="reason" name="reason" rows="2" maxlength="2000" dir="auto" required
      aria-describedby="reason-hint reason-error"></textarea>`,
  });
}

/**
 * A refusal that names no field, though it is about one: it is said there.
 * @param {string} name
 * @param {string} code
 * @returns {(error: unknown) => never}
 */
export function sayAt(name, code) {
  return (error) => {
    if (error instanceof Problem && error.code === code)
      error.errors = [{ pointer: `/${name}`, message: error.detail }];
    throw error;
  };
}
