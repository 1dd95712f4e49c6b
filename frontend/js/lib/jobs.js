// What several pages say about a job, and what people can do to it. Which actions there are is the service's to say.
import { call, engineHere, get } from "./api.js";
import { ask, field } from "./form.js";
import { html, icon, nothing } from "./html.js";
import { ago, duration, hours, joined, number, percent, t } from "./i18n.js";
import { pageUrl, toast, toastProblem } from "./shell.js";

/** @typedef {import("./api.js").Schemas} Schemas */
/** @typedef {Schemas["JobRead"]} Job */
/** @typedef {Job["status"]} Status */
/** @typedef {Job["actions"][number]} Action */

// locale keys: job.status.* job.action.* job.toast.* reject.preset.* history.* engine.* trust.* trust.*_text trust.remedy.*
/** @type {Record<Status, string>} */
const STATUS_ICONS = {
  PENDING: "hourglass-split",
  APPROVED: "check-lg",
  RUNNING: "play-fill",
  COMPLETED: "check-circle-fill",
  FAILED: "exclamation-triangle-fill",
  REJECTED: "x-circle-fill",
  CANCELLED: "slash-circle",
};
/** Where the reason of waiting says more than the status. @type {Record<string, string>} */
const FURTHER_ICONS = { CANCELLING: "stop-circle", IN_ENGINE_QUEUE: "list-task" };
/** @type {Record<Action, string>} */
const ACTION_ICONS = { approve: "check-lg", reject: "x-lg", start: "play-fill", cancel: "stop-circle" };
/** The engines that have a name of their own in our languages. */
const ENGINES = new Set(["simulated", "local", "slurm"]);
const REJECT_PRESETS = ["too_long", "too_many_gpus", "unclear", "wrong_type", "policy"];

/** The service tells of so many people at once. */
const MOST_STANDINGS = 100;

export const ACTIVE = /** @type {const} */ (["PENDING", "APPROVED", "RUNNING"]);
export const WAITING = /** @type {const} */ (["PENDING", "APPROVED"]);
export const FINISHED = /** @type {const} */ (["COMPLETED", "FAILED", "REJECTED", "CANCELLED"]);

/**
 * Where a job is, by colour, shape and word.
 * @param {Pick<Job, "status"> & Partial<Pick<Job, "wait_reason">>} job
 */
export function statusBadge({ status, wait_reason }) {
  const further = wait_reason ? FURTHER_ICONS[wait_reason] : undefined;
  return html`<span class="status status-${status.toLowerCase()}">
    ${icon(further ?? STATUS_ICONS[status])}${t(`job.status.${further ? wait_reason : status}`)}
  </span>`;
}

/** @param {Pick<Job, "id">} job */
export function jobUrl({ id }) {
  return pageUrl(`job.html?id=${id}`);
}

/** @param {Pick<Job, "id" | "name">} job */
export function jobLink(job) {
  return html`<a class="job-link" href=${jobUrl(job)}><bdi>${job.name}</bdi></a>`;
}

/** @param {Pick<Job, "gpu_type" | "num_gpus">} job */
export function gpusAsked({ gpu_type, num_gpus }) {
  return html`<span class="nowrap" dir="ltr">${number(num_gpus)} × ${gpu_type}</span>`;
}

/**
 * One sentence on where the job is and why: what it waits for and since when, how far it is, how it ended.
 * @param {Job} job
 */
export function jobSentence(job) {
  if (job.status === "RUNNING" && job.started_at && job.wait_reason !== "CANCELLING") {
    return t("job.sentence.running", { since: ago(job.started_at), left: timeLeft(job) });
  }
  if (job.wait_reason === "AWAITING_DECISION") return t("job.sentence.pending", { since: ago(job.created_at) });
  if (job.wait_reason === "IN_ENGINE_QUEUE") {
    const begins = comingStart(job);
    return begins
      ? t("job.sentence.queued", { text: job.reason_text ?? "", begins: ago(begins) })
      : (job.reason_text ?? "");
  }
  const since = job.finished_at ?? job.decided_at ?? job.created_at;
  return job.reason_text
    ? t("job.sentence.since", { text: job.reason_text.replace(/\.$/, ""), since: ago(since) })
    : "";
}

/**
 * When the engine expects to begin it; an expectation that has passed says nothing.
 * @param {Pick<Job, "expected_start_at">} job
 */
export function comingStart({ expected_start_at: moment }) {
  return moment && new Date(moment) > new Date() ? moment : null;
}

/**
 * An engine by its name in the reader's language, with the word by which settings and commands know it.
 * @param {string} code
 */
export function engineName(code) {
  const known = html`<code dir="ltr">${code}</code>`;
  return ENGINES.has(code) ? html`${t(`engine.${code}`)} ${known}` : known;
}

/**
 * The word for an action here: where the engine has a queue, to start a job is to hand it over.
 * @template {string} Word
 * @param {Word} action
 */
export function wordFor(action) {
  return action === "start" && !engineHere().places_gpus ? "hand_over" : action;
}

/**
 * Where jobs run as the service's own user, or all as another one, that is said as long as it is so; nobody can click
 * it away.
 * @param {"admin" | "submit"} reader whom it is said to
 */
export function trustWarning(reader) {
  const { executor, jobs_run_as_service, jobs_share_a_user } = engineHere();
  if (!(jobs_run_as_service || jobs_share_a_user)) return nothing;
  const what = reader === "admin" && !jobs_run_as_service ? "shared" : reader;
  const remedy = jobs_run_as_service ? executor : "shared";
  return html`<div class="notice notice-warning" role="note">
    ${icon("exclamation-triangle")}
    <div>
      <p><strong>${t(`trust.${what}`)}</strong></p>
      <p>${t(`trust.${what}_text`)}</p>
      ${reader === "admin" ? html`<p>${t(`trust.remedy.${remedy}`)}</p>` : nothing}
    </div>
  </div>`;
}

/**
 * How long a job has run, by the clock that its quota is settled by: a simulation's is faster than ours.
 * @param {Job} job
 * @param {Date} [now]
 */
export function runSeconds({ started_at, finished_at }, now = new Date()) {
  if (!started_at) return 0;
  const end = finished_at ? new Date(finished_at) : now;
  return Math.max(0, (end.getTime() - new Date(started_at).getTime()) / 1000) * engineHere().clock_rate;
}

/**
 * Why more is reserved than GPUs × hours, where the engine can hold a run for longer.
 * @param {number} beyond
 */
export function beyondLimit(beyond) {
  return beyond > 0 ? html`<p class="small soft">${t("job.reserved_beyond", { hours: hours(beyond) })}</p>` : nothing;
}

/**
 * The share of its time that a job has used, 0 to 1.
 * @param {Job} job
 * @param {Date} [now]
 */
export function timeShare(job, now) {
  return Math.min(1, runSeconds(job, now) / (job.estimated_hours * 3600));
}

/**
 * A bar with its words.
 * @param {string} label
 * @param {number} share 0 to 1
 */
export function progressBar(label, share) {
  return html`<div class="progress-row">
    <span>${label}</span>
    <progress max="1" value=${share} aria-label=${label}></progress>
    <span class="progress-value">${percent(share)}</span>
  </div>`;
}

/**
 * A month's quota as a bar: used, reserved, and apart from the rest what one job has reserved of it.
 * @param {Pick<import("./api.js").Schemas["QuotaRead"], "limit_hours" | "used_hours" | "reserved_hours">} quota
 * @param {number} [ofJob] hours, counted in those reserved
 */
export function quotaBar({ limit_hours: limit, used_hours: used, reserved_hours: reserved }, ofJob = 0) {
  const share = (/** @type {number} */ value) => (limit > 0 ? Math.min(100, (100 * value) / limit) : 100);
  const label = t("quota.bar", { used: hours(used), reserved: hours(reserved), limit: hours(limit) });
  const [others, all] = [share(used + reserved - ofJob), share(used + reserved)];
  return html`<svg class="quota-bar" role="img" aria-label=${label} viewBox="0 0 100 4" preserveAspectRatio="none">
    <rect class="quota-used" width=${share(used)} height="4"></rect>
    <rect class="quota-reserved" x=${share(used)} width=${Math.max(0, others - share(used))} height="4"></rect>
    <rect class="quota-after" x=${others} width=${Math.max(0, all - others)} height="4"></rect>
  </svg>`;
}

/**
 * How people stand: their month's quota and what became of their jobs, by person.
 * @param {readonly number[]} userIds
 * @param {AbortSignal} [signal]
 * @returns {Promise<Map<number, Schemas["StandingRead"]>>}
 */
export async function getStandings(userIds, signal) {
  const ids = [...new Set(userIds)];
  /** @type {Schemas["StandingRead"][]} */
  const found = [];
  while (ids.length > 0) {
    found.push(...(await get("/admin/users/standing", { id: ids.splice(0, MOST_STANDINGS) }, signal)));
  }
  return new Map(found.map((standing) => [standing.user_id, standing]));
}

/**
 * What became of somebody's jobs so far.
 * @param {import("./api.js").Schemas["JobCounts"]} counts
 */
export function historyOf(counts) {
  const found = FINISHED.filter((status) => counts[status] > 0);
  if (found.length === 0) return html`<span class="soft">${t("history.none")}</span>`;
  return joined(
    found.map((status) => html`<span class="nowrap">${t(`history.${status}`, { count: counts[status] })}</span>`),
  );
}

/**
 * Buttons for what the reader may do to the job now.
 * @param {Job} job
 * @param {(changed: Job) => unknown} done
 */
export function actionButtons(job, done) {
  return job.actions.map((action) => actionButton(action, job, () => act(action, job, done)));
}

/**
 * One of them. In a list, where many look the same, its name says which job it is about.
 * @param {Action} action
 * @param {Job} job
 * @param {() => unknown} onClick
 * @param {{ isInList?: boolean }} [how]
 */
export function actionButton(action, job, onClick, { isInList = false } = {}) {
  const label = isInList ? t(ACTION_TITLES[wordFor(action)], { name: job.name }) : nothing;
  return html`<button type="button" class="button ${BUTTON_STYLES[action]} ${isInList ? "button-small" : ""}"
    aria-label=${label} data-action=${action} @click=${onClick}>
    ${icon(ACTION_ICONS[action])}${t(`job.action.${wordFor(action)}`)}
  </button>`;
}

/** @type {Record<Action, string>} */
const BUTTON_STYLES = { approve: "button-primary", start: "button-primary", reject: "", cancel: "button-danger-quiet" };
/** @type {Record<Action | "hand_over", string>} */
const ACTION_TITLES = {
  approve: "approve.title",
  reject: "reject.title",
  start: "start.title",
  hand_over: "hand_over.title",
  cancel: "cancel.title",
};

/** @type {Set<number>} */
const underWay = new Set();

/**
 * Ask what has to be asked, do it, and say that it is done.
 * @param {Action} action
 * @param {Job} job
 * @param {(changed: Job) => unknown} done
 */
export async function act(action, job, done) {
  if (underWay.has(job.id)) return; // A second click, before the first one is answered.
  underWay.add(job.id);
  const changed = await { approve, reject, start, cancel }[action](job).finally(() => underWay.delete(job.id));
  if (!changed) return;
  toast(
    html`${t(`job.toast.${wordFor(action)}`, { name: job.name })} <a href=${jobUrl(job)}>${t("job.toast.show")}</a>`,
  );
  done(changed);
}

/**
 * @param {Job} job
 * @returns {Promise<Job | null>}
 */
function approve(job) {
  return ask({
    title: t("approve.title", { name: job.name }),
    body: html`<p>${t("approve.text", { who: job.owner.full_name ?? job.owner.email, hours: hours(job.reserved_gpu_hours) })}</p>
      ${noteField("approve-note", t("approve.note"), t("approve.note_hint"))}`,
    submit: t("job.action.approve"),
    action: ({ note }) =>
      call("POST", `/admin/jobs/${job.id}/approve`, { note: note?.trim() || null, digest: job.digest }),
  });
}

/**
 * @param {Job} job
 * @returns {Promise<Job | null>}
 */
function reject(job) {
  return ask({
    title: t("reject.title", { name: job.name }),
    body: html`<p>${t("reject.text", { who: job.owner.full_name ?? job.owner.email })}</p>
      ${rejectReason()}`,
    submit: t("job.action.reject"),
    danger: true,
    action: ({ reason }) => call("POST", `/admin/jobs/${job.id}/reject`, { reason }),
  });
}

/** The reason of a rejection: own words, or a preset to begin with. */
export function rejectReason() {
  return html`${field({
    id: "reject-reason",
    label: t("reject.reason"),
    hint: t("reject.reason_hint"),
    control: html`<textarea class="form-control" id="reject-reason" name="reason" rows="3" maxlength="2000" dir="auto" required autofocus
        aria-describedby="reject-reason-hint reject-reason-error"></textarea>`,
  })}
    <div class="chips" role="group" aria-label=${t("reject.presets")}>
      ${REJECT_PRESETS.map(
        (
          preset,
        ) => html`<button type="button" class="chip" @click=${(/** @type {Event} */ event) => fillReason(event, t(`reject.preset.${preset}`))}>
          ${t(`reject.preset.${preset}`)}
        </button>`,
      )}
    </div>`;
}

/**
 * @param {Event} event
 * @param {string} sentence
 */
function fillReason(event, sentence) {
  const form = /** @type {HTMLElement} */ (event.currentTarget).closest("form");
  const area = /** @type {HTMLTextAreaElement} */ (form?.elements.namedItem("reason"));
  area.value = area.value.trim() ? `${area.value.trim()}\n${sentence}` : sentence;
  area.focus();
}

/**
 * @param {Job} job
 * @returns {Promise<Job | null>}
 */
async function start(job) {
  try {
    return await call("POST", `/admin/jobs/${job.id}/start`);
  } catch (error) {
    toastProblem(error);
    return null;
  }
}

/**
 * @param {Job} job
 * @returns {Promise<Job | null>}
 */
async function cancel(job) {
  const now = await get(`/jobs/${job.id}`).catch(() => job);
  const used = now.status === "RUNNING" ? timeShare(now) * now.num_gpus * now.estimated_hours : 0;
  return ask({
    title: t("cancel.title", { name: job.name }),
    body: html`<p>
        ${
          now.status === "RUNNING"
            ? t("cancel.text_running", { used: hours(used), back: hours(Math.max(0, now.reserved_gpu_hours - used)) })
            : t("cancel.text_waiting", { back: hours(now.reserved_gpu_hours) })
        }
      </p>
      ${noteField("cancel-reason", t("cancel.reason"), nothing, "reason")}`,
    submit: t("cancel.submit"),
    danger: true,
    action: ({ reason }) => call("POST", `/jobs/${job.id}/cancel`, { reason: reason?.trim() || null }),
  });
}

/**
 * @param {string} id
 * @param {string} label
 * @param {import("./html.js").Content} hint
 * @param {string} [name]
 */
export function noteField(id, label, hint, name = "note") {
  return field({
    id,
    label,
    hint,
    optional: true,
    control: html`<textarea class="form-control" id=${id} name=${name} rows="2" maxlength="2000" dir="auto"
      aria-describedby="${id}-hint ${id}-error"></textarea>`,
  });
}

/**
 * How long we may have to wait for its end.
 * @param {Job} job
 */
function timeLeft(job) {
  return duration((job.estimated_hours * 3600 - runSeconds(job)) / engineHere().clock_rate);
}

/**
 * What a job was asked to do, as another submission of it would say.
 * @param {Job} job
 */
export function requestOf(job) {
  const { name, gpu_type, num_gpus, estimated_hours, command, data_location, is_sensitive, justification } = job;
  return { name, gpu_type, num_gpus, estimated_hours, command, data_location, is_sensitive, justification };
}
