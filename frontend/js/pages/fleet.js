// The fleet: which GPU stands where, what each of them does, and taking them out of service and back.
import { call, get, Problem } from "../lib/api.js";
import { ask, field } from "../lib/form.js";
import { html, icon, nothing, place, render, renderRows } from "../lib/html.js";
import { ago, agoTime, bytes, compare, explain, fullTime, joined, list, number, personName, t } from "../lib/i18n.js";
import { engineName, jobLink, trustWarning } from "../lib/jobs.js";
import { liveState, reloadOn } from "../lib/live.js";
import { copy, onTick, problemPanel, startPage, toast, toastProblem } from "../lib/shell.js";

/** @typedef {import("../lib/api.js").Schemas["GpuRead"]} Gpu */
/** @typedef {import("../lib/api.js").Schemas["AlertsRead"]} Alerts */
/** @typedef {Gpu["state"]} State */
/** @typedef {{ name: string, gpus: Gpu[], shown: Gpu[] }} Node */

// locale keys: fleet.state.* fleet.means.*
/** @type {Record<State, string>} */
const STATE_ICONS = {
  FREE: "check-circle",
  BUSY: "play-fill",
  DRAINING: "hourglass-split",
  DRAINED: "tools",
  QUARANTINED: "exclamation-triangle-fill",
  CONTENDED: "lightning-charge",
  OFFLINE: "slash-circle",
  RETIRED: "dash-circle",
};
const STATES = /** @type {State[]} */ (Object.keys(STATE_ICONS));
const SIMULATED = "simulated";
/** By engine: how a node of it is drained. @type {Record<string, (node: string) => string>} */
const DRAIN_COMMANDS = { slurm: (node) => `scontrol update NodeName=${node} State=DRAIN Reason="…"` };

await startPage("fleet", { forAdmins: true });
/** @type {Gpu[] | null} */
let fleet = null;
/** @type {Alerts} */
let alerts = { overstaying: [], foreign_jobs: [] };

await load();
document.querySelector(".gpu-details")?.scrollIntoView({ block: "center" });
reloadOn((news) => news.type === "job", load);
onTick(() => {
  if (liveState().state === "paused") draw();
  else load();
});

async function load() {
  try {
    [fleet, alerts] = await Promise.all([get("/admin/gpus"), get("/admin/alerts")]);
  } catch (error) {
    if (!fleet) {
      render(nothing, place("#types"));
      render(problemPanel(error, load), place("#nodes"));
    }
    return;
  }
  draw();
}

function draw() {
  if (!fleet) return;
  render(html`${trustWarning("admin")}${overstayWarning()}${foreignJobsWarning()}`, place("#notices"));
  drawTypes(fleet);
  drawFilters(fleet);
  drawNodes(fleet);
}

/** Jobs whose engine keeps neither their limit nor a stop: nobody else can end them. */
function overstayWarning() {
  const jobs = alerts.overstaying;
  if (jobs.length === 0) return nothing;
  return warning(t("fleet.overstay", { count: jobs.length }), jobs.map(jobLink), t("fleet.overstay_text"));
}

/** What holds the engine's GPUs in the service's name, is in nobody's quota, and was approved by nobody. */
function foreignJobsWarning() {
  const jobs = alerts.foreign_jobs;
  if (jobs.length === 0) return nothing;
  return warning(t("fleet.foreign", { count: jobs.length }), jobs.map(foreignJob), t("fleet.foreign_text"));
}

/**
 * @param {string} headline
 * @param {import("../lib/html.js").Content[]} jobs
 * @param {string} advice
 */
function warning(headline, jobs, advice) {
  return html`<div class="notice notice-warning" role="alert">
    ${icon("exclamation-triangle-fill")}
    <div>
      <p><strong>${headline}</strong> ${joined(jobs)}</p>
      <p>${advice}</p>
    </div>
  </div>`;
}

/** @param {Alerts["foreign_jobs"][number]} job */
function foreignJob({ engine_job_id: id, name, num_gpus: gpus, cancelled_at: cancelled }) {
  const facts = [gpus ? t("fleet.foreign_gpus", { count: gpus }) : "", cancelled ? t("fleet.foreign_cancelled") : ""];
  const told = facts.filter(Boolean).join(t("list.separator"));
  return html`<span><bdi dir="ltr">${id}</bdi> <bdi>${name}</bdi>${told ? ` (${told})` : ""}</span>`;
}

/** @param {Gpu[]} gpus */
function drawTypes(gpus) {
  const types = [...grouped(gpus, (gpu) => gpu.gpu_type)].sort(([one], [other]) => compare(one, other));
  render(html`${types.map(([type, members]) => typeTile(type, members))}`, place("#types"));
}

/**
 * @param {string} type
 * @param {Gpu[]} members
 */
function typeTile(type, members) {
  const total = members.length;
  const free = members.filter(({ state }) => state === "FREE").length;
  const busy = members.filter(({ job, state }) => job || state === "BUSY").length;
  const out = total - free - busy;
  const memory = Math.max(...members.map(({ memory_bytes }) => memory_bytes));
  return html`<button type="button" class="fleet-type" aria-pressed=${chosen("type") === type} @click=${() => choose("type", type)}>
    <span class="fleet-type-head">
      <span class="fleet-type-name" dir="ltr">${type}</span>
      ${memory ? html`<span class="small soft">${t("fleet.type_memory", { memory: bytes(memory) })}</span>` : nothing}
    </span>
    <span><span class="figure digits">${number(free)}</span> <span class="soft">${t("fleet.free_of", { count: total })}</span></span>
    <svg class="quota-bar" aria-hidden="true" focusable="false" viewBox="0 0 ${total} 1" preserveAspectRatio="none">
      <rect class="fleet-bar-free" width=${free} height="1"></rect>
      <rect class="fleet-bar-busy" x=${free} width=${busy} height="1"></rect>
      <rect class="fleet-bar-out" x=${free + busy} width=${out} height="1"></rect>
    </svg>
    <span class="legend">
      <span><span class="legend-mark fleet-mark-free"></span>${t("fleet.free", { count: free })}</span>
      <span><span class="legend-mark fleet-mark-busy"></span>${t("fleet.busy", { count: busy })}</span>
      ${out > 0 ? html`<span><span class="legend-mark fleet-mark-out"></span>${t("fleet.out", { count: out })}</span>` : nothing}
    </span>
  </button>`;
}

/** @param {Gpu[]} gpus */
function drawFilters(gpus) {
  const ofType = gpus.filter((gpu) => fits(gpu, "type"));
  const counts = grouped(ofType, (gpu) => gpu.state);
  const states = STATES.filter((state) => counts.has(state) || chosen("state") === state);
  const isFiltered = chosen("state") !== "" || chosen("type") !== "";
  render(
    html`<div class="chips" role="group" aria-label=${t("fleet.filter_state")}>
        ${states.map(
          (
            state,
          ) => html`<button type="button" class="chip slot-${state.toLowerCase()}" aria-pressed=${chosen("state") === state}
            @click=${() => choose("state", state)}>
            ${icon(STATE_ICONS[state])}${t(`fleet.state.${state}`)} <span class="digits">${number(counts.get(state)?.length ?? 0)}</span>
          </button>`,
        )}
      </div>
      <p class="small soft" role="status">
        ${isFiltered ? t("fleet.shown", { shown: gpus.filter(isShown).length, count: gpus.length }) : nothing}
      </p>
      ${isFiltered ? clearButton("button-quiet button-small") : nothing}`,
    place("#filters"),
  );
}

/** @param {Gpu[]} gpus */
function drawNodes(gpus) {
  const nodes = [...grouped(gpus, (gpu) => gpu.node)]
    .map(([name, members]) => ({ name, gpus: members, shown: members.filter(isShown) }))
    .filter(({ shown }) => shown.length > 0)
    .sort((one, other) => compare(one.name, other.name));
  if (nodes.length === 0) {
    render(gpus.length === 0 ? noFleet() : noMatch(), place("#nodes"));
    return;
  }
  render(html`<div class="stack"></div>`, place("#nodes"));
  renderRows(place("#nodes .stack"), nodes, {
    tag: "section",
    key: (node) => node.name,
    prepare: (element, node) => {
      element.className = "card node";
      element.setAttribute("aria-label", t("fleet.node", { name: node.name }));
    },
    template: nodeCard,
  });
  for (const node of nodes) {
    renderRows(place(`[data-key="${CSS.escape(node.name)}"] > .gpus`), node.shown, {
      tag: "li",
      key: (gpu) => gpu.id,
      prepare: (element, gpu) => {
        element.className = `slot slot-${gpu.state.toLowerCase()}`;
      },
      template: slot,
    });
  }
}

/** @param {Node} node */
function nodeCard({ name, gpus, shown }) {
  const drainable = gpus.filter(({ actions }) => actions.includes("drain"));
  const resumable = gpus.filter(({ actions, state }) => actions.includes("resume") && state !== "QUARANTINED");
  const open = shown.find((gpu) => String(gpu.id) === chosen("gpu"));
  return html`<div class="card-header">
      <div class="node-title">
        <h2 dir="ltr">${name}</h2>
        <span class="small soft">${joined([contentsOf(gpus), t("fleet.seen", { ago: ago(lastSeen(gpus)) })])}</span>
        ${gpus.some(({ executor }) => executor === SIMULATED) ? simulatedMark() : nothing}
      </div>
      <div class="page-header-actions">
        ${
          resumable.length > 1
            ? html`<button type="button" class="button button-small" @click=${() => resumeAll(name, resumable)}>
                ${icon("play-circle")}${t("fleet.resume_node")}
              </button>`
            : nothing
        }
        ${
          drainable.length > 0
            ? html`<button type="button" class="button button-small" @click=${() => drainAll(name, drainable)}>
                ${icon("tools")}${t("fleet.drain_node")}
              </button>`
            : nothing
        }
      </div>
    </div>
    <ul class="gpus"></ul>
    ${open ? details(open) : nothing}`;
}

/** @param {Gpu} gpu */
function slot(gpu) {
  const note = gpu.drain_reason ?? gpu.offline_reason;
  return html`<button type="button" class="gpu-select" aria-expanded=${String(gpu.id) === chosen("gpu")} @click=${() => choose("gpu", String(gpu.id))}>
      <span class="gpu-index">${t("fleet.gpu", { index: gpu.index })}</span>
      <span class="gpu-state">${icon(STATE_ICONS[gpu.state])}${t(`fleet.state.${gpu.state}`)}</span>
    </button>
    ${
      gpu.job
        ? html`<span class="gpu-job">${jobLink(gpu.job)}<span class="soft truncate">${personName(gpu.job.owner)}</span></span>`
        : nothing
    }
    ${note && !gpu.job ? html`<span class="gpu-note soft" dir="auto">${note}</span>` : nothing}`;
}

/** @param {Gpu} gpu */
function details(gpu) {
  return html`<div class="gpu-details" role="group" aria-label=${nameOf(gpu)} @keydown=${(/** @type {KeyboardEvent} */ event) => closeOnEscape(event, gpu)}>
    <div class="card-header">
      <div class="node-title">
        <h3>${nameOf(gpu)}</h3>
        <span class="status slot-${gpu.state.toLowerCase()}">${icon(STATE_ICONS[gpu.state])}${t(`fleet.state.${gpu.state}`)}</span>
        ${gpu.executor === SIMULATED ? simulatedMark() : nothing}
      </div>
      <button type="button" class="button-quiet button-icon" aria-label=${t("fleet.close")} @click=${() => close(gpu)}>${icon("x-lg")}</button>
    </div>
    <p class="small">${gpu.state === "BUSY" && !gpu.job ? t("fleet.busy_elsewhere") : t(`fleet.means.${gpu.state}`)}</p>
    <dl class="facts">
      ${gpu.job ? html`<dt>${t("fleet.job")}</dt><dd>${joined([jobLink(gpu.job), personName(gpu.job.owner)])}</dd>` : nothing}
      ${gpu.drained_at ? outOfService(gpu) : nothing}
      ${gpu.offline_reason ? html`<dt>${t("fleet.offline_reason")}</dt><dd><bdi>${gpu.offline_reason}</bdi></dd>` : nothing}
      <dt>${t("fleet.type")}</dt>
      <dd>${joined([html`<span dir="ltr">${gpu.gpu_type}</span>`, gpu.memory_bytes ? bytes(gpu.memory_bytes) : t("fleet.memory_unknown")])}</dd>
      <dt>${t("fleet.uuid")}</dt>
      <dd>
        <code dir="ltr">${gpu.uuid}</code>
        <button type="button" class="button-quiet button-small" aria-label=${t("fleet.copy_uuid")} @click=${() => copy(gpu.uuid)}>${icon("copy")}</button>
      </dd>
      <dt>${t("fleet.executor")}</dt><dd>${engineName(gpu.executor)}</dd>
      <dt>${t("fleet.last_seen")}</dt><dd>${agoTime(gpu.last_seen_at)}</dd>
    </dl>
    <div class="page-header-actions">
      ${
        gpu.actions.includes("drain")
          ? html`<button type="button" class="button" @click=${() => drain(gpu)}>${icon("tools")}${t("fleet.drain")}</button>`
          : nothing
      }
      ${
        gpu.actions.includes("resume")
          ? html`<button type="button" class="button button-primary" @click=${() => resume(gpu)}>${icon("play-circle")}${t("fleet.resume")}</button>`
          : nothing
      }
      ${gpu.actions.length === 0 && gpu.state !== "RETIRED" ? notOurs(gpu) : nothing}
    </div>
  </div>`;
}

/**
 * Where it is drained and resumed instead.
 * @param {Gpu} gpu
 */
function notOurs({ executor, node }) {
  const command = DRAIN_COMMANDS[executor]?.(node);
  return html`<p class="small soft">
    ${t("fleet.not_ours")} ${command ? html`<code dir="ltr">${command}</code>` : nothing}
  </p>`;
}

/** @param {Gpu} gpu */
function outOfService({ drain_reason, drained_by, drained_at }) {
  return html`<dt>${t("fleet.drain_reason")}</dt><dd><bdi>${drain_reason}</bdi></dd>
    <dt>${t("fleet.drained")}</dt>
    <dd>${joined([drained_by ? personName(drained_by) : nothing, fullTime(drained_at ?? "")])}</dd>`;
}

function noFleet() {
  return html`<div class="empty">
    ${icon("hdd-rack", "empty-icon")}
    <p class="empty-title">${t("fleet.none")}</p>
    <p class="empty-text">${t("fleet.none_text")}</p>
    <button type="button" class="button" @click=${load}>${icon("arrow-clockwise")}${t("fleet.look_again")}</button>
  </div>`;
}

function noMatch() {
  return html`<div class="empty">
    ${icon("funnel", "empty-icon")}
    <p class="empty-title">${t("fleet.no_match")}</p>
    ${clearButton("button")}
  </div>`;
}

/** @param {string} style */
function clearButton(style) {
  return html`<button type="button" class=${style} @click=${clearFilters}>${icon("x-lg")}${t("fleet.clear_filters")}</button>`;
}

function simulatedMark() {
  return html`<span class="status" title=${t("fleet.simulated_text")}>${icon("info-circle")}${t("fleet.simulated")}</span>`;
}

/** @param {Gpu} gpu */
async function drain(gpu) {
  const changed = await ask({
    title: t("fleet.drain_title", { name: nameOf(gpu) }),
    body: html`<p>${gpu.job ? t("fleet.drain_text_busy", { job: gpu.job.name }) : t("fleet.drain_text")}</p>
      ${reasonField()}`,
    submit: t("fleet.drain"),
    action: ({ reason }) => drainOne(gpu, reason ?? ""),
  });
  if (!changed) return;
  toast(t("fleet.drain_done", { name: nameOf(gpu) }));
  focusOn(gpu);
}

/** @param {Gpu} gpu */
async function resume(gpu) {
  try {
    const changed = gpu.state === "QUARANTINED" ? await askToTrust(gpu) : await resumeOne(gpu);
    if (!changed) return;
    toast(t("fleet.resume_done", { name: nameOf(gpu) }));
    focusOn(gpu);
  } catch (error) {
    toastProblem(error);
  }
}

/** @param {Gpu} gpu */
function askToTrust(gpu) {
  return ask({
    title: t("fleet.trust_title", { name: nameOf(gpu) }),
    body: html`<p>${t("fleet.trust_text")}</p>`,
    submit: t("fleet.resume"),
    action: () => resumeOne(gpu),
  });
}

/**
 * @param {string} node
 * @param {Gpu[]} gpus
 */
async function drainAll(node, gpus) {
  const busy = gpus.filter(({ job }) => job).length;
  const done = await askForEach(gpus, {
    title: t("fleet.drain_title", { name: node }),
    text: html`<p>${t("fleet.drain_node_text", { count: gpus.length, busy })}</p>${reasonField()}`,
    submit: t("fleet.drain_node"),
    each: (gpu, { reason }) => drainOne(gpu, reason ?? ""),
  });
  if (done) toast(t("fleet.drain_done", { name: node }));
}

/**
 * @param {string} node
 * @param {Gpu[]} gpus
 */
async function resumeAll(node, gpus) {
  const done = await askForEach(gpus, {
    title: t("fleet.resume_title", { name: node }),
    text: html`<p>${t("fleet.resume_node_text", { count: gpus.length })}</p>`,
    submit: t("fleet.resume_node"),
    each: resumeOne,
  });
  if (done) toast(t("fleet.resume_done", { name: node }));
}

/**
 * A dialog that does something to one GPU after the other and says for each what came of it. Sent again, it goes on
 * with those that failed.
 * @param {Gpu[]} gpus
 * @param {{ title: string, text: import("../lib/html.js").Content, submit: string,
 *           each: (gpu: Gpu, values: Record<string, string>) => Promise<unknown> }} what
 */
function askForEach(gpus, { title, text, submit, each }) {
  let waiting = gpus;
  /** @type {Map<number, string>} what went wrong, by GPU; empty where nothing did */
  const outcomes = new Map();
  return ask({
    title,
    body: html`${text}<ul class="gpu-outcomes"></ul>`,
    submit,
    action: async (values) => {
      for (const gpu of waiting) {
        const problem = await each(gpu, values).then(() => "", explain);
        outcomes.set(gpu.id, problem);
        showOutcomes();
      }
      waiting = waiting.filter(({ id }) => outcomes.get(id));
      if (waiting.length > 0) throw new Problem(0, { detail: t("fleet.some_failed", { count: waiting.length }) });
      return true;
    },
    ready: showOutcomes,
  });

  function showOutcomes() {
    renderRows(place("dialog .gpu-outcomes"), gpus, {
      tag: "li",
      key: (gpu) => gpu.id,
      template: (gpu) => html`<span class="nowrap">${t("fleet.gpu", { index: gpu.index })}</span>${outcomeOf(gpu)}`,
    });
  }

  /** @param {Gpu} gpu */
  function outcomeOf(gpu) {
    const problem = outcomes.get(gpu.id);
    if (problem === undefined) {
      return html`<span class="soft">${icon(STATE_ICONS[gpu.state])} ${t(`fleet.state.${gpu.state}`)}</span>`;
    }
    return problem
      ? html`<span class="gpu-outcome-failed">${icon("x-circle-fill")} ${problem}</span>`
      : html`<span class="gpu-outcome-done">${icon("check-circle-fill")} ${t("fleet.outcome_done")}</span>`;
  }
}

function reasonField() {
  return field({
    id: "drain-reason",
    label: t("fleet.drain_reason"),
    hint: t("fleet.drain_reason_hint"),
    control: html`<textarea class="form-control" id="drain-reason" name="reason" rows="2" maxlength="2000" dir="auto" required autofocus
      aria-describedby="drain-reason-hint drain-reason-error"></textarea>`,
  });
}

/**
 * @param {Gpu} gpu
 * @param {string} reason
 */
async function drainOne(gpu, reason) {
  return keep(await call("POST", `/admin/gpus/${gpu.id}/drain`, { reason }));
}

/** @param {Gpu} gpu */
async function resumeOne(gpu) {
  return keep(await call("POST", `/admin/gpus/${gpu.id}/resume`));
}

/** @param {Gpu} changed */
function keep(changed) {
  fleet = fleet?.map((gpu) => (gpu.id === changed.id ? changed : gpu)) ?? null;
  draw();
  return changed;
}

/**
 * What the address asks for: a `type`, a `state`, a `gpu` to show the details of.
 * @param {"type" | "state" | "gpu"} name
 */
function chosen(name) {
  return new URLSearchParams(location.search).get(name) ?? "";
}

/**
 * Choosing again what is chosen takes it back.
 * @param {"type" | "state" | "gpu"} name
 * @param {string} value
 */
function choose(name, value) {
  const address = new URL(location.href);
  if (chosen(name) === value) address.searchParams.delete(name);
  else address.searchParams.set(name, value);
  history.replaceState(null, "", address);
  draw();
}

function clearFilters() {
  const address = new URL(location.href);
  address.searchParams.delete("type");
  address.searchParams.delete("state");
  history.replaceState(null, "", address);
  draw();
  place("#filters button").focus();
}

/** @param {Gpu} gpu */
function close(gpu) {
  choose("gpu", String(gpu.id));
  focusOn(gpu);
}

/**
 * The button that was used is another one now.
 * @param {Gpu} gpu
 */
function focusOn(gpu) {
  /** @type {HTMLElement | null} */ (document.querySelector(`[data-key="${gpu.id}"] > .gpu-select`))?.focus();
}

/**
 * @param {KeyboardEvent} event
 * @param {Gpu} gpu
 */
function closeOnEscape(event, gpu) {
  if (event.key === "Escape") close(gpu);
}

/** @param {Gpu} gpu */
function isShown(gpu) {
  return fits(gpu, "type") && fits(gpu, "state");
}

/**
 * @param {Gpu} gpu
 * @param {"type" | "state"} name
 */
function fits(gpu, name) {
  return chosen(name) === "" || chosen(name) === { type: gpu.gpu_type, state: gpu.state }[name];
}

/** @param {Gpu} gpu */
function nameOf({ node, index }) {
  return t("fleet.gpu_of", { node, index });
}

/** @param {Gpu[]} gpus */
function contentsOf(gpus) {
  const types = [...grouped(gpus, (gpu) => gpu.gpu_type)];
  return list(types.map(([type, { length }]) => t("fleet.count_of_type", { type, count: length })));
}

/** @param {Gpu[]} gpus */
function lastSeen(gpus) {
  return gpus.reduce((latest, { last_seen_at }) => (last_seen_at > latest ? last_seen_at : latest), "");
}

/**
 * @template Key
 * @param {readonly Gpu[]} gpus
 * @param {(gpu: Gpu) => Key} keyOf
 */
function grouped(gpus, keyOf) {
  /** @type {Map<Key, Gpu[]>} */
  const groups = new Map();
  for (const gpu of gpus) groups.set(keyOf(gpu), [...(groups.get(keyOf(gpu)) ?? []), gpu]);
  return groups;
}
