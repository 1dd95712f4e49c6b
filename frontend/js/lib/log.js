// What a job prints, as it prints it: it opens at its end, grows, can be searched, and survives broken connections.
import { download, open, Problem } from "./api.js";
import { html, icon, nothing, render } from "./html.js";
import { bytes, joined, t } from "./i18n.js";
import { toastProblem } from "./shell.js";

/** @typedef {"loading" | "live" | "paused" | "broken" | "unreadable" | "over"} State */
/** @typedef {{ element: HTMLElement, text: Text, start: number, end: number, lines: number, found: StaticRange[] }} Block */
/** @typedef {{ jobId: number, name: string, isOver: boolean, hasEnded: () => Promise<boolean>, whenComplete: () => void }} Facts
 *    `hasEnded` asks whether the job is final, once its log seems to be; `whenComplete` is told that nothing will follow
 */

// locale keys: log.state.*
const TAIL = 65_536;
const STEP = 262_144;
const MOST_WHILE_FOLLOWED = 1_048_576;
const MOST_WHILE_READ = 4 * MOST_WHILE_FOLLOWED;
const LINES_OF_BLOCK = 200;
const LONGEST_LINE = 65_536;
const END_MARGIN_PX = 8;
const SEARCH_AFTER_MS = 200;
const END_GRACE_MS = 3_000;
const SLOWEST_RETRY_MS = 15_000;

const NEWLINE = 0x0a;
const RETURN = 0x0d;
const ESCAPE = String.fromCodePoint(27);
const BELL = String.fromCodePoint(7);
/** Colours, moves of the cursor, titles of windows: what a terminal would obey and not show. */
const TERMINAL_CODE = new RegExp(
  `${ESCAPE}(?:\\[[0-?]*[ -/]*[@-~]|\\][^${BELL}${ESCAPE}]*(?:${BELL}|${ESCAPE}\\\\)?|[ -/]*[0-~])`,
  "g",
);

/**
 * The lines of a log from some byte to its last one, in blocks: a browser lays out only those that can be seen.
 *
 * Bytes are cut at line breaks before they are decoded. So a character that comes in two parts stays whole, through a
 * broken connection too, and every block knows which bytes of the log it shows.
 */
export class LogText {
  /** The byte after the last one taken. */
  next = 0;
  /** @type {Block[]} */
  blocks = [];
  /** @type {RegExp | null} */
  #pattern = null;
  /** @type {Uint8Array} the line that is not over yet */
  #rest = new Uint8Array();
  #restElement = document.createElement("span");
  #element;
  #highlight = globalThis.Highlight ? new Highlight() : null;

  /** @param {HTMLElement} element */
  constructor(element) {
    this.#element = element;
    this.#restElement.className = "log-block";
    element.append(this.#restElement);
    if (this.#highlight) CSS.highlights.set("log-found", this.#highlight);
  }

  /** The first byte that is shown. */
  get first() {
    return this.blocks[0]?.start ?? this.next - this.#rest.length;
  }

  /**
   * Forget what is shown, and go on from this byte.
   * @param {number} offset
   */
  begin(offset) {
    while (this.blocks.length > 0) this.#forget(/** @type {Block} */ (this.blocks.pop()));
    this.#rest = new Uint8Array();
    this.#restElement.textContent = "";
    this.next = offset;
  }

  /** @param {Uint8Array} chunk the bytes from `next` on */
  append(chunk) {
    const joined = concatenated(this.#rest, chunk);
    const start = this.next - this.#rest.length;
    const end = endOfLines(joined);
    this.next += chunk.length;
    this.#rest = joined.slice(end);
    this.#restElement.textContent = asShown(new TextDecoder().decode(this.#rest, { stream: true }));
    let from = 0;
    while (from < end) {
      const last = this.blocks.at(-1);
      const block = last && last.lines < LINES_OF_BLOCK ? last : this.#newBlock(start + from);
      if (block !== last) {
        this.blocks.push(block);
        this.#element.insertBefore(block.element, this.#restElement);
      }
      from = this.#fill(block, joined.subarray(0, end), from);
    }
  }

  /**
   * @param {Uint8Array} chunk the bytes that end where `first` begins
   * @param {number} offset where they begin; in the middle of a line, perhaps
   */
  prepend(chunk, offset) {
    const newline = offset === 0 ? -1 : chunk.indexOf(NEWLINE);
    let from = newline + 1 < chunk.length ? newline + 1 : 0;
    const before = [];
    while (from < chunk.length) {
      const block = this.#newBlock(offset + from);
      from = this.#fill(block, chunk, from);
      before.push(block);
    }
    this.#element.prepend(...before.map(({ element }) => element));
    this.blocks.unshift(...before);
  }

  /**
   * Forget the oldest lines.
   * @param {number} most bytes to keep
   */
  trim(most) {
    while (this.blocks.length > 1 && this.next - this.first > most)
      this.#forget(/** @type {Block} */ (this.blocks.shift()));
  }

  /**
   * @param {string} words
   * @returns {number} how often they are found
   */
  search(words) {
    this.#pattern = words ? new RegExp(words.replace(/[\\^$.*+?()[\]{}|]/g, "\\$&"), "giu") : null;
    for (const block of this.blocks) this.#find(block);
    return this.found;
  }

  get found() {
    return this.blocks.reduce((sum, { found }) => sum + found.length, 0);
  }

  /** @param {number} count */
  lastLines(count) {
    const lines = [];
    for (let index = this.blocks.length - 1; index >= 0 && lines.length < count; index -= 1)
      lines.unshift(...(this.blocks[index]?.text.data.split("\n").slice(0, -1) ?? []));
    if (this.#restElement.textContent) lines.push(this.#restElement.textContent);
    return lines.slice(-count);
  }

  /**
   * @param {number} start
   * @returns {Block}
   */
  #newBlock(start) {
    const element = document.createElement("span");
    const text = document.createTextNode("");
    element.className = "log-block";
    element.append(text);
    return { element, text, start, end: start, lines: 0, found: [] };
  }

  /**
   * Put lines into the block until it is full.
   * @param {Block} block
   * @param {Uint8Array} lines
   * @param {number} from
   * @returns {number} where the lines begin that had no room
   */
  #fill(block, lines, from) {
    let to = from;
    while (to < lines.length && block.lines < LINES_OF_BLOCK) {
      const newline = lines.indexOf(NEWLINE, to);
      to = newline < 0 ? lines.length : newline + 1;
      block.lines += 1;
    }
    const text = asShown(new TextDecoder().decode(lines.subarray(from, to)));
    block.text.appendData(text.endsWith("\n") ? text : `${text}\n`);
    block.end += to - from;
    block.element.style.setProperty("contain-intrinsic-block-size", `auto ${block.lines}lh`);
    this.#find(block);
    return to;
  }

  /** @param {Block} block */
  #find(block) {
    for (const range of block.found) this.#highlight?.delete(range);
    block.found = this.#pattern ? [...block.text.data.matchAll(this.#pattern)].map(rangeIn(block.text)) : [];
    for (const range of block.found) this.#highlight?.add(range);
  }

  /** @param {Block} block */
  #forget(block) {
    for (const range of block.found) this.#highlight?.delete(range);
    block.element.remove();
  }
}

/**
 * Show the log of a job.
 * @param {HTMLElement} place
 * @param {Facts} facts
 */
export function showLog(place, facts) {
  return new LogView(place, facts);
}

class LogView {
  /** @type {State} */
  #state = "loading";
  #isFollowing = true;
  #isPaused = false;
  /** The byte before which some were left out: more of them than one step back passes over. */
  #leftOutBefore = 0;
  #isWrapped = matchMedia("(width < 48rem)").matches;
  #isOver;
  #hasBegun = false;
  #attempt = 0;
  /** Why it cannot be read, in the service's words. */
  #obstacle = "";
  /** The lines that came while the reader was elsewhere. */
  #unseen = 0;
  #scrolledTo = 0;
  #frame = 0;
  #typing = 0;
  /** @type {{ block: Block, index: number } | null} */
  #current = null;
  #currentHighlight = globalThis.Highlight ? new Highlight() : null;
  /** @type {AbortController | null} */
  #reading = null;
  /** @type {Set<() => void>} */
  #waiting = new Set();
  #scroller = document.createElement("pre");
  #content = document.createElement("span");
  #text = new LogText(this.#content);
  #place;
  #facts;

  /**
   * @param {HTMLElement} place
   * @param {Facts} facts
   */
  constructor(place, facts) {
    this.#place = place;
    this.#facts = facts;
    this.#isOver = facts.isOver;
    if (this.#currentHighlight) {
      this.#currentHighlight.priority = 1;
      CSS.highlights.set("log-current", this.#currentHighlight);
    }
    this.#prepareScroller();
    this.#draw();
    this.#part(".log-frame").prepend(this.#scroller);
    document.addEventListener("visibilitychange", () => this.#readOrRest());
    addEventListener("online", () => this.reconnect());
    this.#follow();
  }

  /** The job is final: what is left of its log comes soon. */
  settle() {
    this.#isOver = true;
    setTimeout(() => {
      this.reconnect();
      this.#goOn();
    }, END_GRACE_MS);
  }

  /** Ask again from where it stands. */
  reconnect() {
    this.#reading?.abort();
  }

  /** @param {number} count */
  lastLines(count) {
    return this.#text.lastLines(count);
  }

  #prepareScroller() {
    const pre = this.#scroller;
    pre.className = "log";
    pre.dir = "ltr";
    pre.tabIndex = 0;
    pre.setAttribute("role", "log");
    pre.setAttribute("aria-live", "off");
    pre.setAttribute("aria-label", t("log.label", { name: this.#facts.name }));
    pre.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    this.#content.className = "log-content";
    pre.append(this.#content);
    // Blocks are as high as their lines only once they have been seen.
    const sizes = new ResizeObserver(() => this.#isFollowing && this.#toEnd());
    for (const element of [pre, this.#content]) sizes.observe(element);
  }

  async #follow() {
    while (this.#state !== "over") {
      await this.#isWanted();
      const wasOver = this.#isOver;
      try {
        await this.#readOnce();
        if (wasOver) this.#complete();
        else this.#isOver ||= await this.#facts.hasEnded();
        if (!this.#isOver) await wait(1_000);
      } catch (error) {
        if (this.#reading?.signal.aborted) continue;
        if (error instanceof Problem && error.code === "log-unavailable") {
          await this.#tellAndWait(error.detail);
          continue;
        }
        if (error instanceof Problem && error.status >= 400 && error.status < 500) return; // It is not ours to read.
        this.#attempt += 1;
        this.#setState("broken");
        await wait(Math.min(SLOWEST_RETRY_MS, 500 * 2 ** this.#attempt));
      }
    }
  }

  /**
   * To ask again and again is no use: it is asked again when the job ends, or somebody wants it.
   * @param {string} obstacle
   */
  async #tellAndWait(obstacle) {
    this.#obstacle = obstacle;
    this.#setState("unreadable");
    if (this.#isOver) this.#facts.whenComplete();
    await new Promise((resolve) => this.#waiting.add(() => resolve(null)));
  }

  /** One answer to its end. What was read before stays read, so that the next answer goes on where this one broke. */
  async #readOnce() {
    this.#reading = new AbortController();
    const place = this.#hasBegun ? { offset: this.#text.next } : { tail: TAIL };
    const answer = await open(`/jobs/${this.#facts.jobId}/log`, {
      query: { ...place, follow: true },
      signal: this.#reading.signal,
    });
    const offset = Number(answer.headers.get("X-Log-Offset") ?? 0);
    if (!this.#hasBegun || offset !== this.#text.next) this.#text.begin(offset);
    this.#hasBegun = true;
    this.#attempt = 0;
    this.#setState("live");
    const reader = /** @type {ReadableStream<Uint8Array>} */ (answer.body).getReader();
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      await this.#hasRoom();
      this.#take(value);
    }
  }

  /** @param {Uint8Array} chunk */
  #take(chunk) {
    this.#text.append(chunk);
    if (!this.#isFollowing) this.#unseen += chunk.reduce((lines, byte) => lines + (byte === NEWLINE ? 1 : 0), 0);
    this.#soon();
  }

  #complete() {
    this.#setState("over");
    this.#facts.whenComplete();
  }

  /** Nobody reads a log in a tab that is not seen; and a browser has few connections to spare. */
  async #isWanted() {
    while (this.#isPaused || document.hidden) await new Promise((resolve) => this.#waiting.add(() => resolve(null)));
  }

  /** Whoever reads further up is not to lose the lines there: the service keeps what comes meanwhile. */
  async #hasRoom() {
    while (!this.#isFollowing && this.#text.next - this.#text.first > MOST_WHILE_READ)
      await new Promise((resolve) => this.#waiting.add(() => resolve(null)));
  }

  #goOn() {
    for (const resume of this.#waiting) resume();
    this.#waiting.clear();
  }

  #readOrRest() {
    if (this.#isPaused || document.hidden) this.reconnect();
    else this.#goOn();
  }

  /** @param {State} state */
  #setState(state) {
    this.#state = this.#isPaused && state !== "over" ? "paused" : state;
    this.#soon();
  }

  #scrolled() {
    const { scrollTop, scrollHeight, clientHeight } = this.#scroller;
    const isAtEnd = scrollHeight - scrollTop - clientHeight <= END_MARGIN_PX;
    if (isAtEnd) this.#setFollowing(true);
    else if (scrollTop < this.#scrolledTo) this.#setFollowing(false);
    this.#scrolledTo = scrollTop;
  }

  /** @param {boolean} isFollowing */
  #setFollowing(isFollowing) {
    if (this.#isFollowing === isFollowing) return;
    this.#isFollowing = isFollowing;
    this.#unseen = 0;
    if (isFollowing) this.#goOn();
    this.#soon();
  }

  /** Draw once for all that comes before the next frame. */
  #soon() {
    this.#frame ||= requestAnimationFrame(() => {
      this.#frame = 0;
      if (this.#isFollowing) this.#text.trim(MOST_WHILE_FOLLOWED);
      this.#draw();
      if (this.#isFollowing) this.#toEnd();
    });
  }

  #toEnd() {
    this.#scroller.scrollTop = this.#scroller.scrollHeight;
    this.#scrolledTo = this.#scroller.scrollTop;
  }

  #draw() {
    this.#scroller.classList.toggle("log-wrapped", this.#isWrapped);
    const [isUnreadable, isShown] = [this.#state === "unreadable", this.#text.next > 0];
    render(
      html`<div class="toolbar log-tools" ?hidden=${isUnreadable && !isShown}>
          <div>${this.#searchTools()}</div>
          <div>
            ${this.#facts.isOver || this.#state === "over" ? nothing : this.#liveTools()}
            ${this.#toggle("text-wrap", t("log.wrap"), this.#isWrapped, () => this.#wrap())}
            <button type="button" class="button button-small" @click=${this.#save}>${icon("download")}${t("log.download")}</button>
          </div>
        </div>
        ${this.#earlier()}
        <div class="log-frame" ?hidden=${isUnreadable && !isShown}>
          <p class="log-empty" ?hidden=${isShown || isUnreadable || this.#state === "loading"}>
            ${t(this.#state === "over" ? "log.empty" : "log.empty_yet")}
          </p>
          <button type="button" class="button button-small log-unseen" ?hidden=${this.#unseen === 0} @click=${() => this.#setFollowing(true)}>
            ${icon("chevron-down")}${t("log.unseen", { count: this.#unseen })}
          </button>
        </div>
        ${isUnreadable ? this.#obstacleNotice() : nothing}
        <p class="log-state small soft">
          ${joined([t(`log.state.${this.#state}`), isShown ? html`<bdi>${bytes(this.#text.next)}</bdi>` : nothing])}
        </p>`,
      this.#place,
    );
  }

  #obstacleNotice() {
    return html`<div class="notice notice-warning log-obstacle" role="status">
      ${icon("exclamation-triangle")}
      <div>
        <p class="people-text">${this.#obstacle}</p>
        <button type="button" class="button button-small" @click=${() => this.#goOn()}>
          ${icon("arrow-clockwise")}${t("error.retry")}
        </button>
      </div>
    </div>`;
  }

  #searchTools() {
    const found = this.#text.found;
    const hasWords = this.#words !== "";
    return html`<div class="search log-search">
        ${icon("search")}
        <input type="search" class="form-control" id="log-search" dir="auto" autocomplete="off" aria-label=${t("log.search")}
          placeholder=${t("log.search")} aria-describedby="log-found" @input=${() => this.#searchSoon()}
          @keydown=${(/** @type {KeyboardEvent} */ event) => this.#stepByKey(event)}>
      </div>
      <span class="small soft nowrap" id="log-found">${hasWords ? this.#foundText(found) : nothing}</span>
      <button type="button" class="button button-small button-icon" aria-label=${t("log.previous")} title=${t("log.previous")}
        ?disabled=${found === 0} @click=${() => this.#step(-1)}>${icon("chevron-down", "icon-up")}</button>
      <button type="button" class="button button-small button-icon" aria-label=${t("log.next")} title=${t("log.next")}
        ?disabled=${found === 0} @click=${() => this.#step(1)}>${icon("chevron-down")}</button>`;
  }

  /** @param {number} found */
  #foundText(found) {
    if (found === 0) return t(this.#text.first > 0 ? "log.not_found_here" : "log.not_found");
    const current = this.#current;
    const place = current ? this.#text.blocks.indexOf(current.block) : -1;
    if (!current || place < 0) return t("log.found", { count: found });
    const before = this.#text.blocks.slice(0, place);
    const position = before.reduce((sum, block) => sum + block.found.length, current.index + 1);
    return t("log.found_of", { position, total: found });
  }

  /**
   * @param {string} mark
   * @param {string} label
   * @param {boolean} isPressed
   * @param {() => void} press
   */
  #toggle(mark, label, isPressed, press) {
    return html`<button type="button" class="button button-small" aria-pressed=${isPressed} @click=${press}>${icon(mark)}${label}</button>`;
  }

  #liveTools() {
    return html`${this.#toggle("broadcast", t("log.follow"), this.#isFollowing, () => this.#setFollowing(!this.#isFollowing))}
      <button type="button" class="button button-small" @click=${() => this.#pause()}>
        ${icon(this.#isPaused ? "play-fill" : "pause-fill")}${t(this.#isPaused ? "log.resume" : "log.pause")}
      </button>`;
  }

  #earlier() {
    const { first, next } = this.#text;
    if (first === 0 || next - first > MOST_WHILE_READ) return nothing;
    if (first === this.#leftOutBefore) return html`<p class="small soft log-earlier">${t("log.left_out")}</p>`;
    return html`<button type="button" class="button-quiet button-small log-earlier" @click=${this.#showEarlier}>
      ${icon("chevron-down", "icon-up")}<span>${t("log.earlier", { size: bytes(first) })}</span>
    </button>`;
  }

  #wrap() {
    this.#isWrapped = !this.#isWrapped;
    this.#soon();
  }

  #pause() {
    this.#isPaused = !this.#isPaused;
    this.#setState(this.#isPaused ? "paused" : "loading");
    this.#readOrRest();
  }

  /** @param {Event} event */
  #save = async ({ currentTarget }) => {
    await whileBusy(currentTarget, () => download(`/jobs/${this.#facts.jobId}/log`, { download: true }));
  };

  /** @param {Event} event */
  #showEarlier = async ({ currentTarget }) => {
    await whileBusy(currentTarget, async () => {
      const { first } = this.#text;
      const offset = Math.max(0, first - STEP);
      const parts = await this.#partsOf(offset, first);
      if (first !== this.#text.first) return; // Lines were dropped meanwhile, and there would be a gap.
      const before = this.#text.blocks[0]?.element;
      for (const { begin, chunk } of parts.toReversed()) this.#text.prepend(chunk, begin);
      if ((parts[0]?.begin ?? first) > offset) this.#leftOutBefore = this.#text.first;
      this.#setFollowing(false);
      if (before) this.#toMiddle(before.getBoundingClientRect().top);
      this.#draw();
    });
  };

  /**
   * What is kept of these bytes: in several parts where some between them were left out.
   * @param {number} offset
   * @param {number} end
   */
  async #partsOf(offset, end) {
    const parts = [];
    let from = offset;
    while (from < end) {
      const answer = await open(`/jobs/${this.#facts.jobId}/log`, { query: { offset: from, limit: end - from } });
      const begin = Number(answer.headers.get("X-Log-Offset") ?? from);
      const chunk = new Uint8Array(await answer.arrayBuffer());
      if (begin >= end || chunk.length === 0) break;
      parts.push({ begin, chunk });
      from = begin + chunk.length;
    }
    return parts;
  }

  get #words() {
    return /** @type {HTMLInputElement | null} */ (this.#place.querySelector("#log-search"))?.value ?? "";
  }

  #searchSoon() {
    clearTimeout(this.#typing);
    this.#typing = window.setTimeout(() => this.#search(), SEARCH_AFTER_MS);
  }

  #search() {
    this.#text.search(this.#words);
    this.#current = null;
    const match = this.#firstInView() ?? this.#matches().at(-1);
    if (match) this.#show(match);
    else this.#currentHighlight?.clear();
    this.#draw();
  }

  #matches() {
    return this.#text.blocks.flatMap((block) => block.found.map((_, index) => ({ block, index })));
  }

  /** The first match that stands where the reader looks, or below. */
  #firstInView() {
    const { top } = this.#scroller.getBoundingClientRect();
    const blocks = this.#text.blocks.filter(({ element }) => element.getBoundingClientRect().bottom > top);
    for (const block of blocks) {
      const index = block.found.findIndex((range) => liveRange(range).getBoundingClientRect().top >= top);
      if (index >= 0) return { block, index };
    }
    return null;
  }

  /** @param {KeyboardEvent} event */
  #stepByKey(event) {
    if (event.key !== "Enter") return;
    event.preventDefault();
    this.#step(event.shiftKey ? -1 : 1);
  }

  /**
   * To the next match, and from the last one to the first.
   * @param {1 | -1} direction
   */
  #step(direction) {
    const all = this.#matches();
    if (all.length === 0) return;
    const current = this.#current;
    const now = all.findIndex(({ block, index }) => block === current?.block && index === current.index);
    const next = now < 0 && direction < 0 ? -1 : (now + direction) % all.length;
    this.#show(/** @type {{ block: Block, index: number }} */ (all.at(next)));
    this.#draw();
  }

  /** @param {{ block: Block, index: number }} match */
  #show(match) {
    this.#setFollowing(false);
    this.#current = match;
    const range = liveRange(/** @type {StaticRange} */ (match.block.found[match.index]));
    if (this.#currentHighlight) {
      this.#currentHighlight.clear();
      this.#currentHighlight.add(range);
    } else
      getSelection()?.setBaseAndExtent(range.startContainer, range.startOffset, range.endContainer, range.endOffset);
    const place = range.getBoundingClientRect();
    const frame = this.#scroller.getBoundingClientRect();
    this.#toMiddle(place.top);
    if (place.left < frame.left || place.right > frame.right)
      this.#scroller.scrollLeft += place.left - frame.left - frame.width / 2;
  }

  /** @param {number} top of something in the log, as it stands in the window */
  #toMiddle(top) {
    const frame = this.#scroller.getBoundingClientRect();
    this.#scroller.scrollTop += top - frame.top - frame.height / 2;
    this.#scrolledTo = this.#scroller.scrollTop;
  }

  /** @param {string} selector */
  #part(selector) {
    return /** @type {HTMLElement} */ (this.#place.querySelector(selector));
  }
}

/**
 * @param {Uint8Array} one
 * @param {Uint8Array} other
 */
function concatenated(one, other) {
  if (one.length === 0) return other;
  const both = new Uint8Array(one.length + other.length);
  both.set(one);
  both.set(other, one.length);
  return both;
}

/**
 * Where the lines end that are over. A line that never ends, such as that of a progress bar, is cut somewhere.
 * @param {Uint8Array} text
 */
function endOfLines(text) {
  const end = text.lastIndexOf(NEWLINE) + 1;
  if (text.length - end < LONGEST_LINE) return end;
  const lastReturn = text.lastIndexOf(RETURN) + 1;
  if (lastReturn > end) return lastReturn;
  let boundary = text.length - 1;
  while (boundary > end && ((text[boundary] ?? 0) & 0xc0) === 0x80) boundary -= 1;
  return boundary;
}

/**
 * Lines as a terminal would show them in the end: what was written over is gone, and so are its codes.
 * @param {string} text
 */
function asShown(text) {
  const plain = text.includes(ESCAPE) ? text.replace(TERMINAL_CODE, "") : text;
  if (!plain.includes("\r")) return plain;
  return plain
    .replaceAll("\r\n", "\n")
    .split("\n")
    .map((line) => line.slice(line.lastIndexOf("\r", line.length - 2) + 1))
    .join("\n");
}

/** @param {Text} text */
function rangeIn(text) {
  return (/** @type {RegExpExecArray} */ { index, 0: match }) =>
    new StaticRange({
      startContainer: text,
      startOffset: index,
      endContainer: text,
      endOffset: index + match.length,
    });
}

/** @param {StaticRange} range one that can be measured */
function liveRange({ startContainer, startOffset, endContainer, endOffset }) {
  const range = document.createRange();
  range.setStart(startContainer, startOffset);
  range.setEnd(endContainer, endOffset);
  return range;
}

/**
 * @param {EventTarget | null} button
 * @param {() => Promise<unknown>} work
 */
async function whileBusy(button, work) {
  const element = /** @type {HTMLElement} */ (button);
  element.setAttribute("aria-busy", "true");
  await work().catch(toastProblem);
  element.removeAttribute("aria-busy");
}

/** @param {number} milliseconds */
function wait(milliseconds) {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
