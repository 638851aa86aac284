"use strict";

// What all of the page's scripts use.

const byId = (id) => document.getElementById(id);

/** An element with attributes and children; texts become text nodes, never markup. */
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children);
  return element;
}

/** What the reader chose, kept while the tab is open; nothing is kept where the browser forbids it. */
const memory = {
  key: `guard-reward report ${location.pathname}`,
  read() {
    try {
      return JSON.parse(sessionStorage.getItem(this.key)) ?? {};
    } catch {
      return {};
    }
  },
  write(changes) {
    try {
      sessionStorage.setItem(this.key, JSON.stringify({ ...this.read(), ...changes }));
    } catch {
      // A page opened from a file may have no storage.
    }
  },
};

// Light and dark: the style sheet follows `data-theme`, or the system without it.
const theme = byId("theme");
function showTheme(name) {
  if (name) document.documentElement.dataset.theme = name;
  else delete document.documentElement.dataset.theme;
  document.dispatchEvent(new Event("recolour"));
}
if (theme) {
  theme.value = memory.read().theme ?? "";
  showTheme(theme.value);
  theme.addEventListener("change", () => {
    memory.write({ theme: theme.value });
    showTheme(theme.value);
  });
}
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => document.dispatchEvent(new Event("recolour")));
