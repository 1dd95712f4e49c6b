// The only place where markup comes from. lit-html encodes every value that stands in a template.
import { html, render as litRender, nothing } from "../../vendor/lit-html@3.3.3/lit-html.js";

export { html, nothing };

/** @typedef {ReturnType<typeof html> | typeof nothing | string | readonly unknown[]} Content */

const SPRITE = new URL("../../icons.svg", import.meta.url).pathname;

/**
 * A decorative icon of the sprite; the words beside it say what it means.
 * @param {string} name
 * @param {string} [className] `icon-directional` for arrows, which point the other way in Persian
 */
export function icon(name, className = "") {
  return html`<svg class="icon ${className}" aria-hidden="true" focusable="false"><use href="${SPRITE}#${name}"></use></svg>`;
}

/**
 * An element that the page is sure to have.
 * @template {HTMLElement} [Kind=HTMLElement]
 * @param {string} selector
 * @param {new () => Kind} [kind] where more is meant than any element
 * @returns {Kind}
 */
export function place(selector, kind) {
  const found = document.querySelector(selector);
  if (!(found instanceof (kind ?? HTMLElement))) throw new Error(`the page has no ${selector}`);
  return /** @type {Kind} */ (found);
}

/** Where there are more tabs than a narrow screen shows, the one that is open is among those that are seen. */
export function showCurrentTab() {
  const tab = document.querySelector(".tab[aria-current]");
  const row = tab?.parentElement;
  if (!(tab && row)) return;
  const [seen, inside] = [row.getBoundingClientRect(), tab.getBoundingClientRect()];
  row.scrollLeft += Math.max(0, inside.right - seen.right) - Math.max(0, seen.left - inside.left);
}

/** @type {WeakSet<Element>} */
const taken = new WeakSet();

/**
 * Show this in the element. What the page's own HTML had there until now, such as a skeleton, goes.
 * @param {Content} content
 * @param {HTMLElement} element
 */
export function render(content, element) {
  if (!taken.has(element)) element.replaceChildren();
  taken.add(element);
  litRender(content, element);
}

/** @type {WeakMap<Element, Map<string, HTMLElement>>} */
const rowsOf = new WeakMap();

/**
 * Render a list whose elements stay with their items: focus, selection and scroll survive a change of the others.
 *
 * The container must be empty in its own template.
 * @template Item
 * @param {Element} container
 * @param {readonly Item[]} items
 * @param {{ tag: string, key: (item: Item) => string | number, template: (item: Item) => Content,
 *           prepare?: (element: HTMLElement, item: Item) => void }} how
 */
export function renderRows(container, items, { tag, key, template, prepare }) {
  const before = rowsOf.get(container) ?? new Map();
  const after = new Map();
  for (const item of items) {
    const name = String(key(item));
    const element = before.get(name) ?? document.createElement(tag);
    element.dataset.key = name;
    prepare?.(element, item);
    render(template(item), element);
    after.set(name, element);
  }
  for (const [name, element] of before) {
    if (!after.has(name)) element.remove();
  }
  /** @type {Element | null} */
  let place = container.firstElementChild;
  for (const element of after.values()) {
    if (element === place) place = element.nextElementSibling;
    else container.insertBefore(element, place);
  }
  rowsOf.set(container, after);
}
