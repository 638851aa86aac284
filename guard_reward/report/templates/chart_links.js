"use strict";

// A click on a chart's point shows the rollouts of that run and step.
if (byId("rollouts")) {
  /** The point of several over one step that is nearest to the mouse. */
  function nearest({ points, event }) {
    const { top } = event.target.closest(".chart").getBoundingClientRect();
    const away = ({ yaxis, y }) => Math.abs(yaxis._offset + yaxis.l2p(y) - (event.clientY - top));
    return points.reduce((best, point) => (away(point) < away(best) ? point : best));
  }

  /** The steps that a point stands for: those behind the point before it. */
  function stepsOf({ data, pointNumber }) {
    const steps = data.meta.role === "path" ? data.customdata : data.x;
    const [before, step] = [steps[pointNumber - 1], steps[pointNumber]];
    return { from: data.mode.startsWith("lines") && before !== undefined ? before + 1 : step, to: step };
  }

  for (const id of charts.ids) {
    charts.whenDrawn(id, (element) => {
      element.on("plotly_click", (click) => {
        const known = click.points.filter(({ data }) => data.meta && data.meta.role !== "point");
        if (!known.length) return;
        const point = nearest({ ...click, points: known });
        const run = document.querySelector(`[data-toggles-run="${point.data.meta.run}"] bdi`).textContent;
        location.hash = fragment.of({ run, ...stepsOf(point) });
        byId("rollouts-section").scrollIntoView();
      });
    });
  }
}
