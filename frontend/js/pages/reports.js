// Reports: GPU-hours by person and month, and how long jobs waited for their decision and their start.
import { download, get } from "../lib/api.js";
import { calendarOf, dayAt, dayInput, monthStart, nameDay, nameDayOfYear, nameMonth } from "../lib/calendar.js";
import { drawChart, MOST_SERIES } from "../lib/charts.js";
import { fill, html, icon, nothing, place, render, settle, showCurrentTab } from "../lib/html.js";
import { compare, duration, hours, language, number, percent, personName, t } from "../lib/i18n.js";
import { isForNewTab, problemPanel, startPage, toastProblem } from "../lib/shell.js";

/** @typedef {import("../lib/api.js").Schemas} Schemas */
/** @typedef {Schemas["UsageRow"]} UsageRow */
/** @typedef {Schemas["MonthOfWaits"] | Schemas["GpuTypeOfWaits"]} Waits */
/** @typedef {{ period_start: string, period_end: string }} Month */
/** @typedef {{ from?: string, to?: string }} Span an end that is left out is today */
/** @typedef {{ user: Schemas["Person"], used: number, limit: number, jobs: number, byMonth: Map<string, number> }} PersonUsage */
/** @typedef {"decision" | "start" | "total"} Wait */

// locale keys: reports.tab.* reports.range.* reports.by.* reports.wait.* reports.unit.*
const REPORTS = /** @type {const} */ (["usage", "waiting"]);
const MONTHS_OF_RANGE = { month: 1, quarter: 3, year: 12 };
const RANGES = /** @type {const} */ (["month", "quarter", "year", "custom"]);
const GROUPS = /** @type {const} */ (["month", "gpu_type"]);
const WAITS = /** @type {const} */ (["decision", "start", "total"]);
const UNIT_SECONDS = { minutes: 60, hours: 3_600, days: 86_400 };
const MINUTES_UP_TO = 3 * 3_600;
const HOURS_UP_TO = 4 * 86_400;
const OURS = language.code === "fa" ? "persian" : "gregory";

await startPage("reports", { forAdmins: true });
const showFrom = daysInput("from");
const showTo = daysInput("to");
let asked = 0;
/** @type {Schemas["AboutRead"] | null} */
let installation = null;

addEventListener("popstate", show);
addEventListener("beforeprint", printLight);
await show();

/** Draw what the address asks for. */
async function show() {
  drawChoices();
  asked += 1;
  const mine = asked;
  const outdated = () => mine !== asked;
  place("#report").setAttribute("aria-busy", "true");
  try {
    installation ??= /** @type {Schemas["AboutRead"]} */ (await get("/about"));
    if (outdated()) return;
    const span = spanOf();
    drawSpan(span);
    if (chosenReport() === "usage") await showUsage(span, outdated);
    else await showWaiting(span, outdated);
  } catch (error) {
    if (!outdated()) render(problemPanel(error, show), place("#report"));
  } finally {
    if (!outdated()) place("#report").removeAttribute("aria-busy");
  }
}

function drawChoices() {
  const report = chosenReport();
  const range = chosenRange();
  place("#reports").setAttribute("aria-label", t("reports.which"));
  render(
    html`${REPORTS.map(
      (
        name,
      ) => html`<a class="tab" href=${addressWith({ report: name })} aria-current=${name === report ? "page" : nothing}
        @click=${(/** @type {MouseEvent} */ event) => follow(event)}>${t(`reports.tab.${name}`)}</a>`,
    )}`,
    place("#reports"),
  );
  showCurrentTab();
  render(
    html`${choices(
      t("reports.time"),
      RANGES.map((name) => choice(t(`reports.range.${name}`), name === range, () => chooseRange(name))),
    )}
      ${
        report === "waiting"
          ? choices(
              t("reports.by"),
              GROUPS.map((name) => choice(t(`reports.by.${name}`), name === chosenGroup(), () => go({ by: name }))),
            )
          : nothing
      }`,
    place("#choices"),
  );
  render(
    html`<button type="button" class="button" @click=${saveTable}>${icon("download")}${t("action.csv")}</button>
      <button type="button" class="button" @click=${() => window.print()}>${icon("file-text")}${t("reports.print")}</button>`,
    place("#exports"),
  );
  place("#days").hidden = range !== "custom";
  showFrom(asksFor("from"));
  showTo(asksFor("to"));
}

/**
 * @param {string} label
 * @param {import("../lib/html.js").Content[]} buttons
 */
function choices(label, buttons) {
  return html`<div class="chips" role="group" aria-label=${label}>${buttons}</div>`;
}

/**
 * @param {string} label
 * @param {boolean} isChosen
 * @param {() => void} choose
 */
function choice(label, isChosen, choose) {
  return html`<button type="button" class="chip" aria-pressed=${isChosen} @click=${choose}>${label}</button>`;
}

/** @param {Span} span */
function drawSpan({ from, to = dayHere(new Date()) }) {
  const [first, last] = [from, to].map((day) => day && nameDay(day, OURS, language.code));
  place("#span").textContent = first ? t("reports.span", { from: first, to: last ?? "" }) : "";
}

/**
 * @param {Span} span
 * @param {() => boolean} outdated
 */
async function showUsage(span, outdated) {
  /** @type {UsageRow[]} */
  const rows = await get("/admin/reports/usage", span);
  if (outdated()) return;
  const months = monthsIn(rows);
  const people = byPerson(rows);
  if (!people.some(isActive)) {
    render(nothingFound(t("reports.no_usage")), place("#report"));
    return;
  }
  render(
    html`<div class="stack">
      ${usageTotals(rows, people)}
      <section class="card" aria-labelledby="chart-title">
        <div class="card-header"><h2 id="chart-title">${t("reports.usage_chart")}</h2></div>
        <div class="chart"><canvas role="img" aria-label=${t("reports.chart_label", { title: t("reports.usage_chart") })}></canvas></div>
      </section>
      ${usageTable(people, months)}
    </div>`,
    place("#report"),
  );
  await drawUsage(people, months);
}

/**
 * @param {UsageRow[]} rows
 * @param {PersonUsage[]} people
 */
function usageTotals(rows, people) {
  const used = sum(people.map((person) => person.used));
  const limit = sum(people.map((person) => person.limit));
  const figures = [
    [t("reports.used"), number(rounded(used))],
    [t("reports.share"), limit > 0 ? percent(used / limit) : "—"],
    [t("reports.reserved"), number(rounded(sum(rows.map(({ reserved_hours }) => reserved_hours))))],
    [t("reports.finished"), number(sum(people.map(({ jobs }) => jobs)))],
    [t("reports.people"), number(people.filter((person) => person.used > 0).length)],
  ];
  return html`<dl class="figures">
    ${figures.map(([label, value]) => html`<div class="card"><dt>${label}</dt><dd class="figure digits">${value}</dd></div>`)}
  </dl>`;
}

/**
 * @param {PersonUsage[]} people
 * @param {Month[]} months
 */
function usageTable(people, months) {
  const caption = t("reports.usage_table");
  return html`<div class="table-frame" tabindex="0" role="region" aria-label=${caption}>
    <table class="data-table table-cards usage-table">
      <caption class="visually-hidden">${caption}</caption>
      <thead>
        <tr>
          <th scope="col">${t("reports.person")}</th>
          ${months.map((month) => html`<th scope="col" class="end">${monthHead(month)}</th>`)}
          <th scope="col" class="end">${t("reports.total")}</th>
          <th scope="col" class="end">${t("reports.share")}</th>
          <th scope="col" class="end">${t("reports.finished")}</th>
        </tr>
      </thead>
      <tbody>
        ${people.filter(isActive).map(
          ({ user, used, limit, jobs, byMonth }) => html`<tr>
            <th scope="row"><span title=${user.email}>${personName(user)}</span></th>
            ${months.map((month) => hoursCell(monthName(month), byMonth.get(month.period_start) ?? 0))}
            <td class="end" data-label=${t("reports.total")}><strong>${number(rounded(used))}</strong></td>
            <td class="end" data-label=${t("reports.share")}>${shareOf(used, limit)}</td>
            <td class="end" data-label=${t("reports.finished")}>${number(jobs)}</td>
          </tr>`,
        )}
        ${
          people.every(isActive)
            ? nothing
            : html`<tr><td class="soft" colspan=${months.length + 4}>${t("reports.idle", { count: people.length - people.filter(isActive).length })}</td></tr>`
        }
        <tr class="total-row">
          <th scope="row">${t("reports.everybody")}</th>
          ${months.map((month) => hoursCell(monthName(month), sum(people.map(({ byMonth }) => byMonth.get(month.period_start) ?? 0))))}
          <td class="end" data-label=${t("reports.total")}><strong>${number(rounded(sum(people.map(({ used }) => used))))}</strong></td>
          <td class="end" data-label=${t("reports.share")}>${shareOf(sum(people.map(({ used }) => used)), sum(people.map(({ limit }) => limit)))}</td>
          <td class="end" data-label=${t("reports.finished")}>${number(sum(people.map(({ jobs }) => jobs)))}</td>
        </tr>
      </tbody>
    </table>
  </div>`;
}

/**
 * @param {string} label
 * @param {number} count
 */
function hoursCell(label, count) {
  return count > 0
    ? html`<td class="end" data-label=${label}>${number(rounded(count))}</td>`
    : html`<td class="end soft"></td>`;
}

/**
 * @param {number} used
 * @param {number} limit
 */
function shareOf(used, limit) {
  if (limit === 0) return "—";
  return html`<span class="share" title=${t("reports.of_limit", { limit: hours(limit) })}>
    <progress max="1" value=${Math.min(1, used / limit)} aria-hidden="true"></progress>${percent(used / limit)}
  </span>`;
}

/**
 * @param {PersonUsage[]} people
 * @param {Month[]} months
 */
function drawUsage(people, months) {
  const drawn = people.filter(({ used }) => used > 0);
  const named = drawn.length > MOST_SERIES ? drawn.slice(0, MOST_SERIES - 1) : drawn;
  const others = drawn.slice(named.length);
  const hoursIn = (/** @type {PersonUsage[]} */ group) =>
    months.map((month) => rounded(sum(group.map(({ byMonth }) => byMonth.get(month.period_start) ?? 0))));
  const series = [
    ...named.map((person) => ({ label: person.user.full_name ?? person.user.email, data: hoursIn([person]) })),
    ...(others.length > 0 ? [{ label: t("reports.others", { count: others.length }), data: hoursIn(others) }] : []),
  ];
  return drawChart(place("#report canvas", HTMLCanvasElement), (colours) => ({
    type: "bar",
    data: {
      labels: months.map(axisLabel),
      datasets: series.map((each, index) => ({
        ...each,
        backgroundColor: colours.series[index],
        borderColor: colours.surface,
        borderWidth: { top: 1 },
        borderSkipped: false,
        maxBarThickness: 64,
      })),
    },
    options: {
      scales: {
        x: { stacked: true, grid: { display: false } },
        y: { stacked: true, beginAtZero: true, title: { display: true, text: t("reports.hours_axis") } },
      },
      interaction: { mode: "index", intersect: false },
    },
  }));
}

/**
 * @param {Span} span
 * @param {() => boolean} outdated
 */
async function showWaiting(span, outdated) {
  /** @type {Waits[]} */
  const found = await get("/admin/reports/waiting", { ...span, group: chosenGroup() });
  if (outdated()) return;
  const rows = chosenGroup() === "month" ? found.toReversed() : found;
  if (rows.length === 0) {
    render(nothingFound(t("reports.no_jobs")), place("#report"));
    return;
  }
  const title = t("reports.waiting_chart");
  render(
    html`<div class="stack">
      <section class="card" aria-labelledby="chart-title">
        <div class="card-header"><h2 id="chart-title">${title}</h2></div>
        <div class="chart"><canvas role="img" aria-label=${t("reports.chart_label", { title })}></canvas></div>
      </section>
      ${waitingTable(rows)}
      <p class="small soft">${t("reports.waiting_text")}</p>
    </div>`,
    place("#report"),
  );
  await drawWaiting(rows);
}

/** @param {Waits[]} rows */
function waitingTable(rows) {
  const caption = t("reports.waiting_table");
  const counts = /** @type {const} */ ([
    ["jobs", t("reports.jobs")],
    ["approved", t("reports.approved")],
    ["rejected", t("reports.rejected")],
    ["started", t("reports.started")],
  ]);
  return html`<div class="table-frame" tabindex="0" role="region" aria-label=${caption}>
    <table class="data-table table-cards waiting-table">
      <caption class="visually-hidden">${caption}</caption>
      <thead>
        <tr>
          <th scope="col" rowspan="2">${t(`reports.by.${chosenGroup()}`)}</th>
          ${counts.map(([, label]) => html`<th scope="col" rowspan="2" class="end">${label}</th>`)}
          ${WAITS.map((wait) => html`<th scope="colgroup" colspan="2">${t(`reports.wait.${wait}`)}</th>`)}
        </tr>
        <tr>
          ${WAITS.map(() => html`<th scope="col">${t("reports.median")}</th><th scope="col">${t("reports.p95")}</th>`)}
        </tr>
      </thead>
      <tbody>
        ${rows.map(
          (row) => html`<tr>
            <th scope="row">${nameOf(row)}</th>
            ${counts.map(([name, label]) => html`<td class="end" data-label=${label}>${number(row[name])}</td>`)}
            ${WAITS.map(
              (wait) => html`${waitCell(wait, t("reports.median"), row[`${wait}_p50_seconds`])}
                ${waitCell(wait, t("reports.p95"), row[`${wait}_p95_seconds`])}`,
            )}
          </tr>`,
        )}
      </tbody>
    </table>
  </div>`;
}

/**
 * @param {Wait} wait
 * @param {string} measure
 * @param {number | null} seconds
 */
function waitCell(wait, measure, seconds) {
  return html`<td data-label=${t("reports.wait_measure", { wait: t(`reports.wait.${wait}`), measure })}>
    ${seconds === null ? html`<span class="soft">—</span>` : duration(seconds)}
  </td>`;
}

/** @param {Waits[]} rows */
function drawWaiting(rows) {
  const longest = Math.max(
    ...rows.map(({ total_p95_seconds: total, decision_p95_seconds: decision }) => total ?? decision ?? 0),
  );
  const unit = unitFor(longest);
  const inUnit = (/** @type {number | null} */ seconds) => (seconds === null ? null : seconds / UNIT_SECONDS[unit]);
  const series = /** @type {const} */ (["decision", "start"]).flatMap((wait) =>
    /** @type {const} */ (["p50", "p95"]).map((measure) => ({
      label: t("reports.wait_measure", {
        wait: t(`reports.wait.${wait}`),
        measure: t(measure === "p50" ? "reports.median" : "reports.p95"),
      }),
      data: rows.map((row) => inUnit(row[`${wait}_${measure}_seconds`])),
      isDecision: wait === "decision",
      isMedian: measure === "p50",
    })),
  );
  return drawChart(place("#report canvas", HTMLCanvasElement), (colours) => ({
    type: "bar",
    data: {
      labels: rows.map((row) => ("period_start" in row ? axisLabel(row) : row.gpu_type)),
      datasets: series.map(({ label, data, isDecision, isMedian }) => {
        const colour = colours.series[isDecision ? 0 : 1] ?? colours.accent;
        return {
          label,
          data,
          backgroundColor: isMedian ? colour : colours.surface,
          borderColor: colour,
          borderWidth: 2,
          maxBarThickness: 36,
        };
      }),
    },
    options: {
      scales: {
        x: { grid: { display: false } },
        y: { beginAtZero: true, title: { display: true, text: t(`reports.unit.${unit}`) } },
      },
      plugins: {
        tooltip: {
          callbacks: {
            label: ({ dataset, parsed }) => `${dataset.label}: ${duration((parsed.y ?? 0) * UNIT_SECONDS[unit])}`,
          },
        },
      },
    },
  }));
}

/**
 * @param {number} longest in seconds
 * @returns {keyof typeof UNIT_SECONDS}
 */
function unitFor(longest) {
  if (longest <= MINUTES_UP_TO) return "minutes";
  return longest <= HOURS_UP_TO ? "hours" : "days";
}

/** @param {string} title */
function nothingFound(title) {
  return html`<div class="empty">
    ${icon("bar-chart-line", "empty-icon")}
    <p class="empty-title">${title}</p>
    <p class="empty-text">${t("reports.no_text")}</p>
    ${chosenRange() === "year" ? nothing : html`<button type="button" class="button" @click=${() => chooseRange("year")}>${t("reports.range.year")}</button>`}
  </div>`;
}

/** @param {PersonUsage} person */
function isActive({ used, jobs }) {
  return used > 0 || jobs > 0;
}

/** @param {UsageRow[]} rows */
function byPerson(rows) {
  /** @type {Map<number, PersonUsage>} */
  const people = new Map();
  for (const { user, period_start, used_hours, limit_hours, finished_jobs } of rows) {
    const person = people.get(user.id) ?? { user, used: 0, limit: 0, jobs: 0, byMonth: new Map() };
    person.used += used_hours;
    person.limit += limit_hours;
    person.jobs += finished_jobs;
    person.byMonth.set(period_start, used_hours);
    people.set(user.id, person);
  }
  const nameOf = (/** @type {PersonUsage} */ { user }) => user.full_name ?? user.email;
  return [...people.values()].sort((one, other) => other.used - one.used || compare(nameOf(one), nameOf(other)));
}

/**
 * @param {Month[]} rows
 * @returns {Month[]} oldest first
 */
function monthsIn(rows) {
  const months = new Map(rows.map(({ period_start, period_end }) => [period_start, { period_start, period_end }]));
  return [...months.values()].sort((one, other) => one.period_start.localeCompare(other.period_start));
}

/** @param {Waits} row */
function nameOf(row) {
  return "period_start" in row ? monthHead(row) : html`<span dir="ltr">${row.gpu_type}</span>`;
}

/**
 * A month by the calendar of the quotas; where people read another one, its days by theirs too.
 * @param {Month} month
 */
function monthHead(month) {
  const first = dayHere(month.period_start);
  const last = dayHere(new Date(new Date(month.period_end).getTime() - 1));
  const [from, to] = [first, last].map((day) => nameDayOfYear(day, OURS, language.code));
  return html`<span class="nowrap">${monthName(month)}</span>
    ${calendarOf(first) === OURS ? nothing : html`<span class="month-days">${t("reports.days", { from: from ?? "", to: to ?? "" })}</span>`}`;
}

/** @param {Month} month */
function monthName(month) {
  return axisLabel(month).join(" ");
}

/**
 * On two lines: a chart gives each its own.
 * @param {Month} month
 */
function axisLabel({ period_start }) {
  const day = dayHere(period_start);
  return nameMonth(day, calendarOf(day), language.code);
}

/**
 * The days that the address asks for.
 * @returns {Span}
 */
function spanOf() {
  const range = chosenRange();
  if (range === "custom") return { from: asksFor("from") || undefined, to: asksFor("to") || undefined };
  const calendar = installation?.quota_calendar === "jalali" ? "persian" : "gregory";
  return { from: monthStart(dayHere(new Date()), calendar, MONTHS_OF_RANGE[range] - 1) };
}

/** @param {typeof RANGES[number]} range */
function chooseRange(range) {
  if (range !== "custom") {
    go({ range, from: "", to: "" });
    return;
  }
  const { from = "", to = dayHere(new Date()) } = spanOf();
  go({ range, from, to });
  place("#from").focus();
}

/** @param {"from" | "to"} name */
function daysInput(name) {
  const input = place(`#${name}`, HTMLInputElement);
  const how = { code: language.code, wrong: t("reports.no_such_day"), fill };
  return dayInput(input, place(`#${name}-hint`), how, (day) => go({ range: "custom", [name]: day }));
}

async function saveTable() {
  try {
    const group = chosenReport() === "waiting" ? chosenGroup() : undefined;
    await download(`/admin/reports/${chosenReport()}`, { ...spanOf(), group, format: "csv" });
  } catch (error) {
    toastProblem(error);
  }
}

/** @param {Record<string, string>} changes of the address */
function go(changes) {
  for (const name of ["from", "to"]) if (name in changes) settle(place(`#${name}`, HTMLInputElement));
  history.pushState(null, "", addressWith(changes));
  show();
}

/** @param {MouseEvent} event on a link to this page */
function follow(event) {
  if (isForNewTab(event)) return;
  event.preventDefault();
  history.pushState(null, "", /** @type {HTMLAnchorElement} */ (event.currentTarget).href);
  show();
}

/** @param {Record<string, string>} changes */
function addressWith(changes) {
  const address = new URL(location.href);
  for (const [name, value] of Object.entries(changes)) {
    if (value) address.searchParams.set(name, value);
    else address.searchParams.delete(name);
  }
  return address.href;
}

function chosenReport() {
  return REPORTS.find((name) => name === asksFor("report")) ?? "usage";
}

function chosenRange() {
  return RANGES.find((name) => name === asksFor("range")) ?? "year";
}

function chosenGroup() {
  return GROUPS.find((name) => name === asksFor("by")) ?? "month";
}

/** @param {string} name */
function asksFor(name) {
  return new URLSearchParams(location.search).get(name) ?? "";
}

/** Paper is white, whatever the screen is. */
function printLight() {
  const onScreen = document.documentElement.dataset.bsTheme;
  use("light");
  addEventListener("afterprint", () => use(onScreen), { once: true });

  /** @param {string} [theme] */
  function use(theme) {
    document.documentElement.dataset.bsTheme = theme;
    dispatchEvent(new Event("gtm:theme"));
  }
}

/**
 * The day of an instant where the installation is.
 * @param {string | Date} instant
 */
function dayHere(instant) {
  return dayAt(instant, installation?.time_zone ?? "UTC");
}

/** @param {number[]} values */
function sum(values) {
  return values.reduce((total, value) => total + value, 0);
}

/** @param {number} value */
function rounded(value) {
  return Math.round(value * 10) / 10;
}
