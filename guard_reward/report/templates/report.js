"use strict";

// Charts: the figures come without colours; they take the page's, and change with it.
const figures = JSON.parse(document.getElementById("figures").textContent);

function themed(layout) {
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(name).trim();
  const axis = { gridcolor: colour("--grid"), zerolinecolor: colour("--line"), linecolor: colour("--line"), automargin: true };
  return {
    ...layout,
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { color: colour("--text"), size: 12, family: style.fontFamily },
    hoverlabel: { bgcolor: colour("--card"), bordercolor: colour("--line"), font: { color: colour("--text") } },
    xaxis: { ...layout.xaxis, ...axis },
    yaxis: { ...layout.yaxis, ...axis },
  };
}

function draw() {
  for (const [id, { data, layout }] of Object.entries(figures)) {
    Plotly.react(id, data, themed(layout), { responsive: true, displayModeBar: false });
  }
}

draw();
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);

// Rollouts: a row is shown when it has the text, the run and the severity that were asked for.
const filters = document.getElementById("filters");
if (filters) {
  const rows = Array.from(document.querySelectorAll("#rollouts tbody tr"), (element) => ({
    element,
    text: element.textContent.toLowerCase(),
  }));

  const filter = () => {
    const text = filters.elements.text.value.trim().toLowerCase();
    const run = filters.elements.run ? filters.elements.run.value : "";
    const severity = filters.elements.severity ? filters.elements.severity.value : "";
    let shown = 0;
    for (const row of rows) {
      const { dataset } = row.element;
      const fits =
        row.text.includes(text) && (!run || dataset.run === run) && (!severity || `=${dataset.severity}` === severity);
      row.element.hidden = !fits;
      shown += fits;
    }
    document.getElementById("count").textContent = `${shown} of ${rows.length}`;
  };

  filters.addEventListener("input", filter);
  filters.addEventListener("submit", (event) => event.preventDefault());
  filter();

  const toggle = (event) => event.target.closest(".text")?.classList.toggle("open");
  const table = document.getElementById("rollouts");
  // A click that ends a text selection is no click on the cell.
  table.addEventListener("click", (event) => getSelection().isCollapsed && toggle(event));
  table.addEventListener("keydown", (event) => event.key === "Enter" && toggle(event));
}
