// What a language knows: sentences, plurals, digits, dates. Pure, so that it is tested without a browser.

const TAGS = { fa: "fa-IR-u-ca-persian-nu-arabext", en: "en-GB" };
const FIRST_STRONG_ISOLATE = "\u2068";
const POP_ISOLATE = "\u2069";
const SECONDS = { day: 86_400, hour: 3_600, minute: 60 };
const FOREIGN_DIGITS = /[۰-۹٠-٩]/g;

/**
 * Persian and Arabic digits to ASCII, with their decimal and thousands marks.
 * @param {string} text
 */
export function foldDigits(text) {
  return text
    .replace(FOREIGN_DIGITS, (digit) => String((digit.codePointAt(0) ?? 0) & 0xf))
    .replaceAll("٫", ".")
    .replaceAll("٬", "");
}

/**
 * The number that somebody typed, in any of our digits and with either minus; NaN if it is none.
 * @param {string} text
 */
export function parseNumber(text) {
  const folded = foldDigits(text).trim().replace(/^−/, "-");
  return /^[+-]?(\d+\.?\d*|\.\d+)$/.test(folded) ? Number(folded) : Number.NaN;
}

/**
 * @param {"fa" | "en"} code
 * @param {Readonly<Record<string, string>>} sentences by key
 * @param {string} [timeZone] an IANA name; the browser's own unless given
 */
export function createLanguage(code, sentences, timeZone) {
  const tag = TAGS[code];
  // Each costs the browser a millisecond or more, and few pages need them all.
  const plural = once(() => new Intl.PluralRules(code));
  const numbers = once(() => new Intl.NumberFormat(tag, { maximumFractionDigits: 2 }));
  const signed = once(() => new Intl.NumberFormat(tag, { maximumFractionDigits: 2, signDisplay: "exceptZero" }));
  const plain = once(() => new Intl.NumberFormat(tag, { maximumFractionDigits: 10, useGrouping: false }));
  const sizes = once(() => new Intl.NumberFormat(tag, { maximumFractionDigits: 1 }));
  const percents = once(() => new Intl.NumberFormat(tag, { style: "percent", maximumFractionDigits: 0 }));
  const relative = once(() => new Intl.RelativeTimeFormat(tag, { numeric: "always" }));
  const days = once(() => new Intl.DateTimeFormat(tag, { dateStyle: "long", timeZone }));
  const months = once(() => new Intl.DateTimeFormat(tag, { month: "long", year: "numeric", timeZone }));
  const clock = once(() => new Intl.DateTimeFormat(tag, { timeStyle: "short", hourCycle: "h23", timeZone }));
  const clockWithSeconds = once(
    () => new Intl.DateTimeFormat(tag, { timeStyle: "medium", hourCycle: "h23", timeZone }),
  );
  const collator = once(() => new Intl.Collator(code, { numeric: true }));
  const parts = once(() => new Intl.ListFormat(tag, { style: "long", type: "unit" }));
  const names = once(() => new Intl.ListFormat(tag, { style: "long", type: "conjunction" }));

  /** @type {Record<string, Intl.NumberFormat>} */
  const units = {};

  return {
    code,
    t,
    number: (/** @type {number} */ value) => numbers().format(value),
    signedNumber: (/** @type {number} */ value) => signed().format(value),
    typedNumber: (/** @type {number} */ value) => plain().format(value),
    percent: (/** @type {number} */ share) => percents().format(share),
    hours: (/** @type {number} */ count) =>
      count > 0 && count < 0.005
        ? t("unit.gpu_hours_under", { least: 0.01 })
        : t("unit.gpu_hours", { count: Math.round(count * 100) / 100 }),
    bytes,
    duration,
    date: (/** @type {string | Date} */ moment) => days().format(new Date(moment)),
    month: (/** @type {string | Date} */ moment) => months().format(new Date(moment)),
    time: (/** @type {string | Date} */ moment) => clock().format(new Date(moment)),
    timeWithSeconds: (/** @type {string | Date} */ moment) => clockWithSeconds().format(new Date(moment)),
    dateTime: (/** @type {string | Date} */ moment) =>
      t("date.at_time", { date: days().format(new Date(moment)), time: clock().format(new Date(moment)) }),
    ago,
    list: (/** @type {string[]} */ words) => names().format(words),
    compare: (/** @type {string} */ one, /** @type {string} */ other) => collator().compare(one, other),
  };

  /**
   * The sentence of this key. `{name}` is filled from `facts`: numbers in the language's digits, text isolated, so
   * that a name of the other direction cannot turn the sentence around. `count` chooses the `.one` variant.
   * @param {string} key
   * @param {Readonly<Record<string, string | number>>} [facts]
   * @returns {string}
   */
  function t(key, facts = {}) {
    const isOne = typeof facts.count === "number" && plural().select(facts.count) === "one";
    const sentence = (isOne ? sentences[`${key}.one`] : undefined) ?? sentences[key];
    if (sentence === undefined) throw new Error(`no sentence for the key ${key}`);
    return sentence.replace(/\{(\w+)\}/g, (_, name) => {
      const fact = facts[name];
      if (fact === undefined) throw new Error(`the sentence ${key} needs ${name}`);
      return typeof fact === "number" ? numbers().format(fact) : isolate(fact);
    });
  }

  /**
   * How long ago, or how far ahead, in the largest whole unit.
   * @param {string | Date} moment
   * @param {Date} [now]
   */
  function ago(moment, now = new Date()) {
    const seconds = Math.round((new Date(moment).getTime() - now.getTime()) / 1000);
    for (const [unit, size] of /** @type {[Intl.RelativeTimeFormatUnit, number][]} */ (Object.entries(SECONDS))) {
      if (Math.abs(seconds) >= size) return relative().format(Math.trunc(seconds / size), unit);
    }
    return t("time.just_now");
  }

  /**
   * A length of time in at most two units: "2 hours, 5 minutes".
   * @param {number} seconds
   */
  function duration(seconds) {
    const whole = Math.max(0, Math.round(seconds));
    if (whole < SECONDS.minute) return unit(whole, "second");
    const found = [];
    let rest = whole;
    for (const [name, size] of Object.entries(SECONDS)) {
      const count = Math.floor(rest / size);
      rest -= count * size;
      if (count > 0) found.push(unit(count, name));
      else if (found.length > 0) break;
      if (found.length === 2) break;
    }
    return parts().format(found);
  }

  /**
   * @param {number} count
   * @param {string} name
   */
  function unit(count, name) {
    units[name] ??= new Intl.NumberFormat(tag, { style: "unit", unit: name, unitDisplay: "long" });
    return units[name].format(count);
  }

  /**
   * A size in binary units: "1.5 GiB".
   * @param {number} count
   */
  function bytes(count) {
    const step = count < 1 ? 0 : Math.min(4, Math.floor(Math.log2(count) / 10));
    const size = sizes().format(count / 1024 ** step);
    return `${size}\u00a0${["B", "KiB", "MiB", "GiB", "TiB"][step]}`;
  }
}

/**
 * Made when it is first asked for.
 * @template Thing
 * @param {() => Thing} make
 */
function once(make) {
  /** @type {Thing | undefined} */
  let made;
  return () => {
    made ??= make();
    return made;
  };
}

/** @param {string} text */
function isolate(text) {
  return `${FIRST_STRONG_ISOLATE}${text}${POP_ISOLATE}`;
}
