// One job: where it is and why, what it prints, what its GPUs do, and everything that happened to it.
import { get, Problem, signedIn } from "../lib/api.js";
import { html, icon, nothing, place, render, renderRows } from "../lib/html.js";
import { ago, dateTime, duration, fullTime, hours, joined, t } from "../lib/i18n.js";
import {
  actionButtons,
  beyondLimit,
  comingStart,
  engineName,
  FINISHED,
  gpusAsked,
  jobSentence,
  progressBar,
  runSeconds,
  statusBadge,
  timeShare,
  WAITING,
} from "../lib/jobs.js";
import { onNews, reloadOn } from "../lib/live.js";
import { showLog } from "../lib/log.js";
import { copy, onTick, pageUrl, problemPanel, startPage } from "../lib/shell.js";

/** @typedef {import("../lib/api.js").Schemas} Schemas */
/** @typedef {Schemas["JobRead"]} Job */
/** @typedef {Schemas["JobEventRead"]} JobEvent */
/** @typedef {import("../lib/html.js").Content} Content */

// locale keys: job.event.*
const LAST_LINES = 20;
const CLOCK_MS = 5_000;
/** @type {Record<string, string>} */
const EVENT_ICONS = {
  PENDING: "send",
  APPROVED: "check-lg",
  REJECTED: "x-lg",
  RUNNING: "play-fill",
  COMPLETED: "check-circle-fill",
  FAILED: "exclamation-triangle-fill",
  CANCELLED: "slash-circle",
  STOPPED: "slash-circle",
  DISPATCHED: "list-task",
  CANCEL_REQUESTED: "stop-circle",
};

const id = Number(new URLSearchParams(location.search).get("id"));
await startPage("jobs");
/** @type {Job | null} */
let job = null;
/** @type {JobEvent[]} */
let events = [];
/** @type {Schemas["JobWaiting"] | null} what stands before its start */
let waiting = null;
/** @type {ReturnType<typeof showLog> | null} */
let log = null;
/** @type {(() => Promise<void>) | null} reads anew what the GPUs did, once it is shown at all */
let measure = null;
/** @type {string[] | null} what the log ends with, once it has ended */
let lastLines = null;
let readings = 0;

reloadOn((news) => news.type === "job" && news.data.job_id === id, reload);
onNews((news) => {
  if (news.type === "reset") log?.reconnect();
});
await begin();
onTick(() => {
  if (isFinal()) draw();
  else reload();
});
setInterval(() => {
  if (job?.status === "RUNNING" && !document.hidden) drawNow();
}, CLOCK_MS);

async function begin() {
  try {
    await load();
  } catch (error) {
    const isNoJob = error instanceof Problem && (error.status === 404 || error.status === 422);
    showInstead(isNoJob ? notFound() : problemPanel(error, begin));
  }
}

/** Read the job again. Where that fails, what is shown stays. */
async function reload() {
  await load().catch(() => {});
}

async function load() {
  readings += 1;
  const mine = readings;
  const [found, history] = await Promise.all([get(`/jobs/${id}`), get(`/jobs/${id}/events`)]);
  const wait = isOneOf(WAITING, found.status) ? await get(`/jobs/${id}/waiting`).catch(() => null) : null;
  if (mine !== readings) return; // A later answer is on its way, or has come.
  const wasFinal = isFinal();
  job = found;
  events = history;
  waiting = wait;
  draw();
  if (hasBegun(found)) showRun(found);
  if (isFinal() && !wasFinal) log?.settle();
  measure?.();
}

/**
 * Once it runs: its log at once, and what its GPUs do when that comes into view.
 * @param {Job} begun
 */
function showRun(begun) {
  if (log) return;
  log = showLog(place("#log"), {
    jobId: id,
    name: begun.name,
    isOver: isFinal(),
    async hasEnded() {
      await load();
      return isFinal();
    },
    whenComplete() {
      lastLines = log?.lastLines(LAST_LINES) ?? [];
      drawNow();
      const lines = document.querySelector(".last-lines");
      lines?.scrollTo(0, lines.scrollHeight);
    },
  });
  const sight = new IntersectionObserver(async ([entry]) => {
    if (!entry?.isIntersecting) return;
    sight.disconnect();
    const { showUtilisation } = await import("../lib/utilisation.js");
    measure = async () => {
      if (job) await showUtilisation(place("#utilisation-chart"), job);
    };
    await measure();
  });
  sight.observe(place("#utilisation"));
}

/**
 * In an engine's queue it has a run already, of which there is nothing to see.
 * @param {Job} job
 */
function hasBegun({ run_id, started_at }) {
  return run_id !== null && started_at !== null;
}

function isFinal() {
  return job !== null && isOneOf(FINISHED, job.status);
}

/**
 * @param {readonly string[]} statuses
 * @param {Job["status"]} status
 */
function isOneOf(statuses, status) {
  return statuses.includes(status);
}

/** @param {Content} content */
function showInstead(content) {
  render(nothing, place("#headline"));
  render(content, place("#instead"));
}

function notFound() {
  document.title = t("app.page_title", { page: t("job.not_found") });
  return html`<div class="card">
    <div class="empty">
      ${icon("search", "empty-icon")}
      <h1 class="empty-title">${t("job.not_found")}</h1>
      <p class="empty-text">${t("job.not_found_text")}</p>
      <a class="button" href=${pageUrl("jobs.html")}>${t("dashboard.all_jobs")}</a>
    </div>
  </div>`;
}

function draw() {
  if (!job) return;
  render(nothing, place("#instead"));
  place("#job").hidden = false;
  place("#columns").classList.toggle("columns", hasBegun(job));
  place("#run").hidden = !hasBegun(job);
  if (job.gpu_type === "CPU") place("#utilisation-title").textContent = t("utilisation.cpu_title");
  place("#got").hidden = job.run_id === null;
  document.title = t("app.page_title", { page: job.name });
  drawHeadline(job);
  drawNow();
  drawFacts(job);
  renderRows(place("#timeline"), events, { tag: "li", key: ({ seq }) => seq, template: timelineEntry });
}

/** @param {Job} job */
function drawHeadline(job) {
  render(
    html`<h1 class="job-name"><bdi>${job.name}</bdi></h1>
      ${statusBadge(job)}
      <span class="soft" dir="ltr">#${job.id}</span>
      ${job.user_id === signedIn()?.id ? nothing : html`<span class="soft">${t("job.of", { who: job.owner.full_name ?? job.owner.email })}</span>`}`,
    place("#headline"),
  );
  render(
    html`${actionButtons(job, reload)}
      ${
        signedIn()?.is_admin && job.charged_gpu_hours > job.refunded_gpu_hours
          ? html`<button type="button" class="button" @click=${() => refund(job)}>${t("job.refund")}</button>`
          : nothing
      }
      ${
        isFinal()
          ? html`<a class="button ${job.status === "COMPLETED" ? "" : "button-primary"}" href=${pageUrl(`index.html?again=${job.id}`)}>
            ${icon("arrow-repeat")}${t(job.status === "COMPLETED" ? "job.again" : "job.again_with_changes")}
          </a>`
          : nothing
      }`,
    place("#actions"),
  );
}

/** @param {Job} job */
async function refund(job) {
  const { askForRefund } = await import("../lib/refund.js");
  if (await askForRefund(job)) await reload();
}

/** What it waits for, how far it is, or how it ended. */
function drawNow() {
  if (!job) return;
  render(
    html`<h2 class="visually-hidden" id="now-title">${t("job.now")}</h2>
      ${waiting?.text && waiting.since ? wait(waiting.text, waiting.since, comingStart(waiting)) : html`<p class="job-sentence">${jobSentence(job)}</p>`}
      ${job.status === "RUNNING" ? progress(job) : nothing} ${job.status === "FAILED" ? failure(job) : nothing}
      ${
        job.executor === "simulated" && hasBegun(job)
          ? html`<p class="small soft">${icon("info-circle")} ${t("job.simulated")}</p>`
          : nothing
      }`,
    place("#now"),
  );
}

/**
 * @param {string} text
 * @param {string} since
 * @param {string | null} begins
 */
function wait(text, since, begins) {
  return html`<p class="job-sentence">${text}</p>
    ${begins ? html`<p class="job-begins">${icon("clock-history")} ${t("job.begins", { date: dateTime(begins), ago: ago(begins) })}</p>` : nothing}
    <p class="small soft">${t("job.waits_since", { date: dateTime(since), ago: ago(since) })}</p>`;
}

/** @param {Job} job */
function progress(job) {
  return html`<div class="job-progress">
    ${progressBar(t("job.time_used"), timeShare(job))} ${job.progress === null ? nothing : progressBar(t("job.progress"), job.progress)}
  </div>`;
}

/** @param {Job} job */
function failure({ exit_code, exit_signal, error_message, run_id }) {
  return html`<dl class="facts">
      ${exit_code === null ? nothing : fact(t("job.exit_code"), html`<code dir="ltr">${exit_code}</code>`)}
      ${exit_signal === null ? nothing : fact(t("job.exit_signal"), html`<code dir="ltr">${exit_signal}</code>`)}
      ${error_message ? fact(t("job.error_message"), html`<span dir="auto">${error_message}</span>`) : nothing}
    </dl>
    ${run_id ? endOfLog() : nothing}`;
}

/** The place is kept until they are there. */
function endOfLog() {
  if (lastLines?.length === 0) return nothing;
  return html`<h3>${t("job.last_lines")}</h3>
    ${
      lastLines
        ? html`<pre class="code-block last-lines" dir="ltr" tabindex="0">${lastLines.join("\n")}</pre>`
        : html`<span class="skeleton last-lines"></span>`
    }`;
}

/** @param {Job} job */
function drawFacts(job) {
  render(
    html`<dl class="facts">
        ${fact(t("job.gpus"), gpusAsked(job))} ${fact(t("job.time_limit"), duration(job.estimated_hours * 3600))}
        ${fact(t("job.reserved"), html`${hours(job.reserved_gpu_hours)}${beyondLimit(job.reserved_beyond_limit_gpu_hours)}`)}
        ${job.data_location ? fact(t("job.data_location"), html`<code dir="ltr">${job.data_location}</code>`) : nothing}
        ${job.is_sensitive ? fact(t("job.sensitivity"), html`${icon("lock-fill")} ${t("job.is_sensitive")}`) : nothing}
        ${job.justification ? fact(t("job.why"), html`<span class="people-text" dir="auto">${job.justification}</span>`) : nothing}
        ${job.decided_at ? fact(t("job.decision"), decision(job)) : nothing}
      </dl>
      <div class="job-command">
        <h3>${t("job.command")}</h3>
        <button type="button" class="button-quiet button-small" @click=${() => copy(job.command)}>${icon("copy")}${t("action.copy")}</button>
      </div>
      <pre class="code-block command-block" dir="ltr" tabindex="0">${job.command}</pre>`,
    place("#asked"),
  );
  render(
    html`<dl class="facts">
      ${fact(t("job.gpus"), gpusOf(job) ?? t("job.no_gpus_yet"))}
      ${job.started_at ? fact(t("job.started"), fullTime(job.started_at)) : nothing}
      ${job.finished_at ? fact(t("job.finished"), fullTime(job.finished_at)) : nothing}
      ${job.started_at && job.finished_at ? fact(t("job.ran_for"), duration(runSeconds(job))) : nothing}
      ${job.finished_at ? price(job) : nothing}
      ${job.executor ? fact(t("job.executor"), engineName(job.executor)) : nothing}
      ${job.engine_job_id ? fact(t("job.engine_job_id"), copyable(job.engine_job_id)) : nothing}
      ${job.error_message && job.status !== "FAILED" ? fact(t("job.error_message"), html`<span dir="auto">${job.error_message}</span>`) : nothing}
      ${job.run_id ? fact(t("job.run_id"), html`<code class="small" dir="ltr">${job.run_id}</code>`) : nothing}
    </dl>`,
    place("#got-facts"),
  );
}

/** @param {Job} job */
function price({ charged_gpu_hours: charged, refunded_gpu_hours: refunded }) {
  return html`${fact(t("job.charged"), hours(charged))}
    ${refunded > 0 ? fact(t("job.refunded"), hours(refunded)) : nothing}`;
}

/**
 * @param {string} label
 * @param {Content} content
 */
function fact(label, content) {
  return html`<dt>${label}</dt>
    <dd>${content}</dd>`;
}

/** @param {Job} job */
function decision({ decided_by, decided_at, decision_note, status }) {
  const who = decided_by?.full_name ?? decided_by?.email ?? "";
  return html`${t(status === "REJECTED" ? "job.rejected_by" : "job.approved_by", { who })}
    ${decided_at ? html`<span class="small soft">${fullTime(decided_at)}</span>` : nothing}
    ${decision_note ? html`<blockquote class="people-text" dir="auto">${decision_note}</blockquote>` : nothing}`;
}

/** @param {string} text */
function copyable(text) {
  return html`<code dir="ltr">${text}</code>
    <button type="button" class="button-quiet button-small" aria-label=${t("job.copy_number")} @click=${() => copy(text)}>${icon("copy")}</button>`;
}

/**
 * By nodes: those that we gave it, or those that the engine did, as in `n1:0,1 n2:3`.
 * @param {Job} job
 */
function gpusOf({ gpus, placement }) {
  /** @type {Map<string, string[]>} */
  const indexes = new Map();
  for (const { node, index } of gpus) indexes.set(node, [...(indexes.get(node) ?? []), String(index)]);
  for (const part of gpus.length === 0 && placement ? placement.split(" ") : []) {
    const [node = "", chosen = ""] = part.split(":");
    indexes.set(node, chosen.split(",").filter(Boolean));
  }
  if (indexes.size === 0) return null;
  return html`<ul class="plain-list">
    ${[...indexes].map(([node, chosen]) => html`<li><code dir="ltr">${chosen.length > 0 ? `${node}: ${chosen.join(", ")}` : node}</code></li>`)}
  </ul>`;
}

/** @param {JobEvent} event */
function timelineEntry(event) {
  const what = whatHappened(event);
  const who = event.actor?.full_name ?? event.actor?.email ?? t("job.event.by_system");
  return html`<span class="timeline-mark timeline-${what.toLowerCase()}">${icon(EVENT_ICONS[what] ?? "circle-fill")}</span>
    <div>
      <p>${t(`job.event.${what}`, { who })}</p>
      <p class="small soft">${joined([fullTime(event.at), ago(event.at)])}</p>
      ${event.note ? html`<blockquote class="people-text" dir="auto">${event.note}</blockquote>` : nothing}
    </div>`;
}

/** @param {JobEvent} event */
function whatHappened({ kind, to_status, actor }) {
  if (kind !== "TRANSITION") return kind;
  return to_status === "CANCELLED" && !actor ? "STOPPED" : to_status;
}
