"use strict";
/* The same rule as `espalier pick`: the cheapest configuration that meets every wish, else the one that misses by least. */
(() => {
  const { choice } = report.data;
  const form = document.getElementById("finder");
  if (!form) return;
  const rows = [...document.querySelectorAll("#front-table tbody tr")];
  const slack = 1e-9;

  const wishes = () =>
    choice.wishes
      .map((wish) => ({ ...wish, text: form.querySelector(`[data-wish="${wish.name}"]`).value }))
      .filter((wish) => wish.text !== "" && Number.isFinite(Number(wish.text)))
      .map((wish) => {
        const limit = Number(wish.text) * wish.factor;
        if (wish.name === "drop") return { ...wish, metric: "accuracy", sign: -choice.sign, bound: choice.dense_score - choice.sign * (limit + slack) };
        return { ...wish, metric: wish.name, sign: 1, bound: limit };
      });
  const excess = (row, wish) => {
    const value = row.metrics[wish.metric];
    return value === null || value === undefined ? Infinity : wish.sign * (value - wish.bound);
  };
  const total = (row, all) => all.reduce((sum, wish) => sum + Math.max(0, excess(row, wish)) / (Math.abs(wish.bound) || 1), 0);
  const cost = (row) => row.metrics[choice.ranked_by] ?? Infinity;
  const cheaper = (a, b) => cost(a) - cost(b) || choice.sign * (b.metrics.accuracy - a.metrics.accuracy);
  const misses = (row, all) =>
    all
      .filter((wish) => excess(row, wish) > 0)
      .map((wish) => {
        const by = excess(row, wish) / wish.factor;
        return `${wish.label[0].toLowerCase()}${wish.label.slice(1)} by ${Number.isFinite(by) ? `${Number(by.toPrecision(2))} ${wish.unit}` : "an unknown amount (not measured)"}`;
      })
      .join(", ");

  const command = (row) => {
    const box = document.createElement("div");
    box.className = "command";
    const code = document.createElement("code");
    code.textContent = row.command;
    code.tabIndex = 0;
    const button = document.createElement("button");
    Object.assign(button, { type: "button", className: "copy", textContent: "Copy" });
    button.dataset.copy = row.command;
    button.setAttribute("aria-label", `Copy: ${row.command}`);
    box.append(code, button);
    return box;
  };

  const write = (strong, rest) => {
    const line = document.createElement("p");
    const lead = document.createElement("strong");
    lead.textContent = strong;
    line.append(lead, ` ${rest}`);
    document.getElementById("answer").replaceChildren(line);
  };

  const find = () => {
    const all = wishes();
    const meeting = choice.rows.filter((row) => all.every((wish) => excess(row, wish) <= 0)).sort(cheaper);
    const found = meeting[0];
    const nearest = found || [...choice.rows].sort((a, b) => total(a, all) - total(b, all) || cheaper(a, b))[0];
    if (found) write(`Trial ${found.trial} answers:`, `${found.summary}. It has the least ${choice.ranked_label} of the ${meeting.length} that fit.`);
    else write("None answers.", `The nearest is trial ${nearest.trial}, which misses ${misses(nearest, all)}. It has ${nearest.summary}.`);
    document.getElementById("answer-command").replaceChildren(command(nearest));
    const visible = new Set((found ? meeting : [nearest]).map((row) => row.trial));
    rows.forEach((row) => {
      row.hidden = !visible.has(Number(row.dataset.trial));
      row.classList.toggle("answer", Number(row.dataset.trial) === nearest.trial);
    });
    const fit = meeting.length;
    document.getElementById("front-count").textContent =
      fit === rows.length ? `All ${fit} configurations fit.` : `${fit} of ${rows.length} configurations fit; the others are hidden.`;
    if (report.answer !== nearest.trial) {
      report.answer = nearest.trial;
      report.draw();
    }
  };

  const number = (name) => form.querySelector(`[data-wish="${name}"]`);
  const range = (name) => form.querySelector(`[data-range="${name}"]`);
  choice.wishes.forEach(({ name }) => {
    number(name).addEventListener("input", () => {
      range(name).value = number(name).value === "" ? range(name).max : number(name).value;
      find();
    });
    range(name).addEventListener("input", () => {
      number(name).value = range(name).value;
      find();
    });
  });
  document.getElementById("no-limits").addEventListener("click", () => {
    choice.wishes.forEach(({ name, high }) => {
      number(name).value = "";
      range(name).value = high;
    });
    find();
  });
  form.addEventListener("submit", (event) => event.preventDefault());
  find();
})();
