import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { createLanguage, foldDigits, parseNumber } from "../../frontend/js/lib/language.js";

/** @param {"fa" | "en"} code */
function read(code) {
  return JSON.parse(readFileSync(new URL(`../../frontend/locales/${code}.json`, import.meta.url), "utf8"));
}

const en = createLanguage("en", read("en"), "Asia/Tehran");
const fa = createLanguage("fa", read("fa"), "Asia/Tehran");
const NOWRUZ = "2026-03-20T21:15:00Z";

/** @param {string} text without the marks that keep it in its direction */
function bare(text) {
  return text.replace(/[\u2066-\u2069\u200e\u200f]/g, "").replace(/\u00a0/g, " ");
}

test("digits of all three scripts are read", () => {
  assert.equal(foldDigits("۰۱۲۳۴۵۶۷۸۹ ٠١٢٣٤٥٦٧٨٩ 0123456789"), "0123456789 0123456789 0123456789");
  assert.equal(parseNumber("۱٬۲۳۴٫۵"), 1234.5);
  assert.equal(parseNumber(" -7 "), -7);
  assert.equal(parseNumber("−۷"), -7);
});

test("what is no number is not taken for one", () => {
  for (const text of ["", " ", "twelve", "1e3", "0x10", "1 2", "--1", ".", "Infinity", "۱۲ ساعت"]) {
    assert.ok(Number.isNaN(parseNumber(text)), text);
  }
});

test("numbers are written in the digits of the language", () => {
  assert.equal(en.number(1234.567), "1,234.57");
  assert.equal(fa.number(1234.567), "۱٬۲۳۴٫۵۷");
  assert.equal(bare(en.percent(0.256)), "26%");
  assert.equal(bare(fa.percent(0.256)), "۲۶٪");
});

test("one is told from many, also where it is rounded to one", () => {
  assert.equal(en.hours(1), "1 GPU-hour");
  assert.equal(en.hours(0.999), "1 GPU-hour");
  assert.equal(en.hours(2), "2 GPU-hours");
  assert.equal(en.hours(0), "0 GPU-hours");
  assert.equal(en.hours(1 / 3600), "less than 0.01 GPU-hours");
  assert.equal(en.hours(0.005), "0.01 GPU-hours");
  assert.equal(fa.hours(2), "۲ ساعت GPU");
});

test("a fact stays apart from the direction of the sentence around it", () => {
  const sentences = { greeting: "{who}: {count}" };
  assert.equal(createLanguage("fa", sentences).t("greeting", { who: "Sara", count: 3 }), "\u2068Sara\u2069: ۳");
});

test("a fact that looks like a placeholder stays as it is", () => {
  const language = createLanguage("en", { greeting: "{who} {other}" });
  assert.equal(bare(language.t("greeting", { who: "{other}", other: "$&" })), "{other} $&");
});

test("a sentence or a fact that is missing is a mistake, not a gap", () => {
  assert.throws(() => en.t("no.such.key"), /no\.such\.key/);
  assert.throws(() => createLanguage("en", { greeting: "{who}" }).t("greeting"), /who/);
});

test("dates are of the Persian calendar in Persian, and of the time zone of the reader", () => {
  assert.equal(bare(fa.date(NOWRUZ)), "۱ فروردین ۱۴۰۵");
  assert.equal(bare(en.date(NOWRUZ)), "21 March 2026");
  assert.equal(bare(fa.month(NOWRUZ)).includes("فروردین"), true);
  assert.equal(bare(en.time(NOWRUZ)), "00:45");
  assert.equal(bare(fa.time(NOWRUZ)), "۰:۴۵");
});

test("an age is told in the largest whole unit, both ways", () => {
  const now = new Date("2026-11-23T12:00:00Z");
  /** @param {number} seconds */
  const at = (seconds) => new Date(now.getTime() + seconds * 1000);
  assert.equal(en.ago(at(-59), now), "just now");
  assert.equal(en.ago(at(-60), now), "1 minute ago");
  assert.equal(en.ago(at(-7199), now), "1 hour ago");
  assert.equal(en.ago(at(-2 * 86_400), now), "2 days ago");
  assert.equal(en.ago(at(3600), now), "in 1 hour");
  assert.equal(bare(fa.ago(at(-300), now)), "۵ دقیقه پیش");
});

test("a duration has at most two units, and none of them is zero", () => {
  assert.equal(en.duration(0), "0 seconds");
  assert.equal(en.duration(59.4), "59 seconds");
  assert.equal(en.duration(60), "1 minute");
  assert.equal(en.duration(3_600 + 5 * 60 + 7), "1 hour, 5 minutes");
  assert.equal(en.duration(86_400 + 60), "1 day");
  assert.equal(en.duration(-5), "0 seconds");
});

test("sizes are binary, and never in a unit that does not exist", () => {
  assert.equal(bare(en.bytes(0)), "0 B");
  assert.equal(bare(en.bytes(1023)), "1,023 B");
  assert.equal(bare(en.bytes(1536)), "1.5 KiB");
  assert.equal(bare(en.bytes(1024 ** 4)), "1 TiB");
  assert.equal(bare(en.bytes(1024 ** 5)), "1,024 TiB");
});

test("names are ordered as the language does", () => {
  assert.deepEqual(["job-10", "job-9", "Job-1"].sort(en.compare), ["Job-1", "job-9", "job-10"]);
  assert.deepEqual(["پ", "ب", "گ", "ا"].sort(fa.compare), ["ا", "ب", "پ", "گ"]);
});
