// What a job's GPUs did: a line for each, and every measurement in a table. Loaded when somebody comes to see it.
import { get } from "./api.js";
import { drawChart, MOST_SERIES } from "./charts.js";
import { html, nothing, render } from "./html.js";
import { bytes, language, number, percent, t, time } from "./i18n.js";
import { engineName } from "./jobs.js";
import { problemPanel } from "./shell.js";

/** @typedef {import("./api.js").Schemas["UtilisationRead"]} Sample */
/** @typedef {import("./api.js").Schemas["JobRead"]} Job */
/** @typedef {{ name: string, points: { x: number, y: number }[] }} Line */

/** @typedef {{ title: string, share: string, facts: string, label: string }} Words */

/** The type of what stands in for GPUs on a machine without. */
const CPU = "CPU";
/** @type {Words} */
const GPU_WORDS = {
  title: "utilisation.title",
  share: "utilisation.share",
  facts: "utilisation.facts",
  label: "utilisation.label",
};
/** @type {Words} */
const CPU_WORDS = {
  title: "utilisation.cpu_title",
  share: "utilisation.cpu_share",
  facts: "utilisation.cpu_facts",
  label: "utilisation.cpu_label",
};

/** Lines are told apart without their colours too. */
const DASHES = [[], [6, 3], [2, 2], [9, 3, 2, 3], [12, 4], [4, 6], [1, 4]];
const SHORT_SPAN_MS = 600_000;
const MINUTE_MS = 60_000;
/** So soon nothing may have been measured. */
const FIRST_SAMPLES_MS = 20_000;
/** A line is broken where so many times the usual distance lies between two samples: nobody knows what was there. */
const GAP = 6;
/** Between two marks of the axis of time. */
const STEPS_MS = [1 / 60, 1 / 12, 1 / 4, 1, 2, 5, 10, 15, 30, 60, 120, 180, 360, 720, 1440].map((n) => n * MINUTE_MS);
const MOST_MARKS = 7;

/**
 * Show, or show anew, what is known by now.
 * @param {HTMLElement} place
 * @param {Job} job
 */
export async function showUtilisation(place, job) {
  /** @type {Sample[]} */
  let samples;
  try {
    samples = await get(`/jobs/${job.id}/utilisation`);
  } catch (error) {
    const isFirst = place.childElementCount === 0;
    if (isFirst)
      render(
        problemPanel(error, () => showUtilisation(place, job)),
        place,
      );
    return;
  }
  if (samples.length === 0) {
    render(html`<p class="soft">${whyNone(job)}</p>`, place);
    return;
  }
  const words = job.gpu_type === CPU ? CPU_WORDS : GPU_WORDS;
  render(figure(samples, words), place);
  fillTable(/** @type {HTMLDetailsElement} */ (place.querySelector("details")), samples, words);
  await draw(/** @type {HTMLCanvasElement} */ (place.querySelector("canvas")), linesOf(samples));
}

/**
 * An engine measures every few seconds, or never; which of the two, only the time tells.
 * @param {Job} job
 */
function whyNone({ started_at, finished_at, executor }) {
  const lasted = Date.parse(finished_at ?? new Date().toISOString()) - Date.parse(started_at ?? "");
  if (!(executor && lasted >= FIRST_SAMPLES_MS)) return t(finished_at ? "utilisation.too_short" : "utilisation.none");
  return html`${t("utilisation.untold")} ${t("job.executor")}: ${engineName(executor)}`;
}

/**
 * @param {Sample[]} samples
 * @param {Words} words
 */
function figure(samples, words) {
  const average = samples.reduce((sum, { utilisation }) => sum + utilisation, 0) / samples.length;
  const memory = Math.max(...samples.map(({ memory_used_bytes }) => memory_used_bytes));
  const facts = t(words.facts, { average: percent(average), memory: bytes(memory) });
  return html`<p>${facts}</p>
    <div class="chart chart-low" dir="ltr"><canvas role="img" aria-label=${t(words.label, { facts })}></canvas></div>
    <details class="folded" @toggle=${(/** @type {Event} */ event) => fillTable(/** @type {HTMLDetailsElement} */ (event.currentTarget), samples, words)}>
      <summary>${t("utilisation.table")}</summary>
      <div class="table-frame table-low" tabindex="0" role="region" aria-label=${t("utilisation.table")}></div>
    </details>`;
}

/**
 * Hundreds of rows that few want to see are made when somebody does.
 * @param {HTMLDetailsElement} details
 * @param {Sample[]} samples
 * @param {Words} words
 */
function fillTable(details, samples, words) {
  render(
    details.open ? table(samples, words) : nothing,
    /** @type {HTMLElement} */ (details.querySelector(".table-frame")),
  );
}

/**
 * @param {Sample[]} samples
 * @param {Words} words
 */
function table(samples, words) {
  const hasPower = samples.some(({ power_watts }) => power_watts !== null);
  const hasTemperature = samples.some(({ temperature_celsius }) => temperature_celsius !== null);
  return html`<table class="data-table">
    <caption class="visually-hidden">${t(words.title)}</caption>
    <thead>
      <tr>
        <th scope="col">${t("utilisation.time")}</th>
        <th scope="col">${t("job.gpus")}</th>
        <th scope="col">${t(words.share)}</th>
        <th scope="col">${t("utilisation.memory")}</th>
        ${hasPower ? html`<th scope="col">${t("utilisation.power")}</th>` : nothing}
        ${hasTemperature ? html`<th scope="col">${t("utilisation.temperature")}</th>` : nothing}
      </tr>
    </thead>
    <tbody>
      ${samples.map(
        (sample) => html`<tr>
          <th scope="row"><time datetime=${sample.at} title=${sample.at}>${language.timeWithSeconds(sample.at)}</time></th>
          <td><code dir="ltr">${nameOf(sample)}</code></td>
          <td>${percent(sample.utilisation)}</td>
          <td>${bytes(sample.memory_used_bytes)}</td>
          ${hasPower ? html`<td>${inUnit(sample.power_watts, "W")}</td>` : nothing}
          ${hasTemperature ? html`<td>${inUnit(sample.temperature_celsius, "°C")}</td>` : nothing}
        </tr>`,
      )}
    </tbody>
  </table>`;
}

/**
 * @param {number | null} value
 * @param {string} unit
 */
function inUnit(value, unit) {
  return value === null ? "—" : html`${number(Math.round(value))} <bdi>${unit}</bdi>`;
}

/** @param {Sample} sample */
function nameOf({ gpu }) {
  return `${gpu.node}:${gpu.index}`;
}

/**
 * One line for each GPU; for more than can be told apart, their average and what lies around it.
 * @param {Sample[]} samples
 * @returns {Line[]}
 */
function linesOf(samples) {
  /** @type {Map<string, Line["points"]>} */
  const ofGpu = new Map();
  /** @type {Map<number, number[]>} */
  const atMoment = new Map();
  for (const sample of samples) {
    const x = new Date(sample.at).getTime();
    const name = nameOf(sample);
    ofGpu.set(name, [...(ofGpu.get(name) ?? []), { x, y: sample.utilisation }]);
    atMoment.set(x, [...(atMoment.get(x) ?? []), sample.utilisation]);
  }
  if (ofGpu.size <= MOST_SERIES) return [...ofGpu].map(([name, points]) => ({ name, points }));
  const summary = (/** @type {(shares: number[]) => number} */ of) =>
    [...atMoment].map(([x, shares]) => ({ x, y: of(shares) }));
  return [
    {
      name: t("utilisation.average"),
      points: summary((shares) => shares.reduce((sum, share) => sum + share, 0) / shares.length),
    },
    { name: t("utilisation.highest"), points: summary((shares) => Math.max(...shares)) },
    { name: t("utilisation.lowest"), points: summary((shares) => Math.min(...shares)) },
  ];
}

/**
 * @param {HTMLCanvasElement} canvas
 * @param {Line[]} lines
 */
async function draw(canvas, lines) {
  const moments = lines.flatMap(({ points }) => points.map(({ x }) => x));
  const [start, end] = [Math.min(...moments), Math.max(...moments)];
  const clock = (/** @type {number | string} */ moment) =>
    (end - start < SHORT_SPAN_MS ? language.timeWithSeconds : time)(new Date(Number(moment)));
  await drawChart(canvas, ({ series }) => ({
    type: "line",
    data: {
      datasets: lines.map(({ name, points }, index) => ({
        label: name,
        data: points,
        borderColor: series[index],
        backgroundColor: series[index],
        borderDash: DASHES[index],
        borderWidth: 1.5,
        pointRadius: points.length === 1 ? 3 : 0,
        spanGaps: GAP * usualDistance(points),
      })),
    },
    options: {
      parsing: false,
      interaction: { mode: "index", intersect: false },
      scales: {
        x: {
          type: "linear",
          min: start,
          max: end,
          ticks: { callback: clock, maxRotation: 0 },
          afterBuildTicks: (axis) => {
            axis.ticks = marksBetween(start, end).map((value) => ({ value }));
          },
        },
        y: { min: 0, max: 1, ticks: { callback: (share) => percent(Number(share)), stepSize: 0.25 } },
      },
      plugins: {
        legend: { labels: { usePointStyle: true, pointStyle: "line", pointStyleWidth: 28 } },
        tooltip: {
          callbacks: {
            title: ([item]) => clock(item?.parsed.x ?? 0),
            label: ({ dataset, parsed }) => `${dataset.label}: ${percent(parsed.y ?? 0)}`,
          },
        },
      },
    },
  }));
}

/** @param {Line["points"]} points */
function usualDistance(points) {
  const distances = points.slice(1).map(({ x }, index) => x - (points[index]?.x ?? x));
  return distances.sort((one, other) => one - other)[Math.floor(distances.length / 2)] ?? 0;
}

/**
 * Round times of day.
 * @param {number} start
 * @param {number} end
 */
function marksBetween(start, end) {
  const step = STEPS_MS.find((size) => (end - start) / size <= MOST_MARKS) ?? end - start;
  const zone = new Date(start).getTimezoneOffset() * MINUTE_MS;
  const marks = [];
  for (let mark = Math.ceil((start - zone) / step) * step + zone; mark <= end; mark += step) marks.push(mark);
  return marks;
}
