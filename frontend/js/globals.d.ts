// What the libraries that come as classic scripts put into the global scope. Types only; never loaded.

declare const SwaggerUIBundle: (options: Record<string, unknown>) => unknown;

declare var Chart: typeof import("chart.js").Chart;
