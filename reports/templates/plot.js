"use strict";
/* What all charts share: a layout in the theme's colours, and drawing anew when the theme changes or the page is printed. */
(() => {
  const coarse = matchMedia("(pointer: coarse)").matches;
  const options = { displayModeBar: false, responsive: true };
  const units = { latency_ms: "ms", size_bytes: "bytes", peak_memory_bytes: "bytes", energy_mj: "mJ" };

  const axis = ({ title, format, range }) => ({
    title: { text: title, font: { size: 13 }, standoff: 10 },
    tickformat: format,
    range,
    gridcolor: report.color("line"),
    linecolor: report.color("line"),
    zeroline: false,
    automargin: false, // with several labels to fit, Plotly gives up with a warning
    tickfont: { color: report.color("muted") },
  });

  Object.assign(report, {
    layout: (x, y, more = {}) => ({
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      font: { family: getComputedStyle(document.body).fontFamily, size: 12.5, color: report.color("ink") },
      margin: { l: 72, r: 18, t: 16, b: 60 },
      hoverlabel: { bgcolor: report.color("surface"), bordercolor: report.color("line"), font: { color: report.color("ink") }, align: "left" },
      showlegend: false, // the page has its own
      xaxis: axis(x),
      yaxis: axis(y),
      dragmode: coarse ? false : "zoom", // a finger that drags means to scroll the page
      width: report.paper ? 660 : undefined,
      ...more,
    }),
    chart: (id, draw) => {
      const node = document.getElementById(id);
      if (!node) return;
      report.charts.push(() => {
        const { traces, design } = draw();
        Plotly.react(node, traces, design, options);
      });
    },
    fraction: (values) => values.filter((v) => v !== null).every((v) => v >= 0 && v <= 1),
    escape: (text) => String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;"),
    hover: (p) => [`<b>${report.escape(p.title)}</b>`, ...p.lines.map(report.escape)].join("<br>"),
    shown: (points) => points.filter((p) => p.x !== null && p.y !== null),
    /* `sign` is 1 where higher scores are better, -1 where lower ones are. */
    stairs: (points, sign) => {
      let best = -Infinity;
      const height = (p) => sign * p.y;
      return [...points].sort((a, b) => a.x - b.x || height(b) - height(a)).filter((p) => height(p) > best && ((best = height(p)), true));
    },
    withScoreUnit: (label, unit) => (unit ? `${label} (${unit})` : label),
    withUnit: (label, name) => (units[name] ? `${label} (${units[name]})` : label),
  });
})();
