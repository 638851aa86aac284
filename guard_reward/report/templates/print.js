"use strict";

// On paper: light, everything drawn and open, each chart as wide as the style sheet makes its place on paper.
{
  let opened = [];
  addEventListener("beforeprint", () => {
    document.documentElement.classList.add("printing");
    opened = [...document.querySelectorAll("details:not([open], .unprinted)")];
    for (const details of opened) details.open = true;
    charts.drawAll();
  });
  addEventListener("afterprint", () => {
    document.documentElement.classList.remove("printing");
    for (const details of opened) details.open = false;
    charts.redraw();
  });
}
