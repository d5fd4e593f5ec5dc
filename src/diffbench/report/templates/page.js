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

  // --- Explore: two paradigms, one step count, one scale -----------------------------------------------------------
  const { paradigms, steps, scales } = data;
  const view = { left: null, right: null, steps: steps[0], guidance: scales[0] };
  const nameOf = (side) => {
    const { paradigm, sampler } = view[side];
    const scale = paradigms[paradigm].conditional ? view.guidance : 0;
    return `${sampler}/${view.steps}/${scale}`;
  };

  function samplersAt(paradigm) {
    const found = paradigms[paradigm].samplers.filter((sampler) =>
      Object.keys(paradigms[paradigm].cells).some((name) => name.startsWith(`${sampler}/${view.steps}/`)));
    return found.length ? found : paradigms[paradigm].samplers;
  }

  function missing(paradigm, sampler) {
    const names = Object.keys(paradigms[paradigm].cells).filter((name) => name.startsWith(`${sampler}/`));
    const has = (part, kept) => [...new Set(names.map((name) => name.split("/"))
      .filter((parts) => kept === undefined || Number(parts[1]) === kept).map((parts) => Number(parts[part])))]
      .sort((a, b) => a - b);
    const counts = has(1);
    if (!counts.includes(view.steps)) return `Not in this run: ${sampler} has ${counts.join(", ")} steps.`;
    return `Not in this run: at ${view.steps} steps ${sampler} has guidance ${has(2, view.steps).join(", ")}.`;
  }

  function show(side) {
    const { paradigm, sampler } = view[side];
    const row = paradigms[paradigm], name = nameOf(side), cell = row.cells[name], pane = byId(side);
    const guided = row.conditional ? `guidance ${view.guidance}` : "unconditional";
    pane.querySelector(".pane-name").textContent = row.label;
    const what = `${sampler}, ${view.steps} step${view.steps === 1 ? "" : "s"}, ${guided}`;
    pane.querySelector(".pane-what").textContent = what;
    const picture = pane.querySelector(".cell"), gap = pane.querySelector(".pane-missing");
    picture.className = `cell ${row.sprite}`;
    picture.hidden = !cell || cell.strip === null;
    picture.setAttribute("aria-label", `Samples of ${row.label}, ${what}`);
    if (cell && cell.strip !== null) picture.style.setProperty("--r", cell.strip);
    gap.hidden = !picture.hidden;
    gap.textContent = cell ? "Failed: the training diverged or a sample is not finite." : missing(paradigm, sampler);
    const body = pane.querySelector("tbody");
    body.replaceChildren(...(cell ? cell.figures : []).map(([words, value, spread, real]) => {
      const line = document.createElement("tr"), head = text("th", words);
      head.scope = "row";
      line.append(head, text("td", value), text("td", spread, "dim"), text("td", real, "dim"));
      return line;
    }));
    const command = pane.querySelector(".pane-command");
    command.parentElement.hidden = !cell;
    if (cell) command.textContent =
      `snakemake --cores all results/${data.run}/samples/${paradigm}/${data.seed}/${cell.stage}.npz`;
    return cell ? `${paradigm}/${name}` : null;
  }

  function render(remember = true) {
    for (const side of ["left", "right"]) {
      const chosen = view[side], able = samplersAt(chosen.paradigm);
      if (!able.includes(chosen.sampler)) chosen.sampler = able[0];
      byId(`${side}-paradigm`).value = chosen.paradigm;
      byId(`${side}-sampler`).replaceChildren(...able.map((name) => new Option(name, name, false, name === chosen.sampler)));
    }
    const settle = (id, values, value, words) => {
      byId(id).value = values.indexOf(value);
      byId(id).setAttribute("aria-valuetext", words);
      byId(`${id}-value`).textContent = value;
    };
    settle("steps", steps, view.steps, `${view.steps} steps`);
    settle("guidance", scales, view.guidance, `guidance scale ${view.guidance}`);
    const shown = ["left", "right"].map(show);
    for (const mark of all("svg [data-cell]")) mark.classList.toggle("here", shown.includes(mark.dataset.cell));
    if (remember) history.replaceState(null, "", address());
  }

  function address() {
    const side = ({ paradigm, sampler }) => `${paradigm}/${sampler}`;
    return `#explore?left=${side(view.left)}&right=${side(view.right)}&steps=${view.steps}&guidance=${view.guidance}`;
  }

  // What the address names and asks for; a mangled one names nothing.
  function named() {
    try { return decodeURIComponent(location.hash.slice(1)).split("?"); } catch { return [""]; }
  }

  // Whether the address named a view; what it names and the run lacks is left as it was.
  function restore() {
    const [target, query] = named();
    if (target !== "explore" || !query) return false;
    const asked = new URLSearchParams(query);
    for (const side of ["left", "right"]) {
      const [paradigm, sampler] = (asked.get(side) || "").split("/");
      if (Object.hasOwn(paradigms, paradigm))
        view[side] = { paradigm, sampler: paradigms[paradigm].samplers.includes(sampler) ? sampler : paradigms[paradigm].samplers[0] };
    }
    if (steps.includes(Number(asked.get("steps")))) view.steps = Number(asked.get("steps"));
    if (asked.has("guidance") && scales.includes(Number(asked.get("guidance")))) view.guidance = Number(asked.get("guidance"));
    return true;
  }

  function open(id) {
    const [paradigm, sampler, count, scale] = id.split("/");
    view.left = { paradigm, sampler };
    view.steps = Number(count);
    if (paradigms[paradigm].conditional) view.guidance = Number(scale);
    render();
    byId("explore").scrollIntoView();
    byId("left-paradigm").focus({ preventScroll: true });
  }

  const explorable = Boolean(data.opening[0]); // not where every training failed
  if (explorable) {
    data.opening.forEach((id, index) => {
      const [paradigm, sampler] = id.split("/");
      view[index ? "right" : "left"] = { paradigm, sampler };
    });
    const [, , count, scale] = data.opening[1].split("/");
    view.steps = Number(count);
    if (scales.includes(Number(scale))) view.guidance = Number(scale);
    for (const side of ["left", "right"]) {
      byId(`${side}-paradigm`).addEventListener("change", (event) => {
        view[side] = { paradigm: event.target.value, sampler: paradigms[event.target.value].samplers[0] };
        render();
      });
      byId(`${side}-sampler`).addEventListener("change", (event) => { view[side].sampler = event.target.value; render(); });
    }
    byId("steps").addEventListener("input", (event) => { view.steps = steps[event.target.value]; render(); });
    byId("guidance").addEventListener("input", (event) => { view.guidance = scales[event.target.value]; render(); });
    byId("controls").addEventListener("submit", (event) => event.preventDefault());
    const again = () => { if (restore()) { render(false); byId("explore").scrollIntoView(); } };
    addEventListener("hashchange", again);
    if (restore()) { render(false); requestAnimationFrame(() => byId("explore").scrollIntoView()); } else render(false);
  } else byId("controls").hidden = true;

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
  for (const chart of all("figure svg")) {
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
  byId("only").addEventListener("change", filter);
  byId("holds").addEventListener("input", filter);

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

  // --- Denoising, by hand --------------------------------------------------------------------------------------------
  const frame = byId("frame");
  const scrub = () => {
    const t = (1 - frame.value / frame.max).toFixed(2).replace(/\.?0+$/, "");
    document.documentElement.style.setProperty("--frame", frame.value);
    byId("frame-value").textContent = t;
    frame.setAttribute("aria-valuetext", `t = ${t}`);
  };
  document.documentElement.style.setProperty("--frames", Number(frame.max) + 1);
  frame.value = Math.round(frame.max / 2);
  frame.addEventListener("input", scrub);
  scrub();

  // --- What a link names is opened; paper gets everything but the rows ------------------------------------------------
  const reveal = () => {
    const target = byId(named()[0]);
    if (target && target.tagName === "DETAILS") { target.open = true; target.scrollIntoView(); }
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
