// The page's own language: its sentences are fetched once, and everything that speaks is bound to them.
import { getFile, Problem } from "./api.js";
import { html, nothing } from "./html.js";
import { createLanguage } from "./language.js";

export { foldDigits, parseNumber } from "./language.js";

const code = document.documentElement.lang === "fa" ? "fa" : "en";
const sentences = await getFile(new URL(`../../locales/${code}.json`, import.meta.url));

export const language = createLanguage(code, sentences);
export const {
  t,
  number,
  typedNumber,
  percent,
  hours,
  bytes,
  duration,
  date,
  month,
  time,
  dateTime,
  ago,
  list,
  compare,
} = language;

/** Fill the elements of the page's own HTML that name a sentence: `<h1 data-t="jobs.title">`. */
export function translatePage() {
  for (const element of /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll("[data-t]"))) {
    element.textContent = t(element.dataset.t ?? "");
  }
}

/**
 * What went wrong, as a sentence for people.
 * @param {unknown} error
 */
export function explain(error) {
  if (!(error instanceof Problem)) {
    console.error(error);
    return t("error.unexpected");
  }
  return error.code === "network" ? t("error.network") : error.detail;
}

/**
 * Facts side by side, in the language's way; those that are not there leave no mark.
 * @param {import("./html.js").Content[]} facts
 */
export function joined(facts) {
  return facts
    .filter((fact) => fact !== nothing)
    .map((fact, index) => html`${index > 0 ? t("list.separator") : nothing}${fact}`);
}

/**
 * A moment as "2 hours ago", with the full date to read on hover.
 * @param {string} moment
 */
export function agoTime(moment) {
  return html`<time datetime=${moment} title=${`${dateTime(moment)}${t("list.separator")}${moment}`}>${ago(moment)}</time>`;
}

/**
 * A moment as a date and a time of day, with ISO on hover.
 * @param {string} moment
 */
export function fullTime(moment) {
  return html`<time datetime=${moment} title=${moment}>${dateTime(moment)}</time>`;
}

/**
 * A person's name, or the address of one who gave none; its direction is its own.
 * @param {{ full_name: string | null, email: string }} person
 */
export function personName(person) {
  return html`<bdi>${person.full_name ?? person.email}</bdi>`;
}
