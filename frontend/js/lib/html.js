// The only place where markup comes from, and where controls are filled. lit-html encodes every value in a template.
import { html, render as litRender, nothing } from "../../vendor/lit-html@3.3.3/lit-html.js";

export { html, nothing };

/** @typedef {ReturnType<typeof html> | typeof nothing | string | readonly unknown[]} Content */
/** @typedef {HTMLInputElement | HTMLSelectElement | HTMLTextAreaElement} Control */

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

/** What the page has put into each control last, or has taken from it. @type {WeakMap<Control, string>} */
const settled = new WeakMap();

/**
 * Show a value in a control. What a person has put there, and the page has not taken yet, stays.
 * @param {Control} control
 * @param {string} value of a checkbox: `on`, or empty
 * @returns {boolean} false where the person's own stays
 */
export function fill(control, value) {
  if (isTyped(control)) return false;
  // Even the same value, set again, would move the caret and clear half a date.
  if (heldBy(control) !== value) {
    if (isCheckbox(control)) control.checked = value === "on";
    else control.value = value;
  }
  settle(control);
  return true;
}

/**
 * The page has taken what the control holds, or somebody has asked for something else: `fill` may overwrite it.
 * @param {Control} control
 */
export function settle(control) {
  settled.set(control, heldBy(control));
}

/**
 * Whether the control holds what a person has put there and the page has not taken yet. That may be older than the
 * page's script: people type early, and browsers restore what was typed before a reload.
 * @param {Control} control
 */
export function isTyped(control) {
  return heldBy(control) !== (settled.get(control) ?? defaultOf(control));
}

/** Whether a person has begun to fill in the page. */
export function hasBegun() {
  return controlsIn(document).some(isTyped);
}

/**
 * Tell the listeners of controls what people did before they listened. In the control that has the focus somebody may
 * still be typing: it changes when they leave it, unless they have pressed Enter.
 * @param {ParentNode} [root]
 */
export function catchUp(root = document) {
  for (const control of controlsIn(root).filter(isTyped)) {
    const isChanged = control !== document.activeElement || window.early.has(control);
    control.dispatchEvent(new Event("input", { bubbles: true }));
    if (isChanged) control.dispatchEvent(new Event("change", { bubbles: true }));
  }
}

/**
 * @param {ParentNode} root
 * @returns {Control[]}
 */
function controlsIn(root) {
  return [...root.querySelectorAll("input, select, textarea")].map((control) => /** @type {Control} */ (control));
}

/** @param {Control} control */
function heldBy(control) {
  if (isCheckbox(control)) return control.checked ? "on" : "";
  return control.value;
}

/** @param {Control} control */
function defaultOf(control) {
  if (isCheckbox(control)) return control.defaultChecked ? "on" : "";
  if (!(control instanceof HTMLSelectElement)) return control.defaultValue;
  const options = [...control.options];
  return (options.find(({ defaultSelected }) => defaultSelected) ?? options[0])?.value ?? "";
}

/**
 * @param {Control} control
 * @returns {control is HTMLInputElement}
 */
function isCheckbox(control) {
  return control.type === "checkbox";
}
