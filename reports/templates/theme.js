"use strict";
/* One namespace for the page's scripts; charts register a drawing function and are drawn anew when the theme changes. */
const report = {
  data: JSON.parse(document.getElementById("run").textContent),
  charts: [],
  color(name) {
    return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
  },
  draw() {
    this.charts.forEach((chart) => chart());
  },
  say(text) {
    document.getElementById("status").textContent = text;
  },
};

(() => {
  const root = document.documentElement;
  const button = document.getElementById("theme");
  const system = matchMedia("(prefers-color-scheme: dark)");
  const key = "espalier-theme";
  const stored = () => {
    try {
      return localStorage.getItem(key);
    } catch {
      return null; // a browser may refuse storage to a local file
    }
  };
  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : system.matches);
  const show = () => {
    button.setAttribute("aria-pressed", String(isDark()));
    report.draw();
  };
  if (stored()) root.dataset.theme = stored();
  button.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    try {
      localStorage.setItem(key, root.dataset.theme);
    } catch {
      /* the choice then holds for this visit only */
    }
    show();
  });
  system.addEventListener("change", show);

  let before;
  addEventListener("beforeprint", () => {
    before = root.dataset.theme;
    root.dataset.theme = "light";
    report.paper = true;
    report.draw();
  });
  addEventListener("afterprint", () => {
    if (before === undefined) delete root.dataset.theme;
    else root.dataset.theme = before;
    report.paper = false;
    report.draw();
  });
  button.setAttribute("aria-pressed", String(isDark()));
})();

(() => {
  document.querySelectorAll("table").forEach((table) => {
    if (table.id !== "front-table") return;
    const body = table.tBodies[0];
    table.querySelectorAll("button.sort").forEach((button) => {
      button.addEventListener("click", () => {
        const head = button.closest("th");
        const ascending = head.getAttribute("aria-sort") !== "ascending";
        table.querySelectorAll("th[aria-sort]").forEach((th) => th.setAttribute("aria-sort", "none"));
        head.setAttribute("aria-sort", ascending ? "ascending" : "descending");
        const value = (row) => {
          const text = row.cells[head.cellIndex].dataset.value;
          return text === "" ? Infinity : Number(text) * (ascending ? 1 : -1);
        };
        [...body.rows].sort((a, b) => value(a) - value(b)).forEach((row) => body.append(row));
        report.say(`Sorted by ${button.textContent}, ${ascending ? "ascending" : "descending"}`);
      });
    });
  });

  const copyText = async (text) => {
    if (navigator.clipboard && isSecureContext) return navigator.clipboard.writeText(text);
    const area = document.createElement("textarea"); // a page opened as a file may have no clipboard interface
    area.value = text;
    area.className = "visually-hidden";
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    if (!done) throw new Error("copying was refused");
  };
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("button.copy");
    if (!button) return;
    const label = button.dataset.label || button.textContent;
    button.dataset.label = label;
    try {
      await copyText(button.dataset.copy);
      button.textContent = "Copied";
    } catch {
      button.textContent = "Select and copy";
    }
    report.say(button.textContent);
    setTimeout(() => (button.textContent = label), 1600);
  });
})();
