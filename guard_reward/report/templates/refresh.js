"use strict";

// While a run goes on, the page reads itself again: not in a hidden tab, not while the reader types or marks text, and
// with everything in its place afterwards.
{
  const seconds = Number(document.body.dataset.refresh);
  const QUIET = 5000; // milliseconds after the last key
  let due = Date.now() + 1000 * seconds;
  let lastKey = 0;

  const isBusy = () =>
    document.hidden ||
    byId("pause").getAttribute("aria-pressed") === "true" ||
    Date.now() - lastKey < QUIET ||
    !getSelection().isCollapsed;

  /** What the browser does not keep by itself: it keeps the scroll position and the fragment. */
  function keepPlace() {
    if (!fragment.isState()) fragment.replace(rollouts.state);
    memory.write({
      place: {
        detailTop: byId("detail-body")?.scrollTop ?? 0,
        open: [...document.querySelectorAll("details[id][open]")].map(({ id }) => id),
        focus: document.activeElement?.id ?? "",
      },
    });
  }

  function restorePlace() {
    const { place } = memory.read();
    if (!place) return;
    memory.write({ place: null });
    for (const id of place.open) if (byId(id)) byId(id).open = true;
    if (place.focus) byId(place.focus)?.focus({ preventScroll: true });
    if (byId("detail-body")) byId("detail-body").scrollTop = place.detailTop;
  }

  restorePlace();
  if (seconds) {
    if (memory.read().isPaused) byId("pause").setAttribute("aria-pressed", "true");
    addEventListener("keydown", () => (lastKey = Date.now()));
    byId("pause").addEventListener("click", ({ currentTarget }) => {
      const isPaused = currentTarget.getAttribute("aria-pressed") !== "true";
      currentTarget.setAttribute("aria-pressed", String(isPaused));
      memory.write({ isPaused });
      due = Date.now() + 1000 * seconds;
    });
    setInterval(() => {
      if (Date.now() < due || isBusy()) return;
      due = Infinity;
      keepPlace();
      location.reload();
    }, 250);
  }
}
