// The first page: the month's quota, what is under way, what is free, and a form to submit a job.
import { call, get, getPage, Problem } from "../lib/api.js";
import { curlLine, gtmLine } from "../lib/commandline.js";
import { beginAt, field, keepDraft, onSubmit, readForm } from "../lib/form.js";
import { html, icon, nothing, place, render, renderRows } from "../lib/html.js";
import { ago, date, explain, hours, joined, number, parseNumber, t, typedNumber } from "../lib/i18n.js";
import {
  ACTIVE,
  beyondLimit,
  gpusAsked,
  jobLink,
  jobSentence,
  jobUrl,
  progressBar,
  quotaBar,
  requestOf,
  statusBadge,
  timeShare,
  trustWarning,
} from "../lib/jobs.js";
import { reloadOn } from "../lib/live.js";
import { copyable, onTick, pageUrl, problemPanel, startPage, toast } from "../lib/shell.js";

/** @typedef {import("../lib/api.js").Schemas} Schemas */
/** @typedef {Schemas["JobRead"]} Job */

const SHOWN_JOBS = 8;
const CHECK_AFTER_MS = 350;

const reader = await startPage("dashboard");
/** @type {Job[]} */
let active = [];
/** @type {Schemas["QuotaRead"] | null} */
let quota = null;
/** @type {Schemas["GpuTypeRead"][]} */
let types = [];

if (reader.is_admin) render(trustWarning("admin"), place("#notices"));
await load();
if (quota) await showForm();
reloadOn(() => true, load);
onTick(() => {
  drawActive();
  drawQuota();
});

async function load() {
  try {
    const [page, ...rest] = await Promise.all([
      getPage("/jobs", { status: ACTIVE, limit: SHOWN_JOBS }),
      /** @type {Promise<Schemas["QuotaRead"]>} */ (get("/quota")),
      /** @type {Promise<Schemas["GpuTypeRead"][]>} */ (get("/gpu-types")),
    ]);
    active = page.items;
    [quota, types] = rest;
  } catch (error) {
    if (!quota)
      render(
        problemPanel(error, () => location.reload()),
        place("#active"),
      );
    return;
  }
  drawQuota();
  drawActive();
  drawFleet();
}

function drawQuota() {
  if (!quota) return;
  const { limit_hours: limit, used_hours: used, reserved_hours: reserved, available_hours: left } = quota;
  render(
    html`<div class="card-header">
        <h2 id="quota-title">${t("quota.title")}</h2>
        <span class="small soft">${t("quota.resets", { date: date(quota.period_end), ago: ago(quota.period_end) })}</span>
      </div>
      <p><span class="figure digits">${number(left)}</span> <span class="soft">${t("quota.left_of", { limit: hours(limit) })}</span></p>
      <div class="quota-frame">${quotaBar(quota)}</div>
      <ul class="legend">
        <li><span class="legend-mark legend-used"></span>${t("quota.used", { hours: hours(used) })}</li>
        <li><span class="legend-mark legend-reserved"></span>${t("quota.reserved", { hours: hours(reserved) })}</li>
        <li><span class="legend-mark"></span>${t("quota.left", { hours: hours(left) })}</li>
      </ul>`,
    place("#quota"),
  );
}

function drawActive() {
  if (active.length === 0) {
    render(
      html`<div class="empty">
        ${icon("inbox", "empty-icon")}
        <p class="empty-title">${t("dashboard.none_active")}</p>
        <p class="empty-text">${t("dashboard.none_active_text")}</p>
        <a class="button" href="#name">${icon("plus-lg")}${t("submit.title")}</a>
      </div>`,
      place("#active"),
    );
    return;
  }
  render(html`<ul class="job-cards"></ul>`, place("#active"));
  renderRows(place("#active ul"), active, { tag: "li", key: (job) => job.id, template: jobCard });
}

/** @param {Job} job */
function jobCard(job) {
  return html`<div class="job-card-head">${jobLink(job)}${statusBadge(job)}</div>
    <p class="small soft">${joined([gpusAsked(job), jobSentence(job)])}</p>
    ${job.status === "RUNNING" ? progressBar(t("job.time_used"), timeShare(job)) : nothing}`;
}

function drawFleet() {
  render(
    types.length === 0
      ? html`<p class="soft">${t("dashboard.no_gpus")}</p>`
      : html`<ul class="gpu-types">
          ${types.map(
            ({ name, free, total }) => html`<li>
              <bdi class="gpu-type-name">${name}</bdi>
              <span class="gpu-squares" aria-hidden="true">
                ${Array.from({ length: Math.min(total, 16) }, (_, index) => html`<span class="gpu-square ${index < free ? "gpu-free" : ""}"></span>`)}
              </span>
              <span class="small ${free > 0 ? "" : "soft"}">${t("dashboard.free_of", { free, total })}</span>
            </li>`,
          )}
        </ul>`,
    place("#fleet"),
  );
}

async function showForm() {
  const again = new URLSearchParams(location.search).get("again");
  /** @type {Job | null} */
  const earlier = again ? await get(`/jobs/${encodeURIComponent(again)}`).catch(() => null) : null;
  render(submitForm(), place("#submit"));
  const form = /** @type {HTMLFormElement} */ (document.querySelector("#submit-form"));
  const forgetDraft = keepDraft(form, "job");
  if (earlier) fillFrom(form, earlier);
  let key = newKey();
  const check = checker(form);
  form.addEventListener("input", () => {
    key = newKey();
    check();
  });
  form.addEventListener("focusin", check, { once: true });
  if (requestIn(form).command) check();
  if (location.hash === "#name") beginAt(place("#name"));
  onSubmit(form, async () => {
    /** @type {Job} */
    const job = await call("POST", "/jobs", requestIn(form), { "Idempotency-Key": key });
    forgetDraft();
    form.reset();
    key = newKey();
    history.replaceState(null, "", location.pathname);
    toast(html`${t("submit.done", { name: job.name })} <a href=${jobUrl(job)}>${t("job.toast.show")}</a>`);
    check();
    await load();
  });
}

function submitForm() {
  return html`<form id="submit-form" class="form-stack">
    <div class="form-problem" hidden></div>
    ${reader.is_admin ? nothing : trustWarning("submit")}
    ${field({
      id: "name",
      label: t("job.name"),
      control: html`<input class="form-control" id="name" name="name" dir="auto" required maxlength="255" autocomplete="off"
        placeholder="train-resnet" aria-describedby="name-hint name-error">`,
    })}
    ${field({
      id: "gpu_type",
      label: t("job.gpu_type"),
      hint: types.some(({ name }) => name === "CPU") ? t("submit.cpu_hint") : nothing,
      control: html`<select class="form-select" id="gpu_type" name="gpu_type" required aria-describedby="gpu_type-hint gpu_type-error">
        ${types.map(({ name, free, total }) => html`<option value=${name}>${t("submit.type_option", { name, free, total })}</option>`)}
      </select>`,
    })}
    <div class="form-grid">
      ${numberField("num_gpus", t("job.num_gpus"), "numeric", typedNumber(1))}
      ${numberField("estimated_hours", t("job.estimated_hours"), "decimal", typedNumber(1), t("submit.hours_hint"))}
    </div>
    ${field({
      id: "command",
      label: t("job.command"),
      control: html`<textarea class="form-control mono" id="command" name="command" rows="3" dir="ltr" required maxlength="16384" spellcheck="false"
        placeholder="python train.py --epochs 10" aria-describedby="command-hint command-error"></textarea>`,
    })}
    <details class="folded">
      <summary>${icon("chevron-down")}${t("submit.more")}</summary>
      <div class="form-stack">
        ${field({
          id: "justification",
          label: t("job.justification"),
          hint: t("submit.justification_hint"),
          optional: true,
          control: html`<textarea class="form-control" id="justification" name="justification" rows="2" dir="auto" maxlength="2000"
            aria-describedby="justification-hint justification-error"></textarea>`,
        })}
        ${field({
          id: "data_location",
          label: t("job.data_location"),
          optional: true,
          control: html`<input class="form-control mono" id="data_location" name="data_location" dir="ltr" maxlength="1024" spellcheck="false"
            placeholder="/data/imagenet" aria-describedby="data_location-hint data_location-error">`,
        })}
        <div class="form-check">
          <input class="form-check-input" type="checkbox" id="is_sensitive" name="is_sensitive">
          <label class="form-check-label" for="is_sensitive">${t("job.is_sensitive")}</label>
        </div>
      </div>
    </details>
    <div id="forecast" class="forecast" aria-live="polite"></div>
    <button type="submit" class="button button-primary button-wide">${icon("send", "icon-directional")}${t("submit.submit")}</button>
    <details class="folded">
      <summary>${icon("chevron-down")}${t("submit.as_curl")}</summary>
      <div class="form-stack">
        ${copyable({ id: "gtm", label: t("submit.with_gtm") })} ${copyable({ id: "curl", label: t("submit.with_curl") })}
        <p class="small">${t("submit.needs_token")} <a href="${pageUrl("profile.html")}#tokens-section">${t("tokens.new")}</a></p>
      </div>
    </details>
  </form>`;
}

/**
 * @param {string} id
 * @param {string} label
 * @param {"numeric" | "decimal"} mode
 * @param {string} value
 * @param {string} [hint]
 */
function numberField(id, label, mode, value, hint) {
  return field({
    id,
    label,
    hint,
    control: html`<input class="form-control" id=${id} name=${id} inputmode=${mode} value=${value} required autocomplete="off" dir="ltr"
      aria-describedby="${id}-hint ${id}-error">`,
  });
}

/**
 * What an earlier job was asked to do, to be submitted again with changes.
 * @param {HTMLFormElement} form
 * @param {Job} job
 */
function fillFrom(form, job) {
  for (const [name, value] of Object.entries(requestOf(job))) {
    const control = form.elements.namedItem(name);
    if (control instanceof HTMLInputElement && control.type === "checkbox") control.checked = value === true;
    else if (
      control instanceof HTMLInputElement ||
      control instanceof HTMLTextAreaElement ||
      control instanceof HTMLSelectElement
    ) {
      control.value = typeof value === "number" ? typedNumber(value) : String(value ?? "");
    }
  }
  if (job.data_location || job.justification || job.is_sensitive)
    form.querySelector("details")?.setAttribute("open", "");
  place("#submit").scrollIntoView({ block: "nearest" });
}

/** @param {HTMLFormElement} form */
function requestIn(form) {
  const typed = readForm(form);
  return {
    name: typed.name ?? "",
    gpu_type: typed.gpu_type ?? "",
    num_gpus: parseNumber(typed.num_gpus ?? ""),
    estimated_hours: parseNumber(typed.estimated_hours ?? ""),
    command: typed.command ?? "",
    data_location: typed.data_location?.trim() || null,
    is_sensitive: typed.is_sensitive === "on",
    justification: typed.justification?.trim() || null,
  };
}

/**
 * Ask the service, a moment after the last change, what this job would cost and whether it would be taken.
 * @param {HTMLFormElement} form
 */
function checker(form) {
  let timer = 0;
  /** @type {AbortController | null} */
  let asking = null;
  return () => {
    clearTimeout(timer);
    timer = window.setTimeout(check, CHECK_AFTER_MS);
  };

  async function check() {
    const request = requestIn(form);
    place("#gtm").textContent = gtmLine(request);
    place("#curl").textContent = curlLine(request, location.origin);
    asking?.abort();
    if (Number.isNaN(request.num_gpus * request.estimated_hours)) return drawForecast(null);
    asking = new AbortController();
    const { signal } = asking;
    const complete = { ...request, name: request.name.trim() || "-", command: request.command.trim() || "-" };
    try {
      const forecast = await call("POST", "/jobs/validate", complete, {}, signal);
      drawForecast(forecast);
    } catch (error) {
      if (!signal.aborted) drawForecast(null, isAway(error) ? explain(error) : undefined);
    }
  }
}

/** @param {unknown} error */
function isAway(error) {
  return error instanceof Problem && error.code === "network";
}

/**
 * @param {Schemas["JobForecast"] | null} forecast
 * @param {string} [whyNot]
 */
function drawForecast(forecast, whyNot = t("submit.incomplete")) {
  render(
    forecast
      ? html`<p class="forecast-cost">${icon("wallet2")}<span>${t("submit.cost", { hours: hours(forecast.reserved_gpu_hours) })}</span></p>
          ${beyondLimit(forecast.reserved_beyond_limit_gpu_hours)}
          ${
            forecast.problem
              ? html`<p class="notice notice-warning">${icon("exclamation-triangle")}<span>${forecast.problem.detail}</span></p>`
              : html`<p class="small soft">${t("submit.left_after", { hours: hours(forecast.available_hours_after ?? 0) })}</p>
                <p class="small">
                  ${
                    forecast.fits_now
                      ? html`${icon("check-circle")} ${t("submit.fits_now", { free: forecast.free_gpus ?? 0 })}`
                      : html`${icon("hourglass-split")} ${t("submit.fits_later", { free: forecast.free_gpus ?? 0 })}`
                  }
                </p>`
          }`
      : html`<p class="small soft">${whyNot}</p>`,
    place("#forecast"),
  );
}

/** A name for one submission, so that sending it twice makes one job. */
function newKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
