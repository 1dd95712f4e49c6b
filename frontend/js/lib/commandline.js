// The same submission from a terminal. Pure, so that it is tested without a browser, by a shell.

/**
 * @typedef {object} Request
 * @property {string} name
 * @property {string} gpu_type
 * @property {number} num_gpus
 * @property {number} estimated_hours
 * @property {string} command
 * @property {string | null} data_location
 * @property {boolean} is_sensitive
 * @property {string | null} justification
 */

/** What a shell reads as it stands, and the client joins as it was. */
const PLAIN = /^[\w@%+:,./-][\w@%+=:,./-]*$/;
const SECONDS_PER_HOUR = 3_600;
const SECONDS_PER_MINUTE = 60;

/**
 * For the command line client. What is still missing is left out.
 * @param {Request} request
 */
export function gtmLine(request) {
  const { name, gpu_type, num_gpus, estimated_hours, command, data_location, is_sensitive, justification } = request;
  return [
    "gtm submit",
    option("gpus", Number.isNaN(num_gpus) ? gpu_type : `${gpu_type}:${num_gpus}`),
    option("time", timeOf(estimated_hours)),
    option("name", name.trim()),
    option("justification", justification),
    option("data", data_location),
    is_sensitive ? "--sensitive" : "",
    command.trim() ? `-- ${words(command)}` : "",
  ]
    .filter((part) => part !== "")
    .join(" ");
}

/**
 * For curl. The token is the reader's own to fill in. What is still missing is left out.
 * @param {Request} request
 * @param {string} origin of the service
 */
export function curlLine(request, origin) {
  const given = Object.entries(request).filter(([, value]) => value !== null && !Number.isNaN(value));
  const body = JSON.stringify(Object.fromEntries(given), null, 2);
  return `curl -X POST ${origin}/api/v1/jobs \\\n  -H "Authorization: Bearer $GTM_TOKEN" \\\n  -H "Content-Type: application/json" \\\n  -d ${quoted(body)}`;
}

/**
 * @param {string} name
 * @param {string | null} value
 */
function option(name, value) {
  if (!value) return "";
  return `--${name}${value.startsWith("-") ? "=" : " "}${quoted(value)}`;
}

/**
 * In the largest unit that is whole; the service counts seconds.
 * @param {number} hours
 */
function timeOf(hours) {
  if (Number.isNaN(hours)) return "";
  const seconds = Math.round(Number((hours * SECONDS_PER_HOUR).toFixed(6))); // Without the noise of binary fractions.
  if (seconds % SECONDS_PER_HOUR === 0) return `${seconds / SECONDS_PER_HOUR}h`;
  return seconds % SECONDS_PER_MINUTE === 0 ? `${seconds / SECONDS_PER_MINUTE}m` : `${seconds}s`;
}

/**
 * A program and its arguments as they are; anything else as one word, which the client takes for a line of the shell.
 * @param {string} command
 */
function words(command) {
  return command.split(" ").every((word) => PLAIN.test(word)) ? command : quoted(command);
}

/**
 * As one word for any POSIX shell.
 * @param {string} text
 */
function quoted(text) {
  return PLAIN.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}
