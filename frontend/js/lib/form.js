// Forms and dialogs: what was typed is never lost, and what is wrong is said at the field and above them all.
import { Problem, signedIn } from "./api.js";
import { catchUp, fill, html, icon, nothing, render } from "./html.js";
import { explain, foldDigits, t } from "./i18n.js";
import { toastProblem } from "./shell.js";

/** @typedef {import("./html.js").Content} Content */
/** @typedef {import("./html.js").Control} Control */

/**
 * A labelled control with its hint and room for what is wrong with it. The control must have this `id`, this `name`,
 * and `aria-describedby="ID-hint ID-error"`.
 * @param {{ id: string, label: Content, hint?: Content, control: Content, optional?: boolean }} parts
 */
export function field({ id, label, hint = nothing, control, optional = false }) {
  return html`<div class="field">
    <label class="field-label" for=${id}>
      <span class="field-name">${label}</span>${optional ? html` <span class="field-optional">${t("form.optional")}</span>` : nothing}
    </label>
    ${control}
    <p class="field-hint" id="${id}-hint">${hint}</p>
    <p class="field-error" id="${id}-error" hidden></p>
  </div>`;
}

/**
 * What the controls of a form hold, by name. Digits of numeric controls are folded to ASCII; text is as typed.
 * @param {HTMLFormElement} form
 * @returns {Record<string, string>}
 */
export function readForm(form) {
  const chosen = controlsOf(form).filter((control) => control.type !== "radio" || isChecked(control));
  return Object.fromEntries(chosen.map((control) => [control.name, typedIn(control)]));
}

/** @param {Control} control */
function typedIn(control) {
  if (control.type === "checkbox") return isChecked(control) ? "on" : "";
  const isNumber = control.inputMode === "numeric" || control.inputMode === "decimal";
  return isNumber ? foldDigits(control.value).trim() : control.value;
}

/** @param {Control} control */
function isChecked(control) {
  return control instanceof HTMLInputElement && control.checked;
}

/**
 * Send a form once at a time, at once where it was sent before anything listened. A refusal is shown in the form; the
 * action's own fields keep what was typed.
 * @param {HTMLFormElement} form
 * @param {(values: Record<string, string>) => Promise<unknown>} action
 */
export function onSubmit(form, action) {
  let isBusy = false;
  form.noValidate = true;
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (isBusy) return;
    clearProblem(form);
    if (!checkRequired(form)) return;
    isBusy = true;
    const button = /** @type {HTMLElement | null} */ (event.submitter ?? form.querySelector("[type=submit]"));
    button?.setAttribute("aria-busy", "true");
    try {
      await action(readForm(form));
    } catch (error) {
      showProblem(form, error);
    } finally {
      isBusy = false;
      button?.removeAttribute("aria-busy");
    }
  });
  if (window.early.has(form)) form.requestSubmit();
}

/** Refusals whose own sentence is for programs: it names the list of what is wrong, which people see as it is. */
const LISTS = ["validation-failed", "password-refused"];

/**
 * Show a refusal: a summary that links to the fields, a sentence at each field, focus on the first of them.
 * @param {HTMLFormElement} form it has an element `.form-problem`
 * @param {unknown} error
 */
function showProblem(form, error) {
  const problems = error instanceof Problem ? error.errors : [];
  const known = problems.map(({ pointer, message }) => ({ control: controlOf(form, pointer), message }));
  const sentence = error instanceof Problem && LISTS.includes(error.code) ? t("form.refused") : explain(error);
  showFields(form, known, sentence, error instanceof Problem && error.status >= 500 ? error.requestId : "");
}

/**
 * @param {HTMLFormElement} form
 * @param {{ control: HTMLElement | null, message: string }[]} problems
 * @param {string} sentence
 * @param {string} [requestId]
 */
function showFields(form, problems, sentence, requestId = "") {
  const summary = /** @type {HTMLElement} */ (form.querySelector(".form-problem"));
  for (const { control, message } of problems) {
    if (!control) continue;
    const place = form.querySelector(`#${CSS.escape(control.id)}-error`);
    control.setAttribute("aria-invalid", "true");
    control.closest("details")?.setAttribute("open", "");
    if (place instanceof HTMLElement) {
      place.hidden = false;
      place.textContent = message;
    }
  }
  summary.hidden = false;
  summary.tabIndex = -1;
  summary.setAttribute("role", "alert");
  render(
    html`${icon("exclamation-circle")}
      <div>
        <p>${sentence}</p>
        ${
          problems.some(({ message }) => message !== sentence)
            ? html`<ul>
              ${problems.map(
                ({ control, message }) =>
                  html`<li>
                    ${
                      control
                        ? html`<a href="#${control.id}" @click=${(/** @type {Event} */ event) => focusOn(event, control)}>${labelOf(control)}</a>: `
                        : nothing
                    }${message}
                  </li>`,
              )}
            </ul>`
            : nothing
        }
        ${requestId ? html`<p class="small">${t("error.request_id")} <code dir="ltr">${requestId}</code></p>` : nothing}
      </div>`,
    summary,
  );
  (problems.find(({ control }) => control)?.control ?? summary).focus();
}

/** @param {HTMLFormElement} form */
export function clearProblem(form) {
  for (const control of form.querySelectorAll("[aria-invalid]")) control.removeAttribute("aria-invalid");
  for (const place of /** @type {NodeListOf<HTMLElement>} */ (form.querySelectorAll(".field-error"))) {
    place.hidden = true;
    place.textContent = "";
  }
  const summary = /** @type {HTMLElement | null} */ (form.querySelector(".form-problem"));
  if (summary) summary.hidden = true;
}

/**
 * Keep what is typed until it is sent: through a reload, an expired session, a walk to another page. What has been typed
 * already stays as it is. Nobody else who signs in here gets to see it.
 * @param {HTMLFormElement} form
 * @param {string} name
 * @returns {() => void} forget it
 */
export function keepDraft(form, name) {
  const place = `gtm.draft.${signedIn()?.id ?? "nobody"}.${name}`;
  const kept = draftAt(place);
  for (const control of controlsOf(form)) {
    const value = kept[control.name];
    if (value !== undefined && control.type !== "password") fill(control, value);
  }
  form.addEventListener("input", () => {
    const values = controlsOf(form).filter(({ type }) => type !== "password");
    const typed = readForm(form);
    keepAt(place, Object.fromEntries(values.map(({ name }) => [name, typed[name]])));
  });
  catchUp(form);
  return () => keepAt(place, {});
}

/**
 * Puts the focus where people begin, unless they have begun already: they may be quicker than a page's script.
 * @param {HTMLElement} control
 */
export function beginAt(control) {
  if (document.activeElement === document.body) control.focus();
}

/**
 * @param {string} place
 * @returns {Record<string, string>}
 */
function draftAt(place) {
  try {
    return JSON.parse(sessionStorage.getItem(place) ?? "{}");
  } catch {
    return {}; // The browser keeps nothing.
  }
}

/**
 * @param {string} place
 * @param {Record<string, string | undefined>} draft
 */
function keepAt(place, draft) {
  try {
    sessionStorage.setItem(place, JSON.stringify(draft));
  } catch {
    // Nor now.
  }
}

/**
 * Ask something in a dialog. Escape and Cancel answer null; focus returns to where it was.
 * @template Answer
 * @param {{ title: string, body: Content, submit: string, danger?: boolean, wide?: boolean,
 *           action: (values: Record<string, string>) => Promise<Answer>, ready?: (form: HTMLFormElement) => void }} what
 *        `action` runs while the dialog is open; a refusal is shown in it
 * @returns {Promise<Answer | null>}
 */
export async function ask({ title, body, submit, danger = false, wide = false, action, ready }) {
  /** @type {Answer | null} */
  let answer = null;
  /** @type {Promise<unknown> | null} */
  let working = null;
  await show(
    (close) => html`<form class="dialog-form">
      ${dialogHeader(title, close)}
      <div class="dialog-body">
        <div class="form-problem" hidden></div>
        ${body}
      </div>
      <footer class="dialog-footer">
        <button type="button" class="button" @click=${close}>${t("dialog.cancel")}</button>
        <button type="submit" class="button ${danger ? "button-danger" : "button-primary"}">${submit}</button>
      </footer>
    </form>`,
    wide,
    (dialog, close) => {
      const form = /** @type {HTMLFormElement} */ (dialog.querySelector("form"));
      firstStop(form, danger)?.focus();
      onSubmit(form, async (values) => {
        working = action(values)
          .then((given) => {
            answer = given;
          })
          .finally(() => {
            working = null;
          });
        await working;
        close();
      });
      ready?.(form);
    },
  );
  // Closed before the service has answered: what was asked for happens all the same.
  await /** @type {Promise<unknown> | null} */ (working)?.catch(toastProblem);
  return answer;
}

/**
 * Where somebody goes on who opened the dialog: at what has to be filled in, or else at the button. Where there is
 * something to lose, that is the one that loses nothing.
 * @param {HTMLFormElement} form
 * @param {boolean} danger
 * @returns {HTMLElement | null}
 */
function firstStop(form, danger) {
  return form.querySelector("[required]") ?? form.querySelector(danger ? ".dialog-footer button" : "[type=submit]");
}

/**
 * Say something in a dialog that is longer than a short message. Focus returns to where it was.
 * @param {{ title: string, body: Content, wide?: boolean }} what
 */
export function tell({ title, body, wide = false }) {
  return show(
    (close) => html`${dialogHeader(title, close)}
      <div class="dialog-body">${body}</div>
      <footer class="dialog-footer">
        <button type="button" class="button button-primary" autofocus @click=${close}>${t("dialog.close")}</button>
      </footer>`,
    wide,
  );
}

/**
 * @param {(close: () => void) => Content} content
 * @param {boolean} wide
 * @param {(dialog: HTMLDialogElement, close: () => void) => void} [ready]
 * @returns {Promise<void>} when it is closed
 */
function show(content, wide, ready) {
  const opener = document.activeElement;
  const dialog = document.createElement("dialog");
  dialog.className = wide ? "dialog dialog-wide" : "dialog";
  dialog.setAttribute("aria-labelledby", "dialog-title");
  return new Promise((resolve) => {
    // All at once: the `close` event comes later than the next key, which would find the dialog neither open nor over.
    const close = () => {
      if (!dialog.isConnected) return;
      dialog.close();
      dialog.remove();
      if (opener instanceof HTMLElement && opener.isConnected) opener.focus();
      resolve();
    };
    render(content(close), dialog);
    document.body.append(dialog);
    dialog.addEventListener("cancel", close);
    dialog.addEventListener("close", close);
    dialog.showModal();
    ready?.(dialog, close);
  });
}

/**
 * @param {string} title
 * @param {() => void} close
 */
function dialogHeader(title, close) {
  return html`<header class="dialog-header">
    <h2 id="dialog-title">${title}</h2>
    <button type="button" class="button-quiet button-icon" @click=${close} aria-label=${t("dialog.close")}>${icon("x-lg")}</button>
  </header>`;
}

/** @param {HTMLFormElement} form */
function controlsOf(form) {
  const controls = /** @type {Control[]} */ ([...form.elements]);
  return controls.filter(({ name, type }) => name && type !== "submit" && type !== "button");
}

/**
 * The browser would say it in its own language, not in the page's.
 * @param {HTMLFormElement} form
 */
function checkRequired(form) {
  const empty = controlsOf(form).filter((control) => control.required && !control.value.trim());
  if (empty.length === 0) return true;
  const problems = empty.map((control) => ({ control, message: t("form.required") }));
  showFields(form, problems, t("form.incomplete"));
  return false;
}

/**
 * @param {HTMLFormElement} form
 * @param {string} pointer such as `/num_gpus`
 */
function controlOf(form, pointer) {
  const control = form.elements.namedItem(pointer.split("/")[1] ?? "");
  return control instanceof HTMLElement ? control : null;
}

/**
 * Of a choice among several, what it is about.
 * @param {HTMLElement} control
 */
function labelOf(control) {
  const group = control.closest("fieldset")?.querySelector("legend");
  const label = group ?? /** @type {HTMLInputElement} */ (control).labels?.[0];
  return (label?.querySelector(".field-name") ?? label)?.textContent?.trim() ?? control.id;
}

/**
 * @param {Event} event
 * @param {HTMLElement} control
 */
function focusOn(event, control) {
  event.preventDefault();
  control.focus();
}
