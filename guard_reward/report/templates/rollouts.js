"use strict";

// The rollouts table: what the filters let through, sorted, a page at a time. Its state is in the address's fragment.

const rollouts = { state: {}, found: [], ...JSON.parse(byId("rollout-data").textContent) };
rollouts.place = Object.fromEntries(rollouts.columns.map(({ key }, position) => [key, position + 1]));
rollouts.cell = (row, key) => (key in rollouts.place ? row[rollouts.place[key]] : null);
rollouts.address = (row) => `${rollouts.cell(row, "run")}/${row[0]}`;

const SEVERITIES = ["safe", "", "controversial", "unsafe"];
const isSeverity = (key) => key === "severity" || key.endsWith("_severity");
/** How bad: what is not judged, or in a word that is not known, is between safe and controversial. */
function severityRank(value) {
  const rank = SEVERITIES.indexOf(String(value ?? "").toLowerCase());
  return rank < 0 ? 1 : rank;
}

/** A severity as colour and word; any other value as text. */
function cellContent(key, value) {
  if (value === null) return "";
  if (typeof value === "number") {
    return value.toLocaleString("en", key === "p_unsafe" ? { maximumFractionDigits: 3 } : { maximumSignificantDigits: 4 });
  }
  if (!isSeverity(key)) return value;
  const known = SEVERITIES.includes(String(value).toLowerCase()) ? String(value).toLowerCase() : "unjudged";
  return make("span", { class: `badge ${known}` }, String(value));
}

if (byId("rollouts")) {
  const { columns, rows, cell } = rollouts;
  const PAGE = 50;
  const LONG = ["prompt", "thinking", "completion"];
  const CHOICES = ["run", "severity", "outcome", "refusal"];
  const form = byId("filters");
  const body = byId("rollouts").tBodies[0];
  const shown = columns.filter((column) => column.shown);
  let searchable = null;

  /** Each row's text in small letters, made when it is first searched. */
  function textOf(index) {
    searchable ??= rows.map((row) => row.filter((value) => typeof value === "string").join("\n").toLowerCase());
    return searchable[index];
  }

  function lets(state) {
    const text = (state.q ?? "").trim().toLowerCase();
    const [from, to] = [state.from, state.to].map((bound) => (bound ? Number(bound) : null));
    const chosen = CHOICES.filter((key) => state[key] && key in rollouts.place);
    return (row, index) => {
      const step = cell(row, "step");
      return (
        chosen.every((key) => (cell(row, key) ?? "none") === state[key]) &&
        (from === null || (step !== null && step >= from)) &&
        (to === null || (step !== null && step <= to)) &&
        (!text || textOf(index).includes(text))
      );
    };
  }

  /** Numbers by value, severities by how bad they are, texts by letter; what is missing comes last. */
  function byColumn(key, direction) {
    const value = isSeverity(key) ? (row) => severityRank(cell(row, key)) : (row) => cell(row, key);
    return (a, b) => {
      const [x, y] = [value(a), value(b)];
      if (x === y) return 0;
      if (x === null || y === null) return x === null ? 1 : -1;
      return direction * (x < y ? -1 : 1);
    };
  }

  function byBadness(a, b) {
    const orders = [["severity", -1], ["p_unsafe", -1], ["reward", 1]].filter(([key]) => key in rollouts.place);
    return orders.reduce((order, [key, direction]) => order || byColumn(key, direction)(a, b), 0);
  }

  function sorted(found, sort) {
    if (sort === "worst") return found.sort(byBadness);
    const key = (sort ?? "").replace(/^-/, "");
    return key in rollouts.place ? found.sort(byColumn(key, sort.startsWith("-") ? -1 : 1)) : found;
  }

  function rowElement(row) {
    const link = make("a", { href: fragment.of({ ...rollouts.state, rollout: rollouts.address(row) }) }, row[0]);
    const cells = shown.map(({ key, heading, numeric }) => {
      const value = cell(row, key);
      const isLong = typeof value === "string" && (value.length > 40 || value.includes("\n"));
      const content = cellContent(key, isLong ? value.slice(0, 600) : value);
      const inner = isLong ? make("div", { class: "text", dir: "auto" }, content) : make("bdi", {}, content);
      const kind = numeric ? "number" : LONG.includes(key) ? "long" : null;
      return make("td", { "data-label": heading, class: kind }, ...(value === null ? [] : [inner]));
    });
    const element = make("tr", {}, make("td", { "data-label": "Rollout" }, link), ...cells);
    element.addEventListener("click", (event) => {
      // A click that ends a text selection is no click on the row.
      if (!event.target.closest("a") && getSelection().isCollapsed) link.click();
    });
    return element;
  }

  function count(found, page, pages) {
    const { total } = rollouts;
    const number = (value) => value.toLocaleString("en");
    const sample = total > rows.length ? `${number(rows.length)} sampled of ${number(total)} rollouts` : `${number(rows.length)} rollouts`;
    byId("count").textContent = `Showing ${number(found.length)} of ${sample}`;
    byId("page").textContent = `page ${page + 1} of ${pages}`;
    byId("previous-page").disabled = page === 0;
    byId("next-page").disabled = page + 1 >= pages;
    byId("pages").hidden = pages < 2;
    byId("nothing-found").hidden = found.length > 0;
  }

  function render() {
    const { state } = rollouts;
    rollouts.found = sorted(rows.filter(lets(state)), state.sort);
    const pages = Math.max(1, Math.ceil(rollouts.found.length / PAGE));
    const page = Math.min(Math.max(Number(state.page ?? 1) - 1 || 0, 0), pages - 1);
    body.replaceChildren(...rollouts.found.slice(page * PAGE, (page + 1) * PAGE).map(rowElement));
    count(rollouts.found, page, pages);
    for (const heading of byId("rollouts").tHead.querySelectorAll("th[data-key]")) {
      const { key } = heading.dataset;
      const order = state.sort === key ? "ascending" : state.sort === `-${key}` ? "descending" : null;
      if (order) heading.setAttribute("aria-sort", order);
      else heading.removeAttribute("aria-sort");
    }
    byId("worst").setAttribute("aria-pressed", String(state.sort === "worst"));
  }

  function change(changes) {
    rollouts.state = { ...rollouts.state, page: "", rollout: "", ...changes };
    fragment.replace(rollouts.state);
    render();
  }

  function makeHeadings() {
    const headings = shown.map(({ key, heading, numeric }) => {
      const button = make("button", { type: "button" }, make("bdi", {}, heading), make("span", { class: "order", "aria-hidden": "true" }));
      button.addEventListener("click", () => change({ sort: rollouts.state.sort === key ? `-${key}` : key }));
      return make("th", { scope: "col", "data-key": key, class: numeric ? "number" : null }, button);
    });
    byId("rollouts").tHead.rows[0].append(make("th", { scope: "col" }, "Rollout"), ...headings);
  }

  function makeChoices() {
    for (const key of CHOICES) {
      const select = form.elements[key];
      const values = new Set(key in rollouts.place ? rows.map((row) => cell(row, key) ?? "none") : []);
      select.closest("label").hidden = values.size < 2 && !(key in rollouts.state);
      const order = key === "severity" ? [...values].sort((a, b) => severityRank(b) - severityRank(a)) : [...values].sort();
      for (const value of order) select.append(make("option", { value }, String(value)));
    }
    for (const bound of ["from", "to"]) form.elements[bound].closest("label").hidden = !("step" in rollouts.place);
  }

  function showState() {
    const { rollout: ignored, ...state } = fragment.read();
    rollouts.state = state;
    for (const name of ["q", "from", "to", ...CHOICES]) form.elements[name].value = state[name] ?? "";
    render();
  }

  makeHeadings();
  makeChoices();
  showState();
  form.addEventListener("input", (event) => change({ [event.target.name]: event.target.value }));
  form.addEventListener("submit", (event) => event.preventDefault());
  byId("worst").addEventListener("click", () => change({ sort: rollouts.state.sort === "worst" ? "" : "worst" }));
  byId("reset").addEventListener("click", () => {
    rollouts.state = {};
    fragment.replace({});
    showState();
  });
  for (const [id, by] of [["previous-page", -1], ["next-page", 1]]) {
    byId(id).addEventListener("click", () => {
      change({ page: Number(rollouts.state.page || 1) + by });
      byId("rollouts").scrollIntoView();
    });
  }
  byId("to-worst").addEventListener("click", () => byId("rollouts-section").scrollIntoView());
  addEventListener("hashchange", () => fragment.isState() && showState());
}
