// Fills the colours of the page's style into Bokeh's canvas, and serves the buttons above the plot.
(() => {
  "use strict";
  const style = () => getComputedStyle(document.documentElement);
  const models = () => Bokeh.documents.flatMap((d) => d.roots()).flatMap((r) => [...r.references()]);
  const named = (name) => models().find((m) => m.name === name);

  const paint = () => {
    const s = style();
    for (const model of models()) {
      for (const tag of model.tags || []) {
        const roles = tag instanceof Map ? Object.fromEntries(tag) : tag;
        const colours = {};
        for (const [property, role] of Object.entries(roles)) colours[property] = s.getPropertyValue(`--${role}`).trim();
        model.setv(colours);
      }
    }
  };

  const axis = (name) => {
    for (const each of ["log", "linear"]) named(each).visible = each === name;
  };
  const views = {};
  const range = (name) => {
    for (const each of ["log", "linear"]) {
      const f = named(`loss-${each}`);
      views[each] ??= { x: [f.x_range.start, f.x_range.end], y: [f.y_range.start, f.y_range.end] };
      const box = name === "tail" ? views[each] : whole(f, each);
      f.x_range.setv({ start: box.x[0], end: box.x[1] });
      f.y_range.setv({ start: box.y[0], end: box.y[1] });
    }
  };
  const whole = (f, each) => {
    const steps = [], losses = [];
    for (const r of f.renderers) {
      const data = r.data_source?.data;
      const columns = data instanceof Map ? Object.fromEntries(data) : data || {};
      if (columns.step) steps.push(...columns.step);
      for (const c of ["loss", "value"]) if (columns[c]) losses.push(...columns[c]);
    }
    const ends = (v) => v.reduce(([a, b], x) => [Math.min(a, x), Math.max(b, x)], [Infinity, -Infinity]);
    const [a, b] = ends(steps), [low, high] = ends(losses), pad = 0.03 * (high - low);
    return { x: each === "log" ? [a / 1.1, b * 1.05] : [a, b * 1.02], y: [low - pad, high + pad] };
  };

  const start = () => {
    paint();
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", paint);
    for (const button of document.querySelectorAll("[data-axis], [data-range]")) {
      button.addEventListener("click", () => {
        const kind = button.dataset.axis ? "axis" : "range";
        for (const other of document.querySelectorAll(`[data-${kind}]`)) other.setAttribute("aria-pressed", other === button);
        (kind === "axis" ? axis : range)(button.dataset[kind]);
      });
    }
    document.documentElement.classList.add("drawn");
  };
  const wait = (left) => {
    if (window.Bokeh && Bokeh.documents.length && named("curves")) start();
    else if (left) setTimeout(wait, 30, left - 1);
  };
  wait(300);
})();
