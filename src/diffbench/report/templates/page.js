"use strict";
// The page says everything without this script; it adds exploring, sorting, filtering and highlighting.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const byId = (id) => document.getElementById(id);
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const text = (tag, words, name) => {
    const element = document.createElement(tag);
    element.textContent = words;
    if (name) element.className = name;
    return element;
  };

  for (const element of all(".script, .chips")) element.hidden = false;
  for (const element of all(".still")) element.hidden = true;

  // --- Explore: two paradigms, each with its own settings ----------------------------------------------------------
  const { paradigms } = data;
  const view = { left: null, right: null };
  const unique = (values) => [...new Set(values)];
  const parts = (name) => { const [sampler, steps, guidance] = name.split("/"); return { sampler, steps: Number(steps), guidance: Number(guidance) }; };
  const settings = (paradigm) => Object.keys(paradigms[paradigm].cells).map(parts);
  const rising = (values) => unique(values).sort((a, b) => a - b);
  const samplersOf = (paradigm) => unique(settings(paradigm).map((cell) => cell.sampler));
  const stepsOf = ({ paradigm, sampler }) => rising(settings(paradigm).filter((cell) => cell.sampler === sampler).map((cell) => cell.steps));
  const scalesOf = ({ paradigm, sampler, steps }) => rising(settings(paradigm)
    .filter((cell) => cell.sampler === sampler && cell.steps === steps).map((cell) => cell.guidance));
  const nearest = (values, wanted) => values.reduce((best, value) => Math.abs(value - wanted) < Math.abs(best - wanted) ? value : best);
  const nameOf = ({ sampler, steps, guidance }) => `${sampler}/${steps}/${guidance}`;

  // The nearest settings that exist: every stop of a control has a cell.
  function settled({ paradigm, sampler, steps, guidance }) {
    const chosen = parts(paradigms[paradigm].chosen), able = samplersOf(paradigm);
    const found = { paradigm, sampler: able.includes(sampler) ? sampler : chosen.sampler };
    found.steps = nearest(stepsOf(found), Number.isFinite(steps) ? steps : chosen.steps);
    found.guidance = nearest(scalesOf(found), Number.isFinite(guidance) ? guidance : chosen.guidance);
    return found;
  }

  function show(side) {
    const now = view[side], { paradigm, sampler, steps, guidance } = now;
    const row = paradigms[paradigm], name = nameOf(now), cell = row.cells[name], pane = byId(side);
    const guided = row.conditional ? `guidance ${guidance}` : "unconditional";
    pane.querySelector(".pane-name").textContent = row.label;
    const what = `${sampler}, ${steps} step${steps === 1 ? "" : "s"}, ${guided}`;
    pane.querySelector(".pane-what").textContent = what;
    const picture = pane.querySelector(".cell"), gap = pane.querySelector(".pane-missing");
    for (const piece of all(".piece", picture)) piece.className = `piece ${row.sprite}`;
    picture.hidden = cell.strip === null;
    picture.setAttribute("aria-label", `Samples of ${row.label}, ${what}`);
    if (cell.strip !== null) picture.style.setProperty("--r", cell.strip);
    gap.hidden = !picture.hidden;
    gap.textContent = "Failed: the training diverged or a sample is not finite.";
    pane.querySelector("tbody").replaceChildren(...cell.figures.map(([words, value, spread, real]) => {
      const line = document.createElement("tr"), head = text("th", words);
      head.scope = "row";
      line.append(head, text("td", value), text("td", spread, "dim"), text("td", real, "dim"));
      return line;
    }));
    pane.querySelector(".pane-command").textContent =
      `snakemake --cores all results/${data.run}/samples/${paradigm}/${data.seed}/${cell.stage}.npz`;
    return `${paradigm}/${name}`;
  }

  function render(remember = true) {
    for (const side of ["left", "right"]) {
      const now = view[side];
      byId(`${side}-paradigm`).value = now.paradigm;
      byId(`${side}-sampler`).replaceChildren(...samplersOf(now.paradigm).map((name) => new Option(name, name, false, name === now.sampler)));
      for (const [control, stops, words] of [["steps", stepsOf(now), "steps"], ["guidance", scalesOf(now), "guidance scale"]]) {
        const slider = byId(`${side}-${control}`);
        slider.max = stops.length - 1;
        slider.value = stops.indexOf(now[control]);
        slider.disabled = stops.length < 2;
        slider.setAttribute("aria-valuetext", control === "steps" ? `${now.steps} ${words}` : `${words} ${now.guidance}`);
        byId(`${side}-${control}-value`).textContent = now[control];
      }
    }
    const shown = ["left", "right"].map(show);
    for (const mark of all("svg [data-cell]")) mark.classList.toggle("here", shown.includes(mark.dataset.cell));
    if (remember) history.replaceState(null, "", address());
  }

  const address = () => `#explore?left=${view.left.paradigm}/${nameOf(view.left)}&right=${view.right.paradigm}/${nameOf(view.right)}`;

  // What the address names and asks for; a mangled one names nothing.
  function named() {
    try { return decodeURIComponent(location.hash.slice(1)).split("?"); } catch { return [""]; }
  }

  // Whether the address named a view; what it names and the run lacks becomes the nearest that exists.
  function restore() {
    const [target, query] = named();
    if (target !== "explore" || !query) return false;
    const asked = new URLSearchParams(query);
    for (const side of ["left", "right"]) {
      const [paradigm, sampler, steps, guidance] = (asked.get(side) || "").split("/");
      if (!Object.hasOwn(paradigms, paradigm)) continue;
      const known = (value, shared) => parseFloat(value ?? asked.get(shared)); // links of older pages share both
      view[side] = settled({ paradigm, sampler, steps: known(steps, "steps"), guidance: known(guidance, "guidance") });
    }
    return true;
  }

  function open(id) {
    const [paradigm, ...rest] = id.split("/");
    view.left = settled({ paradigm, ...parts(rest.join("/")) });
    render();
    byId("explore").scrollIntoView();
    byId("left-paradigm").focus({ preventScroll: true });
  }

  const explorable = Boolean(data.opening[0]); // not where every training failed
  if (explorable) {
    data.opening.forEach((id, index) => {
      const [paradigm, ...rest] = id.split("/");
      view[index ? "right" : "left"] = { paradigm, ...parts(rest.join("/")) };
    });
    for (const side of ["left", "right"]) {
      const change = (control, next) => byId(`${side}-${control}`).addEventListener("input", (event) => {
        view[side] = settled({ ...view[side], ...next(event.target.value) });
        render();
      });
      byId(`${side}-paradigm`).addEventListener("change", (event) => {
        view[side] = settled({ paradigm: event.target.value, ...parts(paradigms[event.target.value].chosen) });
        render();
      });
      change("sampler", (sampler) => ({ sampler }));
      change("steps", (index) => ({ steps: stepsOf(view[side])[index] }));
      change("guidance", (index) => ({ guidance: scalesOf(view[side])[index] }));
      byId(side).querySelector("form").addEventListener("submit", (event) => event.preventDefault());
    }
    const again = () => { if (restore()) { render(false); byId("explore").scrollIntoView(); } };
    addEventListener("hashchange", again);
    if (restore()) { render(false); requestAnimationFrame(() => byId("explore").scrollIntoView()); } else render(false);
  }

  // --- Marks that say what they are, and open their cell if they have one; arrow keys go from mark to mark -------------
  const tip = document.body.appendChild(text("div", "", "tip"));
  tip.setAttribute("aria-hidden", "true"); // a mark's own label says the same
  tip.hidden = true;
  const tell = (mark) => {
    tip.textContent = mark.getAttribute("aria-label");
    tip.hidden = false;
    const at = mark.getBoundingClientRect(), room = document.documentElement.clientWidth - tip.offsetWidth - 8;
    tip.style.left = `${scrollX + Math.max(8, Math.min(at.left + at.width / 2 - tip.offsetWidth / 2, room))}px`;
    tip.style.top = `${scrollY + (at.top > tip.offsetHeight + 8 ? at.top - tip.offsetHeight - 8 : at.bottom + 8)}px`;
  };
  const hush = () => { tip.hidden = true; };
  addEventListener("keydown", (event) => { if (event.key === "Escape") hush(); });
  for (const chart of all(".panel svg, .forest")) {
    const marks = all("[data-mark]", chart);
    const markOf = (event) => event.target.closest("[data-mark]");
    marks.forEach((mark, index) => {
      mark.setAttribute("tabindex", index ? "-1" : "0");
      if (mark.dataset.cell && explorable) mark.setAttribute("role", "button");
    });
    chart.addEventListener("pointerover", (event) => { if (markOf(event)) tell(markOf(event)); else hush(); });
    chart.addEventListener("pointerleave", hush);
    chart.addEventListener("focusin", (event) => { if (markOf(event)) tell(markOf(event)); });
    chart.addEventListener("focusout", hush);
    chart.addEventListener("click", (event) => {
      const cell = markOf(event)?.dataset.cell;
      if (cell && explorable) open(cell);
    });
    chart.addEventListener("keydown", (event) => {
      const index = marks.indexOf(event.target);
      if (index < 0) return;
      const { cell } = marks[index].dataset;
      if ((event.key === "Enter" || event.key === " ") && cell && explorable) open(cell);
      else if (event.key === "Escape") event.target.blur();
      else {
        const move = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
        if (!move) return;
        const next = marks[(index + move + marks.length) % marks.length];
        event.target.setAttribute("tabindex", "-1");
        next.setAttribute("tabindex", "0");
        next.focus();
      }
      event.preventDefault();
    });
  }
  for (const row of explorable ? all("tr[data-cell]") : []) {
    row.classList.add("open");
    const cell = row.querySelector("th, td"), button = text("button", "", "go"); // its arrow is the style's, no text of the cell
    button.type = "button";
    button.setAttribute("aria-label", `Explore ${row.dataset.cell}`);
    cell.insertBefore(button, cell.querySelector(".low"));
    row.addEventListener("click", () => open(row.dataset.cell));
  }

  // --- Tables that sort, and the one that filters --------------------------------------------------------------------
  for (const table of all("table.sortable")) {
    const body = table.tBodies[0], heads = all("thead th", table);
    heads.forEach((head, column) => {
      if (!head.dataset.sort) return;
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const falling = head.getAttribute("aria-sort") === "ascending";
        for (const other of heads) other.removeAttribute("aria-sort");
        head.setAttribute("aria-sort", falling ? "descending" : "ascending");
        const key = (row) => row.cells[column].dataset.v ?? row.cells[column].textContent.trim();
        const absent = (value) => value === "" || value === "–" || value === "<NA>";
        const rows = [...body.rows].filter((row) => !row.classList.contains("floor"));
        rows.sort((a, b) => {
          const [x, y] = [key(a), key(b)];
          if (absent(x) || absent(y)) return absent(x) - absent(y);
          const order = isNaN(x) || isNaN(y) ? x.localeCompare(y) : x - y;
          return falling ? -order : order;
        });
        body.append(...rows, ...all(".floor", body));
      });
    });
  }
  const filter = () => {
    const only = byId("only").value, words = byId("holds").value.toLowerCase().split(/\s+/).filter(Boolean);
    let count = 0;
    for (const row of all("#rows tbody tr:not(.floor)")) {
      const values = [...row.cells].map((cell) => cell.textContent.toLowerCase());
      const kept = (!only || row.dataset.p === only) && words.every((word) => values.some((value) => value.includes(word)));
      row.hidden = !kept;
      count += kept;
    }
    byId("count").textContent = `${count} row${count === 1 ? "" : "s"}`;
  };
  const refilter = () => {
    filter();
    const asked = new URLSearchParams(Object.entries({ only: byId("only").value, holds: byId("holds").value }).filter(([, value]) => value));
    history.replaceState(null, "", `#rows${asked.size ? "?" : ""}${asked}`);
  };
  byId("only").addEventListener("change", refilter);
  byId("holds").addEventListener("input", refilter);

  // --- A paradigm highlighted everywhere -----------------------------------------------------------------------------
  const lit = new Set();
  const relight = () => {
    document.body.classList.toggle("lit", lit.size > 0);
    for (const element of all("[data-p]:not(.chip)")) element.classList.toggle("on", lit.has(element.dataset.p));
    for (const chip of all(".chip")) chip.setAttribute("aria-pressed", lit.has(chip.dataset.p));
  };
  for (const chip of all(".chip")) chip.addEventListener("click", () => {
    const key = chip.dataset.p;
    if (!lit.delete(key)) lit.add(key);
    relight();
  });
  addEventListener("keydown", (event) => { if (event.key === "Escape" && lit.size) { lit.clear(); relight(); } });

  // --- Denoising: plays while it is in sight, unless motion is not wanted -----------------------------------------------
  const frame = byId("frame"), play = byId("play");
  const scrub = () => {
    const t = (1 - frame.value / frame.max).toFixed(2).replace(/\.?0+$/, "");
    document.documentElement.style.setProperty("--frame", frame.value);
    byId("frame-value").textContent = t;
    frame.setAttribute("aria-valuetext", `t = ${t}`);
  };
  let clock = null, wanted = !matchMedia("(prefers-reduced-motion: reduce)").matches;
  const stop = () => { clearTimeout(clock); clock = null; };
  const tick = () => {
    const last = Number(frame.value) === Number(frame.max);
    frame.value = last ? 0 : Number(frame.value) + 1;
    scrub();
    clock = setTimeout(tick, Number(frame.value) === Number(frame.max) ? 1800 : Number(frame.value) === 0 ? 900 : 220);
  };
  const settle = (playing) => {
    wanted = playing;
    play.textContent = playing ? "Pause" : "Play";
    play.setAttribute("aria-pressed", playing);
    stop();
    if (playing && insight) clock = setTimeout(tick, 500);
  };
  let insight = false;
  document.documentElement.style.setProperty("--frames", Number(frame.max) + 1);
  frame.value = wanted ? 0 : Math.round(frame.max / 2);
  frame.addEventListener("input", () => { settle(false); scrub(); });
  play.addEventListener("click", () => settle(!wanted));
  new IntersectionObserver(([seen]) => { insight = seen.isIntersecting; settle(wanted); }).observe(byId("denoising").querySelector(".films"));
  settle(wanted);
  scrub();

  // --- What a link names is opened; paper gets everything but the rows ------------------------------------------------
  const reveal = () => {
    const [name, query] = named(), target = byId(name);
    if (name === "rows" && query) {
      const asked = new URLSearchParams(query);
      byId("only").value = asked.get("only") || "";
      byId("holds").value = asked.get("holds") || "";
      filter();
    }
    if (target && target.tagName === "DETAILS") {
      for (let one = target; one; one = one.parentElement.closest("details")) one.open = true;
      target.scrollIntoView();
    }
  };
  addEventListener("hashchange", reveal);
  reveal();
  let opened = [];
  addEventListener("beforeprint", () => {
    lit.clear();
    relight();
    opened = all("details:not(#rows):not([open])");
    for (const element of opened) element.open = true;
    for (const element of all(".still")) element.hidden = false;
  });
  addEventListener("afterprint", () => {
    for (const element of opened) element.open = false;
    for (const element of all(".still")) element.hidden = true;
  });
})();
