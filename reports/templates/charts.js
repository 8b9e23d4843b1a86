"use strict";
(() => {
  const { choice, baselines, trust, progress } = report.data;
  const { layout, chart, fraction, escape, hover, shown, stairs, withUnit, withScoreUnit } = report;

  const largest = Math.max(...choice.points.concat(choice.dense).map((p) => p.size || 0), 1);
  const diameter = (p, low, high) => (p.size ? low + (high - low) * Math.sqrt(p.size / largest) : low);
  const group = (name, points, marker, [low, high], more = {}) => ({
    type: "scatter",
    mode: "markers",
    name,
    x: points.map((p) => p.x),
    y: points.map((p) => p.y),
    customdata: points.map((p) => p.trial),
    hovertext: points.map(hover),
    hoverinfo: "text",
    marker: { size: points.map((p) => diameter(p, low, high)), ...marker },
    ...more,
  });

  /* Labels of picks that lie close together are stacked, the right one on top, so that their leaders do not cross. */
  const tagNotes = (points, [left, right], [low, high]) => {
    let last = null;
    let stacked = 0;
    const tagged = points.filter((p) => p.tags).sort((a, b) => b.x - a.x);
    return tagged.map((p) => {
      const top = p.tags.startsWith("Most");
      const near = last && last.x - p.x < 0.25 * (right - left) && Math.abs(last.y - p.y) < 0.18 * (high - low);
      if (!top) {
        stacked = near ? stacked + 1 : 0;
        last = p;
      }
      return {
        x: p.x, y: p.y, text: escape(p.tags), showarrow: true, arrowhead: 0, arrowwidth: 1, arrowcolor: report.color("faint"),
        ...(top ? { ax: -22, ay: -30 } : { ax: 26, ay: 22 + 19 * stacked, xanchor: "left" }),
        font: { size: 12, color: report.color("ink") },
      };
    });
  };
  const limits = () => {
    const shapes = choice.lines.map((line) => ({
      type: "line", line: { color: report.color("worse"), width: 1.5, dash: "dash" },
      ...(line.axis === "x" ? { x0: line.value, x1: line.value, yref: "paper", y0: 0, y1: 1 } : { y0: line.value, y1: line.value, xref: "paper", x0: 0, x1: 1 }),
    }));
    const notes = choice.lines.map((line) => ({
      text: escape(line.label), showarrow: false, font: { size: 11.5, color: report.color("worse") },
      ...(line.axis === "x" ? { x: line.value, y: 1, yref: "paper", xanchor: "left", yanchor: "top", xshift: 4 } : { y: line.value, x: 1, xref: "paper", xanchor: "right", yanchor: "top" }),
    }));
    return { shapes, notes };
  };

  /* Bounds around what one chooses from; a trial far below would squeeze the front into a line. */
  const focus = (points, key) => {
    const limit = choice.lines.filter((l) => l.axis === key).map((l) => l.value);
    const values = points.map((p) => p[key]).concat(limit);
    const [low, high] = [Math.min(...values), Math.max(...values)];
    const margin = (high - low) * 0.12 || Math.abs(high) * 0.05 || 1;
    return [low - margin * (key === "y" ? 1.8 : 1), high + margin];
  };
  /* Fronts of the baselines, in outlines: what one chooses from is filled. */
  const rivals = baselines ? baselines.fronts : [];
  const rival = ({ name, symbol, points }) => ({
    type: "scatter", mode: "lines+markers", name, x: points.map((p) => p.x), y: points.map((p) => p.y),
    hovertext: points.map(hover), hoverinfo: "text",
    line: { shape: "hv", dash: "dot", width: 1.2, color: report.color("muted") },
    marker: { symbol, size: 9, color: report.color("muted"), line: { width: 1.5 } },
  });
  const within = (p, key, [low, high]) => p[key] >= low && p[key] <= high;
  let everything = false;

  chart("front-chart", () => {
    const points = shown(choice.points);
    const of = (kind) => points.filter((p) => p.kind === kind);
    const front = of("front");
    const line = stairs(front, choice.sign);
    const dense = shown([choice.dense]);
    const asked = front.filter((p) => p.trial === report.answer);
    const traces = [
      group("Misses a constraint", of("infeasible"), { color: report.color("grey"), symbol: "x-thin", opacity: 0.9, line: { width: 1.5, color: report.color("grey") } }, [7, 7]),
      group("Beaten by the front", of("dominated"), { color: report.color("accent"), opacity: 0.3 }, [6, 18]),
      { type: "scatter", mode: "lines", x: line.map((p) => p.x), y: line.map((p) => p.y), line: { shape: "hv", color: report.color("accent"), width: 1.6 }, hoverinfo: "skip" },
      ...rivals.map((r) => rival({ ...r, points: stairs(shown(r.points), choice.sign) })),
      group("Front", front, { color: report.color("accent"), opacity: 0.92, line: { width: 1, color: report.color("surface") } }, [7, 22]),
      group("Dense", dense, { color: report.color("ink"), symbol: "diamond-open", line: { width: 2 } }, [12, 20]),
      group("Answer", asked, { color: "rgba(0,0,0,0)", line: { width: 2.5, color: report.color("ink") } }, [16, 31], { hoverinfo: "skip" }),
    ].filter((trace) => trace.x.length);
    const { shapes, notes } = limits();
    const near = front.concat(dense, ...rivals.map((r) => shown(r.points)));
    const [x, y] = near.length ? [focus(near, "x"), focus(near, "y")] : [undefined, undefined];
    const outside = near.length ? points.filter((p) => !within(p, "x", x) || !within(p, "y", y)).length : 0;
    document.getElementById("zoom").hidden = outside === 0;
    document.getElementById("zoom-note").textContent = everything ? "" : `${outside} of ${points.length} points ${outside === 1 ? "lies" : "lie"} outside this view.`;
    const whole = everything || report.paper;
    const format = choice.share && fraction(points.concat(dense).map((p) => p.y)) ? ".2~%" : undefined;
    const design = layout({ title: withUnit(choice.x_label, choice.x), range: whole ? undefined : x }, { title: withScoreUnit(choice.y_label, choice.unit), format, range: whole ? undefined : y }, { shapes, annotations: [...notes, ...tagNotes(front, x || [0, 1], y || [0, 1])] });
    return { traces, design };
  });

  const diagonal = (low, high) => ({ type: "scatter", mode: "lines", x: [low, high], y: [low, high], line: { color: report.color("faint"), width: 1.2, dash: "dot" }, hoverinfo: "skip" });
  const against = (pairs, format, errors) => {
    const values = pairs.flatMap((p) => [p.before, p.after]);
    const [low, high] = [Math.min(...values), Math.max(...values)];
    const bar = (key, side) => (errors ? { type: "data", array: pairs.map((p) => p[key] * p[side]), thickness: 1, width: 0, color: report.color("faint") } : undefined);
    return [
      ...(errors ? [diagonal(low, high)] : []),
      {
        type: "scatter", mode: "markers", x: pairs.map((p) => p.before), y: pairs.map((p) => p.after),
        marker: { color: report.color("accent"), size: 9, opacity: 0.85 },
        error_x: bar("before_error", "before"), error_y: bar("after_error", "after"),
        hovertext: pairs.map((p) => `<b>Trial ${p.trial}</b><br>${format(p.before)} \u2192 ${format(p.after)}`), hoverinfo: "text",
      },
    ];
  };

  chart("predicted-chart", () => ({
    traces: against(trust.predicted.pairs, (v) => `${v.toPrecision(3)} ms`, true),
    design: layout({ title: "Predicted (ms)" }, { title: "Measured (ms)" }),
  }));

  chart("latency-chart", () => ({
    traces: against(trust.latency.pairs, (v) => `${v.toPrecision(3)} ms`, true),
    design: layout({ title: "During the search (ms)" }, { title: "At the end (ms)" }),
  }));

  chart("rung-chart", () => {
    const isFraction = trust.share && fraction(trust.rungs.pairs.flatMap((p) => [p.before, p.after]));
    const format = (v) => (isFraction ? `${(v * 100).toFixed(2)} %` : `${Number(v.toPrecision(4))}${trust.unit ? ` ${trust.unit}` : ""}`);
    const ticks = isFraction ? ".2~%" : undefined;
    return {
      traces: against(trust.rungs.pairs, format, false),
      design: layout({ title: "After BatchNorm recalibration", format: ticks }, { title: "After fine-tuning", format: ticks }),
    };
  });

  chart("hypervolume-chart", () => {
    const count = progress.series.map((_, i) => i + 1);
    const timed = progress.series.every((p) => p.seconds !== null);
    const text = progress.series.map((p) => `<b>Trial ${p.trial}</b><br>Hypervolume ${p.value.toPrecision(4)}${timed ? `<br>${p.seconds.toFixed(0)} s after the start` : ""}`);
    return {
      traces: [{ type: "scatter", mode: "lines", x: count, y: progress.series.map((p) => p.value), line: { shape: "hv", color: report.color("accent"), width: 2 }, fill: "tozeroy", fillcolor: report.color("accent-soft"), hovertext: text, hoverinfo: "text" }],
      design: layout({ title: "Completed trials" }, { title: "Hypervolume" }, { yaxis: { ...layout({}, { title: "Hypervolume" }).yaxis, rangemode: "tozero" } }),
    };
  });

  const zoom = document.getElementById("zoom-all");
  zoom.addEventListener("click", () => {
    everything = !everything;
    zoom.setAttribute("aria-pressed", String(everything));
    report.draw();
  });
  report.draw();
  const front = document.getElementById("front-chart");
  if (front) {
    front.on("plotly_click", (event) => {
      const index = report.data.removed.members.findIndex((m) => m.trial === event.points[0].customdata);
      if (index >= 0) report.showMember(index);
    });
  }
})();
