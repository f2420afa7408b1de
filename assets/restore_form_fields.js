// Restores what was typed, except passwords, into a form that the server refused. Kept in this tab
// for one load. Runs before the page's own script, which may be late.
(() => {
  const KEY = "form-fields";
  const TYPED = "input[type=email], input[type=text]:not([readonly])";

  const fieldsOf = (form) => [...form.querySelectorAll(TYPED)];

  function take() {
    const kept = sessionStorage.getItem(KEY);
    sessionStorage.removeItem(KEY);
    return new URLSearchParams(location.search).has("error") ? JSON.parse(kept ?? "{}") : {};
  }

  function fill(form, kept) {
    const empty = fieldsOf(form).filter((field) => !field.value && kept[field.name]);
    empty.forEach((field) => (field.value = kept[field.name]));
    const next = form.querySelector("input[type=password]");
    if (empty.length && document.activeElement === document.body) next?.focus();
  }

  document.addEventListener("submit", ({ target }) => {
    if (!target.matches(".auth-form")) return;
    const typed = fieldsOf(target).map((field) => [field.name, field.value]);
    sessionStorage.setItem(KEY, JSON.stringify(Object.fromEntries(typed)));
  });

  const kept = take();
  if (!Object.keys(kept).length) return;
  // The page's script may redraw the form, or navigate to another one.
  const page = location.pathname;
  const filled = new WeakSet();
  const watch = new MutationObserver(() => {
    if (location.pathname !== page) return watch.disconnect();
    const form = document.querySelector(".auth-form");
    if (!form || filled.has(form)) return;
    filled.add(form);
    fill(form, kept);
  });
  watch.observe(document, { childList: true, subtree: true });
})();
