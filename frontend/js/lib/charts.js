// Charts in the colours of the theme. A canvas says nothing to those who cannot see it: its page gives it a name, and
// shows the same numbers in a table.
import { language } from "./i18n.js";

/** @typedef {import("chart.js").ChartConfiguration} Configuration */
/** @typedef {import("chart.js").ChartType} ChartType */
/** @typedef {{ series: string[], accent: string, ink: string, soft: string, line: string, surface: string }} Colours */

const LIBRARY = new URL("../../vendor/chart.js@4.6.1/dist/chart.umd.min.js", import.meta.url).href;
const SERIES = ["--accent", "--plum", "--warning", "--info", "--success", "--danger", "--line-strong"];

/** @type {Promise<unknown> | null} */
let library = null;
/** @type {Map<HTMLCanvasElement, { chart: import("chart.js").Chart, configure: (colours: Colours) => Configuration }>} */
const drawn = new Map();

addEventListener("gtm:theme", () => {
  for (const canvas of drawn.keys()) redraw(canvas);
});

/** How many series a chart can tell apart by colour. */
export const MOST_SERIES = SERIES.length;

/**
 * Draw on the canvas, anew whenever the theme changes. Drawing again on the same canvas changes what it shows.
 * @template {ChartType} Type
 * @param {HTMLCanvasElement} canvas
 * @param {(colours: Colours) => import("chart.js").ChartConfiguration<Type>} configure
 */
export async function drawChart(canvas, configure) {
  library ??= import(LIBRARY);
  await library.catch((error) => {
    library = null; // Whoever asks again may find the network there.
    throw error;
  });
  if (!canvas.isConnected) return;
  forgetRemoved();
  const configureAny = /** @type {(colours: Colours) => Configuration} */ (/** @type {unknown} */ (configure));
  const before = drawn.get(canvas);
  if (before) {
    before.configure = configureAny;
    redraw(canvas);
  } else {
    setDefaults();
    drawn.set(canvas, { chart: new globalThis.Chart(canvas, configureAny(colours())), configure: configureAny });
  }
}

/** @param {HTMLCanvasElement} canvas */
function redraw(canvas) {
  const { chart, configure } = /** @type {NonNullable<ReturnType<typeof drawn.get>>} */ (drawn.get(canvas));
  setDefaults();
  const { data, options = {} } = configure(colours());
  chart.data = data;
  chart.options = options;
  chart.update("none");
}

function forgetRemoved() {
  for (const [canvas, { chart }] of drawn) {
    if (canvas.isConnected) continue;
    chart.destroy();
    drawn.delete(canvas);
  }
}

/** What holds for all charts. Time goes from left to right in both languages; words go as the language does. */
function setDefaults() {
  const isPersian = language.code === "fa";
  const { ink, soft, line, surface } = colours();
  const { defaults } = globalThis.Chart;
  const font = { family: getComputedStyle(document.body).fontFamily, size: 13 };
  defaults.animation = false;
  defaults.maintainAspectRatio = false;
  defaults.locale = isPersian ? "fa-IR" : "en-GB";
  defaults.color = soft;
  defaults.borderColor = line;
  Object.assign(defaults.font, font);
  Object.assign(defaults.scales.linear.ticks ?? {}, { callback: numberAt }); // Its own writes 0 in Latin digits.
  Object.assign(defaults.plugins.legend, {
    rtl: isPersian,
    textDirection: isPersian ? "rtl" : "ltr",
    position: "bottom",
  });
  Object.assign(defaults.plugins.legend.labels, { boxWidth: 12, boxHeight: 12, padding: 14 });
  Object.assign(defaults.plugins.tooltip, {
    rtl: isPersian,
    textDirection: isPersian ? "rtl" : "ltr",
    backgroundColor: surface,
    titleColor: ink,
    bodyColor: ink,
    footerColor: soft,
    borderColor: line,
    borderWidth: 1,
    padding: 10,
    boxPadding: 4,
  });
}

/** @param {string | number} value */
function numberAt(value) {
  return language.number(Number(value));
}

/** @returns {Colours} as the theme has them now */
function colours() {
  const style = getComputedStyle(document.documentElement);
  const token = (/** @type {string} */ name) => style.getPropertyValue(name).trim();
  return {
    series: SERIES.map(token),
    accent: token("--accent"),
    ink: token("--ink"),
    soft: token("--ink-soft"),
    line: token("--line"),
    surface: token("--surface"),
  };
}
