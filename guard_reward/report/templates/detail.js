"use strict";

// One rollout, opened by the fragment "#rollout=<run>/<id>": from the table, from an alarm, from a link that somebody sent.
if (byId("detail")) {
  const dialog = byId("detail");
  const { columns, rows, cell } = rollouts;
  const CLIP = 3000;
  const MOST_OTHERS = 16;
  const TEXTS = { prompt: "Prompt", thinking: "Thinking", completion: "Answer" };
  const byAddress = new Map(rows.map((row) => [rollouts.address(row), row]));
  let opener = null;

  function textBlock(title, text) {
    const block = make("pre", { dir: "auto", tabindex: "0" }, text.slice(0, CLIP));
    const parts = [make("h3", {}, title), block];
    if (text.length > CLIP) {
      const button = make("button", { type: "button" }, `Show all ${text.length.toLocaleString("en")} characters`);
      button.addEventListener("click", () => {
        block.textContent = text;
        block.focus();
        button.remove();
      });
      parts.push(button);
    }
    return make("section", {}, ...parts);
  }

  function facts(row) {
    const list = make("dl");
    for (const { key, heading } of columns) {
      const value = cell(row, key);
      if (value === null || key in TEXTS || key === "run") continue;
      list.append(make("dt", {}, make("bdi", {}, heading)), make("dd", { dir: "auto" }, make("bdi", {}, cellContent(key, value))));
    }
    return list;
  }

  /** Links to what the policy answered to the same prompt at the same step. */
  function otherAnswers(row) {
    const same = (key) => (other) => cell(other, key) === cell(row, key);
    const others = cell(row, "prompt") === null ? [] : rows.filter((other) => other !== row && ["run", "step", "stage", "prompt"].every((key) => same(key)(other)));
    if (!others.length) return [];
    const items = others.slice(0, MOST_OTHERS).map((other) => {
      const link = make("a", { href: fragment.of({ ...rollouts.state, rollout: rollouts.address(other) }) }, other[0]);
      const answer = String(cell(other, "completion") ?? "").slice(0, 100);
      return make("li", { dir: "auto" }, link, " ", cellContent("severity", cell(other, "severity")), " ", make("bdi", {}, answer));
    });
    return [make("section", {}, make("h3", {}, "Other answers to this prompt"), make("ul", {}, ...items))];
  }

  function fill(row) {
    const step = cell(row, "step");
    byId("detail-title").textContent = [cell(row, "run"), step === null ? null : `step ${step}`, row[0]].filter(Boolean).join(" · ");
    const texts = Object.entries(TEXTS).filter(([key]) => cell(row, key) !== null).map(([key, title]) => textBlock(title, String(cell(row, key))));
    byId("detail-body").replaceChildren(facts(row), ...texts, ...otherAnswers(row));
    byId("detail-body").scrollTop = 0;
    byId("detail-link").hidden = true;
    byId("copied").textContent = "";
    const position = rollouts.found.indexOf(row);
    byId("previous-rollout").disabled = position < 1;
    byId("next-rollout").disabled = position < 0 || position + 1 >= rollouts.found.length;
  }

  function follow() {
    const address = fragment.read().rollout;
    const row = byAddress.get(address);
    byId("not-here").hidden = !address || Boolean(row);
    if (!row) {
      dialog.close();
      return;
    }
    fill(row);
    if (!dialog.open) {
      opener = document.activeElement;
      dialog.showModal();
    }
    dialog.dataset.rollout = address;
  }

  function go(by) {
    const position = rollouts.found.indexOf(byAddress.get(dialog.dataset.rollout));
    const next = position < 0 ? undefined : rollouts.found[position + by];
    if (!next) return;
    fragment.replace({ ...rollouts.state, rollout: rollouts.address(next) });
    follow();
  }

  // Escape and the button close the dialog; the address then shows the table alone.
  dialog.addEventListener("close", () => {
    const address = dialog.dataset.rollout;
    if (fragment.read().rollout) fragment.replace(rollouts.state);
    // Back to what opened it, such as an alarm's link; else to the rollout's row.
    if (opener?.matches("a") && opener.isConnected && !opener.closest("#rollouts")) opener.focus({ preventScroll: true });
    else rollouts.reveal(byAddress.get(address));
  });
  dialog.addEventListener("keydown", (event) => {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!by || event.altKey || event.ctrlKey || event.metaKey || event.shiftKey || event.target.matches("input, textarea, select")) return;
    event.preventDefault();
    go(by);
  });
  byId("close-detail").addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  byId("previous-rollout").addEventListener("click", () => go(-1));
  byId("next-rollout").addEventListener("click", () => go(1));
  byId("copy-link").addEventListener("click", async () => {
    const url = location.href.split("#")[0] + fragment.of({ rollout: dialog.dataset.rollout });
    try {
      await navigator.clipboard.writeText(url);
      byId("copied").textContent = "Copied";
    } catch {
      // Without a clipboard the link is shown, selected.
      const field = byId("detail-link");
      field.value = url;
      field.hidden = false;
      field.select();
    }
  });
  addEventListener("hashchange", () => fragment.isState() && follow());
  follow();
}
