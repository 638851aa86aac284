"use strict";

// Charts. The figures come without colours; a trace's `meta` says which colour it has, which run it is of, and what it shows.
// A chart is drawn when it is scrolled to.
const charts = {};
{
  const figures = JSON.parse(byId("figures").textContent);
  const marks = byId("marks") ? JSON.parse(byId("marks").textContent) : {};
  const chosen = { smoothing: memory.read().smoothing ?? 0.6, hidden: new Set(memory.read().hidden ?? []) };
  const drawn = new Set();
  const listeners = new Map();
  const COLOURS = 8;

  // A custom property is only text; as the colour of an element it is a colour.
  const probe = document.body.appendChild(make("span", { hidden: true }));
  function colour(name) {
    probe.style.color = `var(${name})`;
    return getComputedStyle(probe).color;
  }
  const faded = (rgb, alpha) => rgb.replace("rgb(", "rgba(").replace(")", `, ${alpha})`);

  function layoutOf(layout, palette) {
    const axis = { gridcolor: palette.grid, zerolinecolor: palette.line, linecolor: palette.line, automargin: true };
    return {
      ...layout,
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      font: { color: palette.text, size: 12, family: getComputedStyle(document.body).fontFamily },
      hoverlabel: { bgcolor: faded(palette.card, 0.85), bordercolor: palette.line, font: { color: palette.text, size: 11 } },
      xaxis: { ...layout.xaxis, ...axis },
      yaxis: { ...layout.yaxis, ...axis },
      annotations: layout.annotations?.map((note) => ({ ...note, font: { color: palette.muted, size: 12 } })),
      shapes: layout.hovermode === "x unified" ? alarmLines(palette) : [],
    };
  }

  /** A vertical line at every alarm of the runs that are shown. */
  function alarmLines(palette) {
    const steps = Object.entries(marks).flatMap(([run, at]) => (chosen.hidden.has(Number(run)) ? [] : at));
    return [...new Set(steps)].map((step) => ({
      type: "line", x0: step, x1: step, yref: "paper", y0: 0, y1: 1, layer: "below",
      line: { color: palette.alarm, width: 1.5, dash: "dot" },
    }));
  }

  function coloured(trace, palette) {
    if (trace.meta === undefined) return trace;
    const own = palette.series[trace.meta.series % COLOURS];
    const errors = ["error_x", "error_y"].filter((axis) => trace[axis]);
    return {
      ...trace,
      visible: !chosen.hidden.has(trace.meta.run),
      line: { ...trace.line, color: own },
      marker: { ...trace.marker, color: own, line: { ...trace.marker?.line, color: own } },
      textfont: { color: palette.text, size: 12 },
      ...(trace.meta.role === "high" ? { fillcolor: faded(own, 0.16) } : {}),
      ...(trace.meta.role === "area" ? { fillpattern: { ...trace.fillpattern, bgcolor: faded(own, 0.55), fgcolor: own } } : {}),
      ...Object.fromEntries(errors.map((axis) => [axis, { ...trace[axis], color: own }])),
    };
  }

  /** The exponential moving average, without its pull to the first value. */
  function average(values, weight) {
    let sum = 0, total = 0;
    return values.map((value) => {
      sum = weight * sum + (1 - weight) * value;
      total = weight * total + (1 - weight);
      return sum / total;
    });
  }

  /** A line, smoothed in front of its pale self. */
  function smoothed(trace) {
    if (trace.meta?.role !== "line" || chosen.smoothing === 0 || trace.y.length < 3) return [trace];
    const logged = trace.hovertemplate.replace("%{y", "%{customdata");
    const line = { ...trace, y: average(trace.y, chosen.smoothing), customdata: trace.y, hovertemplate: `${logged} (smoothed ${trace.hovertemplate})` };
    const pale = { ...trace, line: { width: 1.5 }, opacity: 0.28, hoverinfo: "skip", hovertemplate: undefined };
    return [pale, line];
  }

  function paletteNow() {
    const names = ["text", "muted", "card", "line", "grid", "alarm"];
    const series = Array.from({ length: COLOURS }, (_, number) => colour(`--series-${number}`));
    return { ...Object.fromEntries(names.map((name) => [name, colour(`--${name}`)])), series };
  }

  function draw(id, palette = paletteNow()) {
    const { data, layout } = figures[id];
    const traces = data.flatMap(smoothed).map((trace) => coloured(trace, palette));
    drawn.add(id);
    Plotly.react(id, traces, layoutOf(layout, palette), { responsive: true, displayModeBar: false });
    listeners.get(id)?.(byId(id));
    listeners.delete(id);
  }

  const observer = new IntersectionObserver(
    (entries) => {
      for (const { isIntersecting, target } of entries) {
        if (!isIntersecting || drawn.has(target.id)) continue;
        observer.unobserve(target);
        draw(target.id);
      }
    },
    { rootMargin: "300px" },
  );
  /** Charts on the screen at once, the others when they are scrolled to. */
  function redraw() {
    for (const id of drawn) observer.observe(byId(id));
    drawn.clear();
  }
  /** Every chart that has a place, in its width. */
  function drawAll() {
    const palette = paletteNow();
    for (const id of Object.keys(figures).filter((id) => byId(id).offsetParent)) {
      draw(id, palette);
      Plotly.relayout(id, { width: byId(id).clientWidth });
    }
  }
  /** Call once, when the chart is first drawn. */
  const whenDrawn = (id, listener) => listeners.set(id, listener);
  Object.assign(charts, { ids: Object.keys(figures), redraw, drawAll, whenDrawn });
  for (const id of Object.keys(figures)) observer.observe(byId(id));
  document.addEventListener("recolour", redraw);

  // The legend hides and shows a run everywhere.
  function showRuns() {
    for (const button of document.querySelectorAll("[data-toggles-run]")) {
      button.setAttribute("aria-pressed", String(!chosen.hidden.has(Number(button.dataset.togglesRun))));
    }
    for (const figure of document.querySelectorAll("figure[data-runs]")) {
      const runs = figure.dataset.runs.split(" ").map(Number);
      figure.hidden = runs.every((run) => chosen.hidden.has(run));
    }
  }
  for (const button of document.querySelectorAll("[data-toggles-run]")) {
    button.addEventListener("click", () => {
      const run = Number(button.dataset.togglesRun);
      if (!chosen.hidden.delete(run)) chosen.hidden.add(run);
      memory.write({ hidden: [...chosen.hidden] });
      showRuns();
      redraw();
    });
  }
  showRuns();

  const slider = byId("smoothing");
  if (slider) {
    const show = () => (byId("smoothing-value").textContent = chosen.smoothing.toFixed(2));
    slider.value = chosen.smoothing;
    show();
    slider.addEventListener("input", () => {
      chosen.smoothing = Number(slider.value);
      memory.write({ smoothing: chosen.smoothing });
      show();
      redraw();
    });
  }
}
