// Runs before the first paint: language, direction and theme stand before anything can be seen of them, and nothing is
// lost that people do before the page's own script has loaded.
(() => {
  const root = document.documentElement;
  const here = /** @type {HTMLScriptElement} */ (document.currentScript);

  const wished = kept("gtm.language") ?? navigator.languages.map((tag) => tag.slice(0, 2)).find(isOurs) ?? "en";
  const language = isOurs(wished) ? wished : "en";
  root.lang = language;
  root.dir = language === "fa" ? "rtl" : "ltr";

  const theme = kept("gtm.theme");
  const isDark = theme ? theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.bsTheme = isDark ? "dark" : "light";

  // Both directions of Bootstrap stand in the page, disabled: the one that is enabled here is the only one fetched.
  const stylesheet = /** @type {HTMLLinkElement} */ (document.querySelector(`link[data-direction="${root.dir}"]`));
  stylesheet.disabled = false;

  const sentences = document.createElement("link");
  sentences.rel = "preload";
  sentences.as = "fetch";
  sentences.crossOrigin = "anonymous";
  sentences.href = new URL(`../locales/${language}.json`, here.src).href;
  document.head.append(sentences);

  // What people change or send before a script listens is done once it does: see `catchUp` and `onSubmit`.
  window.early = new WeakSet();
  addEventListener("change", ({ target }) => {
    if (target) window.early.add(target);
  });
  addEventListener("submit", (event) => {
    if (event.defaultPrevented || !event.target) return;
    event.preventDefault(); // The browser would load another page, and put the fields into its address.
    window.early.add(event.target);
  });
  addEventListener("input", ({ target, isTrusted }) => {
    if (!isTrusted) return; // `catchUp` tells of what was typed before.
    const control = /** @type {HTMLInputElement} */ (target);
    window.early.delete(control);
    if (control.form) window.early.delete(control.form); // Whoever goes on typing has not finished the form.
  });

  /** @param {string} code */
  function isOurs(code) {
    return code === "fa" || code === "en";
  }

  /** @param {string} name */
  function kept(name) {
    try {
      return localStorage.getItem(name);
    } catch {
      return null; // A browser that keeps nothing still shows the page.
    }
  }
})();
