// What plain pages do by themselves and pages that htmx changes in part do not.
"use strict";

(() => {
  const byId = (id) => document.getElementById(id);

  // A part that was replaced took the focus with it: it goes to the element of the same id, or to
  // what the part names with data-focus, or to the part itself, never back to the page's start.
  let focused = "";
  document.addEventListener("htmx:beforeSwap", () => {
    focused = document.activeElement ? document.activeElement.id : "";
  });
  document.addEventListener("htmx:afterSettle", (event) => {
    if (document.activeElement && document.activeElement !== document.body) return;
    const part = event.detail.elt;
    const target = (focused && byId(focused)) || part.querySelector("[data-focus]") || part;
    if (!target.isConnected) return;
    if (!target.matches("a[href], button, input, select, textarea, summary, [tabindex]")) {
      target.setAttribute("tabindex", "-1");
    }
    target.focus({ preventScroll: true });
  });

  // An answer that htmx does not show is said in words.
  const say = (kind) => {
    const failure = byId("failure");
    failure.textContent = failure.dataset[kind];
    failure.hidden = false;
    failure.scrollIntoView({ block: "nearest" });
  };
  document.addEventListener("htmx:responseError", (event) => {
    say([401, 403].includes(event.detail.xhr.status) ? "refused" : "failed");
  });
  document.addEventListener("htmx:sendError", () => say("failed"));
  document.addEventListener("htmx:beforeRequest", () => {
    byId("failure").hidden = true;
  });

  // The menu closes with Escape, and when the reader goes on elsewhere.
  const menu = document.querySelector("details.viewer");
  if (menu) {
    document.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && menu.open) {
        menu.open = false;
        menu.querySelector("summary").focus();
      }
    });
    document.addEventListener("click", (event) => {
      if (menu.open && !menu.contains(event.target)) menu.open = false;
    });
  }
})();
