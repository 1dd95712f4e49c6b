// Days of two calendars. A day is an ISO text such as "2026-10-23"; people read and write it by their own calendar.
// The browser's own tables know the leap years.
import { foldDigits } from "./language.js";

/** @typedef {"gregory" | "persian"} Calendar */
/** @typedef {{ year: number, month: number, day: number }} CalendarDay */

const DAY_MS = 86_400_000;
const PERSIAN_YEARS = { from: 1300, to: 1500 };
const GREGORIAN_YEARS = { from: 2000, to: 2199 };
const NOWRUZ_BY_THE_OTHER_YEAR = 621;
const DATE = /^(\d{4})[\s/.-]?(\d{1,2})[\s/.-]?(\d{1,2})$/;
const PERSIAN_DIGITS = "۰۱۲۳۴۵۶۷۸۹";
const FULL = /** @type {const} */ ({ day: "numeric", month: "long", year: "numeric" });
const NUMBERS = { gregory: formatOf("en", "gregory"), persian: formatOf("en", "persian") };

/**
 * A day by the numbers of a calendar.
 * @param {string} day
 * @param {Calendar} calendar
 * @returns {CalendarDay}
 */
export function calendarDay(day, calendar) {
  const parts = NUMBERS[calendar].formatToParts(new Date(day));
  const [year = 0, month = 0, dayOfMonth = 0] = ["year", "month", "day"].map((type) =>
    Number(parts.find((part) => part.type === type)?.value),
  );
  return { year, month, day: dayOfMonth };
}

/**
 * What somebody typed as a date, Persian (1405/08/01) or Gregorian (2026-10-23): the year tells which it is.
 * @param {string} text
 * @returns {string | null} null if there is no such day
 */
export function readDay(text) {
  const [, year = 0, month = 0, day = 0] = (DATE.exec(foldDigits(text).trim()) ?? []).map(Number);
  if (isIn(year, PERSIAN_YEARS)) return fromPersian({ year, month, day });
  if (isIn(year, GREGORIAN_YEARS)) return checked(Date.UTC(year, month - 1, day), "gregory", { year, month, day });
  return null;
}

/**
 * A day as people type it in a calendar, in ASCII digits: 1405/08/01, or 2026-10-23.
 * @param {string} day
 * @param {Calendar} calendar
 */
export function writeDay(day, calendar) {
  const parts = calendarDay(day, calendar);
  const padded = [parts.year, parts.month, parts.day].map((part) => String(part).padStart(2, "0"));
  return padded.join(calendar === "persian" ? "/" : "-");
}

/**
 * The first day of the month that began this many months before the one of this day.
 * @param {string} day
 * @param {Calendar} calendar
 * @param {number} monthsBefore
 */
export function monthStart(day, calendar, monthsBefore = 0) {
  const now = calendarDay(day, calendar);
  const months = now.year * 12 + (now.month - 1) - monthsBefore;
  const first = { year: Math.floor(months / 12), month: (months % 12) + 1, day: 1 };
  const start = calendar === "persian" ? fromPersian(first) : isoDay(Date.UTC(first.year, first.month - 1, 1));
  return /** @type {string} */ (start);
}

/**
 * The day of an instant in a time zone.
 * @param {string | Date} instant
 * @param {string} timeZone
 */
export function dayAt(instant, timeZone) {
  // Sweden writes days as ISO 8601 does.
  return new Intl.DateTimeFormat("sv-SE", { dateStyle: "short", timeZone }).format(new Date(instant));
}

/**
 * The calendar whose month begins on this day.
 * @param {string} day
 * @returns {Calendar}
 */
export function calendarOf(day) {
  return calendarDay(day, "persian").day === 1 && !day.endsWith("-01") ? "persian" : "gregory";
}

/**
 * A day in words: 1 Aban 1405.
 * @param {string} day
 * @param {Calendar} calendar
 * @param {"fa" | "en"} code
 */
export function nameDay(day, calendar, code) {
  return written(formatOf(code, calendar, FULL), day);
}

/**
 * A day of a year that goes without saying: 1 Aban.
 * @param {string} day
 * @param {Calendar} calendar
 * @param {"fa" | "en"} code
 */
export function nameDayOfYear(day, calendar, code) {
  return written(formatOf(code, calendar, { day: "numeric", month: "long" }), day);
}

/**
 * The month and the year of a day, in words.
 * @param {string} day
 * @param {Calendar} calendar
 * @param {"fa" | "en"} code
 * @returns {[month: string, year: string]}
 */
export function nameMonth(day, calendar, code) {
  const month = written(formatOf(code, calendar, { month: "long" }), day);
  return [month, written(formatOf(code, calendar, { year: "numeric" }), day)];
}

/**
 * Let an input take a day: with the browser's own picker in English; as text in Persian, for browsers pick days of the
 * other calendar only. `beside` says the day by the other calendar, or what is wrong with it.
 * @param {HTMLInputElement} input
 * @param {HTMLElement} beside
 * @param {{ code: "fa" | "en", wrong: string, fill: (input: HTMLInputElement, value: string) => boolean }} how `fill` is
 *        that of html.js
 * @param {(day: string) => void} changed takes what the input holds: a day, or nothing where it was emptied
 * @returns {(day: string) => void} shows a day
 */
export function dayInput(input, beside, { code, wrong, fill }, changed) {
  if (code === "en") usePicker();
  else {
    input.inputMode = "numeric";
    input.dir = "ltr";
    input.placeholder = toPersianDigits("1405/08/01");
  }
  input.addEventListener("change", () => {
    const day = input.value.trim() === "" ? "" : readDay(input.value);
    if (day === null) {
      input.setAttribute("aria-invalid", "true");
      beside.textContent = wrong;
    } else {
      changed(day);
      show(day);
    }
  });
  return show;

  /** Once nobody types here, and nothing stands here that a picker cannot hold: it would be gone. */
  function usePicker() {
    const day = input.value.trim() === "" ? "" : readDay(input.value);
    if (day === null || input === document.activeElement) {
      input.addEventListener("blur", usePicker, { once: true });
    } else {
      input.type = "date";
      input.value = day;
    }
  }

  /** @param {string} day */
  function show(day) {
    if (!fill(input, code === "en" ? day : toPersianDigits(day && writeDay(day, "persian")))) return;
    input.removeAttribute("aria-invalid");
    beside.textContent = day && nameDay(day, code === "fa" ? "gregory" : "persian", code);
  }
}

/** @param {string} text */
function toPersianDigits(text) {
  return text.replace(/\d/g, (digit) => PERSIAN_DIGITS[Number(digit)] ?? digit);
}

/** @param {CalendarDay} wanted */
function fromPersian(wanted) {
  const daysBefore = wanted.month <= 7 ? 31 * (wanted.month - 1) : 186 + 30 * (wanted.month - 7);
  const about = Date.UTC(wanted.year + NOWRUZ_BY_THE_OTHER_YEAR, 2, 20) + (daysBefore + wanted.day - 1) * DAY_MS;
  for (const shift of [0, 1, 2]) {
    const found = checked(about + shift * DAY_MS, "persian", wanted);
    if (found) return found;
  }
  return null;
}

/**
 * @param {number} instant
 * @param {Calendar} calendar
 * @param {CalendarDay} wanted
 */
function checked(instant, calendar, wanted) {
  const day = isoDay(instant);
  const found = calendarDay(day, calendar);
  return found.year === wanted.year && found.month === wanted.month && found.day === wanted.day ? day : null;
}

/** @param {number} instant */
function isoDay(instant) {
  return new Date(instant).toISOString().slice(0, 10);
}

/**
 * @param {number} year
 * @param {{ from: number, to: number }} years
 */
function isIn(year, { from, to }) {
  return from <= year && year <= to;
}

/**
 * @param {"fa" | "en"} code
 * @param {Calendar} calendar
 * @param {Intl.DateTimeFormatOptions} [parts]
 */
function formatOf(code, calendar, parts = { year: "numeric", month: "numeric", day: "numeric" }) {
  const tag = code === "fa" ? `fa-IR-u-ca-${calendar}-nu-arabext` : `en-GB-u-ca-${calendar}-nu-latn`;
  return new Intl.DateTimeFormat(tag, { ...parts, timeZone: "UTC" });
}

/**
 * Without the era, which goes without saying.
 * @param {Intl.DateTimeFormat} format
 * @param {string} day
 */
function written(format, day) {
  const parts = format.formatToParts(new Date(day)).filter(({ type }) => type !== "era");
  return parts
    .map(({ value }) => value)
    .join("")
    .trim();
}
