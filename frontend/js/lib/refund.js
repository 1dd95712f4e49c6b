// Refunding what a job was charged. Loaded when an admin asks for it.
import { call } from "./api.js";
import { ask } from "./form.js";
import { hoursField, reasonField, sayAt } from "./hours.js";
import { html } from "./html.js";
import { hours, parseNumber, t, typedNumber } from "./i18n.js";
import { toast } from "./shell.js";

/** @typedef {import("./api.js").Schemas["JobRead"]} Job */

/**
 * @param {Job} job
 * @returns {Promise<Job | null>} null: the dialog was left
 */
export async function askForRefund(job) {
  const left = job.charged_gpu_hours - job.refunded_gpu_hours;
  const all = typedNumber(left); // rounded, so that it is asked for by leaving the number out
  const facts = {
    who: job.owner.full_name ?? job.owner.email,
    charged: hours(job.charged_gpu_hours),
    refunded: hours(job.refunded_gpu_hours),
  };
  const changed = await ask({
    title: t("job.refund_title", { id: job.id }),
    body: html`<p>${t(job.refunded_gpu_hours > 0 ? "job.refund_text_again" : "job.refund_text", facts)}</p>
      ${hoursField("gpu_hours", t("users.hours"), t("job.refund_hint", { hours: hours(left) }), left)} ${reasonField()}`,
    submit: t("job.refund_submit"),
    action: ({ gpu_hours, reason }) => {
      const body = { gpu_hours: gpu_hours === all ? null : parseNumber(gpu_hours ?? ""), reason };
      return call("POST", `/admin/jobs/${job.id}/refund`, body).catch(sayAt("gpu_hours", "refund-out-of-range"));
    },
  });
  if (changed)
    toast(t("toast.refunded", { id: job.id, hours: hours(changed.refunded_gpu_hours - job.refunded_gpu_hours) }));
  return changed;
}
