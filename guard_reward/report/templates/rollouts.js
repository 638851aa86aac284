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
  const PAGE = matchMedia("(max-width: 700px)").matches ? 20 : 50;
  const PRINTED = 20;
  const LONG = ["prompt", "thinking", "completion"];
  // A filter's name, in the form and in the address, and its column.
  const CHOICES = { run: "run", prompt: "prompt_label", severity: "severity", category: "categories", outcome: "outcome", refusal: "refusal" };
  const form = byId("filters");
  const body = byId("rollouts").tBodies[0];
  const shown = columns.filter((column) => column.shown);
  let searchable = null;

  /** Each row's text in small letters, made when it is first searched. */
  function textOf(index) {
    searchable ??= rows.map((row) => row.filter((value) => typeof value === "string").join("\n").toLowerCase());
    return searchable[index];
  }

  /** What a row has for a filter: several values for categories. */
  function valuesOf(row, name) {
    const value = cell(row, CHOICES[name]) ?? "none";
    return name === "category" ? String(value).split(", ") : [String(value)];
  }

  function lets(state) {
    const text = (state.q ?? "").trim().toLowerCase();
    const [from, to] = [state.from, state.to].map((bound) => (bound ? Number(bound) : null));
    const chosen = Object.keys(CHOICES).filter((name) => state[name] && CHOICES[name] in rollouts.place);
    return (row, index) => {
      const step = cell(row, "step");
      return (
        chosen.every((name) => valuesOf(row, name).includes(state[name])) &&
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
      return make("td", { "data-label": heading, "data-key": key, class: kind }, ...(value === null ? [] : [inner]));
    });
    const element = make("tr", {}, make("td", { "data-label": "Rollout" }, link), ...cells);
    element.addEventListener("click", (event) => {
      // A click that ends a text selection is no click on the row.
      if (!event.target.closest("a") && getSelection().isCollapsed) link.click();
    });
    return element;
  }

  function count(found, page, pages) {
    const { total, state } = rollouts;
    const number = (value) => value.toLocaleString("en");
    const sample = total > rows.length ? `${number(rows.length)} sampled of ${number(total)} rollouts` : `${number(rows.length)} rollouts`;
    byId("count").textContent = `Showing ${number(found.length)} of ${sample}`;
    byId("nothing-found").hidden = found.length > 0;
    byId("range-hint").hidden = !(state.from && state.to && Number(state.from) > Number(state.to));
    for (const pager of document.querySelectorAll(".pages")) {
      pager.hidden = pages < 2;
      pager.querySelector("[data-turns='-1']").disabled = page === 0;
      pager.querySelector("[data-turns='1']").disabled = page + 1 >= pages;
      pager.querySelector("[data-pages]").textContent = pages;
      Object.assign(pager.querySelector("input"), { value: page + 1, max: pages });
    }
  }

  const pageCount = () => Math.max(1, Math.ceil(rollouts.found.length / PAGE));
  /** From 0; the address may have any text. */
  const pageNow = () => Math.min(Math.max(Math.floor(Number(rollouts.state.page || 1)) - 1 || 0, 0), pageCount() - 1);

  function render() {
    const { state } = rollouts;
    rollouts.found = sorted(rows.filter(lets(state)), state.sort);
    const page = pageNow();
    body.replaceChildren(...rollouts.found.slice(page * PAGE, (page + 1) * PAGE).map(rowElement));
    count(rollouts.found, page, pageCount());
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
      return make("th", { scope: "col", "data-key": key, "data-heading": heading, class: numeric ? "number" : null }, button);
    });
    byId("rollouts").tHead.rows[0].append(make("th", { scope: "col" }, "Rollout"), ...headings);
  }

  function makeChoices() {
    for (const [name, key] of Object.entries(CHOICES)) {
      const select = form.elements[name];
      const values = new Set(key in rollouts.place ? rows.flatMap((row) => valuesOf(row, name)) : []);
      select.closest("label").hidden = values.size < 2 && !(name in rollouts.state);
      const order = name === "severity" ? [...values].sort((a, b) => severityRank(b) - severityRank(a)) : [...values].sort();
      for (const value of order) select.append(make("option", { value }, value));
    }
    for (const bound of ["from", "to"]) form.elements[bound].closest("label").hidden = !("step" in rollouts.place);
  }

  function showState() {
    const { rollout: ignored, ...state } = fragment.read();
    rollouts.state = state;
    for (const name of ["q", "from", "to", ...Object.keys(CHOICES)]) form.elements[name].value = state[name] ?? "";
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
  function turnTo(page) {
    change({ page });
    byId("rollouts").scrollIntoView();
  }
  for (const button of document.querySelectorAll("[data-turns]")) {
    button.addEventListener("click", () => turnTo(pageNow() + 1 + Number(button.dataset.turns)));
  }
  for (const field of document.querySelectorAll(".pages input")) {
    field.addEventListener("change", () => turnTo(Number(field.value) || 1));
  }

  /** Show a row in the table, on whichever page it is. */
  rollouts.reveal = (row) => {
    const position = rollouts.found.indexOf(row);
    if (position < 0) return;
    const page = Math.floor(position / PAGE);
    if (page !== pageNow()) change({ page: page + 1 });
    const link = body.rows[position % PAGE].querySelector("a");
    link.closest("tr").scrollIntoView({ block: "nearest" });
    link.focus({ preventScroll: true });
  };

  // A link to some rollouts leads to the table; a page that is read again, or left to by "back", stays where it was.
  const scrollToTable = () => fragment.isFilter() && byId("rollouts-section").scrollIntoView();
  if (performance.getEntriesByType("navigation")[0]?.type === "navigate") scrollToTable();
  byId("to-worst").addEventListener("click", scrollToTable);
  addEventListener("hashchange", ({ oldURL }) => {
    if (!fragment.isState()) return;
    showState();
    if (!oldURL.includes("rollout=")) scrollToTable();
  });

  // On paper: the worst of the rollouts that the filters let through.
  addEventListener("beforeprint", () => {
    const worst = [...rollouts.found].sort(byBadness).slice(0, PRINTED);
    body.replaceChildren(...worst.map(rowElement));
    byId("count").textContent += `; printed are the worst ${worst.length}`;
  });
  addEventListener("afterprint", render);
}
