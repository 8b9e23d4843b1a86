"use strict";
(() => {
  const { comparison } = report.data;
  const { layout, chart, fraction, escape, hover, shown, stairs, withUnit, withScoreUnit } = report;
  const symbols = ["circle", "square", "diamond", "triangle-up", "cross", "pentagon", "star", "triangle-down"];
  const dashes = ["solid", "dash", "dot", "dashdot"];
  /* Runs are told apart by colour, symbol and dash at once, so that none of these is needed alone. */
  const colors = () => ["accent", "series-2", "series-3", "series-4", "series-5", "series-6"].map((name) => report.color(name));

  chart("compare-chart", () => {
    const palette = colors();
    const traces = comparison.runs.flatMap((run, i) => {
      const points = shown(run.points);
      const line = stairs(points, comparison.sign);
      const color = palette[i % palette.length];
      const symbol = symbols[i % symbols.length];
      const dense = shown([run.dense]);
      return [
        { type: "scatter", mode: "lines", x: line.map((p) => p.x), y: line.map((p) => p.y), line: { shape: "hv", color, width: 1.8, dash: dashes[i % dashes.length] }, hoverinfo: "skip" },
        { type: "scatter", mode: "markers", name: escape(run.name), x: points.map((p) => p.x), y: points.map((p) => p.y), marker: { color, symbol, size: 10, line: { width: 1, color: report.color("surface") } }, hovertext: points.map(hover), hoverinfo: "text" },
        { type: "scatter", mode: "markers", x: dense.map((p) => p.x), y: dense.map((p) => p.y), marker: { color, symbol: `${symbol}-open`, size: 13, line: { width: 2, color } }, hovertext: `<b>${escape(run.name)}</b><br>Dense network`, hoverinfo: "text" },
      ];
    });
    const format = comparison.share && fraction(comparison.runs.flatMap((run) => run.points.map((p) => p.y))) ? ".2~%" : undefined;
    return { traces, design: layout({ title: withUnit(comparison.x_label, comparison.x) }, { title: withScoreUnit(comparison.y_label, comparison.unit), format }) };
  });
  const glyphs = ["\u25cf", "\u25a0", "\u25c6", "\u25b2", "\u271a", "\u2b1f", "\u2605", "\u25bc"];
  report.charts.push(() => {
    const palette = colors();
    const entries = comparison.runs.map((run, i) => {
      const entry = document.createElement("li");
      const mark = document.createElement("b");
      mark.textContent = glyphs[i % glyphs.length];
      mark.style.color = palette[i % palette.length];
      entry.append(mark, run.name);
      return entry;
    });
    document.getElementById("legend").replaceChildren(...entries);
  });
  report.draw();
})();
