// The ledger of a quota: why each number of a month moved.
import { html, icon, nothing } from "./html.js";
import { fullTime, language, personName, t } from "./i18n.js";
import { pageUrl } from "./shell.js";

/** @typedef {import("./api.js").Schemas["QuotaEntryRead"]} Entry */

// locale keys: ledger.kind.*

/**
 * @param {readonly Entry[]} entries newest first
 * @param {() => unknown} [more] reads older ones, where there are any
 */
export function ledgerTable(entries, more) {
  if (entries.length === 0) return html`<p class="soft">${t("ledger.empty")}</p>`;
  return html`<div class="table-frame">
      <table class="data-table table-cards">
        <caption class="visually-hidden">${t("ledger.title")}</caption>
        <thead>
          <tr>
            <th scope="col">${t("ledger.when")}</th>
            <th scope="col">${t("ledger.what")}</th>
            <th scope="col" class="end">${t("ledger.limit")}</th>
            <th scope="col" class="end">${t("ledger.reserved")}</th>
            <th scope="col" class="end">${t("ledger.used")}</th>
            <th scope="col">${t("ledger.who")}</th>
          </tr>
        </thead>
        <tbody>${entries.map(row)}</tbody>
      </table>
    </div>
    ${more ? html`<button type="button" class="button" @click=${more}>${icon("chevron-down")}${t("list.more")}</button>` : nothing}`;
}

/** @param {Entry} entry */
function row(entry) {
  return html`<tr>
    <td data-label=${t("ledger.when")}>${fullTime(entry.at)}</td>
    <td data-label=${t("ledger.what")}>
      <span>
        ${t(`ledger.kind.${entry.kind}`)}
        ${entry.job_id === null ? nothing : html` <a href=${pageUrl(`job.html?id=${entry.job_id}`)}><bdi>${entry.job_name}</bdi></a>`}
        ${entry.note ? html`<br><span class="small soft" dir="auto">${entry.note}</span>` : nothing}
      </span>
    </td>
    <td class="end" data-label=${t("ledger.limit")}>${change(entry.limit_hours)}</td>
    <td class="end" data-label=${t("ledger.reserved")}>${change(entry.reserved_hours)}</td>
    <td class="end" data-label=${t("ledger.used")}>${change(entry.used_hours)}</td>
    <td data-label=${t("ledger.who")}>${entry.actor ? personName(entry.actor) : t("ledger.service")}</td>
  </tr>`;
}

/** @param {number} hours */
function change(hours) {
  return hours === 0 ? nothing : html`<span dir="ltr">${language.signedNumber(hours)}</span>`;
}
