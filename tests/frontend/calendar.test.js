import assert from "node:assert/strict";
import { test } from "node:test";
import {
  calendarDay,
  calendarOf,
  dayAt,
  monthStart,
  nameDay,
  nameDayOfYear,
  nameMonth,
  readDay,
  writeDay,
} from "../../frontend/js/lib/calendar.js";

/** Days around leap years and the new year, by both calendars. */
const SAME = [
  ["1399/12/30", "2021-03-20"],
  ["1400/01/01", "2021-03-21"],
  ["1403/12/30", "2025-03-20"],
  ["1404/12/29", "2026-03-20"],
  ["1405/01/01", "2026-03-21"],
  ["1405/06/31", "2026-09-22"],
  ["1405/07/01", "2026-09-23"],
  ["1405/08/01", "2026-10-23"],
  ["1406/01/01", "2027-03-21"],
];

test("a day is the same day in both calendars", () => {
  for (const [persian = "", gregorian = ""] of SAME) {
    assert.equal(readDay(persian), gregorian);
    assert.equal(readDay(gregorian), gregorian);
    assert.equal(writeDay(gregorian, "persian"), persian);
    assert.equal(writeDay(gregorian, "gregory"), gregorian);
  }
});

test("every day of thirty years is read as it is written", () => {
  for (let instant = Date.UTC(2010, 0, 1); instant < Date.UTC(2040, 0, 1); instant += 86_400_000) {
    const day = new Date(instant).toISOString().slice(0, 10);
    assert.equal(readDay(writeDay(day, "persian")), day);
  }
});

test("a date may be typed as people type dates", () => {
  for (const text of ["۱۴۰۵/۰۸/۰۱", "1405/8/1", "1405-08-01", "1405.8.1", " 1405 8 1 ", "۱۴۰۵۰۸۰۱", "20261023"]) {
    assert.equal(readDay(text), "2026-10-23", text);
  }
});

test("what is no day is not taken for one", () => {
  const none = ["", "1405", "1405/08", "1405/13/01", "1405/00/10", "1405/07/31", "1404/12/30", "1405/08/00"];
  for (const text of [...none, "2026-02-29", "2026-13-01", "1850-01-01", "3000-01-01", "yesterday", "1405/08/01/02"]) {
    assert.equal(readDay(text), null, text);
  }
});

test("months are counted back over the new year", () => {
  assert.equal(monthStart("2026-11-23", "persian"), "2026-11-22");
  assert.equal(monthStart("2026-11-23", "persian", 8), "2026-03-21");
  assert.equal(monthStart("2026-11-23", "persian", 9), "2026-02-20");
  assert.equal(monthStart("2026-11-23", "persian", 11), "2025-12-22");
  assert.equal(monthStart("2026-11-23", "gregory"), "2026-11-01");
  assert.equal(monthStart("2026-11-23", "gregory", 11), "2025-12-01");
});

test("an instant has the day of its zone", () => {
  const midnight = "2026-10-22T20:30:00Z";
  assert.equal(dayAt(midnight, "Asia/Tehran"), "2026-10-23");
  assert.equal(dayAt(midnight, "UTC"), "2026-10-22");
  assert.equal(dayAt(new Date("2026-10-22T20:29:59Z"), "Asia/Tehran"), "2026-10-22");
  assert.equal(dayAt("2026-12-31T11:00:00Z", "Pacific/Auckland"), "2027-01-01");
});

test("a month is told by the calendar whose first day it begins on", () => {
  assert.equal(calendarOf("2026-10-23"), "persian");
  assert.equal(calendarOf("2026-11-01"), "gregory");
  assert.equal(calendarOf("2026-11-12"), "gregory");
});

test("the numbers of a day are those of its calendar", () => {
  assert.deepEqual(calendarDay("2026-11-23", "persian"), { year: 1405, month: 9, day: 2 });
  assert.deepEqual(calendarDay("2026-11-23", "gregory"), { year: 2026, month: 11, day: 23 });
});

test("days and months have their names in both languages, without an era", () => {
  assert.equal(nameDay("2026-10-23", "persian", "en"), "1 Aban 1405");
  assert.equal(nameDay("2026-10-23", "gregory", "fa"), "۲۳ اکتبر ۲۰۲۶");
  assert.equal(nameDay("2026-10-23", "persian", "fa"), "۱ آبان ۱۴۰۵");
  assert.equal(nameDayOfYear("2026-10-23", "persian", "fa"), "۱ آبان");
  assert.deepEqual(nameMonth("2026-10-23", "persian", "fa"), ["آبان", "۱۴۰۵"]);
  assert.deepEqual(nameMonth("2026-10-23", "gregory", "en"), ["October", "2026"]);
  assert.deepEqual(nameMonth("2026-10-23", "persian", "en"), ["Aban", "1405"]);
});
