// What classic scripts put into the global scope. Types only; never loaded.

declare const SwaggerUIBundle: (options: Record<string, unknown>) => unknown;

declare var Chart: typeof import("chart.js").Chart;

/** Of boot.js: controls that were changed, and forms that were sent, while no script may have listened. */
declare var early: WeakSet<EventTarget>;
